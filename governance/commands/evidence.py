"""`countersign evidence push|pull ADDRESS`: statements from one log to another."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from governance.base.errors import CountersignError, RefusedError, StorageError
from governance.base.progress import Progress
from governance.base.text import visible
from governance.log.api import Verifier
from governance.log.carry import Transfer, carry
from governance.log.port import Log
from governance.machine.machine import (
    Machine,
    check_checkpoint_key,
    check_head,
    checkpoint_signer,
    log_of,
    machine_of,
    on_server,
    read_log,
)
from governance.server.append import verifier

SHOWN = 20
"""The most refused statements printed. --json has all."""

_options: list[Callable[[Callable[..., None]], Callable[..., None]]] = [
    click.argument("address"),
    click.option("--dry-run", is_flag=True, help="Say what would be carried, and carry nothing."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
]


def _with_options(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_options):
        function = option(function)
    return function


@click.group("evidence")
def command() -> None:
    """Carry signed statements, unchanged, between this project's log and another of the same
    project.

    ADDRESS is as in COUNTERSIGN_LOG: https://SERVER, postgresql://USER@HOST/DATABASE or
    sqlite:///PATH. Origin, policies and what happened to a registry stay where they are.
    """


@command.command("push")
@_with_options
def push(address: str, dry_run: bool, as_json: bool) -> None:
    """From the log of this machine to the one at ADDRESS.

    Exit code 4 when the other log refused a statement, whose signer it does not know, say.
    """
    here = machine_of(Path.cwd(), os.environ)
    _run(here, dataclasses.replace(here, log_uri=address), dry_run, as_json)


@command.command("pull")
@_with_options
def pull(address: str, dry_run: bool, as_json: bool) -> None:
    """From the log at ADDRESS to the one of this machine.

    Exit code 4 when this machine's log refused a statement, whose signer it does not know, say.
    """
    here = machine_of(Path.cwd(), os.environ)
    _run(dataclasses.replace(here, log_uri=address), here, dry_run, as_json)


def _run(source: Machine, target: Machine, dry_run: bool, as_json: bool) -> None:
    """Carries statements and prints the result, also after an error."""
    transfer, trouble = Transfer(), None
    try:
        giving, taking = _opened(source), _appendable(target)
        with Progress().bar(giving.size(), "statements looked at") as bar:
            carry(giving, taking, _verifier(taking), transfer, dry_run=dry_run, bar=bar)
    except CountersignError as error:
        trouble = error
    if as_json:
        result = {"complete": trouble is None, "dry_run": dry_run, **dataclasses.asdict(transfer)}
        click.echo(json.dumps(result, indent=2))
    elif transfer.statements or trouble is None:
        click.echo(visible("\n".join(lines(transfer, dry_run))))
    if trouble is not None:
        raise trouble
    if transfer.count("refused"):
        raise RefusedError(
            f"{transfer.count('refused')} statement(s) were refused by the other log",
            fix=(
                "have the keys that signed them named in its policies, then run this again: nothing"
                " is carried twice"
            ),
        )


def lines(transfer: Transfer, dry_run: bool) -> list[str]:
    """The result for people."""
    would = "would be " if dry_run else ""
    text = [
        f"{transfer.count('carried')} statement(s) {would}carried,"
        f" {transfer.count('there')} there already,"
        f" {transfer.count('refused')} {would}refused;"
        f" {transfer.stayed} of kinds that stay where they are"
    ]
    refused = [statement for statement in transfer.statements if statement.outcome == "refused"]
    text += [
        f"refused  entry {statement.index} ({statement.kind}): {statement.reason}"
        for statement in refused[:SHOWN]
    ]
    if len(refused) > SHOWN:
        text.append(f"         and {len(refused) - SHOWN} more (--json lists them)")
    return text


def _opened(machine: Machine) -> Log:
    """Opens the log of the project for reading. Any machine may have begun it. Raises
    `StorageError`.
    """
    log = log_of(machine)
    if log.size() == 0:
        fix = (
            "`make repro` begins this machine's (COUNTERSIGN_HOME, COUNTERSIGN_LOG: which); ADDRESS"
            " is the other"
        )
        raise StorageError("there is no log", where=log.where, fix=fix)
    check_head(log, machine.project)
    return log


def _appendable(machine: Machine) -> Log:
    log = _opened(machine)
    if on_server(machine):
        return log
    check_checkpoint_key(machine, log)
    read_log(machine)
    return log_of(machine, checkpoint_signer(machine))


def _verifier(log: Log) -> Verifier:
    """Verifies statements here before they are sent. A server verifies them again."""
    return verifier(log, lambda: datetime.now(UTC))
