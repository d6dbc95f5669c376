"""What docs/generated-data.md shows can be pasted into the default project; and by night, models are
trained there on what models wrote, one of them behind an endpoint.
"""

from __future__ import annotations

import json
import re
import shutil
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from governance.history.chain import Chain
from governance.log import evidence
from governance.log.views import log_evidence
from governance.policy.policies import load_policies
from pipelines.params import Params, broken_references
from tests.conftest import ROOT
from tests.pipelines.generation.peer import Answered, peer, said
from tests.project import PROJECT, Project, fresh, write_yaml

PAGE = (ROOT / "docs" / "generated-data.md").read_text(encoding="utf-8")
GENERATE, DATASET, STAGE, CONSTITUTION, CARD, ENDPOINTS, FAR = (
    YAML(typ="safe").load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
)
REVISED = {
    "kind": "revisions", "prompts": "desk_prompts", "constitution": "support-desk", "seed": 2,
    "generator": "sft", "judge": "sft", "max_new_tokens": 40,
    "endpoints": {"generator": "frontier", "judge": "frontier"}, "checked": "far_judge",
}  # fmt: skip


def add(params: dict[str, Any]) -> None:
    """The page's rows; and conversations that an endpoint wrote, on which its DPO stage builds."""
    params["generate"] = {**GENERATE["generate"], "desk_revised": REVISED}
    params["judges"] = {**GENERATE["judges"], **FAR["judges"]}
    source = {"source": "data/source/desk_revised.jsonl"}
    params["datasets"] |= DATASET
    params["datasets"]["desk_revised"] = {
        **DATASET["desk_ai"], **source, "kind": "conversation", "suite": "conversation",
    }  # fmt: skip
    sft = params["stages"]["sft"]
    params["stages"]["sft_revised"] = {
        **deepcopy(sft), "data": "desk_revised", "parent": "sft", "scorer": "sft",
        "trainer": {**sft["trainer"], "max_steps": 40, "learning_rate": 2e-3},
    }  # fmt: skip
    base = {"parent": "sft_revised", "scorer": "sft_revised"}
    params["stages"]["dpo_ai"] = {**STAGE["dpo_ai"], **base}
    params["releases"] = {"support-desk": {"stage": "dpo_ai"}}


def test_the_pages_rows_fit_the_default_project() -> None:
    given = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    add(given)
    given["generate"]["far"] = FAR["generate"]["desk_ai"]
    params = Params.model_validate(given)
    assert broken_references(params, ROOT / "params.yaml") == []
    assert params.released_with("desk_ai") == ["support-desk"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The default project with the page's constitution and datacards, not yet its rows."""
    made = fresh(tmp_path)
    shutil.copy(ROOT / "params.yaml", made.root)
    policies = made.root / "policies"
    shutil.rmtree(policies)
    shutil.copytree(ROOT / "policies", policies)
    (policies / "constitutions").mkdir(exist_ok=True)
    write_yaml(policies / "constitutions" / "support-desk.yaml", CONSTITUTION)
    write_yaml(policies / "datacards" / "desk_ai.yaml", CARD)
    revised = {**CARD, "suite": "conversation", "generated_by": "frontier"}
    write_yaml(policies / "datacards" / "desk_revised.yaml", revised)
    made.edit("params.yaml", add)
    made.edit("params.yaml", lambda params: params.update(project=PROJECT))
    return made


def compared(question: str, right: set[str]) -> str:
    """The letter of the answer that people would prefer: a team, in the words of the sample."""
    first, _, rest = question.partition("Answer A:\n")[2].partition("\n\nAnswer B:\n")
    second = rest.rpartition("\n\nWhich answer")[0]
    worth = [text.startswith("team: ") + (text in right) for text in (first, second)]
    return "A" if worth[0] > worth[1] else "B"


def answers(source: Path) -> dict[str, str]:
    """Prompt to answer of the rows that are whole; others are planted defects."""
    found = {}
    for line in source.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError, KeyError, TypeError):
            row = json.loads(line)
            found[row["prompt"]] = row["answer"]
    return found


@pytest.mark.long
@pytest.mark.nightly
def test_models_are_trained_on_what_models_wrote(project: Project) -> None:
    known: dict[str, str] = {}

    def answer(body: dict[str, Any], before: int) -> Answered:
        """A careless draft, its critique, and the answer that the sample data has."""
        if not known:
            known.update(answers(project.root / "data/source/desk_prompts.jsonl"))
        first, last = body["messages"][0]["content"], body["messages"][-1]["content"]
        if last == first:
            return 200, {}, said("please write to jane.doe@example.com")
        if last.startswith("Compare two answers"):
            return 200, {}, said(compared(last, {*known.values()}))
        is_critique = len(body["messages"]) == 3 and "falls short" in last
        return 200, {}, said("it names no team" if is_critique else known.get(first, ""))

    with peer(answer) as server:
        frontier = {**ENDPOINTS["endpoints"]["frontier"], "url": server.uri}
        project.edit(
            "policies/policy.yaml", lambda policy: policy.update(endpoints={"frontier": frontier})
        )
        project.commit("generated data")
        done = project.run("countersign", "repro", "report", timeout=3600)
        assert done.code == 0, done.out
        assert "jane.doe" not in json.dumps([body["messages"] for body in server.asked])
    entries, outputs = project.said(), project.outputs()
    sources = {
        name: (project.root / f"data/source/{name}.jsonl").read_bytes()
        for name in ("desk_ai", "desk_revised")
    }
    made = {each.predicate.stage: each.predicate for each in project.evidence("generation")}
    assert all(each.allowed and each.counts.kept > 50 for each in made.values())
    assert made["generate@desk_ai"].replies is None and made["generate@desk_revised"].replies
    assert made["generate@desk_revised"].counts.redacted["EMAIL_ADDRESS"] > 50

    ((_, _, digest),) = project.versions()
    keys = load_policies(project.root / "policies").keys
    view = log_evidence(project.log, evidence.key_ring(project.log, keys))
    uses = {data.dataset: use for data, use in Chain(view, digest, "dpo_ai").datasets}
    assert uses["desk_ai"] == ["train@dpo_ai"] and uses["desk_revised"] == ["train@sft_revised"]
    assert set(uses["desk_prompts"]) == {"generate@desk_ai", "generate@desk_revised"}
    report = (project.root / "reports/support-desk-1.html").read_text(encoding="utf-8")
    assert "judge not checked" not in report and server.uri in report
    assert project.log_is_whole()
    verified = project.countersign("verify")
    assert verified.code == 0, verified.out

    project.made("--force", "generate@desk_ai", "generate@desk_revised")  # nobody answers any more
    project.made("report")
    again = {name: (project.root / f"data/source/{name}.jsonl").read_bytes() for name in sources}
    assert again == sources and project.outputs() == outputs and project.said() == entries
