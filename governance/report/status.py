"""What there is, what is live, what waits: from parameters, policies and the log, in well under two
seconds.

Nothing is hashed, no model is loaded and the registry is not asked: `countersign verify` compares
files, and what is live is what the log says. A project in which nothing has run yet has a status
too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from governance.attest.predicates import CANDIDATE, Registration
from governance.base.errors import ConfigError, CountersignError, Problems
from governance.base.model import Json, Model
from governance.base.statistics import mean_interval
from governance.base.yaml import read_yaml
from governance.history.lineage import decided, evaluated
from governance.history.state import LogState, state
from governance.log.evidence import Evidence, key_ring, policy_in_force
from governance.log.port import Log
from governance.log.views import log_evidence, made_at
from governance.machine.machine import Machine, log_of, read_log
from governance.policy.policies import Policies, load_policies
from governance.release import retrospect
from governance.release.retrospect import Live

NOT_RUN = "not run"
SHOWN = 5
"""Mistakes in policies that are named."""


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
    waits: list[str]


def status(root: Path, machine: Machine, at: datetime) -> Status:
    """The project's status at a moment. Raises `ConfigError` only where params.yaml cannot be
    read.
    """
    params = _params(root)
    policies = _policies(root)
    service = policies.keys if isinstance(policies, Policies) else {}
    log, problem = _log(machine)
    said: list[Evidence] = []
    live: list[Live] = []
    versions: list[VersionState] = []
    released: set[tuple[str, str]] = set()
    requests: list[dict[str, Json]] = []
    if log is not None:
        try:
            now = state(log)
            said = log_evidence(log, key_ring(log, {**now.authority.keys, **service})).all()
            live = [one for model in now.timeline.models for one in retrospect.live(now, model, at)]
            versions = versions_of(now)
            released = {
                (move.predicate.model, move.predicate.version)
                for move in now.timeline.moves
                if move.predicate.alias != CANDIDATE
            }
            requests = retrospect.waiting(now, at)
            policies = policies if params else now.authority.policies
        except CountersignError as error:
            problem = str(error)
    datasets = [_dataset(name, row, said) for name, row in _rows(params, "datasets")]
    models = [_base(name, said) for name, _ in _rows(params, "bases")]
    models += [_stage(name, row, said) for name, row in _rows(params, "stages")]
    return Status(
        project=machine.project,
        log=_log_state(machine, said, problem),
        registry=_registry(machine),
        signer=_signer(machine),
        keys=_keys(said),
        policies=_policies_state(policies, log),
        datasets=datasets,
        models=models,
        versions=versions,
        live=live,
        requests=requests,
        waits=[
            *_live_waits(live, requests),
            *_waits(params, policies, log, problem, datasets, models),
            *(
                _version_waits(params, policies, versions, released)
                if log is not None or problem
                else []
            ),
        ],
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


def _log(machine: Machine) -> tuple[Log | None, str]:
    """The log, and what is wrong with it; neither where there is none yet."""
    try:
        if log_of(machine).size() == 0:
            return None, ""
        return read_log(machine), ""
    except CountersignError as error:
        return None, str(error)


def _log_state(machine: Machine, said: Sequence[Evidence], problem: str) -> LogSummary:
    last = made_at(said[-1]) if said else "none"
    return LogSummary(
        address=log_of(machine).where, entries=len(said), last=last, problem=problem or "none"
    )


def _registry(machine: Machine) -> str:
    uri = machine.registry_uri
    made = Path(uri.removeprefix("sqlite:///")).exists() if uri.startswith("sqlite:///") else True
    return uri if made else f"{uri} (made on first use)"


def _signer(machine: Machine) -> str:
    if machine.signer_uri is None:
        return "development key of this machine: good for candidate only"
    return f"COUNTERSIGN_SIGNER ({machine.signer_uri.partition(':')[0]})"


def _keys(said: Sequence[Evidence]) -> list[KeyUse]:
    counted = Counter((item.keyid, item.development) for item in said)
    return [
        KeyUse(keyid=keyid, development=made, entries=n)
        for (keyid, made), n in counted.most_common()
    ]


def _policies_state(policies: Policies | CountersignError, log: Log | None) -> str:
    if isinstance(policies, CountersignError):
        return "cannot be read"
    if log is None:
        return f"{policies.digest[:12]}, not recorded yet"
    if policy_in_force(log) == policies.digest:
        return f"{policies.digest[:12]}, in force"
    return f"{policies.digest[:12]}, changed since the last run"


def _dataset(name: str, row: dict[str, Any], said: Sequence[Evidence]) -> DatasetState:
    found = {kind: _latest(said, kind, f"{stage}@{name}") for kind, stage in _DATA_STAGES.items()}
    quality = found["quality"]
    ready = quality is not None and quality.predicate.passed
    return DatasetState(
        name=name,
        kind=str(row.get("kind", "not stated")),
        ingest=_passed(found["ingest"]),
        scan=_passed(found["scan"]),
        quality=_passed(quality),
        records=quality.predicate.counts.records_out if quality and ready else None,
    )


_DATA_STAGES = {"ingest": "ingest", "scan": "scan_pii", "quality": "check_quality"}
"""Kind of evidence to the DVC stage that records it."""


def _passed(item: Evidence | None) -> str:
    if item is None:
        return NOT_RUN
    return "passed" if getattr(item.predicate, "passed", True) else "refused"


def _base(name: str, said: Sequence[Evidence]) -> ModelState:
    base = _latest(said, "base", f"import_base@{name}")
    return ModelState(
        name=name,
        method="base",
        gate="none needed",
        gate_findings=0,
        trained="imported" if base else NOT_RUN,
        evaluated=_scores(_latest(said, "evaluate", f"evaluate_base@{name}")),
    )


def _stage(name: str, row: dict[str, Any], said: Sequence[Evidence]) -> ModelState:
    gate = _latest(said, "gate", f"gate@{name}")
    train = _latest(said, "train", f"train@{name}")
    answer: Literal["not decided", "allowed", "refused"] = "not decided"
    findings = 0
    if gate is not None and decided(gate).allowed:
        answer = "allowed"
    elif gate is not None:
        answer, findings = "refused", len(decided(gate).findings)
    return ModelState(
        name=name,
        method=str(row.get("method", "not stated")),
        gate=answer,
        gate_findings=findings,
        trained=f"{train.predicate.steps:,} steps" if train else NOT_RUN,
        evaluated=_scores(_latest(said, "evaluate", f"evaluate@{name}")),
    )


def _scores(item: Evidence | None) -> str:
    if item is None:
        return NOT_RUN
    if evaluated(item).not_run is not None:
        return "nothing to score"
    shown = []
    for name, values in evaluated(item).scores.items():
        known = [value for value in values if value is not None]
        shown.append(f"{name} {mean_interval(known, 0.95).mean:.3f}" if known else f"{name} none")
    return ", ".join(shown) or "no metric"


def _latest(said: Sequence[Evidence], kind: str, stage: str) -> Evidence | None:
    found = (item for item in reversed(said) if item.kind == kind and item.predicate.stage == stage)
    return next(found, None)


def versions_of(now: LogState) -> list[VersionState]:
    """Each version with the aliases that it holds."""
    return [
        version_state(now, statement.predicate) for statement in now.timeline.registrations.values()
    ]


def version_state(now: LogState, registration: Registration) -> VersionState:
    """One version with the aliases that it holds."""
    held = now.timeline.held_by(registration.model, registration.version)
    return VersionState(
        model=registration.model,
        version=registration.version,
        digest=registration.model_digest,
        stage=registration.stage,
        aliases=[tenure.alias for tenure in held],
        since=min((tenure.given.predicate.at for tenure in held), default="none"),
    )


def _waits(
    params: dict[str, Any],
    policies: Policies | CountersignError,
    log: Log | None,
    problem: str,
    datasets: Sequence[DatasetState],
    models: Sequence[ModelState],
) -> list[str]:
    """What somebody has to do next, the most pressing first."""
    waits = [f"the log: {problem}"] if problem else []
    waits += _policy_waits(params, policies)
    if log is None and not problem:
        return [*waits, "nothing has run yet: `make repro`"]
    if (
        isinstance(policies, Policies)
        and log is not None
        and policy_in_force(log) != policies.digest
    ):
        waits.append("policies changed since the last run: `countersign repro` decides again")
    for one in datasets:
        stages = {"scan_pii": one.scan, "check_quality": one.quality, "ingest": one.ingest}
        refused = [stage for stage, result in stages.items() if result == "refused"]
        waits += [
            f"{stage} refused {one.name}: read reports/{stage}/{one.name}/report.md"
            for stage in refused
        ]
    waits += [
        f"gate@{one.name} refused: read reports/gates/{one.name}.md"
        for one in models
        if one.gate == "refused"
    ]
    idle = [one.name for one in models if one.trained == NOT_RUN and one.gate != "refused"]
    idle += [one.name for one in datasets if NOT_RUN in (one.ingest, one.scan, one.quality)]
    if idle:
        waits.append(f"not made yet: {', '.join(idle)}: `countersign repro`")
    return waits


def _policy_waits(params: dict[str, Any], policies: Policies | CountersignError) -> list[str]:
    if isinstance(policies, CountersignError):
        problems = policies.problems if isinstance(policies, Problems) else (policies,)
        more = (
            [f"and {len(problems) - SHOWN} more mistakes in policies/"]
            if len(problems) > SHOWN
            else []
        )
        return [*(f"mend {problem}" for problem in problems[:SHOWN]), *more]
    waits = []
    for name, _ in _rows(params, "datasets"):
        card = policies.datacards.get(name)
        if card is None:
            waits.append(
                f"policies/datacards/{name}.yaml: write it; without a datacard nothing trains on"
                f" {name}"
            )
        elif card.blanks():
            waits.append(f"policies/datacards/{name}.yaml: fill in {', '.join(card.blanks())}")
    unknown = [name for name, _ in _rows(params, "bases") if name not in policies.bases]
    return waits + [
        f"base {name} is not allowed by policy: `countersign allow-base {name}`" for name in unknown
    ]


def _live_waits(live: Sequence[Live], requests: Sequence[dict[str, Json]]) -> list[str]:
    """What serves users and should not go on like that; then what people asked for."""
    waits = []
    for one in live:
        name = f"{one.model}@{one.alias} ({one.model}/{one.version})"
        if one.incident:
            back = f"rollback {one.model} --alias {one.alias} --reason ..."
            close = f"incident close {one.model}/{one.version} --reason ..., when it is mended"
            how = close if one.alias == CANDIDATE else back
            waits.append(f"{name}: incident open: {one.incident}: `countersign {how}`")
        waits += [
            f"{name}: {problem}: `countersign waive`, or mend it and release anew"
            for problem in one.expired
        ]
        if one.second_signature_overdue:
            since = one.second_signature_overdue
            how = f"countersign approve promotion {one.request[:12]}"
            waits.append(f"{name}: a second signature is due since {since}: `{how}`")
        if one.back_failed:
            waits.append(f"{name}: the way back {one.back_tried}: `countersign drill {one.model}`")
    for ask in requests:
        what = f"{ask['model']}/{ask['version']} as {ask['alias']}"
        how = f"countersign {ask['action']} {ask['model']}" + (
            " --reason ..." if ask["action"] == "rollback" else f"/{ask['version']}"
        )
        until = ask["expires"]
        waits.append(
            f"{ask['by']} asks to {ask['action']} {what}, until {until}: `{how} --dry-run` shows"
            " what lacks"
        )
    return waits


def _version_waits(
    params: dict[str, Any],
    policies: Policies | CountersignError,
    versions: Sequence[VersionState],
    released: set[tuple[str, str]],
) -> list[str]:
    release = params.get(
        "release", {"model": versions[-1].model} if versions and not params else None
    )
    name = release.get("model") if isinstance(release, dict) else None
    if not params and name is None:
        return []
    mine = [version for version in versions if version.model == name]
    if not mine:
        return [f"no version of {name} is registered yet: `countersign repro`"]
    tier = policies.tier_of(str(name)) if isinstance(policies, Policies) else None
    last = mine[-1]
    if not tier or not tier.approvals or (last.model, last.version) in released:
        return []
    return [
        f"{name}/{last.version} needs approval by {tier.approvals} people in different roles before"
        f" any governed alias: `countersign promote {name}/{last.version} --dry-run` shows whose"
    ]
