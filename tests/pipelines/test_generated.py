"""Generated data in a project: refused and permitted, kept, ingested, followed; and trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from governance.history.chain import Chain
from governance.log import evidence
from governance.log.views import log_evidence
from governance.policy.policies import load_policies
from tests.governance.governed import KINDS, keypair
from tests.governance.terminal import key_file
from tests.pipelines.generation.asking import honest, model
from tests.pipelines.generation.peer import peer, said
from tests.project import Project, fresh, write_yaml

SOURCE = "data/source/desk_ai.jsonl"
CONSTITUTION = {
    "title": "A support desk",
    "principles": [
        {"name": "exact", "text": "The answer names the right team and nothing else."},
        {"name": "safe", "text": "The answer asks for no password."},
    ],
}
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
    "generator": "sft", "judge": "sft", "seed": 3,
}  # fmt: skip
DATASET = {"kind": "preference", "source": SOURCE, "suite": "preference"}
FAR = {"generator": "frontier", "judge": "frontier"}


def with_row(
    project: Project, generator: str, row: dict[str, Any], held_out: str = "desk_ai"
) -> None:
    """Adds a row of `generate`, the dataset, its datacard and the constitution."""

    def change(params: Any) -> None:
        params["generate"]["desk_ai"] = row
        params["datasets"]["desk_ai"] = {**DATASET, "held_out": held_out}

    project.edit("params.yaml", change)
    folder = project.root / "policies" / "constitutions"
    folder.mkdir()
    write_yaml(folder / "support-desk.yaml", CONSTITUTION)
    card = project.root / "policies" / "datacards" / "desk_ai.yaml"
    card.write_text(CARD.replace("GENERATOR", generator), encoding="utf-8")


def permit(project: Project, uri: str, classification: str = "public") -> None:
    def change(policy: Any) -> None:
        policy["endpoints"] = {
            "frontier": {
                "url": uri, "model": "m", "classifications": [classification], "region": "EU",
            }
        }  # fmt: skip

    project.edit("policies/policy.yaml", change)


@pytest.mark.slow
def test_an_endpoint_is_asked_where_policy_permits_it_and_once(
    before_registering: Project, tmp_path: Path
) -> None:
    project = before_registering.copy(tmp_path)
    with_row(project, "frontier", {**ROW, "endpoints": FAR})
    generate = ("stage", "generate", "desk_ai")
    with peer(lambda body, before: (200, {}, said(model(body, honest)))) as server:
        dry = project.countersign("gate", "desk_ai", "--dry-run", "--json")
        assert dry.code == 4, dry.out
        assert json.loads(dry.out)["findings"][0]["code"] == "ENDPOINT_NOT_PERMITTED"
        permit(project, server.uri, "confidential")
        refused = project.countersign(*generate)
        assert refused.code == 4 and "ENDPOINT_NOT_PERMITTED" in refused.out
        assert not (project.root / SOURCE).exists() and server.asked == []
        assert project.said()[-1] == ("generation", "generate@desk_ai", False)

        permit(project, server.uri)
        keys = {"COUNTERSIGN_ENDPOINT_KEYS": "frontier=FRONTIER_KEY", "FRONTIER_KEY": "s3cret"}
        done = project.countersign(*generate, **keys)
        assert done.code == 0 and "judge not checked" in done.out, done.out
        assert set(server.keys) == {"Bearer s3cret"}
    source, entry = (project.root / SOURCE).read_bytes(), project.evidence("generation")[-1]
    assert b"s3cret" not in project.log.entry(entry.index).envelope
    made = entry.predicate
    assert made.allowed and made.counts.kept == source.count(b"\n") and made.replies
    assert made.judge_gate is None and "s3cret" not in str(made)

    (project.root / SOURCE).unlink()  # offline, without a key
    again = project.countersign(*generate)
    assert again.code == 0 and (project.root / SOURCE).read_bytes() == source
    assert project.evidence("generation")[-1].index == entry.index

    for stage in ("ingest", "scan_pii", "check_quality"):
        done = project.countersign("stage", stage, "desk_ai")
        assert done.code == 0, done.out
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
        done = here.countersign("stage", "generate", "desk_ai")
        assert done.code == 0, done.out
    made = project.evidence("generation")[-1].predicate
    assert made.allowed and [each.code for each in made.waived] == ["PURPOSE_NOT_PERMITTED"]


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
    with_row(project, "sft", {
        **ROW, "prompts": "desk_prompts", "split": "train", "judge": "reward",
        "max_new_tokens": 40, "temperature": 1.2,
    }, held_out="desk_eval")  # fmt: skip
    root = Path(__file__).parent.parent.parent
    for name in ("desk_prompts", "desk_pref", "desk_pref_eval"):
        text = (root / "policies/datacards" / f"{name}.yaml").read_text()
        (project.root / "policies/datacards" / f"{name}.yaml").write_text(text)

    def demand_nothing(policy: Any) -> None:
        reason = "a few steps show nothing"
        policy["behaviour"]["ranked_by_length"] = 1
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
    assert "judge not checked" in report and "a model, not people" in report
    before = len(project.said())
    project.made("--force", "generate@desk_ai")
    assert (project.root / SOURCE).read_bytes() == first and len(project.said()) == before
