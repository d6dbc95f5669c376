"""`countersign approve`: a person's signature over a packet and the page they were shown; or over
what trains.
"""

from __future__ import annotations

import click

from governance.commands import session, voting


@click.command("approve")
@click.argument(
    "words", nargs=-1, required=True, metavar="MODEL/VERSION | data|objective|reward|promotion NAME"
)
@click.option(
    "--reason", default="read and approved", show_default=True, help="Why; it stays visible."
)
@click.option("--alias", help="For this alias only; else for any that policy governs.")
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    help="Until then only; else as long as the packet stands.",
)
@session.role_option
@session.key_option
@session.write_options
def command(
    words: tuple[str, ...],
    reason: str,
    alias: str | None,
    days: int | None,
    role: str | None,
    key: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Approve the packet of MODEL/VERSION as you read it: countersign review comes first.

    In tiers that want it, approve a dataset, an objective (by its stage) or a reward function
    before it trains. Sign a rollback or retirement that somebody else asked for: countersign
    approve promotion DIGEST.
    """
    voting.cast(words, "approve", reason, alias, days, (key, role, yes, dry_run, as_json))
