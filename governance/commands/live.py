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
    holders = retrospect.live(now, model, at, known_then=moment is not None)
    moved = _moved(now, model) if bundle is None and moment is None else []
    rows = {
        "live": [holder.model_dump() for holder in holders],
        "registry": [finding.model_dump() for finding in moved],
    }
    faults = [
        f"FAULT        {finding.subject}: the log says {finding.expected},"
        f" the registry says {finding.found}"
        for finding in moved
    ]
    session.show({"model": model, **rows}, [*lines(model, holders), *faults], as_json)
    ctx.exit(VerificationError.exit_code if moved else 0)


def _moved(now: LogState, model: str) -> list[Finding]:
    """Aliases of the model that differ between registry and log."""
    differences = differing(now.log, session.here()) or []
    return [
        finding
        for finding in differences
        if finding.code.startswith("REGISTRY_ALIAS") and finding.subject.startswith(f"{model}@")
    ]


def lines(model: str, holders: list[Live]) -> list[str]:
    """The holders for people."""
    if not holders:
        return [f"no version of {model} held an alias then, as the log says"]
    text = []
    for holder in holders:
        text.append(
            f"{holder.alias:<12} {holder.model}/{holder.version} since {holder.since} "
            f"({holder.action} in entry {holder.entry}, asked by {holder.asked_by})"
        )
        text.append(f"             sha256 {holder.sha256}")
        text += [f"             way back: {holder.back_tried}"] if holder.alias != CANDIDATE else []
        text += [f"             INCIDENT OPEN: {holder.incident}"] if holder.incident else []
        text += [f"             EXPIRED: {problem}" for problem in holder.expired]
        if holder.second_signature_overdue:
            text.append(
                f"             OVERDUE: a second signature since {holder.second_signature_overdue}"
            )
    return [one_line(timed(line)) for line in text]
