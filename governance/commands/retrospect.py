"""`countersign live`, `history`, `explain`: what the log says."""

from __future__ import annotations

import click

from governance.attest.predicates import CANDIDATE
from governance.base.errors import ConfigError, VerificationError
from governance.commands import session
from governance.commands.session import Call, named
from governance.commands.sources import looking
from governance.release import retrospect
from governance.release.reconcile import differing


@click.command("live")
@click.argument("model")
@session.options("moment", *session.READS)
def live_command(call: Call, model: str) -> None:
    """Which version of MODEL holds each alias, now or at a time: what the log says.

    Exit code 5 where the log does not give a decision by which a version holds an alias, where
    policy owners rejected its bytes, and where the registry of this machine has an alias elsewhere
    now; of the past it says nothing.
    """
    now = looking(call, model)
    holders = retrospect.live(now, model, call.as_of or call.now, known_then=bool(call.as_of))
    compares = call.bundle is None and call.as_of is None
    differences = differing(now.log, call.machine, now) if compares else None
    moved = [
        finding
        for finding in differences or []
        if finding.code.startswith("REGISTRY_ALIAS") and finding.subject.startswith(f"{model}@")
    ]
    result = {
        "model": model,
        "live": [holder.model_dump() for holder in holders],
        "registry": [finding.model_dump() for finding in moved],
    }
    call.draw("live", result, candidate=CANDIDATE)
    is_refused = any(holder.not_reproduced or holder.rejected for holder in holders)
    call.exit(VerificationError.exit_code if moved or is_refused else 0)


@click.command("history")
@click.argument("model")
@session.options(*session.READS)
def history_command(call: Call, model: str) -> None:
    """What happened to MODEL: versions, packets, votes, waivers, moves, incidents and refusals, in
    the order of the log.
    """
    events = retrospect.history(looking(call, model), model)
    call.draw("history", {"model": model, "events": [event.model_dump() for event in events]})


@click.command("explain")
@click.argument("what", metavar="ENTRY|MODEL/VERSION")
@session.options(*session.READS)
def explain_command(call: Call, what: str) -> None:
    """Repeat a logged decision, from the evidence before it and the policies in force then. Show
    the reasons.

    ENTRY is a number of the log (countersign history lists them); MODEL/VERSION is the last
    decision about that version. Exit code 5 when it gives another result.
    """
    now = looking(call, "" if what.isdecimal() else what.partition("/")[0])
    if not what.isdecimal() and "/" not in what:
        expected = "the number of an entry, e.g. 41, or MODEL/VERSION"
        raise ConfigError(f"{what!r} is no decision", expected=expected)
    entry = int(what) if what.isdecimal() else retrospect.last_decision(now, *named(what))
    repeated = retrospect.decided_again(now, entry)
    call.draw("explain", repeated)
    call.exit(0 if repeated.same else VerificationError.exit_code)
