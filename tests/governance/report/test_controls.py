"""Controls for one version: evidence that is there, what it lacks, and dates as of a day; nothing
claimed beyond.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from governance.attest.predicates import Artifact, Drill, DrillStep, Refusal
from governance.base.time import exact_instant
from governance.exports.records import Records
from governance.log import evidence
from governance.log.evidence import Evidence
from governance.log.views import EvidenceView
from governance.machine.machine import signer
from governance.release import promotion
from governance.report import html
from governance.report.controls import ControlReport, assess, in_force
from governance.report.frameworks import EVIDENCE, Catalogue, Framework, Milestone, catalogue_of
from governance.report.links import LOOKUPS, NOT_RECORDED
from governance.report.model.controls import Link
from governance.report.people import people as who
from tests.governance.audited import audited
from tests.governance.exports.told import records_of
from tests.governance.governed import Governed, empty, governed, keypair, person, principals
from tests.governance.report.reproduced import RUNNER, again
from tests.governance.story import MODEL, Story, digest, tell

DAY = date(2026, 11, 20)


def ask(records: Records, control: str = "", framework: str = "", at: date = DAY) -> ControlReport:
    policies = records.facts.policies
    assert policies is not None
    return assess(
        records.facts, records.verified, catalogue_of(policies).find(control, framework), at
    )


def links(records: Records) -> dict[str, Link]:
    """Every kind of evidence, as this version has it."""
    return ask(records).links


def lines(report: ControlReport) -> list[str]:
    return html.lines("control.txt.j2", answer=report)


def made(evidence: list[str], **fields: Any) -> Framework:
    control = {
        "id": "X 1",
        "what_it_asks": "everything",
        "gap": "much",
        "evidence": evidence,
        "how_sure": "M",
        **fields,
    }
    value = {
        "framework": "OWN",
        "title": "our own",
        "kind": "voluntary",
        "as_of": DAY,
        "controls": [control],
    }
    return Framework.model_validate(value)


def result(records: Records, evidence: list[str], **fields: Any) -> str:
    found = Catalogue((made(evidence, **fields),)).find()
    (one,) = assess(records.facts, records.verified, found, DAY).controls
    return f"{one.result}{f': {one.why}' if one.why else ''}"


def test_every_kind_of_evidence_is_looked_for_or_said_not_to_be_recorded() -> None:
    assert {*LOOKUPS, *NOT_RECORDED} == set(EVIDENCE)
    assert not set(LOOKUPS) & set(NOT_RECORDED)


def test_the_result_follows_from_the_kinds(plain: Records) -> None:
    assert result(plain, ["dataset_lineage", "dq_results"]) == "evidence present and verified"
    assert result(plain, ["dataset_lineage", "leak_probe"]) == "partial"
    assert result(plain, ["pii_scan"]) == "partial"
    assert result(plain, ["approval_record", "leak_probe"]) == "missing"
    assert (
        result(plain, ["bias_profile", "risk_register"])
        == "not assessed: no record here could show it"
    )


def test_only_policies_say_that_something_does_not_apply_and_why(plain: Records) -> None:
    why = "no personal data goes in, says the privacy officer"
    mine = [{"models": ["support-desk"], "why": why}]
    assert (
        result(plain, ["leak_probe"], not_applicable=mine)
        == f"not applicable: policies declare so: {why}"
    )
    other = [{"models": ["another"], "why": why}]
    assert result(plain, ["bias_profile"], not_applicable=other).startswith("not assessed")


def test_what_people_did_is_evidence_only_where_they_did_it(
    plain: Records, released: Records
) -> None:
    before, after = links(plain), links(released)
    for key in ("approval_record", "sod_check"):
        assert before[key].state == "missing"
    assert after["approval_record"].state == "present"
    assert "ml-lead, risk" in after["approval_record"].says
    kinds = {one.index: one.kind for one in released.facts.now.evidence.all()}
    assert {kinds[index] for index in after["approval_record"].evidence} == {"approval"}
    assert after["sod_check"].lacks == [
        "an evaluation that somebody else asked for than the training"
    ]
    assert "PII_REMAINING until" in after["waiver_register"].says
    assert [kinds[index] for index in after["waiver_register"].evidence] == ["waiver"]


def test_signatures_nobody_vouches_for_are_no_named_keys(plain: Records, released: Records) -> None:
    assert links(plain)["signature_verification"].lacks[0].startswith("named keys: ")
    assert links(released)["signature_verification"].state == "present"


def test_policies_that_nobody_signed_are_partial(plain: Records, released: Records) -> None:
    assert links(plain)["policy_snapshot"].lacks == ["signatures of policy owners"]
    assert links(released)["policy_snapshot"].state == "present"


def test_a_scan_is_never_whole_without_a_person_and_lacks_recall_where_it_has_none(
    shared: Story, tmp_path: Any
) -> None:
    assert links(records_of(shared))["pii_scan"].lacks == ["a person's sample of what remains"]
    other = shared.copy(tmp_path)
    other.data("desk_sft", "conversation", "conversation", 2900, recall=False)
    assert "desk_sft: recall on a seeded set" in links(records_of(other))["pii_scan"].lacks


def test_a_missing_step_is_named(shared: Story, tmp_path: Any) -> None:
    other = shared.copy(tmp_path)
    other.records["desk_sft"] = "f" * 64
    other.train("odd", "sft", "conversation", "desk_sft", "base")
    other.register("odd", "2")
    found = links(records_of(other, "2"))
    assert found["dataset_lineage"].lacks == ["desk_sft: evidence of quality"]
    assert "desk_sft: a quality result" in found["dq_results"].lacks


def test_uncommitted_code_is_a_gap(shared: Story, tmp_path: Any) -> None:
    other = shared.copy(tmp_path)
    other.dirty = True
    other.train("dirty", "sft", "conversation", "desk_sft", "base")
    other.register("dirty", "2")
    assert "train@dirty: committed code" in links(records_of(other, "2"))["training_record"].lacks


def test_no_incident_on_record_shows_nothing_and_one_is_partial(
    plain: Records, tmp_path: Any
) -> None:
    assert links(plain)["incident_log"].state == "missing"
    assert "does not show that there were none" in links(plain)["incident_log"].says
    scene = governed(tmp_path)
    scene.incident("1", "open")
    assert links(records_of(scene.story))["incident_log"].state == "partial"


class Rescored(EvidenceView):
    """A view in which every evaluation was done a second time, with the scores given, or the
    same.
    """

    def __init__(
        self,
        view: EvidenceView,
        scores: dict[str, list[float | None]] | None,
        own_key: bool = False,
    ) -> None:
        super().__init__(self)
        self.view, self.scores, self.own_key = view, scores, own_key

    def about(self, sha256: str) -> list[Evidence]:
        return [one for item in self.view.by_subject(sha256) for one in self._again(item)]

    def of_kind(self, kind: str | None) -> list[Evidence]:
        return [one for item in self.view.all(kind) for one in self._again(item)]

    def rules_at(self, index: int) -> int:
        return self.view.rules_at(index)

    def _again(self, item: Evidence) -> list[Evidence]:
        if item.kind != "evaluate":
            return [item]
        said = item.predicate.model_copy(update={"scores": self.scores} if self.scores else {})
        keyid = item.keyid if self.own_key else "0" * 64
        return [replace(item, index=item.index + 1000, keyid=keyid, predicate=said), item]


AGAIN = ["base: trained again under another key", "sft: trained again under another key"]


def test_scores_under_another_key_are_a_reproduction(plain: Records) -> None:
    assert links(plain)["repro_check"].state == "missing"
    other = replace(plain, facts=replace(plain.facts, view=Rescored(plain.facts.view, None)))
    found = links(other)["repro_check"]
    assert (found.state, found.lacks) == ("partial", AGAIN)
    assert found.says.startswith(
        "scored again under another key: the same scores; no training was repeated; statements: "
    )
    worse = replace(
        plain,
        facts=replace(plain.facts, view=Rescored(plain.facts.view, {"greedy_exact": [0.0] * 300})),
    )
    assert links(worse)["repro_check"].says.startswith(
        "scored again under another key: other scores"
    )
    assert links(worse)["repro_check"].lacks == ["the same scores", *AGAIN]
    told = [who(one.facts)[1].assurance for one in (plain, other, worse)]
    assert told[:2] == ["self-attested", "scored again: same scores"]
    assert told[2].startswith("scored again under another key: other scores (evaluate@")


def test_scores_that_replace_others_of_the_same_key_are_told(plain: Records) -> None:
    """Who scores until it passes leaves the scores before in the log, and the report says that
    there are such.
    """
    zeros: dict[str, list[float | None]] = {"greedy_exact": [0.0] * 300}
    views = [Rescored(plain.facts.view, scores, own_key=True) for scores in (None, zeros)]
    same, other = (who(replace(plain.facts, view=view))[1].assurance for view in views)
    assert same == "self-attested"
    assert other.startswith(
        "self-attested; scored more than once, with other scores, and the last count (evaluate@"
    )


class NotSearched(Rescored):
    """A view in which nobody searched the first model's data for leaks."""

    def _again(self, item: Evidence) -> list[Evidence]:
        if item.kind != "quality" or item.predicate.dataset != "desk_text":
            return [item]
        read = [one for one in item.predicate.inputs if one.role != "held_out"]
        return [replace(item, predicate=item.predicate.model_copy(update={"inputs": read}))]


