"""`countersign incident open|update|close|show|clocks`: what went wrong with a version, who was
told, what was done, and which legal deadlines run.

1. The tool computes and warns. A person says what happened, when, and what was filed.
2. Opening an incident freezes the evidence: a bundle of the version at that moment is kept on this
   machine. It can be shown later, whatever is added to the log.
3. The opening names the models that were made from the version.
4. An incident is closed only with a check that the actions were effective
   (`governance.history.incidents`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

import click

from governance.attest.predicates import MOST_AFFECTED, Artifact, Incident, Severity
from governance.base.errors import ConfigError, CountersignError, InputError, RefusedError
from governance.base.storage import write_atomic, writing_state
from governance.base.text import timed
from governance.base.time import exact_instant
from governance.bundle import bundle_of, write
from governance.commands import session
from governance.commands.session import Call, named
from governance.history.clocks import Running
from governance.history.descendants import descendants
from governance.history.incidents import CHECK, lacks
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.policy.clocks import Clocks
from governance.report.incidents import incident_record

FROZEN = Path("incidents")
"""Below the project's state on this machine: bundles made when incidents were opened."""
SHOWN = 10
"""Affected models that the opening shows."""


@click.group("incident")
def command() -> None:
    """Open, update or close an incident of a version; show which legal clocks run.

    While one is open, nobody can approve or promote these bytes. No alias moves by it: countersign
    rollback does that.
    """


def _stated(function: Callable[..., None]) -> Callable[..., None]:
    """The options that say what happened."""
    for option in reversed(
        (
            click.option("--severity", type=click.Choice(get_args(Severity))),
            click.option(
                "--kind", "kinds", multiple=True, help="What happened: see policies/clocks.yaml."
            ),
            click.option("--aware", help="When somebody became aware (UTC or with a zone)."),
            click.option("--classified", help="When a person classified it."),
            click.option("--determined", help="When a person determined a cause or link."),
            click.option("--informed", multiple=True, help="A role or body that was told."),
            click.option("--action", "actions", multiple=True, help="What was done."),
        )
    ):
        function = option(function)
    return function


@command.command("open")
@click.argument("version", metavar="MODEL/VERSION")
@session.reason_option("What is wrong. No personal data.")
@_stated
@session.options(*session.SIGNS)
def open_command(call: Call, version: str, reason: str, **stated: Any) -> None:
    """Open an incident on MODEL/VERSION, and keep its evidence as it is now."""
    now = call.state()
    fields = _fields(now.authority.policies.clocks, call.now, **stated)
    affected = _affected(now, version)
    fields["affected"] = affected[:MOST_AFFECTED]
    incident, entry = _sign(call, now, version, reason, "open", fields)
    kept, made = _frozen(call, version, entry), list(_made_from_it(affected))
    _shown(call, incident, entry, [*made, *kept, *_next_steps(now, version)])


def _checked(function: Callable[..., None]) -> Callable[..., None]:
    """The options of a check that the actions were effective."""
    effective = "What was measured to see whether the actions were effective, and the result."
    function = click.option("--measured-at", help="When; by default now.")(function)
    return click.option("--effective", default="", help=effective)(function)


@command.command("update")
@click.argument("version", metavar="MODEL/VERSION")
@session.reason_option("What is new. No personal data.")
@_stated
@click.option("--cause", default="", help="The root cause, as far as it is known.")
@_checked
@click.option(
    "--filed", multiple=True, metavar="CLOCK[=TIME]", help="What a clock asks for was filed."
)
@session.options(*session.SIGNS)
def update_command(
    call: Call,
    version: str,
    reason: str,
    filed: Sequence[str],
    cause: str,
    effective: str,
    measured_at: str | None,
    **stated: Any,
) -> None:
    """Add to an open incident: times, kinds, who was told, what was done, what was filed, the
    cause, and a check that the actions were effective.
    """
    now = call.state()
    _require_open(now, version)
    clocks = now.authority.policies.clocks
    fields = _fields(clocks, call.now, **stated)
    fields |= {"cause": cause, **_check(effective, measured_at, call.now)}
    fields["filed"] = dict(_filing(each, clocks, call.now) for each in filed)
    _shown(call, *_sign(call, now, version, reason, "open", fields))


