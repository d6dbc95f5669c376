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
def command(hours: int, reason: str, signing: Signing) -> None:
    """Let services run in your name for so many hours. A run that nobody authorized cannot reach a
    governed alias.

    Set COUNTERSIGN_REQUESTER=YOUR_NAME for the runs. Who starts a run cannot approve its model.
    """
    log = session.log_to_add_to(session.here(), signing.dry_run)
    now, at = session.current(log), session.clock()
    signer = session.signer(signing.key)
    author = authorizing.speaking_for_themselves(now, signer, signing.role, at)
    if signing.dry_run:
        session.show(
            {"name": author.name, "hours": hours},
            [f"{author.name} would authorize runs for {hours} h"],
            signing.as_json,
        )
        return
    session.confirm(
        f"{author.name} lets services run in their name for {hours} hours.",
        author.name,
        signing.yes,
    )
    recorded, author, authorization = authorizing.authorize(
        log, now, signer, signing.role, reason, hours, at
    )
    result = {
        "name": author.name,
        "entry": recorded.index,
        "authorization": recorded.digest,
        "expires": authorization.expires,
    }
    lines = [
        (
            f"services may run in the name of {author.name} until"
            f" {moment(authorization.expires)} (entry {recorded.index})"
        ),
        f"next: export COUNTERSIGN_REQUESTER={author.name}",
    ]
    session.show(result, lines, signing.as_json)
