"""`countersign pending`: what waits for me, and why."""

from __future__ import annotations

import os
from collections.abc import Iterator

import click

from governance.base.text import moment
from governance.commands import session
from governance.history.state import LogState
from governance.people import enrolment, pending, speaking
from governance.people.pending import Wait


@click.command("pending")
@click.option("--as", "name", metavar="NAME", help="What waits for this person; needs no key.")
@click.option("--all", "everybody", is_flag=True, help="What waits for anybody.")
@session.key_option
@session.json_option
def command(name: str | None, everybody: bool, key: str | None, as_json: bool) -> None:
    """What waits for you, and why; for everybody, where no key and no name is given."""
    now = session.current(session.read(session.here()))
    waits = pending.pending(now, session.clock())
    person = None if everybody else name or _own_name(now, key)
    if person is not None:
        enrolment.principal_named(now.authority.policies, person)
        waits = pending.of_person(waits, person)
    result = {"person": person, "pending": [wait.model_dump() for wait in waits]}
    session.show(result, list(_lines(waits, person)), as_json)


def _own_name(now: LogState, key: str | None) -> str | None:
    if not key and not os.environ.get(speaking.KEY):
        return None
    return speaking.person_of(now.authority.policies, session.signer(key)).name


def _lines(waits: list[Wait], person: str | None) -> Iterator[str]:
    if not waits:
        yield f"nothing waits for {person or 'anybody'}"
    for wait in waits:
        yield f"{wait.kind.upper()}  {wait.what}" + (
            f"  (by {moment(wait.due)})" if wait.due else ""
        )
        yield f"  why   {wait.why}"
        if person is None:
            yield f"  who   {', '.join(wait.people) or 'nobody that policy names'}"
        yield f"  next  {wait.next}"
