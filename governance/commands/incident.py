"""`countersign incident`: open or close an incident on a version."""

from __future__ import annotations

from typing import Literal

import click

from governance.attest.predicates import Promotion
from governance.base.errors import InputError
from governance.commands import session
from governance.commands.moves import named
from governance.commands.session import Signing
from governance.history import incidents
from governance.history.state import LogState
from governance.people import moves as releasing
from governance.people import speaking


@click.command("incident")
@click.argument("state", type=click.Choice(["open", "close"]))
@click.argument("version", metavar="MODEL/VERSION")
@session.reason_option("What is wrong, or why it no longer is. No personal data.")
@session.signs
def command(state: Literal["open", "close"], version: str, reason: str, signing: Signing) -> None:
    """Open or close an incident on MODEL/VERSION. While it is open, nobody can approve or promote
    these bytes.

    It moves no alias: countersign rollback does.
    """
    model, number = named(version)
    log = session.log_to_add_to(session.here(), signing.dry_run)
    now, at = session.current(log), session.clock()
    now.registration(model, number)  # raises where there is no such version
    policies = now.authority.policies
    new_state = "open" if state == "open" else "closed"
    fitting = incidents.roles(policies.rules.incidents, new_state, speaking.roles_of(policies))
    author = speaking.speaker(now.authority, session.signer(signing.key), signing.role, fitting, at)
    if state == "close" and releasing.closed_by(now, model, number) in (None, author.name):
        raise InputError(
            f"no incident is open on {model}/{number}", fix=f"countersign history {model}"
        )
    done = "opened" if state == "open" else "closed"
    summary = f"incident on {model}/{number} {done} by {author.name} as {author.role}"
    entry = None
    if not signing.dry_run:
        session.confirm(f"{summary}: {reason}", f"{model}/{number}", signing.yes)
        entry = releasing.report_incident(
            log, now, model, number, state == "open", reason, author, at
        )
    result = {
        "model": model,
        "version": number,
        "state": state,
        "by": author.name,
        "role": author.role,
        "entry": entry,
    }
    lines = [f"{summary} (entry {entry})" if entry is not None else f"would sign: {summary}"]
    session.show(result, lines + _next(now, model, number, state), signing.as_json)


def _next(now: LogState, model: str, number: str, state: str) -> list[str]:
    """The aliases that the version still holds, and the way back."""
    held = [
        alias
        for alias in now.authority.policies.rules.aliases
        if _holds(now.holder(model, alias), number)
    ]
    if state == "close" or not held:
        return []
    return [
        f"it is still {', '.join(held)}",
        f"next: countersign rollback {model} --alias {held[0]} --reason ...",
    ]


def _holds(move: Promotion | None, number: str) -> bool:
    return move is not None and move.version == number
