"""What every command shares: options, the machine, the log, the person's key, and output.

1. A command names the options it takes with `options`. They arrive as one `Call`.
2. The machine, the log, the time and the key are read once per call, when they are first needed.
3. Output is one result: JSON with `--json`, else text. Text that others wrote stays on its line,
   and what could repaint the terminal is made visible.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from governance.attest.keys import PublicKey, Signer, public_key
from governance.base.errors import ConfigError, RefusedError
from governance.base.model import Model
from governance.base.text import one_line, timed, visible
from governance.base.time import instant_of
from governance.history.state import LogState, state
from governance.log.http_client import PURPOSE
from governance.log.port import Log
from governance.log.sqlite import one_reader
from governance.machine.machine import Machine, log_to_add_to, machine_of, read_log
from governance.machine.signers import Ask
from governance.machine.trust import check_before_signing, own_policies
from governance.people import speaking
from governance.people.speaking import Signing
from governance.policy.policies import Policies

if TYPE_CHECKING:
    from jinja2 import Environment

F = TypeVar("F", bound=Callable[..., Any])
Command = Callable[..., None]

FILE = click.Path(path_type=Path)
OPTIONS = {
    "key": click.option("--key", help="Your key: a file, ssh-agent:FINGERPRINT, or a KMS URI."),
    "role": click.option("--role", help="In which of your roles you sign, if several would do."),
    "yes": click.option("--yes", is_flag=True, help="Do not ask before signing."),
    "dry_run": click.option("--dry-run", is_flag=True, help="Show what would be written, only."),
    "moment": click.option("--at", "moment", metavar="TIME", help="E.g. 2026-11-20T12:00:00Z."),
    "bundle": click.option("--bundle", type=FILE, help="Answer from a bundle, on any machine."),
    "origin": click.option(
        "--origin", envvar="COUNTERSIGN_ORIGIN", help="Digest of entry 0, or id of checkpoint key."
    ),
    "purpose": click.option(
        "--purpose", default="", envvar=PURPOSE, help="What you read it for; the log keeps it."
    ),
    "as_json": click.option("--json", "as_json", is_flag=True, help="Print JSON."),
}
SIGNS = ("key", "role", "yes", "dry_run", "as_json")
"""The options of a command that signs."""
READS = ("bundle", "origin", "as_json")
"""The options of a command that reads a log."""


def clock() -> datetime:
    """The time, read once per command."""
    return datetime.now(UTC)


def time_of(text: str, option: str) -> datetime:
    """The time of an option, in UTC. Raises `ConfigError` for one without a zone."""
    try:
        time = instant_of(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        expected = "with its zone, e.g. 2026-11-20T12:00:00Z"
        raise ConfigError(f"{text[:80]!r} is no time", where=option, expected=expected)
    return time.astimezone(UTC)


@dataclass(frozen=True)
class Call:
    """One call of a command: its shared options, and what it works on."""

    key: str | None = None
    role: str | None = None
    yes: bool = False
    dry_run: bool = False
    moment: str | None = None
    bundle: Path | None = None
    origin: str | None = None
    purpose: str = ""
    as_json: bool = False

    @cached_property
    def machine(self) -> Machine:
        """This machine, for the project here or the one in COUNTERSIGN_PROJECT."""
        return machine_of(Path.cwd(), os.environ)

    @cached_property
    def now(self) -> datetime:
        """The time of this call."""
        return clock()

    @cached_property
    def as_of(self) -> datetime | None:
        """The time of `--at`. Raises `ConfigError` for one without a zone."""
        if self.moment is None:
            return None
        return time_of(self.moment, "--at")

    @cached_property
    def log(self) -> Log:
        """The log for adding entries. With `--dry-run`, for reading only."""
        return read_log(self.machine) if self.dry_run else log_to_add_to(self.machine)

    @cached_property
    def own_policies(self) -> Policies | None:
        """The policies of the folder here. Raises `ConfigError` where they cannot be read."""
        return own_policies(Path.cwd())

    def state(self) -> LogState:
        """The log as it stands, for a command that adds to it."""
        return state(self.log)

    def refresh_pages(self) -> None:
        """Writes what the pages of this machine's registry show, where the call may have added an
        entry.
        """
        if "log" in self.__dict__ and not self.dry_run:
            from governance.release.shown import refresh  # a command that only reads needs none

            refresh(self.machine, self.log, self.now)

    def check_witnessed(self) -> None:
        """Before a person signs what lets something pass. Raises `VerificationError`."""
        check_before_signing(self.machine, self.log, self.own_policies, self.now)

    def read(self) -> LogState:
        """The log as it stands, for a command that only reads."""
        return state(read_log(self.machine))

    @property
    def has_key(self) -> bool:
        """Whether the person gave a key, by `--key` or COUNTERSIGN_KEY."""
        return bool(self.key or os.environ.get(speaking.KEY))

    @cached_property
    def signer(self) -> Signer:
        """The person's key."""
        ask: Ask | None = None
        if sys.stdin.isatty():
            ask = partial(click.prompt, hide_input=True, err=True, prompt_suffix="")
        return speaking.own_signer(self.key, os.environ, ask)

    @cached_property
    def signing(self) -> Signing:
        """The person's key, the role that they named, and the time."""
        return Signing(self.signer, self.role, self.now)

    def public_key(self) -> PublicKey:
        """The person's public key. A `.pub` file beside the private key saves the passphrase."""
        beside = Path(f"{self.key or os.environ.get(speaking.KEY, '')}.pub").expanduser()
        try:
            return public_key(beside.read_text(encoding="utf-8"))
        except (OSError, ValueError, ConfigError):
            return public_key(self.signer.public_pem)

    def confirm(
        self, question: str, answer: str, result: Model | dict[str, Any] | None = None, **more: Any
    ) -> None:
        """Asks before a signature: the person types `answer`, or gave `--yes`. A dry run shows the
        question, or the unsigned result as JSON, and ends the command. Raises `RefusedError`,
        `ConfigError`.
        """
        if self.dry_run:
            self.show(result or {}, [question.strip(), "dry run: nothing was written"], **more)
            self.exit(0)
        if self.yes:
            return
        if not sys.stdin.isatty():
            fix = "read what would be signed (--dry-run), then give --yes"
            raise ConfigError("nobody is there to say yes", fix=fix)
        prompt = f"{visible(question)}\nType {answer} to sign"
        given = str(click.prompt(prompt, default="", show_default=False, err=True))
        if given.strip() != answer:
            raise RefusedError("not signed: what was typed is something else")

    def show(self, result: Model | dict[str, Any], lines: Sequence[str], **more: Any) -> None:
        """The result: as JSON, with more fields, or these lines for people."""
        if self.as_json:
            value = result.model_dump(mode="json") if isinstance(result, Model) else result
            click.echo(json.dumps({**value, **more}, indent=2))
        else:
            tell(lines)

    def draw(self, template: str, result: Model | dict[str, Any], **records: Any) -> None:
        """The result: as JSON, or drawn by a template from itself and further records."""
        self.show(result, () if self.as_json else text(template, result=result, **records))

    def exit(self, code: int) -> NoReturn:
        """Ends the command."""
        click.get_current_context().exit(code)


