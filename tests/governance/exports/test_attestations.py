"""SLSA and in-toto statements: read by in-toto's own classes, field by field, and true to the
log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement

from governance.attest import canonical
from governance.attest.findings import finding
from governance.exports.catalog import export
from governance.exports.formats.model_card import model_card
from governance.exports.formats.slsa_provenance import PROVENANCE, provenance
from governance.exports.formats.slsa_vsa import VSA, summaries
from governance.exports.formats.test_result import TEST_RESULT, results
from governance.exports.records import Records
from tests.governance.bundles import forged
from tests.governance.exports.told import PEOPLE, judged_by, records_of
from tests.governance.governed import Governed
from tests.governance.story import Story

PREDICATES = {PROVENANCE: provenance_pb2.Provenance, TEST_RESULT: test_result_pb2.TestResult}


def every(records: Records) -> Iterator[tuple[str, dict[str, Any]]]:
    for make in (provenance, summaries, results):
        for one in make(records).documents:
            assert one.statement
            yield Path(one.path).stem, json.loads(one.data)


def named(records: Records, name: str) -> dict[str, Any]:
    return dict(every(records))[name]


@pytest.mark.parametrize("which", ["plain", "released"])
def test_in_toto_reads_every_statement_and_predicate(
    which: str, request: pytest.FixtureRequest
) -> None:
    for name, value in every(request.getfixturevalue(which)):
        text = canonical.dumps(value).decode()
        statement = Statement.copy_from_pb(json_format.Parse(text, statement_pb2.Statement()))
        statement.validate()
        predicate = json.loads(text)["predicate"]
        if value["predicateType"] == VSA:
            _summary(predicate)
        else:
            parsed = json_format.ParseDict(predicate, PREDICATES[value["predicateType"]]())
            _resources(parsed, name)


def _summary(predicate: dict[str, Any]) -> None:
    """The specification has a list of levels; the library's class, by mistake, one text."""
    levels = predicate.pop("verifiedLevels")
    assert levels and all(isinstance(one, str) and not one.startswith("SLSA_") for one in levels)
    parsed = json_format.ParseDict(predicate, vsa_pb2.VerificationSummary())
    assert parsed.verification_result in ("PASSED", "FAILED")
    assert parsed.verifier.id and parsed.resource_uri and parsed.time_verified.seconds
    assert parsed.policy.digest["sha256"] and all(
        one.digest["sha256"] for one in parsed.input_attestations
    )


def _resources(parsed: Any, name: str) -> None:
    found = (
        parsed.configuration
        if hasattr(parsed, "configuration")
        else parsed.build_definition.resolved_dependencies
    )
    assert len(found), name
    for one in found:
        ResourceDescriptor.copy_from_pb(one).validate()


def test_provenance_names_everything_that_went_into_a_training(plain: Records) -> None:
    said = named(plain, "provenance-sft")
    definition = said["predicate"]["buildDefinition"]
    digests = {one["digest"].get("sha256") for one in definition["resolvedDependencies"]}
    request = plain.facts.requests[plain.facts.digest]
    assert {request.data.sha256, request.parent.sha256, request.objective} <= digests
    commits = [
        one["digest"]["gitCommit"]
        for one in definition["resolvedDependencies"]
        if "gitCommit" in one["digest"]
    ]
    assert commits == ["0" * 39 + "1"]
    assert definition["externalParameters"]["dataset"] == "desk_sft"
    assert definition["internalParameters"]["resolved"]["seed"] == 1


def test_the_registered_model_is_a_subject_by_manifest_and_by_file(plain: Records) -> None:
    subjects = named(plain, "provenance-sft")["subject"]
    files = {one.path: one.sha256 for one in plain.facts.registration.files}
    assert subjects[0]["digest"] == {"sha256": plain.facts.digest}
    assert {one["name"]: one["digest"]["sha256"] for one in subjects[1:]} == files
    assert len(named(plain, "provenance-base")["subject"]) == 1


