"""What there is, what is live, what waits: from parameters, policies and the log, in well under two
seconds.

Nothing is hashed, no model is loaded and the registry is not asked: `countersign verify` compares
files, and what is live is what the log says. A project in which nothing has run yet has a status
too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from governance.attest.predicates import CANDIDATE, Evaluate, GateDecision, Registration
from governance.base.errors import ConfigError, CountersignError, Problems
from governance.base.model import Json, Model
from governance.base.statistics import mean_interval
from governance.base.time import instant_of
from governance.base.yaml import read_yaml
from governance.history.state import LogState, state
from governance.log.evidence import Evidence, key_ring, policy_in_force
from governance.log.views import log_evidence, made_at
from governance.machine.machine import Machine, log_of, missing_head, read_log
from governance.policy.policies import Policies, load_policies
from governance.release import retrospect
from governance.release.retrospect import Live

NOT_RUN = "not run"
SHOWN = 5
"""Mistakes in policies that are named."""
DATA_STAGES = {"ingest": "ingest", "scan": "scan_pii", "quality": "check_quality"}
"""Kind of evidence to the DVC stage that records it."""
Latest = dict[tuple[str, str], Evidence]
"""Kind of evidence and stage to the last statement."""


class LogSummary(Model):
    """The log at hand."""

    address: str
    entries: int
    last: str
    """When the last entry was made, or `none`."""
    problem: str
    """Why it cannot be used, or `none`."""


class KeyUse(Model):
    """A key that signed entries of the log."""

    keyid: str
    development: bool
    entries: int


class DatasetState(Model):
    """One dataset of params.yaml, as last recorded."""

    name: str
    kind: str
    ingest: str
    scan: str
    quality: str
    records: int | None
    """Records that may train; None where that is not decided."""


class ModelState(Model):
    """One base or training stage of params.yaml, as last recorded."""

    name: str
    method: str
    gate: Literal["none needed", "not decided", "allowed", "refused"]
    gate_findings: int
    """How many findings refuse it."""
    trained: str
    evaluated: str


class VersionState(Model):
    """A registered version."""

    model: str
    version: str
    digest: str
    stage: str
    aliases: list[str]
    since: str


class Wait(Model):
    """Something that somebody has to do next. The terminal's template says what."""

    code: Literal[
        "LOG", "POLICIES", "MORE_MISTAKES", "DATACARD_MISSING", "DATACARD_BLANK", "BASE_UNKNOWN",
        "NOTHING_RUN", "POLICIES_CHANGED", "DATA_REFUSED", "GATE_REFUSED", "NOT_MADE", "NO_VERSION",
        "NEEDS_APPROVAL", "HEAD_MISSING",
    ]  # fmt: skip
    about: str = ""
    """A dataset, a base, a stage, a model or a version."""
    detail: str = ""
    """The problem, the blank fields, the stages or the number of people."""


class Status(Model):
    """The whole answer."""

    project: str
    log: LogSummary
    registry: str
    signer: str
    keys: list[KeyUse]
    policies: str
    datasets: list[DatasetState]
    models: list[ModelState]
    versions: list[VersionState]
    live: list[Live]
    """Who holds each alias, by the moves that count."""
    requests: list[dict[str, Json]]
    """Moves that somebody asked for and nothing has carried out."""
    waits: list[Wait]
    """In addition to what is wrong with a live version, and to open requests."""


