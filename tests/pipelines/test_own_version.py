"""A registered version of the project is the base of another training (`pipelines.own_version`)."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance.attest.predicates import Registration
from governance.base.errors import InputError
from governance.history.chain import Chain
from governance.history.state import state
from governance.machine.machine import machine, read_log
from governance.release.serving import resolve
from pipelines.own_version import _require_usable, trained_by
from tests.governance.governed import Governed, governed
from tests.governance.story import tell_rewards
from tests.project import PROJECT, ROOT, Project

pytestmark = pytest.mark.slow
SOURCE = "models:/support-desk/1"


@pytest.fixture
def project(small: Project, tmp_path: Path) -> Project:
    """The small project, whose version 1 is a base beside the untrained one."""
    made = small.copy(tmp_path)
    _name(made, {"source": SOURCE})
    return made


def _name(project: Project, row: dict[str, str]) -> None:
    row = {"suite": "desk_eval", **row}
    project.edit("params.yaml", lambda params: params["bases"].update(ours=row))


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_version_becomes_a_base_with_the_bytes_that_were_registered(project: Project) -> None:
    done = project.countersign("stage", "import_base", "ours")
    assert done.code == 0, done.out
    models = project.root / "models"
    assert _files(models / "sft" / "model") == _files(models / "ours" / "model")


def _registered(project: Project, name: str) -> Path:
    (file,) = (project.home / PROJECT / "artifacts").glob(f"*/artifacts/model/model/{name}")
    file.parent.chmod(0o755)
    return file


def another_file(project: Project) -> None:
    """Somebody changed the registry's copy."""
    config = _registered(project, "config.json")
    config.chmod(0o644)
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")


def no_file(project: Project) -> None:
    _registered(project, "model.safetensors").unlink()


@pytest.mark.parametrize("spoil", [another_file, no_file])
def test_a_version_whose_files_are_others_is_no_base(
    project: Project, spoil: Callable[[Project], None]
) -> None:
    spoil(project)
    done = project.countersign("stage", "import_base", "ours")
    assert done.code == 5, done.out
    assert not (project.root / "models" / "ours").exists()


def opened(scene: Governed) -> None:
    scene.incident("1", "open")


def retired(scene: Governed) -> None:
    request = scene.request("1", action="retire", alias="retired", from_version=None)
    scene.approve("ben", "risk", request, "promotion")
    scene.consume("1", "retired", action="retire")


def retired_under_another_number(scene: Governed) -> None:
    scene.story.register("sft", "2")
    request = scene.request("2", action="retire", alias="retired", from_version=None)
    scene.approve("ben", "risk", request, "promotion")
    scene.consume("2", "retired", action="retire")


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (opened, "has an open incident"),
        (retired, "was retired"),
        (retired_under_another_number, "was retired"),
    ],
)
def test_what_is_under_incident_or_retired_is_no_base(
    spoil: Callable[[Governed], None], found: str, tmp_path: Path
) -> None:
    scene = governed(tmp_path)
    scene.released()
    _require_usable(now := state(scene.story.log), resolve(now, "support-desk/1"))
    spoil(scene)
    with pytest.raises(InputError, match=f"support-desk/1 {found}"):
        _require_usable(now := state(scene.story.log), resolve(now, "support-desk/1"))


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"source": "models:/support-desk@candidate"}, "no 'models:/support-desk@candidate' here"),
        ({"source": "models:/../1"}, "no 'models:/../1' here"),
        ({"source": SOURCE, "chat_template": "chat.jinja"}, "keeps its chat template"),
    ],
)
def test_what_names_no_version_for_good_is_refused_before_a_run(
    project: Project, row: dict[str, str], found: str
) -> None:
    _name(project, row)
    done = project.countersign("plan", "import_base@ours")
    assert done.code == 2 and found in done.out


def test_a_version_that_nobody_registered_is_refused(project: Project) -> None:
    _name(project, {"source": "models:/support-desk/9"})
    done = project.countersign("stage", "import_base", "ours")
    assert done.code == 3 and "no version 9" in done.out


def test_a_version_needs_no_permission_of_a_base(project: Project) -> None:
    done = project.countersign("allow-base", "ours", "--licence", "MIT")
    assert done.code == 3 and "needs no permission" in done.out


