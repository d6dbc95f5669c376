"""`countersign witness`: cosigns checkpoints of others' logs, and asks for cosignatures."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from governance.attest.keys import Signer, public_key
from governance.base.errors import ConfigError, VerificationError
from governance.base.time import instant
from governance.commands import session
from governance.commands.session import FILE, Call, clock
from governance.log import notes
from governance.log.checkpoint import parse_checkpoint
from governance.log.sql import SqlLog
from governance.machine.machine import log_of, on_server
from governance.machine.signers import person_signer, stored_signer
from governance.witness.book import Book, Split, vkey

KEY = "witness"
FOLDER = click.option(
    "--folder",
    type=FILE,
    required=True,
    envvar="COUNTERSIGN_WITNESS",
    help="The witness's own folder: its key, and what it signed. COUNTERSIGN_WITNESS.",
)


@click.group("witness")
def command() -> None:
    """Cosign the checkpoints of other people's logs, as an auditor or another department does. On
    the log's side: `log`, `request`.
    """


@command.command("init")
@click.argument("name")
@FOLDER
@session.options("key", "as_json")
def init_command(call: Call, name: str, folder: Path) -> None:
    """Begin a witness. NAME is an address without https://, e.g. witness.example.org/w1.

    Its key is made in the folder, or is that of --key, which `serve` needs as well. Prints what
    policies name of it. A witness whose folder is lost or restored from a copy gets another key.
    """
    book = Book(folder)
    book.begin(name)
    if not call.key:
        stored_signer(folder, KEY)
    _show_key(call, name, _signer(call, folder))


@command.command("key")
@FOLDER
@session.options("key", "as_json")
def key_command(call: Call, folder: Path) -> None:
    """Print what policies name of this witness."""
    _show_key(call, Book(folder).name, _signer(call, folder))


@command.command("add")
@click.argument("origin")
@click.argument("log_key", metavar="VKEY")
@FOLDER
@session.options("as_json")
def add_command(call: Call, origin: str, log_key: str, folder: Path) -> None:
    """Cosign the log ORIGIN from now on, whose checkpoints the key VKEY signs.

    `countersign witness log` prints both on the log's side. Compare them with its owner.
    """
    key = notes.read_vkey(log_key)
    Book(folder).add_log(origin, key)
    call.show({"origin": origin, "key": str(key)}, [f"cosigns {origin}, signed by {key}"])


@command.command("logs")
@FOLDER
@session.options("as_json")
def logs_command(call: Call, folder: Path) -> None:
    """List the logs, the last checkpoint of each, and split views.

    Exit code 5 if a log signed two histories.
    """
    book = Book(folder)
    _ = book.name
    logs, splits = book.logs(), book.splits()
    lines = []
    for origin, known in logs.items():
        cosigned = f"{known.size} entries, cosigned {_time(known.at)}"
        when = cosigned if known.note else "no checkpoint yet"
        lines.append(f"{origin}: {when}")
    for split in splits:
        lines += _split_lines(split)
    result = {
        "logs": [
            {"origin": origin, "size": known.size, "checkpoint": known.note}
            for origin, known in logs.items()
        ],
        "splits": [{**vars(split), "at": _time(split.at)} for split in splits],
    }
    call.show(result, lines or ["no log yet: countersign witness add ORIGIN VKEY"])
    call.exit(5 if any(split.proved for split in splits) else 0)


@command.command("log")
@session.options("as_json")
def log_command(call: Call) -> None:
    """Print the origin and the keys of the log here, for `countersign witness add`."""
    now = call.read()
    origin = parse_checkpoint(now.log.checkpoint())[0].origin
    keys = [
        str(notes.VerifierKey(origin, public_key(pem), notes.LOG_KEY))
        for _, pem in now.authority.checkpoint_keys
    ]
    lines = [f"countersign witness add {origin} {key}" for key in keys]
    call.show({"origin": origin, "keys": keys}, lines)


@command.command("request")
@session.options("as_json")
def request_command(call: Call) -> None:
    """Ask the witnesses of the policies in force to cosign the log, on the machine that keeps it.

    A server does this by itself. Exit code 5 if a witness has seen another history, 8 if one does
    not answer.
    """
    from governance.witness import client

    log = log_of(call.machine)
    if not isinstance(log, SqlLog) or on_server(call.machine):
        raise ConfigError("the server asks the witnesses of its log", where="COUNTERSIGN_LOG")
    rules = call.read().authority.policies.rules
    made, errors = client.request_all(log, rules.witnesses, clock)
    lines = [f"{one.witness}: {one.size} entries, {instant(one.at)}" for one in made]
    lines += [f"{name}: {error}" for name, error in errors]
    result = {
        "cosigned": [{**vars(one), "at": instant(one.at)} for one in made],
        "failed": [{"witness": name, "error": str(error)} for name, error in errors],
    }
    call.show(result, lines or ["policy names no witnesses (docs/witnesses.md)"])
    codes = {error.exit_code for _, error in errors}
    forked = VerificationError.exit_code
    call.exit(forked if forked in codes else max(codes, default=0))


@command.command("serve")
@click.option("--listen", default="127.0.0.1:7380", show_default=True, help="HOST:PORT.")
@FOLDER
@session.options("key")
def serve_command(call: Call, listen: str, folder: Path) -> None:
    """Answer logs over HTTP (https://c2sp.org/tlog-witness), until SIGTERM. Put TLS in front."""
    from governance.witness.service import WitnessServer

    host, _, port = listen.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{listen[:80]!r} is not HOST:PORT", where="--listen")
    book = Book(folder)
    name, signer = book.name, _signer(call, folder)

    def say(text: str) -> None:
        session.tell([text], err=True)

    def seconds() -> int:
        return int(time.time())

    with WitnessServer((host.strip("[]"), int(port)), book, signer, seconds, say) as server:
        say(f"witness    {vkey(name, signer)}")
        say(f"logs       {len(book.logs())}")
        say(f"serving    {server.url} until SIGTERM")
        server.serve_forever()


def _show_key(call: Call, name: str, signer: Signer) -> None:
    key = vkey(name, signer)
    lines = [f"name: {name}", f"key:  {key}", "next: the log's owners name both in policy.yaml"]
    call.show({"name": name, "key": str(key)}, lines)


def _signer(call: Call, folder: Path) -> Signer:
    """The witness's key. Raises `ConfigError` where others can read it."""
    if call.key:
        signer = person_signer(call.key, os.environ, None, "--key")
    else:
        path = folder / f"{KEY}.pem"
        if not path.exists():
            found = "the witness's key is missing"
            raise ConfigError(found, where=str(path), fix="give --key, or begin another witness")
        if path.stat().st_mode & 0o077:
            found = "other accounts can read the witness's key"
            raise ConfigError(found, where=str(path), fix=f"chmod 600 {path}")
        signer = stored_signer(folder, KEY)
    _ = public_key(signer.public_pem).raw  # raises for other kinds of key
    return signer


def _split_lines(split: Split) -> list[str]:
    shown = "the log signed two histories" if split.proved else "these may not fit together"
    return [
        f"{split.origin}: {shown} ({_time(split.at)})",
        "cosigned:",
        *split.known.splitlines(),
        "shown later:",
        *split.other.splitlines(),
    ]


def _time(seconds: int) -> str:
    return instant(datetime.fromtimestamp(seconds, UTC))
