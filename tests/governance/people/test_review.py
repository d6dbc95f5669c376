"""The review page: the same bytes for everybody and always, from the packet and the log alone."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from governance.attest.digests import sha256_bytes
from governance.attest.findings import finding
from governance.people import review, subjects
from governance.people.review import Review
from governance.release import promotion
from governance.report.build import build
from tests.governance.governed import Governed, governed
from tests.governance.people.desk import NAME, WHY, Desk, desk
from tests.governance.story import MODEL

YES = "--yes"


@pytest.fixture
def scene(tmp_path: Path) -> Governed:
    return governed(tmp_path)


@pytest.fixture
def at_desk(tmp_path: Path, scene: Governed, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return desk(tmp_path, scene, monkeypatch)


def made(scene: Governed, packet: str) -> Review:
    now = promotion.state(scene.story.log)
    return review.review(now, subjects.find(now, ("packet", packet)).statement, scene.now)


def test_what_speaks_for_a_version_changes_no_page(scene: Governed) -> None:
    frozen = scene.freeze()
    before = review.html(made(scene, frozen))
    scene.approve("ada", "ml-lead", frozen)
    scene.approve("ben", "risk", frozen)
    scene.request()
    scene.consume()
    assert review.html(made(scene, frozen)) == before


def test_what_speaks_against_a_version_stands_at_the_top(scene: Governed) -> None:
    frozen = scene.freeze()
    before = review.html(made(scene, frozen))
    scene.approve("ben", "risk", frozen, decision="reject")
    found = made(scene, frozen)
    assert found.verdict == "rejected"
    assert [one.signed.principal for one in found.against.rejections] == ["ben"]
    scene.incident("1", "open")
    found = made(scene, frozen)
    assert found.verdict == "incident_open"
    assert [one.signed.principal for one in found.against.incidents] == ["ben"]
    assert found.against.blocking == [found.against.incidents[0].entry]
    text = review.html(found).decode()
    assert text.index("Open incident on") < text.index('id="exceptions"')
    lines = "\n".join(review.text(found))
    assert lines.index("Open incident on support-desk/1") < lines.index("  Exceptions")
    scene.incident("1", "closed")
    scene.approve("ben", "risk", frozen)
    assert review.html(made(scene, frozen)) == before


def test_a_waived_and_an_open_finding_fail_the_row(scene: Governed) -> None:
    """The page judges a gate as the report does."""
    scene.waive("THRESHOLD_NOT_MET", "model sft")
    frozen = scene.freeze()
    now = promotion.state(scene.story.log)
    item = subjects.find(now, ("packet", frozen)).statement
    (a, b) = (
        finding("SCAN_NOT_PASSED", f"dataset {name}", "not passed") for name in ("one", "two")
    )
    both = replace(
        item, predicate=item.predicate.model_copy(update={"waived": [a], "findings": [b]})
    )
    one = replace(item, predicate=item.predicate.model_copy(update={"waived": [a]}))
    results = {}
    for name, packet in (("both", both), ("waived", one)):
        gates = review.review(now, packet, scene.now).sections.gates
        results[name] = next(row.result for row in gates if row.name == "Personal data")
    assert results == {"both": "fail", "waived": "waived"}


def test_the_page_needs_neither_the_project_nor_its_state(at_desk: Desk) -> None:
    """A reviewer has the log and the project's name."""
    d = at_desk
    d.must("ada", "freeze", NAME)
    here = d.must("ada", "review", NAME, "--json").json
    away = d.folder / "away"
    away.mkdir()
    shutil.copytree(d.folder / "home", d.folder / "other-home")
    shutil.rmtree(d.folder / "other-home" / "support-desk" / "opened")
    d.scene.story.root = away  # type: ignore[misc]
    d.environ["COUNTERSIGN_PROJECT"] = MODEL
    there = d.must("", "review", NAME, "--json", home=d.folder / "other-home").json
    assert there["page"] == here["page"]
    d.environ.clear()
    assert "COUNTERSIGN_PROJECT" in d.refused("", "review", NAME, code=2)


