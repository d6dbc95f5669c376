"""Generated data in a project: refused and permitted, kept, ingested, followed; and trained on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from governance.history.chain import Chain
from governance.log import evidence
from governance.log.views import log_evidence
from governance.policy.policies import load_policies
from tests.conftest import ROOT
from tests.governance.governed import KINDS, keypair
from tests.governance.terminal import key_file
from tests.pipelines.generation.asking import honest, model
from tests.pipelines.generation.desk import (
    ANSWERS,
    CONSTITUTION,
    LABELLED,
    PAIRS,
    permit,
    preferred,
)
from tests.pipelines.generation.peer import peer, said
from tests.project import PROJECT, Project, fresh, write_yaml

SOURCE = "data/source/desk_ai.jsonl"
CARD = """\
title: Pairs of answers that a model wrote
steward: the project's maintainers
origin: written by the model that generated_by names, from the prompts of this project
licence: Apache-2.0
lawful_basis: no_personal_data
purposes: [customer-support]
regions: [anywhere]
classification: public
retention: {until: 2035-12-31, then: erase}
labelling: a model judged by the principles of the constitution support-desk
suite: preference
generated_by: GENERATOR
"""
ROW = {
    "kind": "pairs", "prompts": "desk_eval", "split": "test", "constitution": "support-desk",
    "generator": "sft", "judge": "sft", "checked": "desk_judge", "seed": 3,
}  # fmt: skip
DATASET = {"kind": "preference", "source": SOURCE, "suite": "preference"}
FAR = {"generator": "frontier", "judge": "frontier"}
JUDGE = {
    "judge": "sft", "endpoint": "frontier", "constitution": "support-desk", "labelled": LABELLED,
    "max_new_tokens": 8, "probes": 50,
}  # fmt: skip


def with_row(
    project: Project, generator: str, row: dict[str, Any], held_out: str = "desk_ai"
) -> None:
    """Adds a row of `generate`, the dataset, its datacard and the constitution."""

    def change(params: Any) -> None:
        params["generate"]["desk_ai"] = row
        params["judges"]["desk_judge"] = JUDGE
        params["samples"][LABELLED] = {"part": "preferences_held_out", "n": 60, "seed": 14}
        params["datasets"][LABELLED] = PAIRS
        params["datasets"]["desk_ai"] = {**DATASET, "held_out": held_out}

    project.edit("params.yaml", change)
    folder = project.root / "policies" / "constitutions"
    folder.mkdir()
    write_yaml(folder / "support-desk.yaml", CONSTITUTION)
    cards = project.root / "policies" / "datacards"
    (cards / "desk_ai.yaml").write_text(CARD.replace("GENERATOR", generator), encoding="utf-8")
    shutil.copy(ROOT / "policies" / "datacards" / f"{LABELLED}.yaml", cards)


def answering(chosen: set[str], fooled: bool = False) -> Any:
    """A model that judges drafts as `honest` does, and labelled pairs as people did, but for a
    judge that one polite text fools.
    """

    def judges(question: str) -> str:
        first, second = ANSWERS.findall(question)[:2]
        if fooled and ("interesting topic" in first) != ("interesting topic" in second):
            return "A" if "interesting topic" in first else "B"
        if "draft " in first:
            return honest(question)
        worth = [(text in chosen) + any(one in text for one in chosen) for text in (first, second)]
        return "A" if worth[0] > worth[1] else "B"

    return lambda body, before: (200, {}, said(model(body, judges)))


CHECK = ("stage", "check_judge", "desk_judge")


@pytest.mark.slow
def test_an_endpoint_is_asked_where_policy_permits_it_and_once(
    before_registering: Project, tmp_path: Path
) -> None:
    project = before_registering.copy(tmp_path)
    with_row(project, "frontier", {**ROW, "endpoints": FAR})
    generate = ("stage", "generate", "desk_ai")
    with peer(answering(preferred(project))) as server:
        dry = project.countersign("gate", "desk_ai", "--dry-run", "--json")
        assert dry.code == 4, dry.out
        assert json.loads(dry.out)["findings"][0]["code"] == "ENDPOINT_NOT_PERMITTED"
        permit(project, server.uri, "confidential")
        refused = project.countersign(*generate)
        assert refused.code == 4 and "ENDPOINT_NOT_PERMITTED" in refused.out
        assert not (project.root / SOURCE).exists() and server.asked == []
        assert project.said()[-1] == ("generation", "generate@desk_ai", False)

        permit(project, server.uri)
        unchecked = project.countersign(*generate)
        assert unchecked.code == 4 and "JUDGE_NOT_CHECKED" in unchecked.out
        assert "countersign repro --force check_judge@desk_judge" in unchecked.out
        assert server.asked == []
        for stage in ("ingest", "scan_pii", "check_quality"):
            done = project.countersign("stage", stage, LABELLED)
            assert done.code == 0, done.out
        keys = {"COUNTERSIGN_ENDPOINT_KEYS": "frontier=FRONTIER_KEY", "FRONTIER_KEY": "s3cret"}
        server.answer = answering(preferred(project), fooled=True)
        checked = project.countersign(*CHECK, **keys)
        assert checked.code == 0 and checked.out.strip().endswith("JUDGE_FAILED: constant")
        refused = project.countersign(*generate, **keys)
        assert refused.code == 4 and "one polite text wins" in refused.out, refused.out
        shutil.rmtree(project.home / PROJECT / "replies")
        server.answer = answering(preferred(project))
        checked = project.countersign(*CHECK, **keys)
        assert checked.code == 0 and "the judge passes until" in checked.out, checked.out
        done = project.countersign(*generate, **keys)
        assert done.code == 0, done.out
        assert set(server.keys) == {"Bearer s3cret"}
    source, entry = (project.root / SOURCE).read_bytes(), project.evidence("generation")[-1]
    assert b"s3cret" not in project.log.entry(entry.index).envelope
    made = entry.predicate
    assert made.allowed and made.counts.kept == source.count(b"\n") and made.replies
    card = project.evidence("judge_card")[-1]
    assert made.judge_gate == card.digest and "s3cret" not in str(made) + str(card.predicate)
    assert card.predicate.figures.orders.items == 60
    read = (project.root / "judges/desk_judge/card.json").read_bytes()

    (project.root / SOURCE).unlink()  # offline, without a key
    assert project.countersign(*CHECK).code == 0
    assert (project.root / "judges/desk_judge/card.json").read_bytes() == read
    again = project.countersign(*generate)
    assert again.code == 0 and (project.root / SOURCE).read_bytes() == source
    assert project.evidence("generation")[-1].index == entry.index

    for stage in ("ingest", "scan_pii"):
        done = project.countersign("stage", stage, "desk_ai")
        assert done.code == 0, done.out
    leaks = project.countersign("stage", "check_quality", "desk_ai")  # its prompts are a suite's
    assert leaks.code == 4 and "LEAK_HELD_OUT 60" in leaks.out, leaks.out
    beside = (project.root / "data/ingested/desk_ai/lineage.jsonl").read_text().splitlines()
    assert len(beside) == made.counts.kept
    parent = json.loads(beside[0])["parent"]
    told = json.loads(project.countersign("trace", parent, "--exhaustive", "--json").out)
    (first,) = (one for one in told["records"] if one["id"] == parent)
    children = [one for one in told["records"] if parent in one["parents"]]
    assert first["derived"] == [one["id"] for one in children] and children
    assert {one["dataset"] for child in children for one in child["places"]} == {"desk_ai"}
    assert "generate@desk_ai" in {user["what"] for user in told["touched"]}
    assert told["exhaustive"]["complete"]


PEOPLE_FILE = """\
people:
  ada: {key: ada.pub, roles: [policy-owner, ml-lead]}
  ben: {key: ben.pub, roles: [policy-owner, risk]}
