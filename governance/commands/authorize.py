"""`countersign authorize`: let services run in your name."""

from __future__ import annotations

import click

from governance.base.text import moment
from governance.commands import session
from governance.commands.session import Signing
from governance.people import authorizing


@click.command("authorize")
@click.option(
    "--hours", type=click.IntRange(1, authorizing.LONGEST), required=True, help="For how long."
)
@click.option(
    "--reason",
    default="runs of the pipeline",
    show_default=True,
    help="What for; it stays visible.",
)
@session.signs
def command(hours: int, reason: str, how: Signing) -> None:
    """Let services run in your name for so many hours. A run that nobody authorized cannot reach a
    governed alias.

    Set COUNTERSIGN_REQUESTER=YOUR_NAME for the runs. Who starts a run cannot approve its model.
    """
    log = session.log_to_add_to(session.here(), how.dry_run)
    now, at = session.current(log), session.clock()
    signer = session.signer(how.key)
    who = authorizing.speaking_for_themselves(now, signer, how.role, at)
    if how.dry_run:
        session.show(
            {"name": who.name, "hours": hours},
            [f"{who.name} would authorize runs for {hours} h"],
            how.as_json,
        )
        return
    session.confirm(
        f"{who.name} lets services run in their name for {hours} hours.", who.name, how.yes
    )
    said, who, what = authorizing.authorize(log, now, signer, how.role, reason, hours, at)
    found = {
        "name": who.name,
        "entry": said.index,
        "authorization": said.digest,
        "expires": what.expires,
    }
    lines = [
        (
            f"services may run in the name of {who.name} until {moment(what.expires)} (entry"
            f" {said.index})"
        ),
        f"next: export COUNTERSIGN_REQUESTER={who.name}",
    ]
    session.show(found, lines, how.as_json)