@command.command("close")
@click.argument("version", metavar="MODEL/VERSION")
@session.reason_option("Why it is over. No personal data.")
@click.option("--severity", type=click.Choice(get_args(Severity)))
@click.option("--cause", default="", help="The root cause.")
@_checked
@click.option("--action", "actions", multiple=True, help="What was done.")
@click.option("--informed", multiple=True, help="A role or body that was told.")
@session.options(*session.SIGNS)
def close_command(
    call: Call,
    version: str,
    reason: str,
    effective: str,
    measured_at: str | None,
    **stated: Any,
) -> None:
    """Close the incidents of MODEL/VERSION.

    Somebody must have checked since the last action that the actions were effective: with
    --effective here, or before with `countersign incident update`. Where policy demands severity,
    cause or actions, they are stated here or before.
    """
    call.check_witnessed()
    now = call.state()
    fields = {**stated, **_check(effective, measured_at, call.now)}
    _shown(call, *_sign(call, now, version, reason, "closed", fields))


@command.command("show")
@click.argument("version", metavar="MODEL/VERSION")
@session.options("as_json")
def show_command(call: Call, version: str) -> None:
    """Show the incidents of MODEL/VERSION: what people said, models affected, and clocks."""
    now = call.read()
    model, number = named(version)
    now.registration(model, number)
    cases = [case for case in now.timeline.cases if case.name == version]
    rows = [incident_record(now, case, call.now) for case in cases]
    call.draw("incident", {"version": version, "incidents": [row.model_dump() for row in rows]})


@command.command("clocks")
@click.argument("version", metavar="[MODEL/VERSION]", required=False)
@session.options("moment", "as_json")
def clocks_command(call: Call, version: str | None) -> None:
    """Show the legal clocks of incidents: what is due, what was late, what waits for a time.

    policies/clocks.yaml has the rules. Exit code 4 where one is late.
    """
    now, at = call.read(), call.as_of or call.now
    model, number = named(version) if version else ("", "")
    found = [
        clock
        for clock in now.timeline.clocks(at)
        if not version or (clock.model, clock.version) == (model, number)
    ]
    call.show({"at": exact_instant(at), "clocks": [_row(one) for one in found]}, _drawn(found, at))
    if any(one.state == "late" for one in found):
        call.exit(RefusedError.exit_code)


# --- what is said ---------------------------------------------------------------------------------


def _fields(
    clocks: Clocks,
    now: datetime,
    severity: Severity | None,
    kinds: Sequence[str],
    aware: str | None,
    classified: str | None,
    determined: str | None,
    informed: Sequence[str],
    actions: Sequence[str],
) -> dict[str, Any]:
    known = sorted({kind for clock in clocks.clocks.values() for kind in clock.applies_to})
    for kind in kinds:
        if known and kind not in known:
            expected = ", ".join(known)
            raise ConfigError(f"no clock is about {kind[:60]!r}", where="--kind", expected=expected)
    return {
        "severity": severity,
        "kinds": list(kinds),
        "aware_at": _time(aware, "--aware", now),
        "classified_at": _time(classified, "--classified", now),
        "determined_at": _time(determined, "--determined", now),
        "informed": list(informed),
        "actions": list(actions),
    }


def _time(text: str | None, option: str, now: datetime) -> str | None:
    """A time of the past, with its zone."""
    if text is None:
        return None
    moment = session.time_of(text, option)
    if moment > now:
        raise ConfigError(f"{text[:80]} lies ahead", where=option, expected="a time of the past")
    return exact_instant(moment)


