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
    found = retrospect.history(session.looking(bundle, origin), model)
    session.show(
        {"model": model, "events": [one.model_dump() for one in found]}, lines(found), as_json
    )


def lines(found: list[Event]) -> list[str]:
    """For people, one line each."""
    text = []
    for one in found:
        about = f" {one.version}" if one.version else ""
        rest = timed("; ".join(part for part in (one.result, one.detail) if part))
        said = f"{one.what}{about}  by {one.by or 'nobody'}"
        text.append(
            one_line(f"{one.entry:>5}  {moment(one.at)}  {said}" + (f": {rest}" if rest else ""))
        )
    return text
