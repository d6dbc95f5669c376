"""`countersign rollback`: give the alias back to the version before."""

from __future__ import annotations

from datetime import datetime

import click

from governance.base.errors import RefusedError
from governance.commands import moves, session
from governance.commands.session import Signing
from governance.history.state import LogState
from governance.people import moves as releasing
from governance.people.moves import Plan
from governance.people.speaking import Speaker


@click.command("rollback")
@click.argument("model")
@session.reason_option("Why you roll back.")
@click.option("--alias", default="champion", show_default=True, help="The alias.")
@click.option("--break-glass", is_flag=True, help="Alone, in an emergency, where policy allows it.")
@session.signs
def command(model: str, reason: str, alias: str, break_glass: bool, signing: Signing) -> None:
    """Give MODEL's alias back to the last approved version that still passes its checks.

    Its approvals stay valid. Keys, digests, base models and incidents are checked again. Exit code
    4 when it is refused.
    """

    def make(now: LogState, at: datetime, signs: Speaker | None) -> Plan:
        return releasing.plan_rollback(now, model, alias, reason, at, signs, break_glass)

    def roles(now: LogState) -> list[str]:
        rule = now.authority.policies.rules.aliases.get(alias)
        asking = releasing.requester_roles(now.authority.policies, alias)
        if not break_glass or rule is None:
            return asking
        if not rule.break_glass:
            raise RefusedError(
                f"policy allows nobody to roll back {alias} alone",
                fix="run it without --break-glass; a second person then signs the request",
            )
        return [role for role in asking if role in rule.break_glass]

    moves.move(make, roles, signing)
