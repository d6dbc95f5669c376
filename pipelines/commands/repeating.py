"""A training that is to be repeated: what the log says of it, and that the project still has it.

1. The model in the project determines the training: the one in the log that made exactly these
   bytes.
2. Inputs and objective must be those of that statement.
3. Only one repeat of a stage runs at a time. It writes to a temporary folder; the registry shows
   no run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from governance.attest import digests
from governance.attest.predicates import Artifact, Train
from governance.base.errors import ConfigError, InputError, VerificationError, unknown
from governance.base.progress import Progress
from governance.history.lineage import ModelNode, model_node
from governance.history.lineage import inputs as inputs_of
from governance.log.evidence import Evidence
from governance.log.port import Log
from governance.machine.machine import known_signer, open_log
from governance.people import authorizing
from governance.policy.authority import read_authority
from pipelines import lock, paths
from pipelines.harness import StageRun, work_folder
from pipelines.plan.checks import PRINCIPALS, no_right
from pipelines.process import exclusive
from pipelines.project import Project, utc_now
from pipelines.provenance import evidence_view
from pipelines.reading import require_inputs
from pipelines.training import objective
from pipelines.training.objective import Objective

CHECK_OUT = "check out the commit that trained it"


@dataclass(frozen=True)
class Repeat:
    """A training, ready to be repeated."""

    name: str
    """Of the work, e.g. `reproduce@sft`."""
    run: StageRun
    node: ModelNode
    """The model that it made."""
    first: Evidence[Train]
    inputs: dict[str, Artifact]
    objective: Objective

    @property
    def project(self) -> Project:
        """The project."""
        return self.run.project

    @property
    def model(self) -> Artifact:
        """The model that the first training made."""
        return next(subject for subject in self.first.subjects if subject.role == "model")

    def log(self) -> Log:
        """The log as it is now: its keys may have changed since."""
        return open_log(self.project.machine, self.project.policies, utc_now)

    def require_same_model(self) -> None:
        """Raises `VerificationError` if the recorded model changed meanwhile."""
        path, expected = paths.model(self.run.key) / "model", self.model.sha256
        digest = digests.tree_digest(self.project.root / path)
        if digest != expected:
            found = f"the model changed while its training was repeated: {digest[:12]}"
            fix = "nothing was recorded; run this again"
            raise VerificationError(found, where=str(path), expected=expected[:12], fix=fix)


@contextmanager
def repeating(key: str, project: Project, kind: str) -> Iterator[Repeat]:
    """The training of stage `key`, of which a statement of `kind` will be recorded.

    Raises `InputError` if model or inputs differ from the log, `ConfigError` if params.yaml or
    policies do, `BusyError` while another run repeats the stage.
    """
    if key in project.params.bases:
        found = f"{key} was not trained here, so its training cannot be repeated"
        raise InputError(found, where=f"params.yaml: bases.{key}", expected="a training stage")
    if key not in project.params.stages:
        raise unknown("training stage", key, project.params.stages, "params.yaml: stages")
    name = f"reproduce@{key}"
    with exclusive(work_folder(project) / f"{name}.lock", name):
        lock.check(project.root, "train")
        require_right(project, kind)
        log = open_log(project.machine, project.policies, utc_now)
        requester = authorizing.on_behalf(project.machine, log, utc_now())
        project = replace(project, machine=requester)
        node, first = recorded_training(project, key, log)
        run = StageRun.of("train", key, project, utc_now, Progress())
        inputs = recorded_inputs(run, first)
        require_inputs(project, name, inputs.values(), lambda: log, utc_now())
        yield Repeat(name, run, node, first, inputs, recorded_objective(project, key, first))


def require_right(project: Project, kind: str) -> None:
    """Raises `ConfigError` if the key in use may not sign this kind, before hours of work."""
    signer, policies = known_signer(project.machine, project.policies.keys), project.policies
    if not policies.may_sign(kind, signer.keyid, project.machine.signer_uri is None, 0):
        raise no_right(signer.keyid, [kind], PRINCIPALS)


def recorded_training(project: Project, key: str, log: Log) -> tuple[ModelNode, Evidence[Train]]:
    """(1) The model, and its recorded training. Raises `InputError` if the model is missing or the
    log has no such training.
    """
    path = paths.model(key) / "model"
    if not (project.root / path).is_dir():
        found, fix = (
            "there is no model to compare the new one with",
            f"countersign repro train@{key}",
        )
        raise InputError(found, where=str(path), fix=fix)
    digest = digests.tree_digest(project.root / path)
    evidence = evidence_view(log, project.policies, read_authority(log))
    node = model_node(evidence.signed_under(project.policies), digest)
    if node.train is None or node.train.predicate.stage != f"train@{key}":
        found = f"the log has no training of train@{key} with this model ({digest[:12]})"
        fix = f"`dvc checkout {path}`, or train it again: countersign repro --force train@{key}"
        raise InputError(found, where=str(path), expected="the recorded model", fix=fix)
    return node, node.train


def recorded_inputs(run: StageRun, first: Evidence[Train]) -> dict[str, Artifact]:
    """(2) The inputs as recorded. Raises `InputError` with those that changed."""
    artifacts, recorded = run.hash_inputs(), inputs_of(first)
    digests = {role: artifact.sha256 for role, artifact in artifacts.items()}
    changed = sorted(
        role for role in recorded.keys() | digests.keys() if recorded.get(role) != digests.get(role)
    )
    if changed:
        raise InputError(
            f"the inputs changed since {run.name} was recorded: {_listed(changed, digests)}",
            expected=f"{_listed(changed, recorded)} (entry {first.index})",
            where=", ".join(artifacts[role].name for role in changed if role in artifacts),
            fix=f"{CHECK_OUT}, or train from these inputs: `countersign repro {run.name}`",
        )
    return artifacts


def _listed(roles: list[str], digests: dict[str, str]) -> str:
    return ", ".join(f"{role} {digests.get(role, 'none')[:12]}" for role in roles)


def recorded_objective(project: Project, key: str, first: Evidence[Train]) -> Objective:
    """The objective as recorded. Raises `ConfigError` if params.yaml or a reward function
    changed.
    """
    resolved, recorded = objective.resolve(project.params, key), first.predicate.objective
    if resolved.digest != recorded:
        raise ConfigError(
            f"the objective in params.yaml is not the recorded one: {resolved.digest[:12]}",
            where=f"params.yaml: stages.{key}",
            expected=f"{recorded[:12]} (entry {first.index})",
            fix=f"{CHECK_OUT}, or train with this one: `countersign repro train@{key}`",
        )
    return resolved
