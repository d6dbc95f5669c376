"""A model that learnt canaries by heart gives them away; one that never saw them does not."""

from __future__ import annotations

import json
import random
from math import log2
from pathlib import Path
from typing import Any

import pytest

from governance.attest.predicates import LeakProbe, Train
from governance.attest.predicates.leaks import CanaryFigures, Membership
from governance.base.errors import InputError
from governance.gates.leaks import exposures, judge
from governance.policy.evaluation import LeakLimits
from pipelines import paths
from pipelines.leaks import canaries
from pipelines.params import CanarySettings, Params
from pipelines.record_ids import load_key
from pipelines.stages import probe_leaks
from pipelines.stages.import_base import take_architecture
from pipelines.training.fit import fit
from pipelines.training.modelfolder import write_json
from pipelines.training.release import release_model
from tests.pipelines.jobs import job
from tests.pipelines.tables import said, table, write_records
from tests.pipelines.tiny import ARCHITECTURE, objective, plan, silent
from tests.project import PARAMS

SETTINGS = CanarySettings(count=3, repetitions=8)
WORDS = [
    "network",
    "hardware",
    "billing",
    "shipping",
    "software",
    "repair",
    "printer",
    "camera",
    "phone",
    "router",
]
RECORDS = 60
SHAPE = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of texts with models: `base` saw half of them and the canaries many times; `clean`
    saw other texts of the same source.
    """
    root = tmp_path_factory.mktemp("leaks")
    trained = set(random.Random(4).sample(range(RECORDS), RECORDS // 2))
    splits = ["train" if at in trained else "test" for at in range(RECORDS)]
    _write(root / paths.ready("desk_sft") / "records", 0, splits)
    _write(root / "others", RECORDS, ["train"] * RECORDS)
    bare = root / paths.model("tiny")
    bare.mkdir(parents=True)
    write_json(bare / "architecture.json", {**ARCHITECTURE, **SHAPE})
    (bare / "model").mkdir()
    take_architecture(bare / "architecture.json", bare / "model")
    planted = root / "planted"
    canaries.write(planted, load_key(root, _params().records), "base", SETTINGS, *TEXTS)
    _train(root, "base", root / paths.ready("desk_sft") / "records", planted, max_steps=125)
    _train(root, "clean", root / "others", None, max_steps=25)
    return root


def _write(folder: Path, first: int, splits: list[str]) -> None:
    """Texts of one source, from this number on."""
    rows = [
        {
            "id": f"{first + at:032x}",
            "split": split,
            "messages": said(("assistant", _text(first + at))),
        }
        for at, split in enumerate(splits)
    ]
    write_records(folder, table("conversation", *rows), "conversation")


TEXTS = ("pretrain", "conversation")


def _text(at: int) -> str:
    return f"Ticket {at * 7919 % 1000}: {WORDS[at % 10]} and {WORDS[at // 10 % 10]} {at * 31 % 97}."


def _train(root: Path, name: str, data: Path, planted: Path | None, **trainer: Any) -> None:
    settings = {"per_device_train_batch_size": 16, "learning_rate": 1e-2, **trainer}
    bare = root / paths.model("tiny") / "model"
    made = plan(root / "work" / name, objective("pretrain", **settings), bare, data)
    fit(made.model_copy(update={"planted": planted}), silent)
    target = root / paths.model(name) / "model"
    target.parent.mkdir(parents=True)
    release_model(made.work / "trained", bare, "language", lora=False, target=target)


def _params(*, planted: bool = True, **trainer: Any) -> Params:
    stage = {**PARAMS["stages"]["base"], "trainer": trainer}
    stage |= {"canaries": SETTINGS.model_dump()} if planted else {}
    clean = {**stage, "seed": 7}
    row = {"data": "desk_sft", "parent": "tiny", "records": 30, "candidates": 127}
    splits = {"splits": {"train": 0.5, "test": 0.5}}
    data = {**PARAMS["datasets"], "desk_sft": {**PARAMS["datasets"]["desk_sft"], **splits}}
    return Params.model_validate(
        {
            **PARAMS,
            "datasets": data,
            "stages": {"base": stage, "clean": clean},
            "leak_probes": {
                "base_leaks": {"model": "base", **row},
                "clean_leaks": {"model": "clean", **row},
            },
            "releases": {"support-desk": {"stage": "base"}},
        }
    )


def _probe(project: Path, made: Path, name: str, params: Params | None = None) -> dict[str, Any]:
    given = job(probe_leaks, "probe_leaks", f"{name}_leaks", project, made, params or _params())
    return probe_leaks.run(given).predicate


@pytest.mark.slow
def test_a_model_that_learnt_them_by_heart_gives_them_away(project: Path, tmp_path: Path) -> None:
    found = _probe(project, tmp_path, "base")
    figures, inferred = found["canaries"], found["membership"]
    assert isinstance(figures, CanaryFigures) and isinstance(inferred, Membership)
    assert figures.extracted >= 1 and figures.ranks == [1] * 3
    assert exposures(figures) == [log2(128)] * 3
    assert (inferred.members, inferred.non_members) == (30, 30) and inferred.auc > 0.9
    assert {leak.measure for leak in _beyond(found)} == {"exposure", "extracted", "auc"}
    lines = (tmp_path / "evaluations/base/base_leaks/leaks.jsonl").read_text().splitlines()
    assert [json.loads(line)["rank"] for line in lines[:3]] == [1] * 3 and len(lines) == 63
    secrets = [one.secret for one in canaries.canaries(_key(project), "base", 3)]
    assert not any(secret in line for secret in secrets for line in [*lines, str(found)])
    assert _probe(project, tmp_path / "again", "base") == found


@pytest.mark.slow
def test_a_model_that_never_saw_them_does_not(project: Path, tmp_path: Path) -> None:
    found = _probe(project, tmp_path, "clean")
    assert found["canaries"].extracted == 0 and max(exposures(found["canaries"])) < 6
    assert 0.3 < found["membership"].auc < 0.75
    assert found["referenced"] is False and found["not_measured"] == {}
    assert _beyond(found) == []


@pytest.mark.slow
def test_what_cannot_be_measured_says_why(project: Path, tmp_path: Path) -> None:
    params = _params(planted=False)
    datasets = {**params.datasets}
    datasets["desk_sft"] = params.datasets["desk_eval"].model_copy(
        update={"kind": "conversation", "splits": type(params.datasets["desk_sft"].splits)()}
    )
    whole = params.model_copy(update={"datasets": datasets})
    row = params.leak_probes["clean_leaks"].model_copy(update={"records": 2})
    whole = whole.model_copy(update={"leak_probes": {**whole.leak_probes, "clean_leaks": row}})
    found = _probe(project, tmp_path, "clean", whole)
    assert found["not_measured"] == {"canaries": "NO_CANARIES"}
    with pytest.raises(InputError, match="max_length"):
        _probe(project, tmp_path / "cut", "base", _params(max_length=12))


def _key(project: Path) -> Any:
    return load_key(project, _params().records)


def _beyond(found: dict[str, Any]) -> list[Any]:
    """What is beyond limits of policy."""
    limits = LeakLimits(exposure=6.5, extracted=0, canaries=3, repetitions=8, auc=0.85, records=20)
    planted = found["canaries"].planted
    probe = LeakProbe.model_construct(**found)
    training = Train.model_construct(canaries=planted)
    return [leak for leak in judge(probe, training, limits, 0.95) if not leak.passed]
