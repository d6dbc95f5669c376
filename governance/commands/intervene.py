"""`countersign intervene`: a person overrode what a version said or did while it was in use, or let
an exception from the rules of its use pass. The log keeps it; it stops nothing.
"""

from __future__ import annotations

from typing import Any, Literal

import click

from governance.attest.predicates import Artifact, Intervention
from governance.base.errors import ConfigError
from governance.base.time import exact_instant
from governance.commands import session
from governance.commands.session import Call, named


@click.command("intervene")
@click.argument("version", metavar="MODEL/VERSION")
@click.option("--override", "overridden", help="What was overridden, and what was done instead.")
@click.option("--exception", "excepted", help="Which exception was let pass.")
@session.reason_option("Why. No personal data.")
@click.option("--happened", metavar="TIME", help="When it happened, with its zone; by default now.")
@session.options(*session.SIGNS)
def command(
    call: Call,
    version: str,
    overridden: str | None,
    excepted: str | None,
    reason: str,
    happened: str | None,
) -> None:
    """Log that a person overrode MODEL/VERSION in operation, or let an exception pass.

    It belongs to the incident that is open on the version, if one is. It blocks nothing: where
    something is wrong with the version, open an incident.
    """
    now = call.state()
    model, number = named(version)
    digest = now.registration(model, number).predicate.model_digest
    event, what = _what(overridden, excepted)
    fields: dict[str, Any] = {
        "model": model,
        "version": number,
        "event": event,
        "what": what,
        "happened_at": _time(call, happened),
    }
    roles = now.authority.policies.rules.incident_roles("open")
    author = call.signing.speaker(now.authority, roles)
    statement = Intervention(**author.signed(reason), **fields)
    summary = f"{event} in operation of {version}, by {statement.principal} as {statement.role}"
    call.confirm(f"{summary}: {what}", version, statement, entry=None)
    subject = Artifact(role="model", name=model, sha256=digest)
    entry = author.record(call.log, "intervention", subject, statement).index
    call.show(statement, [f"{summary} (entry {entry})"], entry=entry)


def _what(
    overridden: str | None, excepted: str | None
) -> tuple[Literal["override", "exception"], str]:
    """What happened. Raises `ConfigError` unless exactly one is said."""
    override, exception = (overridden or "").strip(), (excepted or "").strip()
    if bool(override) == bool(exception):
        expected = "--override TEXT or --exception TEXT"
        found = "both are said" if override else "neither is said"
        raise ConfigError(found, where="what happened", expected=expected)
    return ("override", override) if override else ("exception", exception)


def _time(call: Call, text: str | None) -> str:
    moment = call.now if text is None else session.time_of(text, "--happened")
    if moment > call.now:
        expected = "a time of the past"
        raise ConfigError(f"{text} lies ahead", where="--happened", expected=expected)
    return exact_instant(moment)