def test_data_of_an_earlier_stage_that_was_not_searched_for_leaks_into_this_suite_is_named(
    plain: Records,
) -> None:
    """The gate of a stage asks for its own data and suite; what its parents learnt from is told
    here.
    """
    other = replace(plain, facts=replace(plain.facts, view=NotSearched(plain.facts.view, None)))
    lacks = "a search of desk_text for leaks into desk_eval"
    assert (
        lacks in links(other)["eval_results"].lacks
        and lacks not in links(plain)["eval_results"].lacks
    )


def test_a_training_performed_again_is_a_reproduction_and_whose_key_it_was_counts(
    tmp_path: Path,
) -> None:
    people = tell(empty(tmp_path, people=principals() + RUNNER % keypair("runner")[1]).story)
    mine = again(people)
    found = links(records_of(people))["repro_check"]
    assert (found.state, found.evidence) == (
        "missing",
        [],
    ), "the service may not sign reproductions"
    by_runner = [again(people, stage, person("runner")) for stage in ("base", "sft")]
    found = links(records_of(people))["repro_check"]
    assert (found.state, found.lacks, found.evidence) == (
        "partial",
        ["scored again under another key"],
        by_runner,
    )
    assert "base reproduced: same bytes on cpu" in found.says and mine not in found.evidence
    again(
        people,
        "sft",
        person("runner"),
        model=digest("another"),
        same_bytes=False,
        largest_difference=None,
    )
    assert "sft: the same result every time" in links(records_of(people))["repro_check"].lacks


