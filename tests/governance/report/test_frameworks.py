"""The catalogue of controls: typed, unambiguous, dated; found under every id that people quote."""

from __future__ import annotations

import re
import shutil
from datetime import date
from pathlib import Path

import pytest

from governance.base.errors import ConfigError, Problems
from governance.policy.policies import load_policies
from governance.report.frameworks import EVIDENCE, Catalogue, catalogue_of, narrowed

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    return catalogue_of(load_policies(ROOT / "policies"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "policies", tmp_path / "policies"))


def test_every_framework_of_the_reference_is_there(shipped: Catalogue) -> None:
    counted = {one.framework: (len(one.controls), len(one.secondary)) for one in shipped.frameworks}
    assert counted == {
        "NIST-AI-RMF-1.0": (19, 18),
        "NIST-AI-600-1": (10, 0),
        "ISO-42001-2023": (12, 12),
        "EU-AI-ACT": (26, 6),
        "GDPR": (15, 3),
        "MRM": (9, 1),
        "US-CA-AB-2013": (5, 0),
        "US-CO-SB-26-189": (5, 0),
    }


def test_every_kind_of_evidence_is_asked_for_somewhere(shipped: Catalogue) -> None:
    asked = {key for found in shipped.find() for key in found.control.evidence}
    assert asked == set(EVIDENCE)


def test_high_risk_duties_are_dated_as_amended(shipped: Catalogue) -> None:
    (found,) = shipped.find("Annex IV(2)(g)")
    assert [one.since for one in found.control.in_force] == [date(2027, 12, 2), date(2028, 8, 2)]
    for one in shipped.find(framework="EU-AI-ACT"):
        assert one.control.in_force, one.control.id


def test_what_is_out_of_scope_for_language_models_is_by_analogy(shipped: Catalogue) -> None:
    for found in shipped.find(framework="MRM"):
        assert bool(found.control.by_analogy) == found.control.id.startswith("SR 26-2")


def test_nobody_is_called_compliant_and_nothing_is_a_share(folder: Path) -> None:
    for path in (folder / "controls").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\bcompliant\b|\d ?%", text), path.name


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("Annex IV(2)(g)", ["Annex IV(2)(g)"]),
        ("annex iv (2)(G)", ["Annex IV(2)(g)"]),
        ("GV-1.6-001", ["GOVERN 1.6"]),
        ("MEASURE 2.1", ["MEASURE 2.1"]),
        ("Art. 15", ["Art. 15(1), (3)", "Art. 15(4)-(5)", "Art. 15"]),
        ("A.10", ["A.10.3", "A.10.2"]),
    ],
)
def test_a_control_is_found_by_what_people_write(
    shipped: Catalogue, asked: str, found: list[str]
) -> None:
    assert [one.control.id for one in shipped.find(asked)] == found


def test_every_id_that_is_shown_is_accepted(shipped: Catalogue) -> None:
    for one in shipped.find():
        assert one in shipped.find(one.id), one.id
        assert all(found.framework == one.framework for found in shipped.find(one.id))


def test_controls_are_narrowed_by_role_and_jurisdiction(shipped: Catalogue) -> None:
    every = shipped.find()
    assert all(one.control.roles and one.control.jurisdictions for one in every)
    frameworks = {one.framework.framework for one in narrowed(every, ["controller"], [])}
    assert frameworks == {"GDPR"}
    both = narrowed(every, ["deployer"], ["eu", "us-co"])
    assert {one.framework.framework for one in both} == {"EU-AI-ACT", "US-CO-SB-26-189"}
    assert {one.control.id.partition(" ")[0] for one in narrowed(every, [], ["UK"])} == {"PRA"}
    with pytest.raises(ConfigError, match="no control is for 'nobody'"):
        narrowed(every, ["nobody"], [])
    with pytest.raises(ConfigError, match="no control is for this role in this jurisdiction"):
        narrowed(every, ["controller"], ["US-CA"])


