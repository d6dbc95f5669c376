"""`countersign live`: which version serves, now or at a time."""

from __future__ import annotations

from pathlib import Path

import click

from governance import retrospect
from governance.commands import session
from governance.commands.sources import at_option, time_of
from governance.predicates import CANDIDATE
from governance.retrospect import Live


@click.command("live")
@click.argument("model")
@at_option
@session.bundle_options
@session.json_option
def command(model: str, moment: str | None, bundle: Path | None, origin: str | None, as_json: bool) -> None:
    """Which version of MODEL holds each alias, now or at a time: what the log says, not the registry."""
    now = session.looking(bundle, origin)
    at = time_of(moment) or session.clock()
    found = retrospect.live(now, model, at)
    session.show({"model": model, "live": [one.model_dump() for one in found]}, lines(model, found), as_json)


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
            text.append(f"             OVERDUE: a second signature since {one.second_signature_overdue}")
    return text
