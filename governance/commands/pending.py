"""`countersign pending`: what waits for whom."""

from __future__ import annotations

import click

from governance.commands import session
from governance.commands.session import Call
from governance.people import enrolment, speaking
from governance.people.pending import pending


@click.command("pending")
@click.option("--as", "name", metavar="NAME", help="What waits for this person; needs no key.")
@click.option("--all", "everybody", is_flag=True, help="What waits for anybody.")
@session.options("key", "as_json")
def command(call: Call, name: str | None, everybody: bool) -> None:
    """What waits for you, and why; for everybody, where no key and no name is given."""
    now = call.read()
    waits = pending(now, call.now)
    policies = now.authority.policies
    person = None if everybody else name
    if not everybody and name is None and call.has_key:
        person = speaking.person_of(policies, call.signer).name
    if person is not None:
        enrolment.principal_named(policies, person)
        waits = [wait for wait in waits if person in wait.people]
    call.draw("pending", {"person": person, "pending": [wait.model_dump() for wait in waits]})
