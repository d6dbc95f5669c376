"""What dvc.lock says of everything that a model depends on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from governance.attest.predicates import DvcState, Registration
from governance.base.errors import ConfigError
from pipelines import dvc_lock
from tests.project import Project
from tests.project import small as small  # fixture


def out(path: str, digit: str) -> dict[str, Any]:
    return {"path": path, "hash": "md5", "md5": digit * 32, "size": 1}


STAGES: dict[str, Any] = {
    "ingest@a": {"deps": [out("own.jsonl", "0")], "outs": [out("data/ingested/a", "1")]},
    "train@a": {
        "deps": [out("data/ingested/a/records", "2"), out("policies", "3")],
        "outs": [out("models/a", "4")],
    },
    "train@b": {"deps": [out("other.jsonl", "5")], "outs": [out("models/b", "6")]},
}


def write(root: Path, stages: Any) -> None:
    (root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))


def behind(root: Path) -> DvcState | None:
    return dvc_lock.behind(root, [Path("models/a")])


def test_everything_behind_an_output_is_found_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, STAGES)
    state = behind(tmp_path)
    assert state is not None
    assert {found.path: (found.md5[0], found.stage) for found in state.objects} == {
        "data/ingested/a": ("1", "ingest@a"),
        "models/a": ("4", "train@a"),
        "own.jsonl": ("0", ""),
        "policies": ("3", ""),
    }


def test_the_digest_is_of_what_the_model_depends_on(tmp_path: Path) -> None:
    write(tmp_path, STAGES)
    first = behind(tmp_path)
    write(tmp_path, {**STAGES, "train@b": {}, "report": {"outs": [out("x", "7")]}})
    other = behind(tmp_path)
    changed = {**STAGES["ingest@a"], "params": {"params.yaml": {"seed": 1}}}
    write(tmp_path, {**STAGES, "ingest@a": changed})
    third = behind(tmp_path)
    assert first and other and third
    assert first == other and first.lock != third.lock and first.objects == third.objects


@pytest.mark.parametrize(
    "stages",
    [
        {},
        [],
        None,
        {"train@a": 3},
        {"train@a": {"outs": 3}},
        {"train@a": {"outs": [3, {"path": "models/a"}]}},
        {"train@a": {"outs": [{"path": "models/a", "md5": "../../etc/passwd"}]}},
        {"train@a": {"outs": [{"path": 3, "md5": "0" * 32}]}},
    ],
)
def test_what_has_no_id_of_dvc_is_not_known(tmp_path: Path, stages: Any) -> None:
    write(tmp_path, stages)
    assert behind(tmp_path) is None


def test_a_circle_ends(tmp_path: Path) -> None:
    circle = {"outs": [out("models/a", "1")], "deps": [out("models/a/x", "2")]}
    write(tmp_path, {"train@a": circle})
    state = behind(tmp_path)
    assert state and [found.path for found in state.objects] == ["models/a"]


def test_a_file_that_is_no_yaml_is_an_error(tmp_path: Path) -> None:
    assert behind(tmp_path) is None
    (tmp_path / "dvc.lock").write_text("{")
    with pytest.raises(ConfigError, match=r"dvc\.lock"):
        behind(tmp_path)


@pytest.mark.slow
def test_a_registration_names_the_objects_of_its_data_and_models(small: Project) -> None:
    (registered,) = [item.predicate for item in small.evidence("registration")]
    assert isinstance(registered, Registration) and registered.dvc is not None
    stages = {found.path: found.stage for found in registered.dvc.objects}
    assert stages["models/sft"] == "train@sft" and stages["models/tiny"] == "import_base@tiny"
    assert stages["data/ready/desk_sft"] == "check_quality@desk_sft"
    assert stages["data/source/desk_eval.jsonl"] == "sample@desk_eval"
    assert stages["policies"] == ""
    now = dvc_lock.behind(small.root, [Path("models/sft"), Path("evaluations/sft")])
    assert now == registered.dvc  # committed later, dvc.lock still says the same
