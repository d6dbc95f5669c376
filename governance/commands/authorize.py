"""`countersign authorize`: a person lets services run in their name."""

from __future__ import annotations

import click

from governance.base.text import moment
from governance.commands import session
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
@session.role_option
@session.key_option
@session.write_options
def command(
    hours: int,
    reason: str,
    role: str | None,
    key: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Let services run in your name for so many hours: without a person who asked, no run reaches a
    governed alias.

    Runs take it up by themselves: export COUNTERSIGN_REQUESTER=YOUR_NAME. Who asks for a run cannot
    approve its model.
    """
    log = session.log_to_add_to(session.here(), dry_run)
    now, at = session.current(log), session.clock()
    signer = session.signer(key)
    who = authorizing.speaking_for_themselves(now, signer, role, at)
    if dry_run:
        session.show(
            {"name": who.name, "hours": hours},
            [f"{who.name} would authorize runs for {hours} h"],
            as_json,
        )
        return
    session.confirm(f"{who.name} lets services run in their name for {hours} hours.", who.name, yes)
    said, who, what = authorizing.authorize(log, now, signer, role, reason, hours, at)
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
    session.show(found, lines, as_json)
