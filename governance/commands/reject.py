"""`countersign reject`: a person says no, with a reason that stays visible."""

from __future__ import annotations

import click

from governance.commands import session, voting


@click.command("reject")
@click.argument(
    "words", nargs=-1, required=True, metavar="MODEL/VERSION | data|objective|reward NAME"
)
@click.option(
    "--reason", required=True, help="Why; it stays visible, in every later review of these bytes."
)
@session.role_option
@session.key_option
@session.write_options
def command(
    words: tuple[str, ...],
    reason: str,
    role: str | None,
    key: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Reject the packet of MODEL/VERSION, or what a gate wants approved. It stands until you
    approve the same.
    """
    voting.cast(words, "reject", reason, None, None, (key, role, yes, dry_run, as_json))
