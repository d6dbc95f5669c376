"""`countersign history`: everything the log says about a model's versions."""

from __future__ import annotations

from pathlib import Path

import click

from governance.base.text import moment, one_line, timed
from governance.commands import session
from governance.release import retrospect
from governance.release.retrospect import Event


@click.command("history")
@click.argument("model")
@session.bundle_options
@session.json_option
def command(model: str, bundle: Path | None, origin: str | None, as_json: bool) -> None:
    """Everything the log says about MODEL: versions, packets, what people said, each move and each
    refusal.
    """
    events = retrospect.history(session.looking(bundle, origin), model)
    session.show(
        {"model": model, "events": [event.model_dump() for event in events]}, lines(events), as_json
    )


def lines(events: list[Event]) -> list[str]:
    """The events for people, one line each."""
    text = []
    for event in events:
        about = f" {event.version}" if event.version else ""
        rest = timed("; ".join(part for part in (event.result, event.detail) if part))
        subject = f"{event.what}{about}  by {event.by or 'nobody'}"
        text.append(
            one_line(
                f"{event.entry:>5}  {moment(event.at)}  {subject}" + (f": {rest}" if rest else "")
            )
        )
    return text