def test_rights_that_ended_and_rights_that_were_lent_are_told(
    released: Records, tmp_path: Any
) -> None:
    found = links(released)["access_control"]
    assert "statements: authorization 1, origin 1" in found.says
    kinds = {one.index: one.kind for one in released.facts.now.evidence.all()}
    assert [kinds[index] for index in found.evidence] == ["origin", "authorization"]
    scene = governed(tmp_path)
    scene.revoke("eve", "eve", "eve", "visitor")
    assert "revocation 1" in links(records_of(scene.story))["access_control"].says


def test_a_refused_call_is_in_no_report_and_a_version_says_its_state(
    released: Records, tmp_path: Any
) -> None:
    assert "champion now" in links(released)["inventory_record"].says
    scene = governed(tmp_path)
    scene.released()
    refused = Refusal(
        operation="delete_model",
        model=MODEL,
        caller="eve",
        reason="governed",
        run=scene.story.run(),
    )
    index = evidence.record(
        scene.story.log,
        signer(scene.story.machine),
        "refusal",
        [Artifact(role="model", name=MODEL, sha256="0" * 64)],
        refused,
    ).index
    found = links(records_of(scene.story))["registry_history"]
    assert index not in found.evidence, "any account can cause one: it changes no report"


def test_a_rehearsal_of_another_way_back_is_not_whole(tmp_path: Any) -> None:
    scene = audited(tmp_path)
    drilled(scene, "1")
    assert links(records_of(scene.story, "2"))["rollback_drill"].state == "present"
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98)
    scene.story.register("sft", "3")
    scene.released("3")
    found = links(records_of(scene.story, "3"))["rollback_drill"]
    assert found.lacks == ["a rehearsal of going back to version 2, which is next below now"]