def _filing(text: str, clocks: Clocks, now: datetime) -> tuple[str, str]:
    name, given, time = text.partition("=")
    if name not in clocks.clocks:
        expected = ", ".join(sorted(clocks.clocks)) or "a clock of policies/clocks.yaml"
        raise ConfigError(f"no clock {name[:60]!r}", where="--filed", expected=expected)
    return name, (_time(time, "--filed", now) if given else None) or exact_instant(now)


def _check(effective: str, measured_at: str | None, now: datetime) -> dict[str, Any]:
    """What was measured, and when. Raises `ConfigError` for a time without a measurement."""
    if not effective.strip():
        if measured_at is not None:
            expected = "--effective, too: what was measured, and the result"
            raise ConfigError("nothing was measured", where="--measured-at", expected=expected)
        return {"effective": ""}
    at = _time(measured_at, "--measured-at", now) or exact_instant(now)
    return {"effective": effective, "effective_at": at}


def _affected(now: LogState, version: str) -> list[Artifact]:
    """(3)"""
    model, number = named(version)
    digest = now.registration(model, number).predicate.model_digest
    return descendants(now.timeline, digest)


def _require_open(now: LogState, version: str) -> None:
    model, number = named(version)
    digest = now.registration(model, number).predicate.model_digest
    opened = now.timeline.open_incidents(digest)
    if not any(one.predicate.version == number for one in opened):
        fix = f"countersign incident open {version} --reason ..."
        raise InputError(f"no incident is open on {version}", fix=fix)


def _sign(
    call: Call,
    now: LogState,
    version: str,
    reason: str,
    state: Literal["open", "closed"],
    fields: dict[str, Any],
) -> tuple[Incident, int]:
    """Signs and records a statement about the version's incident; the statement and its entry."""
    model, number = named(version)
    digest = now.registration(model, number).predicate.model_digest
    author = call.signing.speaker(now.authority, now.authority.policies.rules.incident_roles(state))
    incident = Incident(**author.signed(reason), model=model, version=number, state=state, **fields)
    subject = Artifact(role="model", name=model, sha256=digest)
    if state == "closed":
        _require_closable(now, version, digest, author.name)
        _require_checked(now, version, author.unsigned(now, "incident", subject, incident))
    call.confirm(f"{_summary(incident)}: {reason}", version, incident, entry=None)
    return incident, author.record(call.log, "incident", subject, incident).index


def _summary(said: Incident) -> str:
    return (
        f"incident on {said.model}/{said.version}: {said.state}, by {said.principal} as {said.role}"
    )


def _require_closable(now: LogState, version: str, digest: str, closer: str) -> None:
    """Another person may close it once more: a requester's closing does not count for the move."""
    model, number = named(version)
    said = [one.predicate for one in now.timeline.incidents(digest)]
    of_version = [one for one in said if one.version == number]
    last = (of_version[-1].state, of_version[-1].principal) if of_version else None
    if last in (None, ("closed", closer)):
        fix = f"countersign history {model}"
        raise InputError(f"no incident is open on {version}", fix=fix)


_CLOSING_OPTIONS = {
    "severity": "--severity LEVEL",
    "cause": '--cause "the root cause"',
    "actions": '--action "what was done"',
}
"""Part that policy can demand to the option that states it."""


def _require_checked(now: LogState, version: str, closing: Evidence[Incident]) -> None:
    """(4)"""
    digest = closing.subjects[0].sha256
    lacking = lacks(now.evidence, now.authority, digest, closing)
    parts = [each for each in lacking if each != CHECK]
    if parts:
        options = " ".join(_CLOSING_OPTIONS[each] for each in parts)
        raise RefusedError(
            f"nobody has stated of the incident on {version}: {', '.join(parts)}",
            expected="policies/policy.yaml, incidents.closing_needs: "
            f"{', '.join(now.authority.policies.rules.incidents.closing_needs)}",
            fix=f"countersign incident close {version} {options} --reason ...",
        )
    if not lacking:
        return
    by_another = now.authority.policies.rules.incidents.checked_by_another
    who = "a person who recorded none of the actions" if by_another else "a person"
    raise RefusedError(
        f"nobody has checked since the last action on {version} that it was effective",
        expected=f"a check by {who}: what was measured, when, and the result",
        fix=f"countersign incident {'update' if by_another else 'close'} {version}"
        ' --effective "what was measured, and the result" --reason ...',
    )


