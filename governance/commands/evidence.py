"""`countersign evidence push|pull ADDRESS`: statements from one log to another."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import click

from governance.base.errors import CountersignError, RefusedError
from governance.base.progress import Progress
from governance.commands import session
from governance.commands.session import Call
from governance.log.carry import Transfer, carry
from governance.log.port import Log
from governance.machine.machine import Machine, begun, check_head, log_of, log_to_add_to
from governance.server.append import verifier

SHOWN = 20
"""The most refused statements printed. --json has all."""


@click.group("evidence")
def command() -> None:
    """Carry signed statements, unchanged, between this project's log and another of the same
    project.

    ADDRESS is as in COUNTERSIGN_LOG: https://SERVER, postgresql://USER@HOST/DATABASE or
    sqlite:///PATH. Origin, policies and what happened to a registry stay where they are.
    """


@command.command("push")
@click.argument("address")
@session.options("dry_run", "as_json")
def push_command(call: Call, address: str) -> None:
    """From the log of this machine to the one at ADDRESS.

    Exit code 4 when the other log refused a statement, whose signer it does not know, say.
    """
    _carry(call, call.machine, dataclasses.replace(call.machine, log_uri=address))


@command.command("pull")
@click.argument("address")
@session.options("dry_run", "as_json")
def pull_command(call: Call, address: str) -> None:
    """From the log at ADDRESS to the one of this machine.

    Exit code 4 when this machine's log refused a statement, whose signer it does not know, say.
    """
    _carry(call, dataclasses.replace(call.machine, log_uri=address), call.machine)


def _carry(call: Call, source: Machine, target: Machine) -> None:
    """Carries statements and prints the result, also after an error."""
    transfer, trouble = Transfer(), None
    try:
        giving, taking = _opened(source), log_to_add_to(target)
        # Statements are verified here before they are sent. A server verifies them again.
        checks = verifier(taking, lambda: datetime.now(UTC))
        with Progress().bar(giving.size(), "statements looked at") as bar:
            carry(giving, taking, checks, transfer, dry_run=call.dry_run, bar=bar)
    except CountersignError as error:
        trouble = error
    counts = {outcome: transfer.count(outcome) for outcome in ("carried", "there", "refused")}
    result = {"complete": trouble is None, "dry_run": call.dry_run, **dataclasses.asdict(transfer)}
    if call.as_json or transfer.statements or trouble is None:
        call.draw("carried", result, counts=counts, shown=SHOWN)
    if trouble is not None:
        raise trouble
    if counts["refused"]:
        fix = (
            "have the keys that signed them named in its policies, then run this again: nothing is"
            " carried twice"
        )
        found = f"{counts['refused']} statement(s) were refused by the other log"
        raise RefusedError(found, fix=fix)


def _opened(machine: Machine) -> Log:
    """Opens the log of the project for reading. Any machine may have begun it. Raises
    `StorageError`.
    """
    log = begun(log_of(machine))
    check_head(log, machine.project)
    return log
