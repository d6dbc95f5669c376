"""`countersign incident`: something is wrong with a version, or no longer is."""

from __future__ import annotations

from typing import Literal

import click

from governance.attest.predicates import Promotion
from governance.base.errors import InputError
from governance.commands import session
from governance.commands.moves import named
from governance.history import incidents
from governance.people import moves as releasing
from governance.people import speaking
from governance.release.promotion import State


@click.command("incident")
@click.argument("state", type=click.Choice(["open", "close"]))
@click.argument("version", metavar="MODEL/VERSION")
@click.option(
    "--reason", required=True, help="What is wrong, or why it no longer is. No personal data."
)
@session.key_option
@session.role_option
@session.write_options
def command(
    state: Literal["open", "close"], version: str, reason: str, key: str | None, role: str | None,
    yes: bool, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Open or close an incident on MODEL/VERSION. While one is open, no alias is given to these
    bytes.

    It takes nothing away: countersign rollback does.
    """
    model, number = named(version)
    log = session.log_to_add_to(session.here(), dry_run)
    now, at = session.current(log), session.clock()
    registered = now.registration(model, number).predicate
    policies = now.authority.policies
    said = "open" if state == "open" else "closed"
    fitting = incidents.roles(policies.rules.incidents, said, speaking.roles_of(policies))
    who = speaking.speaker(now.authority, session.signer(key), role, fitting, at)
    if state == "close" and releasing.closed_by(now, model, number) in (None, who.name):
        raise InputError(
            f"no incident is open on {model}/{number}", fix=f"countersign history {model}"
        )
    told = (
        f"incident {state} on {model}/{number} (sha256 {registered.model_digest[:12]}) by"
        f" {who.name} as {who.role}"
    )
    entry = None
    if not dry_run:
        session.confirm(f"{told}: {reason}", f"{model}/{number}", yes)
        entry = releasing.report_incident(log, now, model, number, state == "open", reason, who, at)
    found = {
        "model": model,
        "version": number,
        "state": state,
        "by": who.name,
        "role": who.role,
        "entry": entry,
    }
    lines = [f"{told}: entry {entry}" if entry is not None else f"would sign: {told}"]
    session.show(found, lines + _next(now, model, number, state), as_json)


def _next(now: State, model: str, number: str, state: str) -> list[str]:
    """What an open incident asks for: users are still served what held an alias before."""
    held = [
        alias
        for alias in now.authority.policies.rules.aliases
        if _holds(now.holder(model, alias), number)
    ]
    if state == "close" or not held:
        return []
    return [
        f"it still is {', '.join(held)}; next: countersign rollback {model} --alias {held[0]}"
        " --reason ..."
    ]


def _holds(move: Promotion | None, number: str) -> bool:
    return move is not None and move.version == number
