"""`countersign live`, `history`, `explain` and `pending`: what the log says."""

from __future__ import annotations

import click

from governance.attest.predicates import CANDIDATE
from governance.base.errors import ConfigError, VerificationError
from governance.commands import session
from governance.commands.session import Call, named
from governance.commands.sources import differing, looking
from governance.people import enrolment, pending, speaking
from governance.release import retrospect


@click.command("live")
@click.argument("model")
@session.options("moment", *session.READS)
def live_command(call: Call, model: str) -> None:
    """Which version of MODEL holds each alias, now or at a time: what the log says.

    Exit code 5 where the registry of this machine has an alias elsewhere now; of the past it says
    nothing.
    """
    now = looking(call)
    holders = retrospect.live(now, model, call.as_of or call.now, known_then=bool(call.as_of))
    compares = call.bundle is None and call.as_of is None
    moved = [
        finding
        for finding in (differing(now.log, call.machine) if compares else None) or []
        if finding.code.startswith("REGISTRY_ALIAS") and finding.subject.startswith(f"{model}@")
    ]
    result = {
        "model": model,
        "live": [holder.model_dump() for holder in holders],
        "registry": [finding.model_dump() for finding in moved],
    }
    call.draw("live", result, candidate=CANDIDATE)
    call.exit(VerificationError.exit_code if moved else 0)


@click.command("history")
@click.argument("model")
@session.options(*session.READS)
def history_command(call: Call, model: str) -> None:
    """Everything the log says about MODEL: versions, packets, what people said, each move and each
    refusal.
    """
    events = retrospect.history(looking(call), model)
    call.draw("history", {"model": model, "events": [event.model_dump() for event in events]})


@click.command("explain")
@click.argument("what", metavar="ENTRY|MODEL/VERSION")
@session.options(*session.READS)
def explain_command(call: Call, what: str) -> None:
    """Perform a logged decision again, from the evidence before it and the policies in force then;
    say why.

    ENTRY is a number of the log (countersign history lists them); MODEL/VERSION is the last
    decision about that version. Exit code 5 when it does not come out as it was logged.
    """
    now = looking(call)
    if not what.isdecimal() and "/" not in what:
        expected = "the number of an entry, e.g. 41, or MODEL/VERSION"
        raise ConfigError(f"{what!r} is no decision", expected=expected)
    entry = int(what) if what.isdecimal() else retrospect.last_decision(now, *named(what))
    repeated = retrospect.decided_again(now, entry)
    call.draw("explain", repeated)
    call.exit(0 if repeated.same else VerificationError.exit_code)


@click.command("pending")
@click.option("--as", "name", metavar="NAME", help="What waits for this person; needs no key.")
@click.option("--all", "everybody", is_flag=True, help="What waits for anybody.")
@session.options("key", "as_json")
def pending_command(call: Call, name: str | None, everybody: bool) -> None:
    """What waits for you, and why; for everybody, where no key and no name is given."""
    now = call.read()
    waits = pending.pending(now, call.now)
    policies = now.authority.policies
    person = None if everybody else name
    if not everybody and name is None and call.has_key:
        person = speaking.person_of(policies, call.signer).name
    if person is not None:
        enrolment.principal_named(policies, person)
        waits = pending.of_person(waits, person)
    call.draw("pending", {"person": person, "pending": [wait.model_dump() for wait in waits]})