services:
  ci: {key: ci.pub, signs: [SIGNED]}
owners: {people: 1, roles: [policy-owner]}
approvers: [ml-lead, risk]
aliases: {champion: {requesters: [ml-lead]}}
waivers: {max_days: 20, accepted_by: [risk]}
"""


@pytest.mark.nightly
@pytest.mark.slow
def test_a_finding_before_a_generation_is_waived_by_the_command_that_its_refusal_names(
    tmp_path: Path,
) -> None:
    project = fresh(tmp_path)
    with_row(project, "frontier", {**ROW, "endpoints": FAR})
    card = "policies/datacards/desk_eval.yaml"
    project.edit(card, lambda text: text.update(purposes=["research"]))
    for who in ("ada", "ben", "ci"):
        (tmp_path / f"{who}.pub").write_text(keypair(who)[1])
    signed = ", ".join([*KINDS, "candidate", "generation", "promotion"])
    (tmp_path / "people.yaml").write_text(PEOPLE_FILE.replace("SIGNED", signed))
    ada, ben, ci = (key_file(tmp_path, who) for who in ("ada", "ben", "ci"))
    here = replace(project, environ={"COUNTERSIGN_SIGNER": f"file2:{ci}"})
    with peer(lambda body, before: (200, {}, said(model(body, honest)))) as server:
        permit(project, server.uri)
        begun = here.countersign(
            "init", "--people", str(tmp_path / "people.yaml"), "--key", ada, "--yes"
        )
        assert begun.code == 0, begun.out
        for stage in ("sample", "ingest", "scan_pii", "check_quality"):
            done = here.countersign("stage", stage, "desk_eval")
            assert done.code == 0, done.out
        refused = here.countersign("stage", "generate", "desk_ai")
        assert refused.code == 4 and server.asked == [], refused.out
        assert "countersign waive generate@desk_ai --finding PURPOSE_NOT_PERMITTED" in refused.out
        words = ("waive", "generate@desk_ai", "--finding", "PURPOSE_NOT_PERMITTED", "--days", "9")
        terms = ("--control", "read by hand", "--owner", "ben", "--reason", "a trial", "--yes")
        assert here.countersign(*words, *terms, "--key", ada).code == 4, "ada is no risk manager"
        other = here.countersign("waive", "generate@none", *words[2:], *terms, "--key", ben)
        assert other.code == 3 and "one of: desk_ai" in other.out
        waived = here.countersign(*words, *terms, "--key", ben)
        assert waived.code == 0 and "next: countersign repro generate@desk_ai" in waived.out
        unchecked = [*words[:3], "JUDGE_NOT_CHECKED", *words[4:]]
        assert here.countersign(*unchecked, *terms, "--key", ben).code == 0
        done = here.countersign("stage", "generate", "desk_ai")
        assert done.code == 0, done.out
    made = project.evidence("generation")[-1].predicate
    assert made.allowed and {each.code for each in made.waived} == {
        "PURPOSE_NOT_PERMITTED",
        "JUDGE_NOT_CHECKED",
    }
    assert made.judge_gate is None


def _competent(params: Any) -> None:
    """A generator that ends its answers, a reward model, and prompts that nobody is scored on."""
    params["samples"] |= {
        "desk_prompts": {"part": "prompts", "n": 120, "seed": 15},
        "desk_pref": {"part": "preferences", "n": 200, "seed": 13},
        "desk_pref_eval": {"part": "preferences_held_out", "n": 60, "seed": 14},
    }
    rows = {
        "desk_prompts": ("prompt", "desk_eval", {"train": 1}),
        "desk_pref": ("preference", "desk_pref_eval", {"train": 1}),
        "desk_pref_eval": ("preference", "desk_pref_eval", {"train": 0, "test": 1}),
    }
    for name, (kind, held_out, splits) in rows.items():
        params["datasets"][name] = {
            "kind": kind, "source": f"data/source/{name}.jsonl", "suite": kind,
            "held_out": held_out, "splits": splits,
        }  # fmt: skip
    params["suites"]["desk_pref_eval"] = {"metrics": ["pair_accuracy"]}
    params["samples"]["desk_sft"]["n"] = 1500
    stages = params["stages"]
    stages["base"]["trainer"] |= {"max_steps": 120, "per_device_train_batch_size": 24,
                                  "learning_rate": 4e-3}  # fmt: skip
    stages["sft"]["trainer"] |= {"max_steps": 80, "per_device_train_batch_size": 16}
    stages["sft"]["lora"] = {"r": 16}
    common = {"parent": "sft", "scorer": "sft"}
    stages["reward"] = {
        **common, "lora": {"r": 4}, "method": "reward", "data": "desk_pref", "suite": "desk_pref_eval",
        "trainer": {"max_steps": 10, "per_device_train_batch_size": 8, "learning_rate": 2e-3},
    }  # fmt: skip
    stages["dpo"] = {
        **common, "lora": {"r": 4}, "method": "dpo", "data": "desk_ai", "suite": "desk_eval",
        "trainer": {"max_steps": 4, "per_device_train_batch_size": 4, "learning_rate": 1e-3},
    }  # fmt: skip
    params["releases"]["support-desk"]["stage"] = "dpo"


@pytest.mark.nightly
def test_a_model_is_trained_on_pairs_that_the_projects_own_models_made(tmp_path: Path) -> None:
    project = fresh(tmp_path)
    project.edit("params.yaml", _competent)
    judge = {**JUDGE, "judge": "reward"}
    del judge["endpoint"]
    with_row(project, "sft", {
        **ROW, "prompts": "desk_prompts", "split": "train", "judge": "reward",
        "max_new_tokens": 40, "temperature": 1.2,
    }, held_out="desk_eval")  # fmt: skip
    project.edit("params.yaml", lambda params: params["judges"].update(desk_judge=judge))
    root = Path(__file__).parent.parent.parent
    for name in ("desk_prompts", "desk_pref", "desk_pref_eval"):
        text = (root / "policies/datacards" / f"{name}.yaml").read_text()
        (project.root / "policies/datacards" / f"{name}.yaml").write_text(text)

    def demand_nothing(policy: Any) -> None:
        reason = "a few steps show nothing"
        policy["behaviour"]["ranked_by_length"] = 1
        # a reward model of ten steps is a poor judge: here, that its card is asked for counts
        policy["judges"] = {
            "kappa": -1,
            "below_people": 2,
            "consistent": 0,
            "longer": 1,
            "lists": 1,
            "follows_user": 1,
            "attacks": 1,
            "own_family": 1,
            "fewest": 1,
        }
        policy["suites"]["desk_eval"]["methods"]["dpo"] = {"none": reason}
        policy["suites"]["desk_pref_eval"] = {"methods": {"reward": {"none": reason}}}

    project.edit("policies/evaluation.yaml", demand_nothing)
    project.edit("policies/policy.yaml", lambda policy: policy["ingest"]["ignored_fields"].update(
        desk_prompts=["product", "team"]
    ))  # fmt: skip
    project.made()
    first = (project.root / SOURCE).read_bytes()
    ((_, _, digest),) = project.versions()
    (made,) = project.evidence("generation")
    assert made.predicate.counts.kept > 20 and made.predicate.replies is None
    keys = load_policies(project.root / "policies").keys
    view = log_evidence(project.log, evidence.key_ring(project.log, keys))
    packed = Chain(view, digest, "dpo")
    uses = {data.dataset: use for data, use in packed.datasets}
    assert uses["desk_prompts"] == ["generate@desk_ai"] and uses["desk_ai"] == ["train@dpo"]
    report = (project.root / "reports/support-desk-1.html").read_text()
    assert "judge not checked" not in report and "a model, not people" in report
    before = len(project.said())
    project.made("--force", "generate@desk_ai")
    assert (project.root / SOURCE).read_bytes() == first and len(project.said()) == before
