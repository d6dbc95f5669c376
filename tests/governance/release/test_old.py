"""A log that version 0.2 wrote: its decisions come out again, though findings are worded otherwise now.

Registrations, packets, approvals, a rejection, waivers, promotions, a rollback by one person, a
retirement, incidents; version 4 waits with a packet, two approvals, two waivers and a request.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from governance.attest import findings
from governance.attest.predicates import CANDIDATE, Finding, Promotion
from governance.attest.requests import ReleaseRequest
from governance.bundle import standalone_verifier as verifier
from governance.bundle import verify_bundle
from governance.history.verify import TrustAnchors, verify_log
from governance.log.sqlite import SqliteLog
from governance.release import promotion, retrospect
from tests.governance.story import MODEL

OLD = Path(__file__).parent.parent / "log" / "old"
ORIGIN = (OLD / "origin-0.2").read_text(encoding="ascii").strip()
AT = datetime(2026, 11, 20, 10, 46, tzinfo=UTC)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> SqliteLog:
    path = tmp_path_factory.mktemp("old") / "countersign.db"
    with sqlite3.connect(path) as database:
        database.executescript((OLD / "log-0.2.sql").read_text(encoding="utf-8"))
    return SqliteLog(path, MODEL)


@pytest.fixture(params=["as it is worded now", "worded otherwise"])
def wording(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every sentence of every finding is another, in the second case."""
    if request.param == "worded otherwise":
        monkeypatch.setattr(Finding, "__init__", _reworded)
    yield


def _reworded(self: Finding, **fields: object) -> None:
    told = {"message": "Reworded.", "expected": "", "next": "Do something."}
    numbers = " | ".join(findings._NUMBER.findall(str(fields.get("found", ""))))
    super(Finding, self).__init__(**{**fields, **told, "found": numbers})


def test_it_verifies(log: SqliteLog) -> None:
    found = verify_log(log, MODEL, promotion.state(log).authority.keys, TrustAnchors(origin=ORIGIN))
    assert found.ok and found.entries == 73


@pytest.mark.usefixtures("wording")
def test_every_decision_comes_out_again(log: SqliteLog) -> None:
    now = promotion.state(log)
    moves = [item for item in now.view.all("promotion") if item.predicate.alias != CANDIDATE]
    decisions = [*moves, *now.view.all("gate")]
    assert len(moves) == 7 and len(decisions) == 9
    for item in decisions:
        again = retrospect.decided_again(now, item.index)
        assert again.same, (item.index, again.differences)
    assert retrospect.forged(now) == []
    assert sum(bool(item.predicate.findings) for item in moves) == 2
    assert sum(bool(item.predicate.waived) for item in moves) == 1


@pytest.mark.usefixtures("wording")
def test_old_packets_stand_and_approvals_of_them_count(log: SqliteLog) -> None:
    """Version 4 could be promoted now, as it could then."""
    now = promotion.state(log)
    packets = list(now.evidence.all("packet"))
    assert len(packets) == 5 and all(promotion.is_true(now, item) for item in packets)
    assert not promotion.is_verbatim(now, packets[-1])  # its findings read otherwise now
    asked = promotion.ask(now, "promote", MODEL, "4", "champion")
    decision = promotion.decide(now, asked, AT)
    assert decision.allowed, decision.findings
    assert [one.code for one in decision.waived] == ["THRESHOLD_NOT_MET", "INCIDENT_OPEN"]


def test_a_packet_that_shows_another_figure_does_not_stand(log: SqliteLog) -> None:
    now = promotion.state(log)
    last = list(now.evidence.all("packet"))[-1].predicate
    made = promotion.in_our_words(now, list(now.evidence.all("packet"))[-1])
    shown, now_found = last.waived[0], made.waived[0]
    assert not shown.figures and now_found.figures == ["0.907", "0.868", "0.935", "300"]
    assert findings.same_exception(shown, now_found)
    figures = ["0.700", "0.868", "0.935", "300"]
    found = now_found.found.replace("0.907", "0.700")
    lower = now_found.model_copy(update={"figures": figures, "found": found})
    assert not findings.same_exception(shown, lower)
    assert not findings.same_exception(now_found, lower)


def test_the_bundle_verifies_twice() -> None:
    data = (OLD / "bundle-0.2.json").read_bytes()
    found = verify_bundle(data, TrustAnchors(origin=ORIGIN))
    assert found.ok and found.version == "3" and len(found.counted) == 2
    verifier.verify(data, ORIGIN)


def test_its_report_said_the_same_of_who_is_live(log: SqliteLog) -> None:
    old = json.loads((OLD / "report-0.2.json").read_bytes())
    now = promotion.state(log)
    live = {one.alias: one for one in retrospect.live(now, MODEL, AT)}
    assert {alias: one.version for alias, one in live.items()} == {
        "candidate": "4",
        "champion": "3",
    }
    assert (old["version"], old["digest"]) == ("3", live["champion"].sha256)
    moved: Promotion = next(
        item.predicate for item in now.moves(MODEL) if item.index == live["champion"].entry
    )
    assert ReleaseRequest.model_validate(moved.asked).version == "3"
