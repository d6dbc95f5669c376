"""The bill of materials: valid by CycloneDX's own schema, whole, and nobody named in it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from governance.attest.predicates import Library
from governance.attest.requests import GateRequest
from governance.exports.formats.cyclonedx import bom
from governance.exports.records import Records
from tests.governance.exports.told import HOSTILE, PEOPLE, carded
from tests.governance.exports.tools import bom_error


def document(records: Records) -> dict[str, Any]:
    """The document, valid."""
    text = bom(records).decode()
    assert bom_error(text) is None
    found: dict[str, Any] = json.loads(text)
    return found


def components(found: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in found["components"] if one["type"] == kind}


@pytest.mark.parametrize("which", ["plain", "released"])
def test_the_schema_of_cyclonedx_accepts_it(which: str, request: pytest.FixtureRequest) -> None:
    document(request.getfixturevalue(which))


def test_the_validator_would_notice() -> None:
    assert bom_error('{"bomFormat": "CycloneDX", "specVersion": "1.6", "invented": 1}') is not None


def test_model_bases_data_and_engines_are_in_it_by_digest(plain: Records) -> None:
    found = document(plain)
    released_model = found["metadata"]["component"]
    assert released_model["hashes"] == [{"alg": "SHA-256", "content": plain.facts.digest}]
    assert {one["name"] for one in released_model["components"]} == {
        "config.json",
        "model.safetensors",
    }
    models = components(found, "machine-learning-model")
    assert set(models) == {"tiny", "base"}
    assert models["tiny"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    data = components(found, "data")
    assert set(data) == {"desk_text", "desk_sft", "desk_eval"}
    assert (
        "EMAIL_ADDRESS: 41 found, redact, 0 remaining"
        in data["desk_sft"]["data"][0]["sensitiveData"]
    )
    libraries = components(found, "library")
    assert {one["purl"] for one in libraries.values()} == {
        "pkg:pypi/torch@2.13.0",
        "pkg:pypi/trl@1.16.0",
    }


def test_the_card_holds_the_versions_own_scores_with_intervals(plain: Records) -> None:
    card = document(plain)["metadata"]["component"]["modelCard"]
    found = card["quantitativeAnalysis"]["performanceMetrics"]
    metrics = {one["slice"]: one for one in found if one["type"] == "greedy_exact"}
    whole, german = metrics["desk_eval, all 300 items"], metrics["desk_eval, language=de, 60 items"]
    assert float(whole["value"]) == pytest.approx(0.97) and float(german["value"]) == pytest.approx(
        0.85
    )
    assert float(whole["confidenceInterval"]["lowerBound"]) < 0.97
    assert "by slice" not in " ".join(card["considerations"]["technicalLimitations"])
    assert card["modelParameters"]["approach"] == {"type": "supervised"}
    assert card["considerations"]["useCases"] == ["customer-support"]


def test_what_a_model_was_made_from_can_be_followed(plain: Records) -> None:
    found = document(plain)
    known = {one["bom-ref"] for one in found["components"]} | {
        found["metadata"]["component"]["bom-ref"]
    }
    graph = {one["ref"]: one["dependsOn"] for one in found["dependencies"]}
    assert set(graph) <= known
    assert {ref for refs in graph.values() for ref in refs} <= known
    assert any(ref.startswith("data:desk_sft:") for ref in graph[f"model:{plain.facts.digest}"])


def test_reward_functions_are_in_it(plain: Records) -> None:
    facts = plain.facts
    said = facts.requests[facts.digest].model_dump()
    asked = GateRequest.model_validate(
        {**said, "rewards": {"route_exact": "a" * 64, "model": None}}
    )
    other = replace(facts)
    other.__dict__["requests"] = {**facts.requests, facts.digest: asked}
    found = document(replace(plain, facts=other))
    assert components(found, "file")["route_exact"]["hashes"] == [
        {"alg": "SHA-256", "content": "a" * 64}
    ]
    assert "reward:route_exact:" + "a" * 64 in next(
        one["dependsOn"] for one in found["dependencies"] if one["ref"] == f"model:{facts.digest}"
    )


def test_what_is_not_recorded_is_said(plain: Records) -> None:
    found = document(plain)
    assert all("licenses" in one or "properties" in one for one in found["components"])
    blank = components(document(carded(plain, licence="", origin="")), "data")["desk_sft"]
    assert "licenses" not in blank
    assert blank["data"][0]["description"] == "not stated"


def test_hostile_text_stays_text(plain: Records) -> None:
    hostile = carded(plain, title=HOSTILE, steward=HOSTILE, origin=HOSTILE, licence=HOSTILE)
    found = components(document(hostile), "data")["desk_sft"]
    assert found["licenses"][0]["license"]["name"].startswith("<script>")
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2028\ud800-\udfff]", bom(hostile).decode()
    )


def test_nobody_is_named(released: Records) -> None:
    assert not [name for name in PEOPLE if re.search(rf"\b{name}\b", bom(released).decode())]


@pytest.mark.parametrize(
    ("licence", "written"),
    [
        ("apache-2.0", {"license": {"id": "Apache-2.0"}}),
        ("MIT OR Apache-2.0", {"expression": "MIT OR Apache-2.0"}),
        ("Licence of the house", {"license": {"name": "Licence of the house"}}),
    ],
)
def test_a_licence_is_an_spdx_expression_or_a_name(
    licence: str, written: dict[str, Any], plain: Records
) -> None:
    data = components(document(carded(plain, licence=licence)), "data")
    assert data["desk_sft"]["licenses"] == [written]


def test_a_library_has_the_hash_and_licence_that_were_recorded(plain: Records) -> None:
    known = {"torch": Library(licence="BSD-3-Clause", record="c" * 64)}
    node = plain.facts.released
    assert node.train is not None
    environment = node.train.predicate.environment.model_copy(update={"libraries": known})
    train = node.train.predicate.model_copy(update={"environment": environment})
    facts = replace(plain.facts)
    facts.__dict__["chain"] = [
        *plain.facts.chain[:-1],
        replace(node, train=replace(node.train, predicate=train)),
    ]
    libraries = components(document(replace(plain, facts=facts)), "library")
    assert libraries["torch"]["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]
    assert libraries["torch"]["hashes"] == [{"alg": "SHA-256", "content": "c" * 64}]
    notes = {one["name"]: one["value"] for one in libraries["trl"]["properties"]}
    assert notes == {"countersign:hash": "not recorded", "countersign:licence": "not recorded"}
