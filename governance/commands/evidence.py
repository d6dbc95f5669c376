"""`countersign evidence push|pull ADDRESS`: statements from one log to another."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import click

from governance.base.errors import ConfigError, CountersignError, RefusedError
from governance.base.progress import Progress
from governance.commands import session
from governance.commands.session import Call
from governance.log.carry import Transfer, carry
from governance.log.http_client import is_server, same_origin
from governance.machine.machine import (
    Machine,
    begun,
    check_head,
    log_of,
    log_to_add_to,
    signer,
)
from governance.registry.display import place_of
from governance.server.append import verifier

SHOWN = 20
"""The most refused statements printed. --json has all."""


@click.command("evidence")
@click.argument("direction", type=click.Choice(["push", "pull"]))
@click.argument("address")
@session.options("dry_run", "as_json")
def command(call: Call, direction: str, address: str) -> None:
    """Carry statements from the log of this machine to the one at ADDRESS (push), or from there to
    here (pull). Both are logs of the same project.

    ADDRESS is as in COUNTERSIGN_LOG: https://SERVER, postgresql://USER@HOST/DATABASE or
    sqlite:///PATH. A statement counts only in the log that it names, so this machine signs its own
    statements again for the other log. What people signed, policies, and what happened to a
    registry stay where they are. Exit code 4 when the other log refused a statement, for example
    one by a key that this machine does not have.
    """
    _check_account(call.machine, address)
    source, target = call.machine, dataclasses.replace(call.machine, log_uri=address)
    if direction == "pull":
        source, target = target, source
    transfer, trouble = Transfer(), None
    try:
        giving, taking = begun(log_of(source)), log_to_add_to(target)
        check_head(giving, source)
        # Statements are verified here before they are sent. A server verifies them again.
        checks = verifier(taking, lambda: datetime.now(UTC))
        with Progress().bar(giving.size(), "statements looked at") as bar:
            carry(
                giving, taking, checks, signer(call.machine), transfer,
                dry_run=call.dry_run, bar=bar,
            )  # fmt: skip
    except CountersignError as error:
        trouble = error
    counts = {outcome: transfer.count(outcome) for outcome in ("carried", "there", "refused")}
    result = {"complete": trouble is None, "dry_run": call.dry_run, **dataclasses.asdict(transfer)}
    if call.as_json or transfer.statements or trouble is None:
        call.draw("carried", result, counts=counts, shown=SHOWN)
    if trouble is not None:
        raise trouble
    if counts["refused"]:
        found = f"{counts['refused']} statement(s) were refused by the other log"
        raise RefusedError(found, fix="name their keys in its policies, then run this again")


def _check_account(machine: Machine, address: str) -> None:
    """Raises `ConfigError` where the password of one server would be sent to another."""
    if not (is_server(address) and machine.environ.get("COUNTERSIGN_PASSWORD")):
        return
    log, registry = machine.log_uri, machine.registry_uri
    own = log if is_server(log) else registry
    is_its = address.rstrip("/") == own.rstrip("/") if own == log else same_origin(address, own)
    if is_server(own) and not is_its:
        raise ConfigError(
            f"the password in COUNTERSIGN_PASSWORD is for {own}; it is not sent to"
            f" {place_of(address)}",
            fix="carry through a log of this machine: COUNTERSIGN_LOG=sqlite:////PATH and the"
            " account of one server, then of the other",
        )
