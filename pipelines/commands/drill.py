"""`countersign drill`: rehearses a rollback without the move, measures its time and records it in
the log.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import click

from governance.attest.predicates import Drill, Evaluate
from governance.base.distribution import pip_install
from governance.base.errors import ConfigError, RefusedError
from governance.base.progress import Progress
from governance.base.text import duration
from governance.commands import session
from governance.commands.session import Call
from governance.history.contents import Contents
from governance.history.state import LogState, state
from governance.log.port import Log
from governance.machine.machine import Machine, log_to_add_to, signer
from governance.people import authorizing
from governance.people import drill as rehearsal
from governance.people.drill import Failed, Rehearsal
from governance.people.moves import Plan
from governance.policy.readers import Content
from governance.release.promotion import check_right
from governance.release.reading import Rights, Wanted, require
from governance.release.serving import private_copy, serving_log, where

ITEMS = 16


@click.command("drill")
@click.argument("model")
@click.option("--alias", default="champion", show_default=True, help="The alias.")
@click.option(
    "--items",
    type=click.IntRange(1, 10_000),
    default=ITEMS,
    show_default=True,
    help="Of the suite, at most.",
)
@session.options("as_json")
def command(call: Call, model: str, alias: str, items: int) -> None:
    """Rehearse MODEL's rollback: find its target, verify evidence and files, load and test it; move
    nothing.

    The service's key (COUNTERSIGN_SIGNER) signs the result. Exit code 4 when a step fails, or
    when there is nothing to go back to; 5 when the log does not verify.
    """
    _libraries()
    machine = call.machine
    log, key = log_to_add_to(machine), signer(machine)
    check_right(state(log), key, "drill")
    done = Rehearsal(time.perf_counter, session.clock())
    now = done.step("log", lambda: _verified(call), must=True)
    found = done.step("target", lambda: rehearsal.target(now, model, alias, done.began), must=True)
    _require_readable(Rights(now.authority, call.own_policies), now, found, key.keyid, done.began)
    with suppress(Failed):  # it is among the steps, with its reason
        done.items = _steps(done, machine, now, found, items)
    requester = authorizing.on_behalf(machine, log, done.began)
    drill, entry = rehearsal.record(log, now, key, requester, found, done, session.clock())
    document = {**drill.model_dump(mode="json"), "entry": entry.index}
    call.show(document, list(lines(drill, entry.index)))
    call.exit(0 if drill.passed else RefusedError.exit_code)


def lines(drill: Drill, entry: int) -> Iterator[str]:
    """The result for people: the verdict first."""
    took = duration(sum(step.seconds for step in drill.steps))
    word = "PASSED" if drill.passed else "FAILED"
    held = f"from version {drill.from_version} " if drill.from_version else ""
    move = f"{drill.model} {held}back to version {drill.version} as {drill.alias}"
    yield f"{word}: {move}, in {took}  [E{entry}]"
    for step in drill.steps:
        outcome, seconds = "ok" if step.passed else "FAILED", duration(step.seconds)
        yield f"  {outcome:<8}{step.name:<10}{seconds:>9}  {step.found}"
    yield f"  nothing was moved; to go back: countersign rollback {drill.model} --reason ..."


def _require_readable(rights: Rights, now: LogState, plan: Plan, keyid: str, at: datetime) -> None:
    """Raises `RefusedError` unless the key that signs may read the model and the suite that it is
    tested with. The drill's own statement says what was read.
    """
    digest = plan.release.released.sha256
    suites = (each.predicate for each in now.view.all(Evaluate))
    names = {suite.suite_name for suite in suites if suite.model == digest}
    model = frozenset({Content("model", plan.move.model)})
    wanted = [
        Wanted.of(digest, Contents(now.view).of_model(digest), model),
        *(Wanted.of("", frozenset({Content("dataset", name)})) for name in sorted(names)),
    ]
    require(rights, keyid, wanted, "the drill", at)


def _libraries() -> None:
    """Raises `ConfigError` if this machine cannot load models: its drill would prove nothing."""
    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if missing:
        fix = f"{pip_install('pipeline')}, or run the drill on a machine that loads models"
        raise ConfigError(
            f"a drill loads the model, and {', '.join(missing)} is not installed here", fix=fix
        )


def _verified(call: Call) -> tuple[LogState, str]:
    log: Log = serving_log(call.machine, session.clock(), call.own_policies)
    return state(log), f"{log.size()} entries verified"


def _steps(done: Rehearsal, machine: Machine, now: LogState, found: Plan, items: int) -> int:
    """Does what a server does after the alias moved, and runs a few items of the suite. Returns
    their number. Raises `Failed`.
    """
    from pipelines import loader, scoring, smoke

    scoring.quiet()
    served = done.step("evidence", lambda: rehearsal.evidence_of(now, found))
    files = served.registration.files
    with ExitStack() as stack:

        def take() -> tuple[Path, str]:
            copy = stack.enter_context(private_copy(served, where(machine, served)))
            size = sum(file.size for file in files)
            return copy, f"{len(files)} files, {size:,} bytes, as registered"

        def load() -> tuple[loader.Loaded, str]:
            loaded = loader.from_copy(served, copy, scorer=smoke.is_scorer(copy), dtype="float32")
            parameters = sum(tensor.numel() for tensor in loaded.model.parameters())
            return loaded, f"{parameters:,} parameters"

        copy = done.step("files", take)
        loaded = done.step("load", load)
    return done.step("smoke", lambda: smoke.smoke(now, Path.cwd(), loaded, items, Progress()))
