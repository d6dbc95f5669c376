"""What would refuse a run, found before anything runs. Each stage repeats its own checks when it
runs.

1. Mistakes in parameters and policies, code or engines that are not locked, the signer and its
   rights, the registry's account, and an empty log beside results: errors.
2. What policy says against data, objectives, bases and thresholds as they are declared: findings of
   the gate's own checks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path

from governance.attest.findings import finding
from governance.attest.predicates import CANDIDATE, BaseImport, Finding
from governance.attest.requests import refusal
from governance.base.errors import ConfigError, CountersignError, Problems, RefusedError
from governance.gates.checks.models import missing_row
from governance.gates.decisions import declared, declared_generation
from governance.gates.leaks import NOT_TRAINED_ON_TEXT
from governance.history.state import state
from governance.log.http_client import is_server
from governance.machine.machine import known_signer, log_of, on_server
from governance.people import authorizing
from governance.policy.authority import read_authority
from governance.policy.policies import Policies
from governance.policy.speakers import OWN_ACCOUNT
from governance.registry.rest import RegistryServer
from pipelines import dvc_lock, lock
from pipelines.families import all_families, family, mistakes_of, names
from pipelines.generation import deciding
from pipelines.params import Params
from pipelines.project import Project
from pipelines.provenance import evidence_view
from pipelines.stages.gate import declared_request
from pipelines.training import engines, launch, vllm
from pipelines.training.objective import uses_scorer

PRINCIPALS = "policies/policy.yaml: principals"


def parameters(project: Project) -> list[CountersignError]:
    """(1) All mistakes in parameters and policies, and of a configured signer that does not exist
    or is unknown to policies.
    """
    families = all_families().values()
    wrong = [mistake for family in families for mistake in family.mistakes(project)]
    if project.machine.signer_uri is not None:
        wrong += mistakes_of(partial(known_signer, project.machine, project.policies.keys))
    return wrong


def require(mistakes: list[CountersignError]) -> None:
    """Raises the mistake, or `Problems` with all mistakes."""
    if mistakes:
        raise mistakes[0] if len(mistakes) == 1 else Problems(mistakes)


def locked(project: Project, stages: Iterable[str]) -> list[CountersignError]:
    """(1) That the code and engines installed for these stages are those of the lock."""
    names = dict.fromkeys(stage.partition("@")[0] for stage in stages)
    error = lock.mistake(project.root, list(names))
    return [error] if error else []


def trainings(
    project: Project, stages: Iterable[str], running: Callable[[], Collection[str]]
) -> list[CountersignError]:
    """(1) That the machine has what only some objectives use: optional engines, a launcher for
    several processes, and the address of a vLLM server. `running`: see `rights`.
    """
    wrong: dict[str, list[ConfigError]] = {}
    for key in keys_of("train", stages):
        row, where = project.params.stages[key], f"params.yaml: stages.{key}"
        names = engines.used(row.lora.model_dump() if row.lora else None, row.trainer)
        wrong[f"train@{key}"] = [
            *engines.missing(names, where),
            *launch.missing(row.processes, where, project.machine.environ),
            *vllm.missing(row.trainer, where, project.machine.environ),
        ]
    runs = running() if any(wrong.values()) else ()
    return [mistake for stage, mistakes in wrong.items() if stage in runs for mistake in mistakes]


def rights(project: Project, running: Callable[[], Collection[str]]) -> list[CountersignError]:
    """(1) Whether the key that signs here may sign every statement of the stages that will surely
    run: under the policies at hand, and under those in force in the log. `running` finds these
    stages; it is asked only if there is a kind of statement that the key may not sign.
    """
    signer = known_signer(project.machine, project.policies.keys)
    development = project.machine.signer_uri is None
    kinds = {name: declared.signs for name, declared in all_families().items()}
    for where, policies in _policies(project):
        refused = {
            kind
            for kind in chain.from_iterable(kinds.values())
            if not policies.may_sign(kind, signer.keyid, development, 0)
        }
        stages = running() if refused else ()
        missing = {kind for stage in stages for kind in kinds[stage.partition("@")[0]]} & refused
        if missing:
            return [no_right(signer.keyid, sorted(missing), where)]
    return []


def _policies(project: Project) -> Iterator[tuple[str, Policies]]:
    yield PRINCIPALS, project.policies
    log = log_of(project.machine)
    in_force = read_authority(log).in_force.policies if log.size() else None
    if in_force is not None:
        yield "the policies in force in the log", in_force


def no_right(keyid: str, kinds: list[str], where: str) -> ConfigError:
    """The error for a key that may not sign these kinds under the policies in `where`."""
    return ConfigError(
        f"the key that signs here ({keyid[:16]}) may not sign: {', '.join(kinds)}",
        where=where,
        expected="each of them in `signs` of the key's principal",
        fix="propose it (`countersign policy propose`), or set another COUNTERSIGN_SIGNER",
    )


def evidence(project: Project) -> list[CountersignError]:
    """(1) Whether DVC has made stages already but the log is empty, so that nothing here counts."""
    log = log_of(project.machine)
    stages = [] if log.size() else _made(project.root)
    if not stages:
        return []
    subject = f"project {project.machine.project}"
    message = f"outputs of {len(stages)} stages are here, but the log is empty"
    expected = f"a log with statements by {', '.join(stages)}"
    step = (
        "use the log that has their evidence (COUNTERSIGN_HOME or COUNTERSIGN_LOG), "
        "or run all stages again: countersign repro --force"
    )
    found, code = f"an empty log, {log.where}", "EVIDENCE_MISSING"
    missing = finding(code, subject, message, expected=expected, found=found, next=step)
    return [RefusedError(refusal("repro", (missing,)))]


def registry(project: Project, stages: Collection[str]) -> list[CountersignError]:
    """(1) Whether the registry's server can be reached, knows the account and lets it write what
    the run will write: runs in the project's experiment, and a version of the model. The run would
    fail after its first training, or at its end.
    """
    uri = project.machine.registry_uri
    families = {stage.partition("@")[0] for stage in stages}
    if not is_server(uri) or not any(family(name).writes_runs for name in families):
        return []
    server = RegistryServer(uri, project.machine.environ)
    if unknown := mistakes_of(server.check_account):
        return unknown
    experiment = project.machine.project
    return [
        mistake
        for model in keys_of("register", stages) or [""]
        for mistake in mistakes_of(partial(server.check_may_write, experiment, model))
    ]


def account(project: Project, stages: Collection[str]) -> list[CountersignError]:
    """(1) Whether the server takes the statements of these stages from the account: some only from
    the one that is named like the service whose key signs.
    """
    log = log_of(project.machine)
    if not on_server(project.machine) or project.machine.signer_uri is None or not log.size():
        return []
    signed = {kind for stage in stages for kind in family(stage.partition("@")[0]).signs}
    keyid = known_signer(project.machine, project.policies.keys).keyid
    service = read_authority(log).principal(keyid, log.size())
    name = project.machine.environ.get("COUNTERSIGN_USER", "")
    if service is None or service.name == name or signed.isdisjoint({*OWN_ACCOUNT, CANDIDATE}):
        return []
    return [
        ConfigError(
            f"the server takes what {service.name} signs from no other account",
            where=f"COUNTERSIGN_USER={name}",
            expected=service.name,
            fix="set COUNTERSIGN_USER and COUNTERSIGN_PASSWORD to that account (docs/registry.md)",
        )
    ]


def unauthorized_note(project: Project, at: datetime) -> str:
    """A note if people decide about aliases and nobody has authorized the run; else empty."""
    log = log_of(project.machine)
    if not log.size():
        return ""
    policies = read_authority(log).in_force.policies
    if policies is None or not policies.rules.aliases:
        return ""
    requester = authorizing.on_behalf(project.machine, log, at).requester
    if requester.authenticated:
        return ""
    return (
        f"note: {requester.name} has not authorized this run, so its results can become candidate"
        " only; next: run `countersign authorize` and set COUNTERSIGN_REQUESTER"
    )


def findings(project: Project, stages: Collection[str], at: datetime) -> list[Finding]:
    """(2) What the gates of the training stages among `stages` would find in what is declared. A
    finding of which the log has a waiver is left to the gate itself.
    """
    params = project.params
    found = [
        *(
            (reason, params.released_from(key))
            for key in keys_of("train", stages)
            for reason in declared(declared_request(params, key), project.policies, at)
        ),
        *(
            (reason, params.released_with(key))
            for key in keys_of("generate", stages)
            for reason in declared_generation(
                deciding.declared_request(params, project.policies, key), project.policies, at
            )
        ),
        *((reason, [*params.releases]) for reason in _bases(project, stages)),
        *((reason, [*params.releases]) for reason in _thresholds(project, stages)),
        *((reason, [*params.releases]) for reason in _probes(project, stages)),
        *((reason, [*params.releases]) for reason in _imports(project, stages)),
        *((reason, [*params.releases]) for reason in optimised_for(params, stages)),
    ]
    log = log_of(project.machine)
    waivers = state(log).timeline.waivers if found and log.size() else {}
    left = [
        reason
        for reason, models in found
        if not any((model, reason.code, reason.subject) in waivers for model in models)
    ]
    return [reason for number, reason in enumerate(left) if reason not in left[:number]]


def keys_of(family: str, stages: Iterable[str]) -> list[str]:
    """The keys of a family among stages."""
    return [stage.partition("@")[2] for stage in stages if stage.partition("@")[0] == family]


def _bases(project: Project, stages: Collection[str]) -> Iterator[Finding]:
    """Bases that nobody has allowed. The gate compares their bytes: a base whose import is in the
    log with allowed bytes is left to it, whatever it is called.
    """
    allowed = project.policies.bases
    sources = {base.source for base in allowed.values()}
    digests = {base.digest for base in allowed.values()}
    released = {name for _, name in _released_bases(project, stages)}
    is_built_on = bool(keys_of("train", stages))
    reached = [name for name in keys_of("import_base", stages) if is_built_on or name in released]
    for name in reached:
        row = project.params.bases[name]
        source = row.source
        if row.is_own_version:
            continue  # its whole chain is judged, by its gate
        known = name in allowed or source in sources
        if not known and _imported(project, name, source) not in digests:
            expected = "an entry in policies/bases.yaml"
            yield finding("BASE_NOT_ALLOWED", f"base {name}", expected=expected, found=source)


def _released_bases(project: Project, stages: Collection[str]) -> list[tuple[str, str]]:
    """Registered models that were trained elsewhere, with the names of their bases."""
    rows = [(key, project.params.releases[key].stage) for key in keys_of("register", stages)]
    return [(model, name) for model, name in rows if name in project.params.bases]


def _imports(project: Project, stages: Collection[str]) -> Iterator[Finding]:
    """Released models that were trained elsewhere, where the tier permits none, or nothing is
    declared. The release compares the declaration with the bytes.
    """
    for model, name in _released_bases(project, stages):
        tier = project.policies.tier_of(model)
        if tier is not None and not tier.imported:
            found = {"expected": "a model that was trained here", "found": "trained elsewhere"}
            tier_name = project.policies.rules.models[model].tier
            yield finding("IMPORT_NOT_ALLOWED", f"model {name}", tier=tier_name, **found)
        if name not in project.policies.imports:
            expected = f"policies/imports/{name}.yaml"
            yield finding("IMPORT_NOT_DECLARED", f"model {name}", expected=expected, found="none")


def _imported(project: Project, name: str, source: str) -> str | None:
    """Digest of a base, as the log says that it was imported last from this source."""
    log = log_of(project.machine)
    if not log.size():
        return None
    view = evidence_view(log, project.policies, read_authority(log)).signed_under(project.policies)
    digests = [
        statement.subjects[0].sha256
        for statement in view.all(BaseImport)
        if (statement.predicate.stage, statement.predicate.source)
        == (f"import_base@{name}", source)
    ]
    return digests[-1] if digests else None


def _thresholds(project: Project, stages: Collection[str]) -> Iterator[Finding]:
    """Models that another stage builds on, or that are released, for which policy says nothing, or
    that no row evaluates on a suite that policy requires of them.
    """
    params, evaluation = project.params, project.policies.evaluation
    released = {name for _, name in _released_bases(project, stages)}
    for name, models in _judged(params, stages).items():
        if name in params.bases and params.bases[name].is_own_version:
            continue  # the log says by which method it was trained
        outside = "imported" if name in released else "base"
        method = outside if name in params.bases else params.stages[name].method
        own, further = params.suite_of(name), params.further(name).values()
        required = [suite for model in models for suite in evaluation.required_of(model)]
        for suite in dict.fromkeys([own, *required]):
            released_as = next((m for m in models if params.releases[m].stage == name), None)
            demands = evaluation.demands(suite, method, name, released_as)
            subject = f"model {name}" if suite == own else f"model {name} on {suite}"
            fields = {"name": name, "suite": suite, "method": method}
            if demands is None:
                expected = "thresholds, or `none: <reason>`"
                yield finding(
                    "THRESHOLDS_MISSING", subject, expected=expected, found="nothing", **fields
                )
            elif demands.none is None and suite not in (own, *further):
                yield finding(
                    "EVIDENCE_MISSING",
                    subject,
                    f"policy requires an evaluation of {name} on {suite}, and no row makes it",
                    expected=f"a row with model {name} and suite {suite}",
                    found="none",
                    next=missing_row(name, suite),
                )


def _probes(project: Project, stages: Collection[str]) -> Iterator[Finding]:
    """Trainings that policy wants probed for leaks, and that no row probes."""
    params, limits = project.params, project.policies.evaluation.leaks
    if limits is None:
        return
    rows = {(row.model, row.data, row.parent) for row in params.leak_probes.values()}
    for name, models in _judged(params, stages).items():
        stage = params.stages.get(name)
        if stage is None or stage.method in NOT_TRAINED_ON_TEXT:
            continue
        if {*models} & {*limits.required_of} and (name, stage.data, stage.parent) not in rows:
            expected = f"a row with model {name}, data {stage.data} and parent {stage.parent}"
            subject = f"model {name}"
            yield finding("LEAKS_NOT_MEASURED", subject, expected=expected, found="none")


def optimised_for(params: Params, stages: Collection[str]) -> Iterator[Finding]:
    """Rows of `judged` whose judge is the reward model of the model, or of one before it."""
    for key in keys_of("evaluate_judged", stages):
        row = params.judged[key]
        judge, name = params.judges[row.judge], row.model
        while judge.endpoint is None and (stage := params.stages.get(name)) is not None:
            if uses_scorer(stage) and stage.scorer == judge.judge:
                yield finding(
                    "JUDGE_OPTIMISED_FOR",
                    f"model {row.model} on {row.suite}",
                    expected="another judge",
                    found=f"reward model of {name}",
                    judged=key,
                )
                break
            name = stage.parent


def _judged(params: Params, stages: Collection[str]) -> dict[str, list[str]]:
    """Each model that another stage builds on, or that is released, with the registered models
    whose policy judges it.
    """
    found: dict[str, list[str]] = {}
    for key in keys_of("train", stages):
        row, models = params.stages[key], params.released_from(key)
        for name in (row.parent, *([row.scorer] if uses_scorer(row) else [])):
            found.setdefault(name, []).extend(models)
    for key in keys_of("register", stages):
        found.setdefault(params.releases[key].stage, []).append(key)
    return found


def _made(root: Path) -> list[str]:
    """The stages that leave evidence, count as made for DVC and have an output here."""
    return [
        name
        for name, stage in dvc_lock.read(root).items()
        if _leaves_evidence(name.partition("@")[0])
        and any((root / str(out["path"])).exists() for out in dvc_lock.items(stage, "outs"))
    ]


def _leaves_evidence(name: str) -> bool:
    return name in names() and family(name).evidence is not None
