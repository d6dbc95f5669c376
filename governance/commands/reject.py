"""`countersign reject`: a person rejects a packet, or what a gate asks for."""

from __future__ import annotations

import click

from governance.commands import session, voting
from governance.commands.session import Signing


@click.command("reject")
@click.argument(
    "words", nargs=-1, required=True, metavar="MODEL/VERSION | data|objective|reward NAME"
)
@session.reason_option("Why you reject; every later review of these bytes shows it.")
@session.signs
def command(words: tuple[str, ...], reason: str, signing: Signing) -> None:
    """Reject the packet of MODEL/VERSION, or what a gate asks for. It blocks until you approve."""
    voting.cast(words, "reject", reason, signing)
