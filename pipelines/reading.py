"""What a stage reads, as the datasets and models of the policy; and whether the key that signs here
may read it.

1. A file below `data/` is of the dataset whose stage wrote it; a source, of each dataset that names
   it in params.yaml. A file below `models/` or `evaluations/` is of the models that are released
   from its stage, here or by the log; else of the stage itself. A base is its own name, too. Bytes
   that the log knows are what it says, too, whatever they are called here.
2. Stages record no `read`: their own evidence names the digests that they read, and their signer.
3. A gate and a report read digests only, and need no right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from governance.attest.predicates import Artifact, Finding
from governance.history.contents import Contents
from governance.history.state import LogState, state
from governance.log.port import Log
from governance.machine.machine import known_signer, log_of
from governance.policy.readers import Content
from governance.release.reading import Rights, Wanted, findings, named, refused, require
from pipelines.families import family
from pipelines.params import Params
from pipelines.project import Project

DATA, MODELS = "data", ("models", "evaluations")


def contents_of(params: Params, path: Path, now: LogState | None) -> frozenset[Content]:
    """(1) What a file of the project is the content of; empty for other files, e.g. of gates."""
    parts = path.parts
    sources = [Path(row.source) for row in params.datasets.values()]
    if path in sources:
        rows = params.datasets.items()
        names = [name for name, row in rows if Path(row.source) == path]
        return frozenset(Content("dataset", name) for name in names)
    if len(parts) > 2 and parts[0] == DATA:
        return frozenset({Content("dataset", parts[2])})
    if len(parts) > 1 and parts[0] in MODELS:
        return contents_of_model(params, parts[1], now)
    return frozenset()


def contents_of_model(params: Params, name: str, now: LogState | None) -> frozenset[Content]:
    """(1) The models that a stage or base is, by params.yaml and by the log."""
    rows = params.releases.items()
    here = frozenset(Content("model", model) for model, row in rows if row.stage == name)
    own = frozenset({Content("model", name)})
    logged = Contents(now.view).of_stage(name) if now else own
    named = here | (logged - own) or own
    return named | own if name in params.bases else named


def require_inputs(
    project: Project,
    stage: str,
    artifacts: Iterable[Artifact],
    log: Callable[[], Log],
    at: datetime,
) -> None:
    """Raises `RefusedError` unless the key that signs here may read these inputs of a stage. `log`
    is opened only where one of them is of a dataset or model.
    """
    params = project.params
    governed = [each for each in artifacts if contents_of(params, Path(each.name), None)]
    if not governed:
        return
    now = state(log())
    rights = Rights(now.authority, project.policies)
    if not rights.restricted:
        return
    known = Contents(now.view)
    wanted = [
        Wanted(
            each.sha256, contents_of(params, Path(each.name), now) | known.of_digest(each.sha256)
        )
        for each in governed
    ]
    keyid = known_signer(project.machine, project.policies.keys).keyid
    require(rights, keyid, wanted, stage, at)


def missing_rights(project: Project, stages: Iterable[str], at: datetime) -> list[Finding]:
    """What the stages read and the key that signs here may not, before anything runs."""
    log = log_of(project.machine)
    now = state(log) if log.size() else None
    rights = Rights(now.authority if now else None, project.policies)
    if not rights.restricted:
        return []
    keyid = known_signer(project.machine, project.policies.keys).keyid
    contents = (each for stage in stages for each in _read_by(project.params, stage, now))
    wanted = [Wanted("", each) for each in contents]
    closed = refused(rights, lambda policies: rights.of_key(policies, keyid, at), wanted)
    return findings(rights, named(rights, keyid), closed)


def _read_by(params: Params, stage: str, now: LogState | None) -> Iterator[frozenset[Content]]:
    name, _, key = stage.partition("@")
    declared = family(name)
    if not declared.uses_digests_only:
        for read in declared.inputs(params, key):
            if contents := contents_of(params, read.path, now):
                yield contents
