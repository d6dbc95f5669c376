"""Before a run: what will run and why, what it needs, and what would refuse it. The project is real,
and so is DVC.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import BusyError, ConfigError
from governance.policy.rules import RIGHTS
from pipelines.commands.graph import mermaid, text
from pipelines.families import all_families
from pipelines.params import load_params
from pipelines.plan.graph import after, graph, needed
from pipelines.plan.needs import Shape, needs, shape
from tests.conftest import ROOT
from tests.project import STAGES, Project

ALWAYS = {
    "import_base@tiny",
    "recheck",
    "gate@base",
    "gate@sft",
    "register@support-desk",
    "report@support-desk",
}


@pytest.fixture
def project(small: Project, tmp_path: Path) -> Project:
    return small.copy(tmp_path)


def planned(project: Project, *targets: str, code: int = 0) -> dict[str, Any]:
    done = project.countersign("plan", "--json", *targets)
    assert done.code == code, done.out
    answer: dict[str, Any] = json.loads(done.out[done.out.index("{") :])
    return answer


def why(answer: dict[str, Any]) -> dict[str, str]:
    return {each["stage"]: each["why"] for each in answer["stages"]}


# --- what will run --------------------------------------------------------------------------------


@pytest.mark.slow
def test_where_nothing_changed_only_what_runs_each_time_runs(project: Project) -> None:
    answer = planned(project)
    assert why(answer) == dict.fromkeys(ALWAYS, "always")
    assert answer["findings"] == answer["mistakes"] == answer["needs"] == []
    assert project.repro().code == 0  # the plan was right, and changed nothing


def test_a_changed_parameter_is_named_and_what_reads_from_it_follows(project: Project) -> None:
    project.edit("params.yaml", lambda params: params["stages"]["sft"].update(seed=7))
    answer = planned(project)
    found = why(answer)
    assert found["train@sft"] == "changed" and found["evaluate@sft"] == "after"
    assert found.keys() == ALWAYS | {"train@sft", "evaluate@sft"}
    (train,) = [each for each in answer["stages"] if each["stage"] == "train@sft"]
    assert train["causes"] == ["params.yaml: stages.sft"]
    assert [need["stage"] for need in answer["needs"]] == ["train@sft"]
    said = project.countersign("plan").out
    assert "changed: params.yaml: stages.sft" in said and "memory" in said


@pytest.mark.slow
def test_what_the_machine_lacks_is_a_mistake_where_its_training_runs(project: Project) -> None:
    def want(file: Any) -> None:
        file["stages"]["sft"]["trainer"]["use_liger_kernel"] = True
        file["stages"]["sft"]["processes"] = 2

    project.edit("params.yaml", want)
    engine, launcher = planned(project, "train@sft", code=2)["mistakes"]
    assert engine["found"] == "liger-kernel is not installed"
    assert engine["where"] == "params.yaml: stages.sft"
    assert launcher["found"] == "2 processes, but no launcher"
    assert launcher["where"] == "params.yaml: stages.sft.processes"
    assert planned(project, "check_quality@desk_sft")["mistakes"] == []


def test_a_missing_result_is_made_again(project: Project) -> None:
    (project.root / "evaluations" / "sft" / "scores.jsonl").unlink()
    assert why(planned(project, "evaluate@sft"))["evaluate@sft"] == "new"


@pytest.mark.slow
def test_other_engines_run_their_families_again(project: Project) -> None:
    project.edit("countersign.lock", lambda file: file["evaluate"]["engines"].update(torch="0.1"))
    answer = planned(project, "evaluate@sft", code=2)  # `upgrade` takes them over first
    (evaluate,) = [each for each in answer["stages"] if each["stage"] == "evaluate@sft"]
    assert evaluate["why"] == "changed" and any("torch" in cause for cause in evaluate["causes"])


# --- what would refuse it -------------------------------------------------------------------------


def without_title(project: Project) -> None:
    project.edit("policies/datacards/desk_sft.yaml", lambda card: card.update(title=""))


def without_base(project: Project) -> None:
    project.edit("policies/bases.yaml", lambda file: file["bases"].clear())


def without_thresholds(project: Project) -> None:
    def remove(file: Any) -> None:
        del file["suites"]["desk_eval"]["methods"]["pretrain"]

    project.edit("policies/evaluation.yaml", remove)


def requires_a_suite(project: Project) -> None:
    """Of each model, and of one method policy says nothing."""

    def require(file: Any) -> None:
        why, bound = {"none": "not trained to answer"}, {"loss": {"at_most": 9.0}}
        methods = {"base": why, "pretrain": {"thresholds": bound}}
        required = {"required_of": ["support-desk"], "methods": methods}
        file["suites"]["desk_sft"] = required

    project.edit("policies/evaluation.yaml", require)


def requires_a_probe(project: Project) -> None:
    leaks = {"required_of": ["support-desk"], "auc": 0.6}
    project.edit("policies/evaluation.yaml", lambda file: file.update(leaks=leaks))


def without_right(project: Project) -> None:
    project.edit("policies/policy.yaml", lambda file: file.update(development_keys="never"))


REFUSED: list[tuple[Callable[[Project], None], str, str]] = [
    (without_title, "DATACARD_INCOMPLETE", "train@sft"),
    (without_base, "BASE_NOT_ALLOWED", "train@base"),
    (without_thresholds, "THRESHOLDS_MISSING", "train@sft"),
    (requires_a_probe, "LEAKS_NOT_MEASURED", "train@sft"),
]


@pytest.mark.slow
def test_a_required_suite_that_no_row_runs_is_said_before_anything_runs(project: Project) -> None:
    requires_a_suite(project)
    answer = planned(project, code=4)
    assert {(found["code"], found["subject"]) for found in answer["findings"]} == {
        ("EVIDENCE_MISSING", "model base on desk_sft"),
        ("THRESHOLDS_MISSING", "model sft on desk_sft"),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("spoil", "finding", "stage"), REFUSED, ids=[row[1] for row in REFUSED])
def test_what_a_gate_would_refuse_is_said_before_anything_runs(
    spoil: Callable[[Project], None], finding: str, stage: str, project: Project
) -> None:
    spoil(project)
    answer = planned(project, stage, code=4)
    assert [found["code"] for found in answer["findings"]] == [finding]
    before = project.log.size()
    done = project.repro(stage)
    assert done.code == 4 and finding in done.out and "next:" in done.out
    assert project.log.size() == before and "Running stage" not in done.out
    done = project.countersign("gate", stage.partition("@")[2], "--dry-run")  # the gate agrees
    assert done.code == 4 and finding in done.out
    assert project.log.size() == before
    assert planned(project, "check_quality@desk_sft")["findings"] == []  # looking is no training


def test_a_key_without_the_right_is_refused_before_anything_runs(project: Project) -> None:
    without_right(project)
    answer = planned(project, code=2)
    (mistake,) = answer["mistakes"]
    assert "may not sign: base, gate" in mistake["found"] and mistake["next"]
    done = project.repro()
    assert done.code == 2 and "may not sign" in done.out and "Running stage" not in done.out


@pytest.mark.slow
def test_a_base_whose_imported_bytes_are_allowed_under_another_name_is_left_to_the_gate(
    project: Project,
) -> None:
    def rename(file: Any) -> None:
        file["bases"] = {"other": {**file["bases"]["tiny"], "source": "elsewhere/tiny.json"}}

    project.edit("policies/bases.yaml", rename)
    assert planned(project, "train@base")["findings"] == []
    assert project.countersign("gate", "base", "--dry-run").code == 0
    (project.root / "other.json").write_bytes(
        (project.root / "pipelines" / "architectures" / "tiny.json").read_bytes()
    )
    project.edit("params.yaml", lambda file: file["bases"]["tiny"].update(source="other.json"))
    answer = planned(project, "train@base", code=4)  # from there it was not imported yet
    assert [found["code"] for found in answer["findings"]] == ["BASE_NOT_ALLOWED"]


@pytest.mark.slow
def test_what_a_stage_alone_does_not_need_refuses_nothing(project: Project) -> None:
    without_title(project)
    assert project.repro("report").code == 4  # the gates before it would run, too
    assert project.repro("--force", "report").code == 0
    assert project.repro("--single-item", "report").code == 0


def test_a_stage_of_ones_own_in_dvc_yaml_can_be_run(project: Project) -> None:
    def add(file: Any) -> None:
        file["stages"]["mine"] = {"cmd": "echo 1 > mine.txt", "outs": ["mine.txt"]}

    project.edit("dvc.yaml", add)
    assert project.made("mine") and (project.root / "mine.txt").exists()
    assert project.repro("mnie").code == 2


def test_what_dvc_refuses_is_told_as_that(project: Project) -> None:
    table = project.root / ".dvc" / "tmp" / "rwlock"
    table.write_text('{"half": ', encoding="utf-8")
    done = project.countersign("plan")
    assert done.code == BusyError.exit_code and "next:" in done.out, done.out
    shutil.rmtree(project.root / ".dvc")
    done = project.countersign("plan")
    assert done.code == 2 and "dvc init" in done.out, done.out


def test_policy_can_give_every_right_that_a_stage_needs() -> None:
    needed = {kind for family in all_families().values() for kind in family.signs}
    assert needed <= set(RIGHTS)


def test_mistakes_in_parameters_come_first(project: Project) -> None:
    project.edit("params.yaml", lambda params: params["stages"]["sft"]["trainer"].update(betta=1))
    answer = planned(project, code=2)
    assert "betta" in json.dumps(answer["mistakes"]) and answer["stages"] == []


def test_an_unknown_stage_is_a_mistake_of_the_command_line(project: Project) -> None:
    for command in ("plan", "repro"):
        done = project.countersign(command, "trian@sft")
        assert done.code == 2 and "did you mean 'train@sft'?" in done.out, done.out


# --- one gate -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_gate_is_decided_without_a_trace(project: Project) -> None:
    before, gate = project.log.size(), (project.root / "gates" / "sft.json").read_bytes()
    done = project.countersign("gate", "sft", "--dry-run", "--json")
    answer = json.loads(done.out)
    assert done.code == 0 and answer["allowed"] and answer["findings"] == []
    assert answer["decided_on"] == json.loads(gate)["decided_on"]
    assert project.log.size() == before
    assert (project.root / "gates" / "sft.json").read_bytes() == gate
    assert project.countersign("gate", "nosuch", "--dry-run").code == 2
    assert "--dry-run" in project.countersign("gate", "sft").out


# --- the graph ------------------------------------------------------------------------------------


def test_the_graph_has_every_stage_in_an_order_that_dvc_could_take(small: Project) -> None:
    stages = graph(load_params(small.root))
    assert sorted(stages) == sorted(STAGES)
    place = {stage: number for number, stage in enumerate(stages)}
    assert all(place[read] < place[stage] for stage, reads in stages.items() for read in reads)


def test_what_a_stage_needs_and_what_follows_it(small: Project) -> None:
    stages = graph(load_params(small.root))
    assert needed(stages, ["train"]) == [
        stage
        for stage in stages
        if stage not in {"evaluate@sft", "register@support-desk", "report@support-desk"}
    ]
    assert needed(stages, ["ingest@desk_sft"]) == ["sample@desk_sft", "ingest@desk_sft"]
    assert after(stages, ["evaluate@sft"]) == {}
    assert list(after(stages, ["train@sft"])) == [
        "evaluate@sft",
        "register@support-desk",
        "report@support-desk",
    ]
    with pytest.raises(ConfigError, match="no stage 'nosuch'"):
        needed(stages, ["nosuch"])


def test_the_drawing_has_a_line_for_each_dataset_and_model(small: Project) -> None:
    stages = graph(load_params(small.root))
    keys = ["base", "desk_eval", "desk_sft", "recheck", "sft", "support-desk", "tiny"]
    assert sorted(line.split()[0] for line in text(stages)) == keys
    drawn = list(mermaid(stages))
    assert drawn[0] == "flowchart LR"
    assert '  _sft["sft<br>gate > train > evaluate"]' in drawn
    assert "  _base --> _sft" in drawn and "  _tiny --> _sft" not in drawn  # base implies tiny


# --- estimates ------------------------------------------------------------------------------------


def test_the_weights_of_a_model_follow_from_its_configuration() -> None:
    """Qwen3-0.6B has 596 million weights, says its model card."""
    qwen = Shape(151936, 1024, 28, 16, 1024, 3072, tied=True, width=2048)
    assert qwen.parameters == pytest.approx(596e6, rel=0.01)


def test_lora_needs_less_memory_than_all_weights_and_a_reference_needs_more() -> None:
    params = load_params(ROOT)
    stages = [f"train@{name}" for name in params.stages]

    def memory(name: str, **changes: Any) -> int:
        row = params.stages[name].model_copy(update=changes)
        changed = params.model_copy(update={"stages": {**params.stages, name: row}})
        return {need.stage: need.memory for need in needs(ROOT, changed, stages)}[f"train@{name}"]

    assert memory("dpo") < memory("dpo", lora=None)
    trainer = params.stages["dpo"].trainer
    assert memory("dpo", trainer={**trainer, "max_length": 2048}) > 2 * memory("dpo")
    quantised = params.stages["dpo"].lora.model_copy(update={"quantize": "nf4"})
    assert memory("dpo", lora=quantised) < memory("dpo")
    assert memory("grpo") > memory("grpo", rewards=params.stages["grpo"].rewards[:1])
    assert shape(ROOT, params, "grpo") == shape(ROOT, params, "base") is not None


@pytest.mark.parametrize("content", ["", "[]", '{"hidden_size": "x"}', '{"hidden_size": 0}'])
def test_what_cannot_be_estimated_is_left_out(content: str, tmp_path: Path) -> None:
    params = load_params(ROOT)
    own = params.bases["tiny"].model_copy(update={"source": "own.json"})
    params = params.model_copy(update={"bases": {"tiny": own}})
    (tmp_path / "own.json").write_text(content, encoding="utf-8")
    assert list(needs(tmp_path, params, ["train@sft"])) == []