def status(root: Path, machine: Machine, at: datetime) -> Status:
    """The project's status at a moment. Raises `ConfigError` only where params.yaml cannot be
    read.
    """
    params, policies = _params(root), _policies(root)
    now, statements, problem = _read(machine, policies)
    if now is not None and not params:
        policies = now.authority.in_force.policies or policies
    latest: Latest = {
        (statement.kind, getattr(statement.predicate, "stage", "")): statement
        for statement in statements
    }
    keys = Counter((statement.keyid, statement.development) for statement in statements)
    in_force = policy_in_force(now.log) if now else ""
    changed = isinstance(policies, Policies) and now is not None and policies.digest != in_force
    datasets = [_dataset(name, row, latest) for name, row in _rows(params, "datasets")]
    models = [_model(name, "base", latest) for name, _ in _rows(params, "bases")]
    models += [
        _model(name, str(row.get("method", "not stated")), latest)
        for name, row in _rows(params, "stages")
    ]
    waits = [Wait(code="LOG", detail=problem)] if problem else []
    missing = missing_head(machine, now.log) if now else ""
    waits += [Wait(code="HEAD_MISSING", detail=missing)] if missing else []
    waits += _policy_waits(params, policies)
    if now is None and not problem:
        waits.append(Wait(code="NOTHING_RUN"))
    else:
        waits += [Wait(code="POLICIES_CHANGED")] if changed else []
        waits += [*_run_waits(datasets, models), *_version_waits(params, policies, now)]
    use = "changed since the last run" if changed else "in force"
    if now is None:
        use = "the log cannot be used" if problem else "not recorded yet"
    names = now.timeline.models if now else []
    registry = machine.registry_uri
    path = registry.removeprefix("sqlite:///")
    if path != registry and not Path(path).exists():
        registry += " (made on first use)"
    return Status(
        project=machine.project,
        log=LogSummary(
            address=log_of(machine).where,
            entries=len(statements),
            last=made_at(statements[-1]) if statements else "none",
            problem=problem or "none",
        ),
        registry=registry,
        signer=(
            f"COUNTERSIGN_SIGNER ({machine.signer_uri.partition(':')[0]})"
            if machine.signer_uri
            else "development key of this machine: good for candidate only"
        ),
        keys=[
            KeyUse(keyid=keyid, development=development, entries=entries)
            for (keyid, development), entries in keys.most_common()
        ],
        policies=(
            f"{policies.digest[:12]}, {use}" if isinstance(policies, Policies) else "cannot be read"
        ),
        datasets=datasets,
        models=models,
        versions=versions_of(now) if now else [],
        live=[each for name in names for each in retrospect.live(now, name, at)] if now else [],
        requests=retrospect.waiting(now, at) if now else [],
        waits=waits,
    )


def _params(root: Path) -> dict[str, Any]:
    """params.yaml; nothing on a machine without the project's files, which COUNTERSIGN_PROJECT
    names.
    """
    if not (root / "params.yaml").exists():
        return {}
    value = read_yaml(root / "params.yaml")
    if not isinstance(value, dict):
        raise ConfigError("not a table", where=str(root / "params.yaml"))
    return value


def _rows(params: dict[str, Any], table: str) -> list[tuple[str, dict[str, Any]]]:
    rows = params.get(table)
    pairs = rows.items() if isinstance(rows, dict) else ()
    return [(str(name), row if isinstance(row, dict) else {}) for name, row in pairs]


def _policies(root: Path) -> Policies | CountersignError:
    try:
        return load_policies(root / "policies")
    except CountersignError as error:
        return error


def _read(
    machine: Machine, policies: Policies | CountersignError
) -> tuple[LogState | None, list[Evidence], str]:
    """The log's state, its statements, and why it cannot be used; nothing where there is no log."""
    service = policies.keys if isinstance(policies, Policies) else {}
    try:
        if not log_of(machine).size():
            return None, [], ""
        now = state(read_log(machine))
        keys = key_ring(now.log, {**now.authority.keys, **service})
        return now, log_evidence(now.log, keys).all(), ""
    except CountersignError as error:
        return None, [], str(error)


def _dataset(name: str, row: dict[str, Any], latest: Latest) -> DatasetState:
    results, records = dict.fromkeys(DATA_STAGES, NOT_RUN), None
    for kind, stage in DATA_STAGES.items():
        statement = latest.get((kind, f"{stage}@{name}"))
        if statement is not None:
            passed = getattr(statement.predicate, "passed", True)
            results[kind] = "passed" if passed else "refused"
            records = statement.predicate.counts.records_out if passed else None
    ready = results["quality"] == "passed"
    kind = str(row.get("kind", "not stated"))
    return DatasetState(name=name, kind=kind, **results, records=records if ready else None)


def _model(name: str, method: str, latest: Latest) -> ModelState:
    base = method == "base"
    made = latest.get(("base", f"import_base@{name}") if base else ("train", f"train@{name}"))
    gate: Evidence[GateDecision] | None = latest.get(("gate", f"gate@{name}"))
    trained = NOT_RUN
    if made is not None:
        trained = "imported" if base else f"{made.predicate.steps:,} steps"
    answer: Literal["none needed", "not decided", "allowed", "refused"] = "not decided"
    if base:
        answer = "none needed"
    elif gate is not None:
        answer = "allowed" if gate.predicate.allowed else "refused"
    return ModelState(
        name=name,
        method=method,
        gate=answer,
        gate_findings=len(gate.predicate.findings) if gate and answer == "refused" else 0,
        trained=trained,
        evaluated=_scores(latest.get(("evaluate", f"evaluate{'_base' * base}@{name}"))),
    )


