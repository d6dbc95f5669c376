"""Shared by commands of people: options, keys, the question before a signature, output."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from governance.attest.keys import Ask, PublicKey, Signer, public_key
from governance.base.errors import ConfigError, RefusedError
from governance.base.model import Model
from governance.base.text import visible
from governance.history.state import LogState, state
from governance.log.port import Log
from governance.machine.machine import Machine, machine_of, read_log
from governance.people import speaking

if TYPE_CHECKING:
    from governance.exports.records import Records
    from governance.report.bundled import Opened

F = TypeVar("F", bound=Callable[..., Any])


def here() -> Machine:
    """This machine, for the project here or the one in COUNTERSIGN_PROJECT."""
    return machine_of(Path.cwd(), os.environ)


def clock() -> datetime:
    """The time, read once per command."""
    return datetime.now(UTC)


def named(text: str) -> tuple[str, str]:
    """MODEL and VERSION. Raises `ConfigError`."""
    model, separator, number = text.partition("/")
    if not (model and separator and number):
        fix = (
            f"countersign live {model.partition('@')[0][:120]} says which versions serve"
            if model
            else ""
        )
        raise ConfigError(
            f"{text[:120]!r} names no version",
            expected="MODEL/VERSION, e.g. support-desk/1",
            fix=fix,
        )
    return model, number


@dataclass(frozen=True)
class Signing:
    """The options of every command that signs."""

    key: str | None
    role: str | None
    yes: bool
    dry_run: bool
    as_json: bool


def signs(command: Callable[..., None]) -> Callable[..., None]:
    """`--key`, `--role`, `--yes`, `--dry-run` and `--json`, as the parameter `signing`."""

    @functools.wraps(command)
    def with_options(
        *,
        key: str | None,
        role: str | None,
        yes: bool,
        dry_run: bool,
        as_json: bool,
        **others: Any,
    ) -> None:
        command(**others, signing=Signing(key, role, yes, dry_run, as_json))

    return key_option(role_option(write_options(with_options)))


def reason_option(about: str) -> Callable[[F], F]:
    """`--reason`. It is required and has no default. The log keeps it."""
    return click.option(
        "--reason", required=True, callback=_not_blank, help=f"{about} The log keeps it."
    )


def _not_blank(context: click.Context, option: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("a reason is required", ctx=context, param=option)
    return value


def key_option(command: F) -> F:
    """`--key`."""
    return click.option(
        "--key",
        metavar="KEY",
        help="Your private key: a file, ssh-agent:FINGERPRINT, or a KMS or HSM address.",
    )(command)


def role_option(command: F) -> F:
    """`--role`."""
    return click.option(
        "--role", help="In which of your roles you say it, where several would do."
    )(command)


def write_options(command: F) -> F:
    """`--yes`, `--dry-run`, `--json`."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        dry_run_option,
        click.option("--yes", is_flag=True, help="Do not ask before signing."),
    ):
        command = option(command)
    return command


def dry_run_option(command: F) -> F:
    """`--dry-run`."""
    return click.option(
        "--dry-run", is_flag=True, help="Say what would be written, and write nothing."
    )(command)


def json_option(command: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def bundle_options(command: F) -> F:
    """`--bundle` and `--origin`, for commands that only read."""
    for option in (
        click.option(
            "--origin",
            metavar="SHA256",
            envvar="COUNTERSIGN_ORIGIN",
            help="With --bundle: digest of entry 0, or id of the checkpoint key, as known to you.",
        ),
        click.option(
            "--bundle",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Answer from a bundle, on any machine.",
        ),
    ):
        command = option(command)
    return command


def looking(bundle: Path | None, origin: str | None) -> LogState:
    """The log of this machine or of a bundle, verified from its first entry."""
    from governance.commands import sources  # it imports this module

    return (
        sources.verified(sources.log_alone()).read[0]
        if bundle is None
        else carried(bundle, origin).state
    )


def carried(bundle: Path, origin: str | None) -> Opened:
    """A verified bundle. Warnings about its origin and its size go to stderr."""
    from governance.history.verify import TrustAnchors  # only where one is read
    from governance.report.bundled import opened

    carried_bundle = opened(bundle, TrustAnchors(origin))
    if carried_bundle.report.origin is None:
        click.echo("warning: nothing shows that this is the log you mean; give --origin", err=True)
    if not carried_bundle.report.complete:
        entries, size = carried_bundle.report.entries, carried_bundle.report.size
        extent = f"{entries} of the log's {size} entries; what the others say is not shown"
        click.echo(
            f"note: the bundle holds {extent} (countersign verify {bundle} says more)", err=True
        )
    return carried_bundle


def records_of(
    name: tuple[str, str], bundle: Path | None, origin: str | None, time: datetime | None = None
) -> Records:
    """The verified records of a version, for exports and controls. Raises `VerificationError`."""
    from governance.exports.records import at_hand, read  # only where they are read

    sources = at_hand(here(), Path.cwd()) if bundle is None else carried(bundle, origin).sources
    return read(sources, name, time)


def ask() -> Ask | None:
    """Asks on the terminal without echo. None if there is no terminal."""
    if not sys.stdin.isatty():
        return None
    return lambda prompt: str(click.prompt(prompt.removesuffix(": "), hide_input=True, err=True))


def has_key(key: str | None) -> bool:
    """Whether the person gave a key, by `--key` or COUNTERSIGN_KEY."""
    return bool(key or os.environ.get(speaking.KEY))


def own_key(key: str | None) -> PublicKey:
    """The person's public key. A `.pub` file beside the private key saves the passphrase."""
    beside = Path(f"{key or os.environ.get(speaking.KEY, '')}.pub").expanduser()
    try:
        return public_key(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, ConfigError):
        return public_key(signer(key).public_pem)


def signer(key: str | None) -> Signer:
    """The person's key."""
    return speaking.own_signer(key, os.environ, ask())


def read(machine: Machine) -> Log:
    """The log, for reading."""
    return read_log(machine)


def log_to_add_to(machine: Machine, dry_run: bool) -> Log:
    """The log for adding entries. With `dry_run`, for reading only."""
    return read_log(machine) if dry_run else speaking.log_to_add_to(machine)


def current(log: Log) -> LogState:
    """The log as it stands."""
    return state(log)


def confirm(question: str, answer: str, yes: bool) -> None:
    """Goes on when the person types `answer`, or said `--yes`. Raises `RefusedError`,
    `ConfigError`.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(
            "nobody is there to say yes",
            fix="read what would be signed (--dry-run), then give --yes",
        )
    given = str(
        click.prompt(
            f"{visible(question)}\nType {answer} to sign", default="", show_default=False, err=True
        )
    ).strip()
    if given != answer:
        raise RefusedError("not signed: what was typed is something else")


def show(result: Model | dict[str, Any], lines: Sequence[str], as_json: bool) -> None:
    """The result, for people or as JSON."""
    if as_json:
        value = result.model_dump(mode="json") if isinstance(result, Model) else result
        click.echo(json.dumps(value, indent=2))
    else:
        tell(lines)


def tell(lines: Sequence[str], *, err: bool = False) -> None:
    """Lines for people. Whatever could repaint the terminal, in text that others wrote, is made
    visible.
    """
    click.echo("\n".join(visible(line) for line in lines), err=err)