# --- what is done and shown -----------------------------------------------------------------------


def _frozen(call: Call, version: str, entry: int) -> list[str]:
    """(2) Keeps the evidence of the version with the incident as its last entry."""
    model, number = named(version)
    path = call.machine.state / FROZEN / f"{model}-{number}-{entry}.bundle"
    try:
        with writing_state(path):
            write_atomic(path, write(bundle_of(call.log, model, number)))
    except CountersignError as error:
        return [
            f"the evidence could not be kept: {error}",
            f"next: countersign bundle {version} -o FILE",
        ]
    return [f"evidence kept: {path}"]


def _made_from_it(affected: Sequence[Artifact]) -> Iterator[str]:
    """The models that were made from the version."""
    for each in affected[:SHOWN]:
        yield f"affected, too: {each.name} ({each.sha256[:12]}), made from it"
    if len(affected) > SHOWN:
        yield f"and {len(affected) - SHOWN} more; `countersign incident show` lists them"
    if len(affected) > MOST_AFFECTED:
        yield f"the statement names the first {MOST_AFFECTED} of them"


def _next_steps(now: LogState, version: str) -> Iterator[str]:
    model, number = named(version)
    holders = {alias: now.holder(model, alias) for alias in now.authority.policies.rules.aliases}
    held = [alias for alias, move in holders.items() if move and move.version == number]
    if held:
        yield f"it is still {', '.join(held)}"
        yield f"next: countersign rollback {model} --alias {held[0]} --reason ..."


def _shown(call: Call, said: Incident, entry: int, steps: Sequence[str] = ()) -> None:
    """The result, with the clocks that run now."""
    running = [
        one
        for one in call.state().timeline.clocks(call.now)
        if (one.model, one.version) == (said.model, said.version) and one.filed is None
    ]
    lines = [f"{_summary(said)} (entry {entry})", *steps, *_drawn(running, call.now)[:-1]]
    call.show(said, lines, entry=entry, clocks=[_row(one) for one in running])


def _row(one: Running) -> dict[str, Any]:
    times = {"since": one.since, "due": one.due, "filed": one.filed}
    return {
        **{name: value for name, value in vars(one).items() if name not in times},
        **{name: exact_instant(value) if value else None for name, value in times.items()},
    }


def _drawn(found: Sequence[Running], at: datetime) -> list[str]:
    lines = []
    for one in found:
        name = f"{one.model}/{one.version}"
        lines.append(f"{_STATES[one.state]:<10} {one.clock}  {name}, entry {one.opened}")
        lines.append(f"           {one.rule}: {one.to}")
        lines.append(f"           {_when(one, at)}")
        if not one.checked:
            lines.append("           the rule was written from memory: compare it with its source")
    late = sum(one.state == "late" for one in found)
    due = sum(one.state == "due" for one in found)
    lines.append(f"{len(found)} clocks: {late} late, {due} due" if found else "no clock runs")
    return lines


_STATES = {
    "waits": "waits",
    "due": "due",
    "late": "LATE",
    "filed": "filed",
    "filed late": "FILED LATE",
}


def _when(one: Running, at: datetime) -> str:
    if one.due is None:
        return f"starts at the {one.trigger}, which nobody has stated"
    due = timed(exact_instant(one.due))
    if one.filed is not None:
        return f"due {due}, filed {timed(exact_instant(one.filed))}"
    hours = abs((one.due - at).total_seconds()) / 3600
    far = f"{hours:.0f} hours" if hours < 72 else f"{hours / 24:.0f} days"
    return f"due {due}, {far} {'ago' if one.state == 'late' else 'from now'}"