def options(*names: str) -> Callable[[Command], Command]:
    """Gives a command these options of `OPTIONS`, as its first parameter, a `Call`."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def called(**values: Any) -> None:
            call = Call(**{name: values.pop(name) for name in names})
            with one_reader():
                try:
                    command(call, **values)
                finally:
                    call.refresh_pages()

        for name in reversed(names):
            called = OPTIONS[name](called)
        return called

    return decorate


def reason_option(about: str) -> Callable[[F], F]:
    """`--reason`. It is required and has no default. The log keeps it."""
    return click.option(
        "--reason", required=True, callback=_not_blank, help=f"{about} The log keeps it."
    )


def _not_blank(context: click.Context, option: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("a reason is required", ctx=context, param=option)
    return value


def named(version: str) -> tuple[str, str]:
    """MODEL and VERSION. Raises `ConfigError`."""
    model, separator, number = version.partition("/")
    if not (model and separator and number):
        raise ConfigError(
            f"{version[:120]!r} names no version",
            expected="MODEL/VERSION, e.g. support-desk/1",
            fix=f"countersign live {model.partition('@')[0][:120]} says which versions serve",
        )
    return model, number


def tell(lines: Sequence[str], *, err: bool = False) -> None:
    """Lines for people."""
    click.echo("\n".join(visible(line) for line in lines), err=err)


def text(template: str, **records: Any) -> list[str]:
    """The lines that a template of `governance/commands/templates` draws."""
    drawn = _templates().get_template(f"{template}.txt.j2").render(**records)
    return [line.rstrip() for line in drawn.splitlines()]


@functools.cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # not for JSON

    from governance.base import text as plain
    from governance.base.compiled_templates import compiled_templates

    return Environment(  # noqa: S701 - text for a terminal
        loader=PackageLoader("governance.commands"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: one_line(timed(str(value))),
        bytecode_cache=compiled_templates(os.environ, "commands", sys.modules[__name__], plain),
    )
