"""`countersign events`: sends what waits for someone, and what was decided, to webhooks."""

from __future__ import annotations

import signal
from typing import Any

import click

from governance.base.errors import OfflineError
from governance.base.time import instant
from governance.commands import session
from governance.commands.session import Call, clock
from governance.events import client, sending
from governance.events.event import TYPES
from governance.events.outbox import Outbox, Stored
from governance.events.receivers import Receiver, Receivers, receivers
from governance.log.http_client import parse_json

SHOWN = 20
"""Events that `list` shows, unless `--n` says more."""


@click.group("events")
def command() -> None:
    """Send events to the receivers of this machine: approvals wanted, moves, refusals, incidents,
    deadlines (docs/events.md).
    """


@command.command("send")
@click.option("--follow", is_flag=True, help="Go on until SIGTERM.")
@session.options("as_json")
def send_command(call: Call, follow: bool) -> None:
    """Send what each receiver lacks, in the order of the log, at least once.

    Without --follow: one round. Exit code 8 if a receiver did not take everything; 7 if another
    process sends.
    """
    chosen, folder = receivers(call.machine), sending.folder_of(call.machine)
    client.require_httpx()
    outbox = Outbox(folder)
    with sending.only_sender(folder):
        if follow:
            _follow(call, chosen, outbox)
        sending.look(call.read(), call.now, outbox, chosen, call.machine.project)
        done = sending.deliver_all(chosen, outbox, client.post, clock)
    result = {"receivers": [vars(each) for each in done]}
    call.show(result, [_line(each) for each in done])
    call.exit(OfflineError.exit_code if any(each.error for each in done) else 0)


@command.command("list")
@click.option("--types", is_flag=True, help="The types of events, and what each means.")
@click.option("--n", "count", type=click.IntRange(1), default=SHOWN, help="How many events.")
@session.options("as_json")
def list_command(call: Call, types: bool, count: int) -> None:
    """Show the newest events, and how far each receiver is. Nothing is sent."""
    if types:
        call.show({"types": TYPES}, [f"{kind:22} {what}" for kind, what in TYPES.items()])
        return
    chosen, outbox = receivers(call.machine), Outbox(sending.folder_of(call.machine))
    events = outbox.last(count)
    standings = [_standing(outbox, receiver) for receiver in chosen.all]
    result = {"receivers": standings, "events": [_shown(stored) for stored in events]}
    lines = [_event_line(stored) for stored in events]
    lines = lines or ["no event yet: countersign events send"]
    call.show(result, [*lines, *(_standing_line(each) for each in standings)])


@command.command("test")
@click.argument("receiver")
@session.options("as_json")
def test_command(call: Call, receiver: str) -> None:
    """Send RECEIVER an event of the type `countersign.test`. Exit code 8 if it does not take it."""
    chosen = receivers(call.machine)
    one = chosen.named(receiver)
    terms = (call.read(), call.now, call.machine.project, chosen.server)
    why = sending.try_out(one, client.post, *terms)
    call.show({"receiver": one.name, "error": why}, [f"{one.name}: {why or 'took the event'}"])
    call.exit(OfflineError.exit_code if why else 0)


def _follow(call: Call, chosen: Receivers, outbox: Outbox) -> None:
    def say(text: str) -> None:
        session.tell([text], err=True)

    following = sending.Following(
        call.read, outbox, chosen, call.machine.project, client.post, clock, say
    )
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: following.stopped.set())
    say(f"sending events to {', '.join(each.name for each in chosen.all)} until SIGTERM")
    following.run()
    call.exit(0)


def _line(done: sending.Delivered) -> str:
    line = f"{done.receiver}: sent {done.sent}"
    if done.error:
        line += f"; {done.error}; it lacks {done.waiting}, next attempt {done.next_attempt}"
    return line


def _standing(outbox: Outbox, receiver: Receiver) -> dict[str, Any]:
    standing = outbox.standing(receiver.name)
    if standing is None:
        return {"name": receiver.name, "host": receiver.host, "next_entry": None, "waiting": 0}
    due = standing.not_before
    return {
        "name": receiver.name,
        "host": receiver.host,
        "next_entry": outbox.next_entry(standing),
        "waiting": len(outbox.waiting(receiver)),
        "failures": standing.failures,
        "error": standing.error,
        "next_attempt": instant(due) if due else None,
    }


def _standing_line(standing: dict[str, Any]) -> str:
    if standing["next_entry"] is None:
        return f"{standing['name']}: nothing was sent to it yet"
    line = (
        f"{standing['name']}: from entry {standing['next_entry']} on, lacks {standing['waiting']}"
    )
    return f"{line}; {standing['error']}" if standing["error"] else line


def _shown(stored: Stored) -> dict[str, Any]:
    return {"number": stored.number, **parse_json(stored.body)}


def _event_line(stored: Stored) -> str:
    shown = _shown(stored)
    data = shown["data"]
    about = data.get("model") or data.get("digest", "")[:12]
    about += f"/{data['version']}" if data.get("version") else ""
    entry = data.get("entry")
    at = f"entry {entry}" if entry is not None else ""
    words = [shown["timestamp"], f"{stored.type:20}", about, at, *data.get("codes", [])]
    return "  ".join(word for word in words if word)