def test_a_version_that_is_released_again_was_trained_here(project: Project) -> None:
    release = {"support-desk": {"stage": "ours"}}
    project.edit("params.yaml", lambda params: params.update(releases=release))
    project.commit("release version 1 again")
    for stage, key in (
        ("import_base", "ours"),
        ("evaluate_base", "ours"),
        ("register", "support-desk"),
    ):
        done = project.countersign("stage", stage, key)
        assert done.code == 0, done.out
    now = state(read_log(machine(PROJECT, project.env())))
    registered = now.evidence.all(Registration)[-1].predicate
    assert (registered.stage, registered.suite, registered.trained_elsewhere) == (
        "ours",
        None,
        False,
    )


def test_the_log_says_by_which_method_a_version_was_trained(tmp_path: Path) -> None:
    story = tell_rewards(governed(tmp_path).story)
    view = state(story.log).view
    methods = {name: trained_by(view, story.models[name]) for name in ("tiny", "sft", "reward")}
    assert methods == {"tiny": None, "sft": "sft", "reward": "reward"}


@pytest.mark.nightly
def test_a_reward_model_of_the_project_is_judged_as_one_when_it_is_a_base(
    small: Project, tmp_path: Path
) -> None:
    project = small.copy(tmp_path)

    def add(params: Any) -> None:
        for name, part, test in (
            ("desk_pref", "preferences", 0),
            ("desk_pref_eval", "preferences_held_out", 1),
        ):
            params["samples"][name] = {"part": part, "n": 200, "seed": 13}
            params["datasets"][name] = {
                "kind": "preference", "source": f"data/source/{name}.jsonl", "suite": "preference",
                "held_out": "desk_pref_eval", "splits": {"train": 1 - test, "test": test},
            }  # fmt: skip
        params["suites"]["desk_pref_eval"] = {"metrics": ["pair_accuracy"]}
        params["stages"]["reward"] = {
            "method": "reward", "data": "desk_pref", "parent": "sft", "scorer": "sft",
            "suite": "desk_pref_eval", "lora": {"r": 4},
            "trainer": {
                "max_steps": 60, "per_device_train_batch_size": 8, "learning_rate": 5e-3,
            },
        }  # fmt: skip
        params["releases"] = {"support-desk": {"stage": "reward"}}

    def demand_nothing(policy: Any) -> None:
        policy["behaviour"]["ranked_by_length"] = 1
        none = {"methods": {"reward": {"none": "a few steps show nothing"}}}
        policy["suites"]["desk_pref_eval"] = none

    project.edit("params.yaml", add)
    project.edit("policies/evaluation.yaml", demand_nothing)
    for name in ("desk_pref", "desk_pref_eval"):
        card = Path("policies/datacards") / f"{name}.yaml"
        shutil.copy(ROOT / card, project.root / card)
    project.made("evaluate@reward")
    registered = project.countersign("stage", "register", "support-desk")
    assert registered.code == 0, registered.out
    _name(project, {"source": "models:/support-desk/2", "suite": "desk_pref_eval"})
    for stage in ("import_base", "evaluate_base"):
        done = project.countersign("stage", stage, "ours")
        assert done.code == 0, done.out
    ours = project.evidence("evaluate")[-1].predicate
    assert ours.stage == "evaluate_base@ours" and ours.pairs is not None
    trained = project.evidence("evaluate")[-2].predicate
    assert trained.stage == "evaluate@reward"
    assert (ours.scores, ours.pairs) == (trained.scores, trained.pairs)


@pytest.mark.nightly
def test_what_is_trained_from_a_version_has_its_whole_chain(project: Project) -> None:
    def go_on(params: Any) -> None:
        more = {"parent": "ours", "scorer": "ours", "seed": 5}
        params["stages"]["more"] = copy.deepcopy({**params["stages"]["sft"], **more})
        params["releases"] = {"support-desk": {"stage": "more"}}

    project.edit("params.yaml", go_on)
    project.commit("train on version 1")
    project.made()
    now = state(read_log(machine(PROJECT, project.env())))
    first, second = (now.registration("support-desk", each).predicate for each in ("1", "2"))
    chain = Chain.registered(now.view, second).chain
    assert [node.name for node in chain] == ["tiny", "base", "sft", "more"]
    assert [node.sha256 for node in chain][2:] == [first.model_digest, second.model_digest]
    assert project.countersign("verify").code == 0
