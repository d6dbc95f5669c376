"""`countersign promote`: give a version an alias that serves users."""

from __future__ import annotations

from datetime import datetime

import click

from governance.commands import moves, session
from governance.commands.session import Signing
from governance.history.state import LogState
from governance.people import moves as releasing
from governance.people.moves import Move, Plan
from governance.people.speaking import Speaker


@click.command("promote")
@click.argument("version", metavar="MODEL/VERSION")
@click.option("--to", "alias", default="champion", show_default=True, help="The alias.")
@click.option("--reason", default="release", show_default=True, help="Recorded in the request.")
@session.signs
def command(version: str, alias: str, reason: str, signing: Signing) -> None:
    """Give MODEL/VERSION an alias: sign the request, decide on the log as it is, move it.

    Run it again after new approvals: it uses the request that is still open. Exit code 4 when it is
    refused.
    """
    model, number = moves.named(version)

    def make(now: LogState, at: datetime, signs: Speaker | None) -> Plan:
        return releasing.plan(now, Move("promote", model, number, alias, reason), at, signs)

    moves.move(
        make,
        lambda now: releasing.requester_roles(now.authority.policies, alias),
        signing,
    )
