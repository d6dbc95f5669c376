"""`countersign rollout request|observe|widen|narrow|abort|status`: traffic moves to another version
in steps that were agreed beforehand.

A person asks, another person starts and widens. The service that observes records windows, and
narrows, aborts or passes. docs/rollouts.md says what the guardrails mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from pydantic import Field, ValidationError

from governance.attest.predicates import Arms, Artifact, Instant
from governance.attest.predicates.rollouts import WHOLE, Weight
from governance.base.errors import ConfigError, InputError
from governance.base.model import Model
from governance.base.time import exact_instant, instant_of
from governance.commands import session
from governance.commands.rollout_status import either, lines, reacted, row, terms
from governance.commands.session import Call, named
from governance.history.rollouts import percent
from governance.history.state import state
from governance.machine.machine import log_to_add_to, signer
from governance.people import authorizing, rollouts
from governance.people.rollouts import Action, Wanted
from governance.release.promotion import check_right
from governance.rollout import automation
from governance.rollout.automation import Observed, Service

MOST_BYTES = 1 << 20
"""Of the file of a window."""


@click.group("rollout")
def command() -> None:
    """Move traffic to another version in agreed steps, and stop where it is worse.

    People ask for, start and widen a rollout. The service that observes it narrows or aborts, and
    finds out whether it passed.
    """


@command.command("request")
@click.argument("version", metavar="MODEL/VERSION")
@session.reason_option("Why it is to be tried.")
@click.option("--alias", help="Whose holder it is compared with; the first of policy.")
@click.option("--shadow", is_flag=True, help="Copy requests to it; nobody sees its answers.")
@click.option("--shares", default="1,5,25,50", show_default=True, help="In percent, ascending.")
@click.option("--hours", type=click.IntRange(1), help="The longest it may last; as policy says.")
@click.option("--alpha", type=float, help="The probability of a wrong result; as policy says.")
@click.option(
    "--minimum-sample", type=click.IntRange(1), help="Observations that each share needs."
)
@click.option("--widened-by", multiple=True, help="A role that may start and widen it.")
@click.option(
    "--guardrail", "guardrails", multiple=True, metavar="NAME=MARGIN",
    help="A smaller margin; or another guardrail: NAME:higher|lower:LOW:HIGH:MARGIN.",
)  # fmt: skip
@click.option(
    "--expected", multiple=True, metavar="NAME=MEAN", help="The mean of a metric until now."
)
@session.options(*session.SIGNS)
def request_command(call: Call, version: str, reason: str, **options: Any) -> None:
    """Ask for a rollout from the holder of an alias to MODEL/VERSION.

    Policy names the guardrails and their largest margins. Exit code 4 where it is refused.
    """
    call.check_witnessed()
    now = call.state()
    author = rollouts.asking(now, call.signing)
    asked = rollouts.request(now, _wanted(version, **options), author, reason)
    about = [Artifact(role="model", name=asked.model, sha256=asked.to_digest)]
    rollouts.check(now, author, "rollout", about, asked, call.now)
    call.confirm("\n".join(terms(asked)), version, asked, entry=None)
    entry = rollouts.record(call.log, author, "rollout", about, asked)
    step = f"next: countersign rollout widen {version} --reason ..., by {either(asked.widened_by)}"
    call.show(asked, [*terms(asked), f"entry {entry}", step], entry=entry)


def _stepping(action: Action) -> Callable[..., None]:
    def step(call: Call, version: str, reason: str) -> None:
        if action == "widen":
            call.check_witnessed()
        now = call.state()
        rollout = rollouts.rollout_of(now, *named(version))
        author = rollouts.stepper(now, rollout, action, call.signing)
        made = rollouts.step(rollout, action, author, reason)
        about = automation.subjects(rollout)
        rollouts.check(now, author, "rollout_step", about, made, call.now)
        before = percent(rollout.weight(call.now))
        line = f"{made.action}: {version} from {before} to {percent(made.weight)}"
        call.confirm(line, version, made, entry=None)
        entry = rollouts.record(call.log, author, "rollout_step", about, made)
        call.show(made, [f"{line} (entry {entry})"], entry=entry)

    return step


_REASONS: dict[Action, tuple[str, str]] = {
    "widen": ("Start a rollout, or give it its next share.", "Why it may go on."),
    "narrow": ("Give a rollout its share before.", "Why it is narrowed."),
    "abort": ("End a rollout: everybody gets the old version.", "Why it ends."),
}


def _register(action: Action) -> None:
    text, reason = _REASONS[action]
    step = session.options(*session.SIGNS)(_stepping(action))
    step = session.reason_option(reason)(step)
    step = click.argument("version", metavar="MODEL/VERSION")(step)
    command.command(action, help=f"{text} Exit code 4 where it is refused.")(step)


for _action in _REASONS:
    _register(_action)


@command.command("observe")
@click.argument("version", metavar="MODEL/VERSION")
@click.option("--window", "file", type=session.FILE, help="What was observed, as JSON.")
@session.options("dry_run", "as_json")
def observe_command(call: Call, version: str, file: Path | None) -> None:
    """Record a window of MODEL/VERSION's rollout, and do what is due: narrow, abort or pass.

    The service's key (COUNTERSIGN_SIGNER) signs. Without --window, only what is due is done, e.g.
    after a restart. docs/rollouts.md describes the file.
    """
    machine, model = call.machine, named(version)
    log = call.log if call.dry_run else log_to_add_to(machine)
    now, key = state(log), signer(machine)
    for right in ("rollout_window", "rollout_reaction"):
        check_right(now, key, right)
    rollout = rollouts.rollout_of(now, *model)
    observed = _observed(file) if file else None
    if call.dry_run:
        call.show(
            row(rollout, call.now), [*lines(rollout, call.now), "dry run: nothing was written"]
        )
        return
    requester = authorizing.on_behalf(machine, log, call.now).requester
    service = Service(key, requester, now.authority.origin)
    entry = None
    if observed is not None:
        entry = automation.record_window(log, service, rollout, observed, call.now)
    done = automation.react(log, service, rollout.request.digest, call.now)
    after = state(log).timeline.rollouts[rollout.request.digest]
    said = [f"window {len(after.windows)} recorded (entry {entry})"] if entry is not None else []
    said += [reacted(*done)] if done else ["nothing is due"]
    reaction = {**done[0].model_dump(mode="json"), "entry": done[1]} if done else None
    call.show(
        {**row(after, call.now), "window_entry": entry, "reaction": reaction},
        [*said, *lines(after, call.now)],
    )


@command.command("status")
@click.argument("model", metavar="[MODEL[/VERSION]]", required=False)
@session.options("moment", "as_json")
def status_command(call: Call, model: str | None) -> None:
    """Show rollouts: share, guardrails, what was observed, what is lacking; the last one first."""
    now, at = call.read(), call.as_of or call.now
    found = [
        rollout
        for rollout in reversed(now.timeline.rollouts.values())
        if model in (None, rollout.asked.model, f"{rollout.asked.model}/{rollout.asked.to_version}")
    ]
    drawn = [line for rollout in found for line in [*lines(rollout, at), ""]]
    rows = [row(rollout, at) for rollout in found]
    call.show({"at": exact_instant(at), "rollouts": rows}, drawn[:-1] or ["no rollout"])


# --- what is asked --------------------------------------------------------------------------------


def _wanted(
    version: str,
    alias: str | None,
    shadow: bool,
    shares: str,
    hours: int | None,
    alpha: float | None,
    minimum_sample: int | None,
    widened_by: Sequence[str],
    guardrails: Sequence[str],
    expected: Sequence[str],
) -> Wanted:
    model, number = named(version)
    wanted = Wanted(
        model,
        number,
        alias=alias,
        mode="shadow" if shadow else "live",
        weights=[_weight(share) for share in shares.split(",")],
        hours=hours,
        alpha=alpha,
        minimum_sample=minimum_sample,
        widened_by=widened_by,
        expected=dict(_pair(text, "--expected") for text in expected),
    )
    own = [text for text in guardrails if "=" in text]
    further = [_guardrail(text) for text in guardrails if "=" not in text]
    return replace(
        wanted, margins=dict(_pair(text, "--guardrail") for text in own), further=further
    )


def _weight(share: str) -> int:
    hundredths = _number(share, "--shares") * 100
    if hundredths != round(hundredths) or not 1 <= hundredths <= WHOLE:
        expected = "0.01 to 100, with two decimals at most"
        raise ConfigError(f"{share[:40]!r} is no share", where="--shares", expected=expected)
    return round(hundredths)


def _pair(text: str, option: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, _number(value, option)


def _guardrail(text: str) -> dict[str, Any]:
    parts = text.split(":")
    if len(parts) != 5:
        expected = "NAME=MARGIN, or NAME:higher:LOW:HIGH:MARGIN"
        raise ConfigError(f"{text[:80]!r}", where="--guardrail", expected=expected)
    name, worse, *figures = parts
    low, high, margin = (_number(figure, "--guardrail") for figure in figures)
    return {"metric": name, "worse": worse, "low": low, "high": high, "margin": margin}


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{text[:40]!r} is no number", where=option) from None


class _Window(Model):
    """The file of `--window`."""

    started: Instant
    finished: Instant
    weight: Weight
    """The share during all of it, in hundredths of a percent."""
    metrics: dict[str, Arms]
    gap: str = Field("", max_length=300)


def _observed(file: Path) -> Observed:
    try:
        with file.open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(file)) from None
    try:
        if len(data) > MOST_BYTES:
            raise ValueError("it is too large")
        window = _Window.model_validate_json(data)
    except ValidationError as error:
        fields = sorted({".".join(map(str, each["loc"])) or "the file" for each in error.errors()})
        found = f"it is no window: {', '.join(fields)[:200]}"
        raise InputError(found, where=str(file), fix="docs/rollouts.md describes it") from None
    except ValueError as error:
        raise InputError(f"it is no window: {error}", where=str(file)) from None
    return Observed(
        instant_of(window.started), instant_of(window.finished), window.weight, window.metrics,
        window.gap,
    )  # fmt: skip
