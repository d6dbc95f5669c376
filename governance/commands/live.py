"""`countersign live`: which version serves, now or at a time."""

from __future__ import annotations

from pathlib import Path

import click

from governance.attest.predicates import CANDIDATE, Finding
from governance.base.errors import VerificationError
from governance.base.text import one_line, timed
from governance.commands import session
from governance.commands.sources import at_option, differing, time_of
from governance.history.state import LogState
from governance.release import retrospect
from governance.release.retrospect import Live


@click.command("live")
@click.argument("model")
@at_option
@session.bundle_options
@session.json_option
@click.pass_context
def command(
    ctx: click.Context,
    model: str,
    moment: str | None,
    bundle: Path | None,
    origin: str | None,
    as_json: bool,
) -> None:
    """Which version of MODEL holds each alias, now or at a time: what the log says.

    Exit code 5 where the registry of this machine has an alias elsewhere now; of the past it says
    nothing.
    """
    now = session.looking(bundle, origin)
    at = time_of(moment) or session.clock()
    found = retrospect.live(now, model, at, known_then=moment is not None)
    moved = _moved(now, model) if bundle is None and moment is None else []
    told = {
        "live": [one.model_dump() for one in found],
        "registry": [one.model_dump() for one in moved],
    }
    faults = [
        f"FAULT        {one.subject}: the log says {one.expected}, the registry says {one.found}"
        for one in moved
    ]
    session.show({"model": model, **told}, [*lines(model, found), *faults], as_json)
    ctx.exit(VerificationError.exit_code if moved else 0)


def _moved(now: LogState, model: str) -> list[Finding]:
    """Aliases of the model that the registry has elsewhere than the log."""
    found = differing(now.log, session.here()) or []
    return [
        one
        for one in found
        if one.code.startswith("REGISTRY_ALIAS") and one.subject.startswith(f"{model}@")
    ]


def lines(model: str, found: list[Live]) -> list[str]:
    """For people."""
    if not found:
        return [f"no version of {model} held an alias then, as the log says"]
    text = []
    for one in found:
        text.append(
            f"{one.alias:<12} {one.model}/{one.version} since {one.since} "
            f"({one.action} in entry {one.entry}, asked by {one.asked_by})"
        )
        text.append(f"             sha256 {one.sha256}")
        text += [f"             way back: {one.back_tried}"] if one.alias != CANDIDATE else []
        text += [f"             INCIDENT OPEN: {one.incident}"] if one.incident else []
        text += [f"             EXPIRED: {problem}" for problem in one.expired]
        if one.second_signature_overdue:
            text.append(
                f"             OVERDUE: a second signature since {one.second_signature_overdue}"
            )
    return [one_line(timed(one)) for one in text]