def test_a_summary_passes_for_one_alias_only_and_lists_what_was_used(released: Records) -> None:
    said = named(released, "vsa-champion")["predicate"]
    assert said["verificationResult"] == "PASSED"
    assert said["resourceUri"].endswith(":support-desk:1:champion")
    assert "COUNTERSIGN_ALIAS_CHAMPION" in said["verifiedLevels"]
    used = {one["digest"]["sha256"] for one in said["inputAttestations"]}
    facts = released.facts
    kinds = {item.kind for item in facts.now.evidence.all() if item.digest in used}
    assert kinds == {
        "ingest",
        "scan",
        "quality",
        "base",
        "gate",
        "train",
        "evaluate",
        "registration",
        "packet",
        "approval",
        "request",
        "waiver",
    }
    assert said["policy"]["digest"]["sha256"] == facts.now.authority.in_force.digest


def test_a_refusal_is_a_failed_summary(shared: Story, tmp_path: Any) -> None:
    other = shared.copy(tmp_path)
    other.promote("sft", "1", [finding("SCAN_NOT_PASSED", "dataset desk_sft", "for a test")])
    said = named(records_of(other), "vsa-candidate")["predicate"]
    assert said["verificationResult"] == "FAILED"
    assert said["verifiedLevels"] == ["FAILED"]


def test_a_decision_that_does_not_hold_is_no_summary(scene: Governed) -> None:
    """The service's key is misused: what nobody approved is told as PASSED to nobody."""
    scene.freeze()
    scene.request()
    forged(scene)
    made = records_of(scene.story)
    assert [name for name, _ in every(made) if name.startswith("vsa-")] == ["vsa-candidate"]
    assert (
        export(made, ["slsa-vsa"])["slsa-vsa"]
        .missing[0]
        .endswith("it comes out refused: APPROVAL_MISSING")
    )


def test_an_evaluation_is_held_against_its_thresholds(plain: Records) -> None:
    said = named(plain, "test-result-evaluation-desk_eval")["predicate"]
    assert said["result"] == "WARNED"
    assert len(said["passedTests"]) == 1 and said["passedTests"][0].startswith(
        "greedy_exact at least 0.9"
    )
    assert said["warnedTests"][0].startswith("sampled_unsafe: no threshold in policy; mean 0.020")


def test_a_threshold_that_is_not_met_fails_the_test(plain: Records) -> None:
    policies = plain.facts.policies
    assert policies is not None
    stricter = policies.evaluation.model_dump()
    stricter["suites"]["desk_eval"]["methods"]["sft"]["thresholds"]["greedy_exact"]["at_least"] = (
        0.99
    )
    changed = replace(policies, evaluation=type(policies.evaluation).model_validate(stricter))
    said = named(
        replace(plain, facts=judged_by(plain.facts, changed)),
        "test-result-evaluation-desk_eval",
    )
    assert said["predicate"]["result"] == "FAILED"


def test_an_evaluation_that_was_not_run_is_no_test_result(shared: Story, tmp_path: Any) -> None:
    other = shared.copy(tmp_path)
    other.train("mute", "sft", "conversation", "desk_sft", "base", accuracy=None)  # type: ignore[arg-type]
    other.register("mute", "2")
    records = records_of(other, "2")
    assert not [name for name, _ in every(records) if "evaluation" in name]
    assert list(results(records).missing) == [
        "evaluation on desk_eval: not run: untrained starting point; nothing to test"
    ]
    assert "evaluation of mute on desk" in model_card(records)


def test_without_policies_no_threshold_is_claimed_to_be_absent(plain: Records) -> None:
    facts = judged_by(plain.facts, None, "for a test")
    said = named(replace(plain, facts=facts), "test-result-evaluation-desk_eval")["predicate"]
    assert said["result"] == "WARNED" and not said["passedTests"]
    assert all("not compared with policy here" in one for one in said["warnedTests"])


def test_a_scan_of_none_found_still_warns_of_what_it_does_not_find(plain: Records) -> None:
    said = named(plain, "test-result-scan-desk_sft")["predicate"]
    assert said["result"] == "WARNED"
    assert "EMAIL_ADDRESS: 41 found, redact, 0 remaining" in said["passedTests"]
    recall = (
        "recall on made-up values: 8 of 9 kinds all found, least PERSON 0.480 [0.300, 0.665], n=25"
        " (desk_sft)"
    )
    assert recall in said["warnedTests"]


def test_nobody_is_named(released: Records) -> None:
    text = json.dumps([value for _, value in every(released)])
    assert not [name for name in PEOPLE if re.search(rf"\b{name}\b", text)]
