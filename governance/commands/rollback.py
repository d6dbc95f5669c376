"""`countersign rollback`: the alias goes back to the last version that held it and still stands."""

from __future__ import annotations

from datetime import datetime

import click

from governance.base.errors import RefusedError
from governance.commands import moves, session
from governance.people import moves as releasing
from governance.people.moves import Plan
from governance.people.speaking import Speaker
from governance.release.promotion import State


@click.command("rollback")
@click.argument("model")
@click.option("--reason", required=True, help="Stands in the request.")
@click.option("--alias", default="champion", show_default=True, help="The alias.")
@click.option(
    "--break-glass", is_flag=True, help="By one person alone, where policy lets your role."
)
@session.key_option
@session.role_option
@session.write_options
def command(
    model: str, reason: str, alias: str, break_glass: bool, key: str | None, role: str | None,
    yes: bool, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Give MODEL's alias back to the last version that held it by a decision and against which
    nothing stands now.

    Its approvals stand; keys, digests, bases and incidents are looked at again. Exit code 4 when it
    is refused.
    """

    def make(now: State, at: datetime, signs: Speaker | None) -> Plan:
        return releasing.plan_rollback(now, model, alias, reason, at, signs, break_glass)

    def roles(now: State) -> list[str]:
        rule = now.authority.policies.rules.aliases.get(alias)
        asking = releasing.requester_roles(now.authority.policies, alias)
        if not break_glass or rule is None:
            return asking
        if not rule.break_glass:
            raise RefusedError(
                f"policy lets nobody break the glass for {alias}",
                fix="ask a second person to sign it",
            )
        return [one for one in asking if one in rule.break_glass]

    moves.move(make, roles, (key, role, yes, dry_run, as_json))