def test_the_page_is_one_file_without_script_or_assets(scene: Governed) -> None:
    text = review.html(made(scene, scene.freeze())).decode()
    assert not re.search(r"<script|<link|<img|https?://(?!countersign)", text)
    assert "{{" not in text and "None" not in re.sub(
        r"<style>.*</style>", "", text, flags=re.DOTALL
    )


def test_exceptions_stand_before_the_gates(at_desk: Desk) -> None:
    d = at_desk
    d.scene.incident("1", "open")
    d.scene.waive("INCIDENT_OPEN", "model support-desk")
    frozen = d.scene.freeze()
    found = made(d.scene, frozen)
    (one,) = found.waived
    assert (
        one.finding.code,
        *(getattr(one.waiver, name) for name in ("principal", "role", "owner", "control")),
    ) == (
        "INCIDENT_OPEN",
        "ben",
        "risk",
        "risk",
        "somebody looks",
    )
    assert found.verdict == "exceptions" and found.against.incidents and not found.against.blocking
    text = review.html(found).decode()
    assert text.index('id="exceptions"') < text.index('id="findings"') < text.index('id="gates"')
    text = "\n".join(review.text(found))
    assert text.index("\n  Exceptions") < text.index("\n  Open findings") < text.index("\n  Gates")


def test_what_stands_against_it_is_the_verdict(scene: Governed) -> None:
    scene.incident("1", "open")
    found = made(scene, scene.freeze())
    assert found.verdict == "incident_open"
    assert [one.code for one in found.frozen.findings] == ["INCIDENT_OPEN"]


def test_what_changed_is_told_against_the_version_approved_last(scene: Governed) -> None:
    scene.released()
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98, unsafe=0.01)
    scene.story.register("sft", "2")
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.99, unsafe=0.01)
    scene.story.register("sft", "3")
    found = made(scene, scene.freeze("3"))
    assert found.sections.change_since.startswith("version 1 (")
    changes = {one.what: (one.before, one.now) for one in found.sections.changes}
    assert changes["greedy_exact on desk_eval"] == ("0.970", "0.990")
    exact = next(one for one in found.sections.metrics if one.name == "greedy_exact")
    against = next(one for one in exact.differences if one.against == f"{MODEL}/1")
    assert against.mean == pytest.approx(0.02) and against.n == 300


def test_a_refused_promotion_is_read_in_the_next_review(scene: Governed) -> None:
    scene.freeze()
    scene.request()
    with pytest.raises(Exception, match="APPROVAL_MISSING"):
        scene.consume()
    scene.waive("INCIDENT_OPEN", "model support-desk")
    found = made(scene, scene.freeze())
    assert ["APPROVAL_MISSING" in str(one.signed) for one in found.earlier] == [True]


def test_what_is_written_into_evidence_cannot_repaint_or_script_the_page(at_desk: Desk) -> None:
    d = at_desk
    d.reads("ada")
    nasty = "<script>alert(1)</script>\u202e\x1b[31m"
    d.must("ben", "reject", NAME, "--reason", nasty, YES)
    d.scene.waive("INCIDENT_OPEN", "model support-desk")
    found = made(d.scene, d.scene.freeze())
    text = review.html(found).decode()
    assert "<script>" not in text and "\u202e" not in text and "\x1b" not in text
    lines = "\n".join(review.text(found))
    assert "\x1b" not in lines and "\u202e" not in lines and "alert(1)" in lines


def test_a_key_is_needed_to_freeze_and_none_to_read(at_desk: Desk) -> None:
    d = at_desk
    assert "nobody signs" in d.refused("", "freeze", NAME, code=2)
    assert "do not name this key" in d.refused("stranger", "freeze", NAME)
    assert "eve (visitor) may not say this" in d.refused("eve", "freeze", NAME)
    d.must("cleo", "freeze", NAME)
    before = d.entries()
    d.must("cleo", "freeze", NAME)
    d.must("", "review", NAME)
    assert "you can read the page" in d.must("stranger", "review", NAME).out
    assert d.entries() == before


