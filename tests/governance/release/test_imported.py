"""A model that was trained elsewhere is approved, promoted and rolled back like ours, and both
verifiers judge it alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Packet, Promotion
from governance.base.errors import RefusedError
from governance.exports.formats.cyclonedx import bom
from governance.exports.formats.model_card import model_card
from governance.exports.formats.slsa_provenance import provenance
from governance.history import packet
from governance.history.chain import Chain
from governance.history.contents import Contents
from governance.policy.readers import Content
from governance.release import promotion, retrospect
from governance.release.shown import shown
from governance.report.build import build
from governance.report.html import page
from tests.governance.bought import TIER, declared, digest_of, importing
from tests.governance.bundles import both_accept
from tests.governance.exports.told import records_of
from tests.governance.forged import forge
from tests.governance.governed import RULES, Governed
from tests.governance.story import MODEL, bought, digest


@pytest.fixture
def scene(tmp_path: Path) -> Governed:
    return importing(tmp_path)


def _codes(scene: Governed) -> set[str]:
    last = promotion.state(scene.story.log).evidence.all(Promotion)[-1].predicate
    return {found.code for found in last.findings}


def test_the_chain_of_an_import_is_the_model_alone(scene: Governed) -> None:
    now = promotion.state(scene.story.log)
    chain = Chain.registered(now.view, now.registration(MODEL, "2").predicate)
    assert [(node.name, node.method, node.imported) for node in chain.chain] == [
        ("acme", "imported", True)
    ]
    assert [suite.name for suite in chain.suites] == ["desk_eval"]
    assert [(data.dataset, use) for data, use in chain.datasets] == [
        ("desk_eval", ["evaluate_base@acme"])
    ]
    kinds = [statement.kind for statement in chain.statements()]
    assert kinds == ["base", "evaluate", "ingest", "scan", "quality"]


def test_its_packet_states_that_it_is_declared(scene: Governed) -> None:
    imported, trained = scene.packet(scene.freeze("2")), scene.packet(scene.freeze("1"))
    text = scene.story.policies.files["imports/acme.yaml"]
    assert imported.declaration == sha256_bytes(text.encode())
    assert trained.declaration is None
    assert b"declaration" not in canonical.dumps(trained.model_dump(mode="json"))


def test_a_packet_that_hides_the_declaration_is_out_of_date(scene: Governed) -> None:
    scene.freeze("2")
    now = promotion.state(scene.story.log)
    statement = now.evidence.all(Packet)[-1]
    hidden = statement.predicate.model_copy(update={"declaration": None})
    for predicate, said in ((statement.predicate, False), (hidden, True)):
        made = replace(statement, predicate=predicate)
        differing = packet.differing(
            made, now.view, now.authority, evidence=now.evidence, at=scene.now
        )
        assert (packet.Part.POLICIES in differing) is said


def test_a_released_base_keeps_its_own_readers(scene: Governed) -> None:
    contents = Contents(promotion.state(scene.story.log).view)
    own = {Content("model", MODEL), Content("model", "acme")}
    assert contents.of_model(digest_of("acme")) == own


def test_a_source_is_of_its_dataset_under_any_path(scene: Governed) -> None:
    contents = Contents(promotion.state(scene.story.log).view)
    assert contents.of_digest(digest("source desk_sft")) == {Content("dataset", "desk_sft")}


def test_it_becomes_champion_and_is_rolled_back(scene: Governed) -> None:
    scene.released("1")
    assert scene.released("2").allowed
    assert scene.held() == "2" and both_accept(scene, "2")
    scene.story.bring("acme2", accuracy=0.98)
    scene.story.register("acme2", "3")
    scene.released("3")
    assert scene.held() == "3" and both_accept(scene, "3")
    back = scene.request("2", action="rollback")
    scene.approve("ada", "ml-lead", back, "promotion")
    assert scene.consume("2", action="rollback").allowed
    assert scene.held() == "2" and both_accept(scene, "2") and both_accept(scene, "3")
    events = retrospect.history(promotion.state(scene.story.log), MODEL)
    moved = [event for event in events if "champion" in event.what and event.result == "allowed"]
    assert [event.version for event in moved] == ["1", "2", "3", "2"]


def test_who_declared_it_does_not_approve_it(tmp_path: Path) -> None:
    def by_ada(policies: Path) -> None:
        (policies / "imports/acme.yaml").write_text(declared("acme", declared_by="ada"))

    scene = importing(tmp_path, edit=by_ada)
    scene.asked_for("2")
    with pytest.raises(RefusedError, match="ada declared how acme was trained"):
        scene.consume("2")
    assert _codes(scene) == {"APPROVAL_MISSING"}
    forge(scene, "2")
    assert not both_accept(scene, "2")


def test_a_changed_declaration_needs_new_approvals(scene: Governed, tmp_path: Path) -> None:
    frozen = scene.freeze("2")
    other = importing(
        tmp_path / "other",
        edit=lambda policies: (policies / "imports/acme.yaml").write_text(
            declared("acme", methods=["sft"])
        ),
    )
    assert other.freeze("2") != frozen


def test_every_page_says_that_it_was_trained_elsewhere(scene: Governed) -> None:
    scene.released("2")
    now = promotion.state(scene.story.log)
    report = build(scene.story.sources, MODEL, "2")
    (note,) = [each for each in report.exceptions if each.code == "TRAINED_ELSEWHERE"]
    assert "eve declared it" in note.detail and "Acme" in note.detail
    (base,) = report.bases
    assert base.declared is not None and report.trainings == []
    assert b"self-attested" in page(report)
    earlier = build(scene.story.sources, MODEL, "1")
    assert all("declared" not in each.model_dump() for each in earlier.bases)
    tags = {version: page.tags for version, page in shown(now, MODEL, scene.now).items()}
    assert tags["2"]["governance.trained"] == "elsewhere; self-attested"
    assert tags["1"]["governance.trained"] == "here"
    live = {one.alias: one.trained_elsewhere for one in retrospect.live(now, MODEL, scene.now)}
    assert live["champion"]


def test_exports_name_the_declared_builder_and_never_us(scene: Governed) -> None:
    records = records_of(scene.story, "2")
    (made,) = provenance(records).documents
    value = json.loads(made.data)
    assert value["predicate"]["runDetails"]["builder"]["id"] == "urn:countersign:declared:Acme:verl"
    assert value["predicate"]["buildDefinition"]["buildType"].endswith("/build/declared/v1")
    assert "urn:countersign:key" not in made.data.decode()
    component = json.loads(bom(records))["metadata"]["component"]
    notes = {row["name"]: row["value"] for row in component["properties"]}
    assert notes["countersign:assurance"] == "trained elsewhere; declared, self-attested"
    assert "trained elsewhere; how is declared, self-attested" in model_card(records)


def test_a_training_that_changes_nothing_does_not_make_an_import_ours(tmp_path: Path) -> None:
    """Its gate allowed it, and its registration is of a training stage."""
    scene = importing(tmp_path, tier="", edit=_without)
    story = scene.story
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(story, "_model", lambda name: bought(_folder(story.root, name), "acme"))
        story.train("again", "sft", "conversation", "desk_sft", "acme")
    story.register("again", "3")
    scene.main = "again"
    assert story.models["again"] == story.models["acme"]
    scene.asked_for("3")
    with pytest.raises(RefusedError):
        scene.consume("3")
    assert {"IMPORT_NOT_ALLOWED", "IMPORT_NOT_DECLARED"} <= _codes(scene)
    forge(scene, "3")
    assert not both_accept(scene, "3")


def _folder(root: Path, name: str) -> Path:
    return root / f"models/{name}/model"


def test_a_training_that_changes_nothing_hides_no_parent(scene: Governed) -> None:
    story = scene.story
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(story, "_model", lambda _: story.models["sft"])
        story.train("again", "sft", "conversation", "desk_sft", "sft")
    now = promotion.state(story.log)
    chain = Chain.registered(now.view, now.registration(MODEL, "1").predicate)
    assert [node.name for node in chain.chain] == ["tiny", "base", "sft"]
    assert scene.released("1").allowed and both_accept(scene, "1")


def test_a_model_that_was_made_from_itself_alone_has_no_origin(scene: Governed) -> None:
    story = scene.story
    story.models["lost"] = story._model("again")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(story, "_model", lambda _: story.models["lost"])
        story.train("again", "sft", "conversation", "desk_sft", "lost")
    story.register("again", "3")
    scene.main = "again"
    scene.asked_for("3")
    with pytest.raises(RefusedError):
        scene.consume("3")
    assert "EVIDENCE_MISSING" in _codes(scene)
    forge(scene, "3")
    assert not both_accept(scene, "3")


# -- What stops it, for both verifiers -------------------------------------------------------------
def _without(policies: Path) -> None:
    (policies / "imports/acme.yaml").unlink()


def _of_other_bytes(policies: Path) -> None:
    text = declared("acme").replace(digest_of("acme"), digest("other bytes"))
    (policies / "imports/acme.yaml").write_text(text)


BEFORE = TIER + "    approved_before_training: [data, objective]\n"


@dataclass(frozen=True)
class Row:
    """A world, and whether a move past the server stands in it."""

    accepted: bool
    codes: set[str]
    tier: str = TIER
    edit: Callable[[Path], object] | None = None
    waived: str = ""


ROWS: dict[str, Row] = {
    "declared and permitted": Row(True, set()),
    "a tier without imports": Row(False, {"IMPORT_NOT_ALLOWED"}, tier=""),
    "no declaration": Row(False, {"IMPORT_NOT_DECLARED"}, edit=_without),
    "a declaration of other bytes": Row(False, {"IMPORT_NOT_DECLARED"}, edit=_of_other_bytes),
    "approvals before training": Row(False, {"IMPORT_TRAINED_BEFORE"}, tier=BEFORE),
    "approvals before training, waived": Row(
        True, set(), tier=BEFORE, waived="IMPORT_TRAINED_BEFORE"
    ),
    "no declaration, and a waiver": Row(
        False, {"IMPORT_NOT_DECLARED"}, edit=_without, waived="IMPORT_NOT_DECLARED"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_both_verifiers_repeat_it(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    scene = importing(tmp_path, RULES, row.tier, row.edit)
    if row.waived:
        scene.waive(row.waived, "model acme")
    scene.asked_for("2")
    if row.accepted:
        scene.consume("2")
    else:
        with pytest.raises(RefusedError):
            scene.consume("2")
        assert row.codes <= _codes(scene) <= {*row.codes, "WAIVER_NOT_IN_FORCE"}
        forge(scene, "2")
    assert both_accept(scene, "2") == row.accepted
