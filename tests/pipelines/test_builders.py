"""docs/builders.md: its policy is valid, and its commands give a training and an evaluation by two
services.
"""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from ruamel.yaml import YAML

from governance.machine.signers import private_signer
from governance.policy.policies import load_policies
from tests.conftest import ROOT
from tests.project import Project, fresh

PAGE = (ROOT / "docs/builders.md").read_text(encoding="utf-8")


def private_pem(key: Ed25519PrivateKey) -> str:
    """A key as a file holds it."""
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, pkcs8, plain).decode()


def example() -> dict[str, Any]:
    """The policy of the page."""
    block = PAGE.partition("<!-- example: begin -->")[2].partition("<!-- example: end -->")[0]
    text = block.replace("```yaml", "").replace("```", "")
    read: dict[str, Any] = YAML(typ="safe").load(text)
    return read


def with_builders(project: Project) -> dict[str, str]:
    """The project under the policy of the page; service to private key."""
    keys = {
        row["name"]: private_pem(Ed25519PrivateKey.generate()) for row in example()["principals"]
    }

    def change(policy: Any) -> None:
        rows = example()
        for row in rows["principals"]:
            pem = keys[row["name"]].encode()
            row["keys"] = [private_signer(pem, "test").public_pem]
        policy.update(rows)

    project.edit("policies/policy.yaml", change)
    project.commit("builders")
    return keys


def test_the_policy_of_the_page_is_valid(tmp_path: Any) -> None:
    project = fresh(tmp_path)
    with_builders(project)
    rules = load_policies(project.root / "policies").rules
    assert rules.builders == ["data-runner", "trainer", "evaluator"]
    assert rules.commits == example()["commits"]
    assert rules.tiers["high"].separate_evaluator


@pytest.mark.slow
@pytest.mark.nightly
def test_the_commands_of_the_page_train_and_evaluate_by_two_services(tmp_path: Any) -> None:
    for shown in ("countersign repro train@sft", "dvc repro --single-item evaluate@sft"):
        assert shown in PAGE
    project = fresh(tmp_path)
    keys = with_builders(project)

    def on(service: str, *command: str) -> None:
        signer = {"COUNTERSIGN_SIGNER": "env:SERVICE_PEM", "SERVICE_PEM": keys[service]}
        done = project.run(*command, **signer)
        assert done.code == 0, done.out

    ready = ("check_quality@desk_sft", "check_quality@desk_eval", "evaluate_base@tiny")
    on("data-runner", "countersign", "repro", *ready)
    for stage in ("base", "sft"):
        on("trainer", "countersign", "repro", f"train@{stage}")
        on("evaluator", "dvc", "repro", "--single-item", f"evaluate@{stage}")
    on("evaluator", "countersign", "reproduce", "sft")
    names = {private_signer(pem.encode(), "test").keyid: name for name, pem in keys.items()}
    by_kind = {
        (item.kind, names[item.keyid])
        for item in project.evidence()
        if item.kind in ("train", "evaluate", "reproduction")
    }
    assert by_kind == {
        ("train", "trainer"),
        ("evaluate", "data-runner"),
        ("evaluate", "evaluator"),
        ("reproduction", "evaluator"),
    }
    assert not any(item.development for item in project.evidence())
    (training,) = [
        item.predicate for item in project.evidence("train") if item.predicate.stage == "train@sft"
    ]
    assert not training.code.dirty
    assert training.code.sources and training.environment.files
    assert training.environment.altered == []