def test_a_packet_is_reviewed_by_its_digest(at_desk: Desk) -> None:
    d = at_desk
    d.must("ada", "freeze", NAME)
    first = d.must("ada", "review", NAME, "--json").json
    d.scene.waive("INCIDENT_OPEN", "model support-desk")
    d.must("ada", "freeze", NAME)
    second = d.must("ada", "review", NAME, "--json").json
    assert first["packet"] != second["packet"]
    again = d.must("", "review", first["packet"][:12], "--json").json
    assert again["sections"] == first["sections"] and again["verdict"] == "outdated"
    assert "knows nothing" in d.refused("", "review", "0" * 12, code=3)


def test_the_page_can_be_written_where_it_is_wanted(at_desk: Desk) -> None:
    target = at_desk.folder / "page.html"
    done = at_desk.must("ada", "review", NAME, "--output", str(target), "--json").json
    assert sha256_bytes(target.read_bytes()) == done["page"]


def signed_page(d: Desk, decision: str = "approve") -> tuple[str, bytes]:
    """ada reads and signs: the digest that her statement names, and the page that she was shown."""
    target = d.folder / "shown.html"
    d.must("ada", "freeze", NAME)
    d.must("ada", "review", NAME, "--output", str(target))
    said = d.must("ada", decision, NAME, WHY, YES, "--json").json
    assert said["page"] == sha256_bytes(target.read_bytes())
    return said["page"], target.read_bytes()


def pages(d: Desk) -> list[Path]:
    return sorted(path for path in (d.folder / "home").rglob("pages/*") if path.is_file())


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_page_that_was_signed_is_kept_as_it_was(
    decision: str, at_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    d = at_desk
    sha256, shown = signed_page(d, decision)
    assert [path.name for path in pages(d)] == [sha256]
    monkeypatch.setattr(review, "html", lambda _: b"as a later version renders it")
    target = d.folder / "again.html"
    d.must("", "review", "--page", sha256, "-o", str(target), "--json")
    assert target.read_bytes() == shown
    assert d.must("", "review", "--page", sha256).out.startswith(shown.decode()[:2000])


def test_a_page_that_is_not_kept_is_made_again_from_the_log(at_desk: Desk) -> None:
    sha256, shown = signed_page(at_desk)
    pages(at_desk)[0].unlink()
    target = at_desk.folder / "again.html"
    at_desk.must("", "review", "--page", sha256, "-o", str(target), "--json")
    assert target.read_bytes() == shown


def test_a_page_that_is_nowhere_is_said_to_be_nowhere(
    at_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    d = at_desk
    sha256, _ = signed_page(d)
    monkeypatch.setattr(review, "html", lambda _: b"as a later version renders it")
    pages(d)[0].write_bytes(b"somebody's own")
    told = d.refused("", "review", "--page", sha256, code=3)
    assert "is not on this machine" in told and "was changed" in told and "ask ada" in told
    assert "is not on" in d.refused("", "review", "--page", "0" * 64, code=3)
    d.refused("", "review", "--page", "0" * 12, code=2)
    d.refused("", "review", NAME, "--page", sha256, code=2)
    d.refused("", "review", code=2)


def test_nothing_is_kept_of_what_nobody_signed(at_desk: Desk) -> None:
    at_desk.reads("ada")
    at_desk.must("ada", "approve", NAME, WHY, "--dry-run")
    assert pages(at_desk) == []


def test_behaviour_that_a_waiver_leaves_unjudged_is_named_where_approvers_look(
    scene: Governed,
) -> None:
    unjudged = "Behaviour: not judged, waived"
    assert unjudged.encode() not in review.html(made(scene, scene.freeze()))
    scene.story.evaluate("sft", 0.97, 0.02, behaviour=None)
    scene.waive("EVALUATION_INCOMPLETE", "model sft")
    found = made(scene, scene.freeze())
    assert found.verdict == "exceptions" and unjudged.encode() in review.html(found)
    scene.released()
    report = build(scene.story.sources, MODEL, "1")
    (note,) = [each for each in report.exceptions if each.title == unjudged]
    assert "model sft: its behaviour was not measured" in note.detail