def drilled(scene: Governed, version: str) -> None:
    """A rehearsal that came off, of going back to a version."""
    item = promotion.state(scene.story.log).registration(MODEL, version)
    said = Drill(
        model=MODEL,
        alias="champion",
        version=version,
        from_version="2",
        model_digest=item.predicate.model_digest,
        passed=True,
        steps=[DrillStep(name="load", passed=True, seconds=1.5, found="20 tensors")],
        items=8,
        policy=scene.story.policies.digest,
        at=exact_instant(scene.now),
        run=scene.story.run(),
    )
    subject = Artifact(role="model", name=MODEL, sha256=said.model_digest)
    evidence.record(scene.story.log, signer(scene.story.machine), "drill", [subject], said)


def test_dates_are_told_as_of_a_day() -> None:
    dates = [
        Milestone(since=date(2026, 8, 2), of="providers"),
        Milestone(since=date(2026, 12, 2), of="older generators"),
    ]
    assert in_force(dates, "law", date(2026, 8, 1)).startswith(
        "NOT in force on 2026-08-01: from 2026-08-02"
    )
    assert (
        in_force(dates, "law", date(2026, 8, 2))
        == "in force since 2026-08-02 for providers; not before 2026-12-02 for older generators"
    )
    assert in_force(dates, "law", date(2027, 1, 1)).count("in force since") == 2
    assert in_force([], "voluntary", DAY) == "voluntary"
    assert in_force([], "law", DAY) == "no date in the catalogue: a person must find it"


def test_high_risk_duties_are_not_in_force_and_then_they_are(plain: Records) -> None:
    (now,) = ask(plain, "Annex IV(2)(g)").controls
    assert now.in_force.startswith("NOT in force on 2026-11-20: from 2027-12-02")
    (later,) = ask(plain, "Annex IV(2)(g)", at=date(2028, 9, 1)).controls
    assert later.in_force.startswith("in force since 2027-12-02")


def test_warnings_of_the_catalogue_are_printed(plain: Records) -> None:
    text = "\n".join(lines(ask(plain, "SR 11-7 VI Governance, policies, and controls")))
    assert "rescinded 17 April 2026" in text
    assert "ANALOGY   generative and agentic AI are out of its scope" in text
    assert "confirm   a person must confirm this entry (V:S7; M)" in text
    assert "not legal advice" in text
    gdpr = "\n".join(lines(ask(plain, framework="GDPR")))
    assert "have a human confirm; a person must confirm it" in gdpr


@pytest.mark.parametrize("which", ["plain", "released"])
def test_nobody_is_called_compliant_and_nothing_is_a_share(
    which: str, request: pytest.FixtureRequest
) -> None:
    records = request.getfixturevalue(which)
    for one in ask(records).controls:
        told = "\n".join(lines(ask(records, one.control.id, one.framework)))
        assert not re.search(r"\bcompliant\b|\d ?%|percent", told, re.IGNORECASE), one.control.id
        assert "  gap       " in told and one.in_force
    assert all(link.says for link in links(records).values())


def test_of_many_controls_one_line_each(plain: Records) -> None:
    text = lines(ask(plain))
    count = len(ask(plain).controls)
    assert count == 141
    assert (
        sum(
            bool(re.match(r"  (evidence present|partial|missing|not assessed)", one))
            for one in text
        )
        == count
    )
