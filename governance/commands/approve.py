"""`countersign approve`: a person signs a packet and its review page."""

from __future__ import annotations

import click

from governance.commands import session, voting
from governance.commands.session import Signing


@click.command("approve")
@click.argument(
    "words", nargs=-1, required=True, metavar="MODEL/VERSION | data|objective|reward|promotion NAME"
)
@session.reason_option("Why you approve.")
@click.option("--alias", help="Approve it for this alias only.")
@click.option("--days", type=click.IntRange(1, 3650), help="The approval ends after so many days.")
@session.signs
def command(
    words: tuple[str, ...], reason: str, alias: str | None, days: int | None, signing: Signing
) -> None:
    """Approve the packet of MODEL/VERSION. Open its page first: countersign review.

    Where the tier asks for it, approve a dataset, an objective (by its stage) or a reward function
    before training. Approve another person's rollback or retirement: countersign approve promotion
    DIGEST.
    """
    voting.cast(words, "approve", reason, signing, alias, days)