def _scores(statement: Evidence[Evaluate] | None) -> str:
    if statement is None:
        return NOT_RUN
    if statement.predicate.not_run is not None:
        return "nothing to score"
    shown = []
    for name, values in statement.predicate.scores.items():
        known = [value for value in values if value is not None]
        shown.append(f"{name} {mean_interval(known, 0.95).mean:.3f}" if known else f"{name} none")
    return ", ".join(shown) or "no metric"


def versions_of(now: LogState) -> list[VersionState]:
    """Each version with the aliases that it holds."""
    registrations = now.timeline.registrations.values()
    return [version_state(now, statement.predicate) for statement in registrations]


def version_state(now: LogState, registration: Registration) -> VersionState:
    """One version with the aliases that it holds."""
    held = now.timeline.held_by(registration.model, registration.version)
    return VersionState(
        model=registration.model,
        version=registration.version,
        digest=registration.model_digest,
        stage=registration.stage,
        aliases=[tenure.alias for tenure in held],
        since=min((tenure.given.predicate.at for tenure in held), key=instant_of, default="none"),
    )


def _policy_waits(params: dict[str, Any], policies: Policies | CountersignError) -> Iterator[Wait]:
    """Mistakes in policies, and what policies lack for the datasets and bases of params.yaml."""
    if isinstance(policies, CountersignError):
        problems = policies.problems if isinstance(policies, Problems) else (policies,)
        yield from (Wait(code="POLICIES", detail=str(problem)) for problem in problems[:SHOWN])
        if len(problems) > SHOWN:
            yield Wait(code="MORE_MISTAKES", detail=str(len(problems) - SHOWN))
        return
    for name, _ in _rows(params, "datasets"):
        card = policies.datacards.get(name)
        if card is None:
            yield Wait(code="DATACARD_MISSING", about=name)
        elif card.blanks():
            yield Wait(code="DATACARD_BLANK", about=name, detail=", ".join(card.blanks()))
    for name, _ in _rows(params, "bases"):
        if name not in policies.bases:
            yield Wait(code="BASE_UNKNOWN", about=name)


def _run_waits(datasets: Sequence[DatasetState], models: Sequence[ModelState]) -> Iterator[Wait]:
    """Stages that refused, and stages that have not run."""
    idle = [model.name for model in models if model.trained == NOT_RUN and model.gate != "refused"]
    for dataset in datasets:
        results = {stage: getattr(dataset, kind) for kind, stage in DATA_STAGES.items()}
        for stage, result in results.items():
            if result == "refused":
                yield Wait(code="DATA_REFUSED", about=dataset.name, detail=stage)
        if NOT_RUN in results.values():
            idle.append(dataset.name)
    for model in models:
        if model.gate == "refused":
            yield Wait(code="GATE_REFUSED", about=model.name)
    if idle:
        yield Wait(code="NOT_MADE", detail=", ".join(idle))


def _version_waits(
    params: dict[str, Any], policies: Policies | CountersignError, now: LogState | None
) -> Iterator[Wait]:
    """The versions that nobody has approved yet, of the models that params.yaml releases; without
    the file, of those in the log.
    """
    versions = [*now.timeline.registrations] if now else []
    names = [name for name, _ in _rows(params, "releases")]
    if not params:
        names = list(dict.fromkeys(name for name, _ in versions))
    for name in names:
        yield from _waits_of(name, versions, policies, now)


def _waits_of(
    name: str,
    versions: Sequence[tuple[str, str]],
    policies: Policies | CountersignError,
    now: LogState | None,
) -> Iterator[Wait]:
    mine = [version for version in versions if version[0] == name]
    if now is None or not mine:
        yield Wait(code="NO_VERSION", about=name)
        return
    tier = policies.tier_of(name) if isinstance(policies, Policies) else None
    released = {
        (move.predicate.model, move.predicate.version)
        for move in now.timeline.moves
        if move.predicate.alias != CANDIDATE
    }
    if tier and tier.approvals and mine[-1] not in released:
        about = "/".join(mine[-1])
        yield Wait(code="NEEDS_APPROVAL", about=about, detail=str(tier.approvals))
