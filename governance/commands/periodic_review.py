"""`countersign periodic-review`: a person looked again at a version that is in use."""

from __future__ import annotations

from datetime import date
from typing import Any

import click

from governance.attest.predicates import CANDIDATE, Artifact, PeriodicReview
from governance.base.errors import ConfigError, InputError
from governance.commands import session
from governance.commands.session import Call, named
from governance.history.reviews import Review
from governance.history.state import LogState


@click.command("periodic-review")
@click.argument("version", metavar="MODEL/VERSION")
@session.reason_option("What you looked at, and why it may stay in use. No personal data.")
@click.option("--next-by", metavar="DAY", help="Review it again by this day, before policy's date.")
@session.options(*session.SIGNS)
def command(call: Call, version: str, reason: str, next_by: str | None) -> None:
    """Sign that MODEL/VERSION was reviewed and may stay in use until the next review date.

    Policy sets how often (review_every), and what follows where nobody does (overdue_review). Read
    the report first: countersign report MODEL/VERSION. Whoever may approve the version may sign.
    """
    call.check_witnessed()
    now = call.state()
    model, number = named(version)
    digest = now.registration(model, number).predicate.model_digest
    _require_in_use(now, model, number)
    terms: dict[str, Any] = {"model": model, "version": number, "next_by": _day(next_by, call)}
    author = call.signing.speaker(now.authority, _fitting(now, model))
    statement = PeriodicReview(**author.signed(reason), **terms)
    call.confirm(_summary(statement), version, statement, entry=None)
    subject = Artifact(role="model", name=model, sha256=digest)
    entry = author.record(call.log, "periodic_review", subject, statement).index
    found = _review(call, version)
    due = str(found.due) if found else None
    lines = [f"{_summary(statement)} (entry {entry})", *_next(found)]
    call.show(statement, lines, entry=entry, next_review=due)


def _require_in_use(now: LogState, model: str, number: str) -> None:
    held = now.timeline.held_by(model, number)
    if all(tenure.alias == CANDIDATE for tenure in held):
        found = f"{model}/{number} holds no governed alias, so no review of it is due"
        raise InputError(found, fix=f"countersign live {model} says which version is in use")


def _fitting(now: LogState, model: str) -> list[str]:
    """The roles that may sign it: those that approve packets of the model."""
    tier = now.authority.policies.tier_of(model)
    return list(tier.approvers) if tier else []


def _day(text: str | None, call: Call) -> date | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        expected = "a day, e.g. 2027-02-28"
        raise ConfigError(
            f"{text[:80]!r} is no day", where="--next-by", expected=expected
        ) from None
    if day <= call.now.date():
        expected = "a day that lies ahead"
        raise ConfigError(f"{day} is over", where="--next-by", expected=expected)
    return day


def _summary(statement: PeriodicReview) -> str:
    name = f"{statement.model}/{statement.version}"
    return f"periodic review of {name}, by {statement.principal} as {statement.role}"


def _review(call: Call, version: str) -> Review | None:
    found = call.state().timeline.reviews(call.now)
    return next((review for review in found if review.name == version), None)


def _next(review: Review | None) -> list[str]:
    if review is None:
        return ["policy sets no date for the next review (review_every)"]
    return [f"next review by {review.due}"]