def test_few_controls_are_proven_by_records_alone(shipped: Catalogue) -> None:
    """The gap of each of them is empty for one version; whoever adds one argues why."""
    proven = [one.id for one in shipped.find() if one.control.strength == "proves"]
    assert proven == ["NIST-AI-RMF-1.0 MEASURE 2.1", "NIST-AI-RMF-1.0 MANAGE 1.1"]


def test_a_framework_narrows_the_search(shipped: Catalogue) -> None:
    assert [one.control.id for one in shipped.find("Art. 15", "gdpr")] == ["Art. 15"]
    assert {one.framework.framework for one in shipped.find(framework="nist")} == {
        "NIST-AI-600-1",
        "NIST-AI-RMF-1.0",
    }
    with pytest.raises(ConfigError, match="no framework 'hipaa'"):
        shipped.find(framework="hipaa")


def test_rescinded_guidance_is_found_under_its_old_name_and_says_so(shipped: Catalogue) -> None:
    found = shipped.find("SR 11-7 VI Governance, policies, and controls")
    assert [(one.control.id, one.alias.why if one.alias else "") for one in found] == [
        ("SR 26-2 / OCC 2026-13: Governance and controls", "rescinded 17 April 2026")
    ]


def test_an_unknown_id_names_what_is_near(shipped: Catalogue) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'MEASURE 2\.5'"):
        shipped.find("MEASURE 2.15")


MISTAKES = [
    # text, replacement, what is said
    (
        "evidence: [eval_results, approval_record, signature_verification]",
        "evidence: [eval_result]",
        r"no kind of evidence 'eval_result'",
    ),
    ("- id: Annex IV(6)", "- id: Annex IV(2)(g)", r"control named twice: Annex IV\(2\)\(g\)"),
    ("as_of: 2026-11-20", "as_of: lately", r"as_of: 'lately'"),
    (
        "    how_sure: V:S2,S3\n  - id: Art. 9(2)",
        "    how_sure: V:S77\n  - id: Art. 9(2)",
        r"no such source: S77",
    ),
    (
        "    how_sure: V:S2,S3\n  - id: Art. 9(2)",
        "    how_sure: surely\n  - id: Art. 9(2)",
        r"how_sure: 'surely'",
    ),
    ("  - id: Art. 9(2)\n    title:", "  - id: Art. 9(2)\n    titel:", r"did you mean 'title'"),
]


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES, ids=[row[2][:30] for row in MISTAKES])
def test_a_mistake_is_told_with_its_place_and_stops_no_gate(
    folder: Path, old: str, new: str, said: str
) -> None:
    path = folder / "controls" / "eu-ai-act.yaml"
    text = re.sub(r"\n\n(  - id:)", r"\n\1", path.read_text(encoding="utf-8"))
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    policies = load_policies(folder)
    with pytest.raises(Problems) as caught:
        catalogue_of(policies)
    assert re.search(said, str(caught.value))
    assert "policies/controls/eu-ai-act.yaml:" in str(caught.value)


def test_the_catalogue_is_part_of_what_owners_sign(folder: Path) -> None:
    before = load_policies(folder).digest
    path = folder / "controls" / "gdpr.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("title: Security of processing", "title: Security")
    )
    assert load_policies(folder).digest != before


def test_a_framework_in_two_files_is_a_mistake(folder: Path) -> None:
    shutil.copy(folder / "controls" / "gdpr.yaml", folder / "controls" / "again.yaml")
    with pytest.raises(Problems, match=r"GDPR stands in two files"):
        catalogue_of(load_policies(folder))


def test_a_project_without_a_catalogue_has_none(folder: Path) -> None:
    shutil.rmtree(folder / "controls")
    policies = load_policies(folder)
    assert catalogue_of(policies).find() == []
    with pytest.raises(ConfigError, match="policies/controls/ is empty"):
        catalogue_of(policies).find("Art. 15", "gdpr")
