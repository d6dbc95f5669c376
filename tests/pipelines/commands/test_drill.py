"""countersign drill: the rollback rehearsed on a real model; what came of it, and where it is
told.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance.attest.predicates import Drill
from governance.base.errors import ConfigError, RefusedError, VerificationError
from governance.commands import sources
from governance.commands.session import Call
from governance.people.drill import Failed, Rehearsal, reason
from governance.release import promotion
from governance.report.build import build
from pipelines import smoke
from tests.governance.examples import NOON
from tests.governance.governed import RULES, Governed, authorize, empty, principals
from tests.governance.story import MODEL, Story, altered, tell
from tests.governance.terminal import at_terminal, run
from tests.pipelines.tiny import ARCHITECTURE, records

RUN = "b" * 32
ITEMS = 12


def tiny(folder: Path) -> None:
    """A model of a few thousand parameters, with its tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from pipelines.training import tokenizer

    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(**ARCHITECTURE)).save_pretrained(folder)
    said = [[{"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}]]
    tokenizer.train({"messages": said}, 300).save_pretrained(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Version 2 is a real model, evaluated on real records; 1, 2 and then 3 were champion."""
    folder = tmp_path_factory.mktemp("drill")
    real = folder / "real"
    tiny(real)
    digest_of, write = Story._model, Story._file

    def eval_records(story: Story, name: str, text: str) -> str:
        from governance.attest.digests import tree_digest

        if name != "data/ready/desk_eval/records":
            return write(story, name, text)
        return tree_digest(
            records((story.root / name).parent, "prompt", ITEMS, held_out=True, split="test")
        )

    def model(story: Story, name: str) -> str:
        from governance.attest.digests import tree_digest

        digest_of(story, name)
        target = story.root / f"models/{name}/model"
        shutil.rmtree(target)
        shutil.copytree(real, target)
        return tree_digest(target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Story, "_file", eval_records)
        scene = empty(folder, RULES)
        authorize(scene)
        tell(scene.story)
        scene.released("1")
        patch.setattr(Story, "_model", model)
        scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98)
        scene.story.register("sft", "2", RUN)
        scene.released("2")
    shutil.copytree(real, files(scene))
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.99)
    scene.story.register("sft", "3")
    scene.released("3")
    return scene


@pytest.fixture
def scene(whole: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Governed:
    made = whole.copy(tmp_path)
    at_terminal(made, monkeypatch)
    return made


def files(scene: Governed) -> Path:
    return scene.story.machine.artifact_root / RUN / "artifacts" / "model"


def drill(*more: str) -> tuple[int, Any]:
    code, told = run("drill", MODEL, "--json", *more)
    return code, json.loads(told)


def logged(scene: Governed) -> list[Drill]:
    return [item.predicate for item in promotion.state(scene.story.log).view.all("drill")]


@pytest.mark.slow
def test_the_way_back_is_tried_and_said(scene: Governed) -> None:
    before = scene.story.log.size()
    code, told = drill("--items", "5")
    assert (code, told["passed"], told["version"], told["from_version"]) == (0, True, "2", "3")
    assert [step["name"] for step in told["steps"]] == [
        "log",
        "target",
        "evidence",
        "files",
        "load",
        "smoke",
    ]
    assert all(step["seconds"] > 0 for step in told["steps"])
    assert told["items"] == 5 and "5 of 12 items of desk_eval" in told["steps"][-1]["found"]
    assert "recorded of the same items: 1.000" in told["steps"][-1]["found"]
    (said,) = logged(scene)
    assert said.model_dump(mode="json", exclude={"log"}) == {
        name: value for name, value in told.items() if name != "entry"
    }
    assert scene.story.log.size() == before + 1 and scene.held() == "3"


@pytest.mark.slow
def test_report_live_status_and_controls_say_when_it_was_tried(scene: Governed) -> None:
    def told() -> list[str]:
        report = build(sources.of(Call()), MODEL, "3")
        back, live = run("show", f"{MODEL}/3", "back")[1], run("live", MODEL)[1]
        status = run("status")[1]
        code, control = run("control", "A.6.2.5", f"{MODEL}/3")
        assert code == 0
        assert (
            report.way_back.drill in back
            and report.way_back.drill in live
            and report.way_back.drill in status
        )
        return [
            report.way_back.drill,
            *(gap.result for gap in report.gaps if gap.what == "rollback drill"),
            control,
        ]

    drilled, result, control = told()
    assert f"missing       rollback_drill: {drilled}" in control
    assert (drilled, result) == ("not tried: no drill is recorded", "not run")
    assert run("drill", MODEL)[0] == 0
    drilled, control = told()
    assert f"present       rollback_drill: {drilled}" in control
    assert (
        drilled.startswith("passed 2026-11-20")
        and "to version 2 (" in drilled
        and "12 items asked" in drilled
    )
    (files(scene) / "config.json").write_text("{}")
    assert run("drill", MODEL)[0] == 4
    drilled, result, control = told()
    assert f"partial       rollback_drill: {drilled}" in control
    assert drilled.startswith("FAILED 2026-11-20") and "config.json: content changed" in drilled
    assert result == "fail"
    assert "the way back FAILED" in run("status")[1]
    assert [
        line.split()[2:5] for line in run("history", MODEL)[1].splitlines() if "drill of" in line
    ]


def closing(scene: Governed, datasets: str, models: str) -> None:
    """Writes the project's table `readers`; an earlier one is replaced."""
    path = scene.story.root / "policies" / "policy.yaml"
    text = path.read_text().partition("\nreaders:")[0]
    path.write_text(f"{text}\nreaders:\n  datasets: {datasets}\n  models: {models}\n")


EVERYBODY = '{"*": [everybody]}'


@pytest.mark.parametrize(
    ("datasets", "models", "closed"),
    [
        (EVERYBODY, f'{{{MODEL}: [], "*": [everybody]}}', f"model {MODEL}"),
        (EVERYBODY, f"{{{MODEL}: [ben]}}", f"model {MODEL}"),
        ('{desk_eval: [], "*": [everybody]}', EVERYBODY, "dataset desk_eval"),
    ],
)
def test_a_closed_model_or_suite_is_not_tried(
    datasets: str, models: str, closed: str, scene: Governed
) -> None:
    closing(scene, datasets, models)
    before = scene.story.log.size()
    code, told = run("drill", MODEL)
    assert code == 4 and f"READ_NOT_ALLOWED {closed}" in told, told
    assert scene.story.log.size() == before and not logged(scene)


@pytest.mark.slow
def test_who_may_read_the_model_tries_it(scene: Governed) -> None:
    closing(scene, "{desk_eval: [ci]}", f"{{{MODEL}: [ci]}}")
    code, told = drill()
    assert (code, told["passed"]) == (0, True), told


SPOILED: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a changed byte": (
        lambda f: (f / "config.json").write_bytes(b"{}"),
        "files",
        "config.json: content changed",
    ),
    "a file more": (
        lambda f: (f / "modeling.py").write_text("import os"),
        "files",
        "modeling.py: not in the manifest",
    ),
    "no weights": (
        lambda f: (f / "model.safetensors").unlink(),
        "files",
        "model.safetensors: missing",
    ),
    "nothing": (lambda f: shutil.rmtree(f), "files", "not on this machine"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_target_fails_the_drill_and_the_log_says_why(name: str, scene: Governed) -> None:
    spoil, step, why = SPOILED[name]
    spoil(files(scene))
    code, told = drill()
    assert (code, told["passed"], told["items"]) == (4, False, 0)
    last = told["steps"][-1]
    assert (last["name"], last["passed"]) == (step, False) and why in last["found"]
    (said,) = logged(scene)
    assert not said.passed and str(scene.story.machine.home) not in said.model_dump_json()
    drill()
    assert len(logged(scene)) == 2  # tried twice is told twice


def test_a_model_that_gives_no_numbers_fails(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import scoring

    monkeypatch.setattr(scoring, "score_loaded", lambda *_: {"greedy_exact": [0.0, float("nan")]})
    code, told = drill()
    assert code == 4 and told["steps"][-1]["found"] == "greedy_exact is not a finite number"


@pytest.mark.parametrize("how", ["away", "other"])
def test_without_its_suite_it_asks_fixed_prompts_and_says_so(how: str, scene: Governed) -> None:
    path = scene.story.root / "data/ready/desk_eval/records"
    shutil.rmtree(path)
    if how == "other":
        records(path.parent, "prompt", ITEMS + 1, held_out=True, split="test")
    code, told = drill()
    found = told["steps"][-1]["found"]
    why = (
        "the records of desk_eval are not here"
        if how == "away"
        else "differs from the suite that it was evaluated on"
    )
    assert (code, told["items"]) == (0, 0)
    assert (
        found.startswith("no suite items")
        and why in found
        and f"{len(smoke.PROMPTS)} fixed prompts" in found
    )


def test_a_target_that_an_incident_is_open_on_is_passed_over(scene: Governed) -> None:
    subject = promotion.state(scene.story.log).registration(MODEL, "2").predicate.model_digest
    scene.story.models["sft"] = subject
    scene.incident("2", "open")
    code, told = drill()
    assert (code, told["version"]) == (4, "1")  # whose files nobody kept
    assert "passed over version 2: INCIDENT_OPEN" in told["steps"][1]["found"]
    drilled = build(sources.of(Call()), MODEL, "3").way_back.drill
    assert "version 2 is next below now, and was not tried" in drilled


def test_nothing_to_go_back_to_is_refused_and_logs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = empty(tmp_path, RULES)
    authorize(scene)
    tell(scene.story)
    at_terminal(scene, monkeypatch)
    scene.released("1")
    before = scene.story.log.size()
    code, told = run("drill", MODEL)
    assert code == RefusedError.exit_code and "no version to go back to" in told
    assert scene.story.log.size() == before


def test_a_log_that_was_altered_is_told_first(scene: Governed) -> None:
    altered(scene.story.log, 9)
    assert run("drill", MODEL)[0] == VerificationError.exit_code


def test_a_key_that_policy_lets_sign_no_drill_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = empty(tmp_path, RULES, people=principals().replace(', "drill"', ""))
    at_terminal(scene, monkeypatch)
    code, told = run("drill", MODEL)
    assert code == ConfigError.exit_code and "do not let this key sign drills" in told


def test_where_models_cannot_be_loaded_no_drill_fails(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pipelines.commands.drill.find_spec", lambda name: None if name == "torch" else object()
    )
    code, told = run("drill", MODEL)
    assert code == ConfigError.exit_code and "torch is not installed here" in told
    assert logged(scene) == []


def test_what_a_failed_step_says_holds_no_path_and_no_text_of_others() -> None:
    done = Rehearsal(iter([1.0, 3.5, 4.0, 4.0]).__next__, NOON)

    def fails() -> tuple[None, str]:
        raise RuntimeError("/home/somebody said: a record")

    with pytest.raises(Failed):
        done.step("load", fails)
    assert [step.model_dump() for step in done.steps] == [
        {"name": "load", "passed": False, "seconds": 2.5, "found": "RuntimeError"}
    ]
    assert not done.passed
    assert reason(ConfigError("found", where="/somewhere", fix="x")) == "found"
