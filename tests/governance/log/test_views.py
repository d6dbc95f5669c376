"""What each view of a log shows: by size, signer, time, and with statements that nobody made yet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from governance.attest.predicates import Evaluate, GateDecision, Ingest
from governance.base.time import instant_of
from governance.log.evidence import KeyRing, key_ring
from governance.log.views import (
    EvidenceView,
    LeftOut,
    LogSource,
    log_evidence,
    made_at,
    read_entry,
)
from tests.governance.examples import A, B, Scene, artifact, gate, ingest, run, scene

GATE_AT = "2026-11-20T12:00:30Z"
INGEST_UNTIL = "2026-11-20T12:01:00.000Z"
"""When the run of the ingest stage of the examples ended."""


@pytest.fixture
def here(tmp_path: Path) -> Scene:
    """Entries: 0 origin, 1 ingest of A, 2 gate of A and B, 3 ingest of B."""
    place = scene(tmp_path / "home")
    place.record("ingest", ingest("ingest@a"), artifact("records", A))
    place.record("gate", gate(True, GATE_AT), artifact("gate", A), artifact("data", B))
    place.record("ingest", ingest("ingest@b"), artifact("records", B))
    return place


@pytest.fixture
def view(here: Scene) -> EvidenceView:
    return log_evidence(here.log, key_ring(here.log, {}))


def entries(statements: list[object]) -> list[int]:
    return [statement.index for statement in statements]  # type: ignore[attr-defined]


class Only:
    """Rights by which one kind counts, of the entries before one."""

    def __init__(self, kind: str, before: int = 99) -> None:
        self.kind, self.before = kind, before

    def may_sign(self, kind: str, keyid: str, development: bool, index: int) -> bool:
        return kind == self.kind and index < self.before


def test_statements_are_found_by_digest_and_by_kind(view: EvidenceView) -> None:
    assert entries([*view.all()]) == [0, 1, 2, 3]
    assert entries([*view.all(Ingest)]) == entries([*view.all("ingest")]) == [1, 3]
    assert entries([*view.by_subject(A)]) == [1, 2]
    assert entries([*view.by_subject(B)]) == [2, 3]
    assert entries([*view.by_subject(A, GateDecision)]) == [2]
    assert entries([*view.by_subject(A, "ingest")]) == [1]
    assert view.by_subject("f" * 64) == [] == view.all(Evaluate)


@pytest.mark.parametrize("size", range(5))
def test_a_view_of_a_size_has_the_entries_before_it(view: EvidenceView, size: int) -> None:
    shorter = view.before(size)
    for _ in range(2):  # the second answer is a kept one
        assert entries([*shorter.all()]) == [*range(min(size, 4))]
        assert entries([*shorter.by_subject(B)]) == [index for index in (2, 3) if index < size]
    assert entries([*shorter.before(2).all()]) == [*range(min(2, 4))]


def test_an_entry_that_comes_later_is_in_no_view_of_a_size(here: Scene, view: EvidenceView) -> None:
    shorter = view.before(4)
    assert entries([*shorter.all(Ingest)]) == [1, 3]
    here.record("ingest", ingest("ingest@c"), artifact("records", A))
    assert entries([*shorter.all(Ingest)]) == [1, 3]
    assert entries([*shorter.by_subject(A)]) == [1, 2]
    assert entries([*view.all(Ingest)]) == [1, 3, 4]
    assert entries([*view.by_subject(A)]) == [1, 2, 4]


def test_only_what_a_signer_may_sign_counts(here: Scene, view: EvidenceView) -> None:
    signed = view.signed_under(Only("ingest", before=3))
    assert entries([*signed.all()]) == entries([*signed.all(Ingest)]) == [1]
    assert entries([*signed.by_subject(B)]) == []
    key = here.signer.keyid
    assert signed.set_aside(A, "gate") == signed.set_aside(B, "ingest") == [key]
    assert signed.set_aside(A, "ingest") == view.set_aside(A, "gate") == []
    assert entries([*signed.signed_under(Only("gate")).all()]) == [2]


def test_a_statement_is_made_when_it_says_or_when_its_run_ended(view: EvidenceView) -> None:
    origin, first, decision, _ = view.all()
    assert made_at(decision) == GATE_AT
    assert made_at(first) == first.predicate.run.finished == INGEST_UNTIL == run().finished
    known = view.made_until(instant_of(GATE_AT))
    assert 1 not in entries([*known.all()]) and 2 in entries([*known.all()])
    assert entries([*view.made_until(instant_of(INGEST_UNTIL)).all(Ingest)]) == [1, 3]
    assert made_at(origin) == origin.predicate.run.finished


def test_what_is_assumed_stands_after_what_was_made(view: EvidenceView) -> None:
    (first, *_) = view.all(Ingest)
    planned = replace(first, index=9, subjects=(artifact("records", B),))
    for base in (view, view.before(4)):
        assumed = base.assuming([planned])
        assert entries([*assumed.all(Ingest)]) == [1, 3, 9]
        assert entries([*assumed.all()]) == [0, 1, 2, 3, 9]
        assert entries([*assumed.by_subject(B)]) == [2, 3, 9]
        assert entries([*assumed.by_subject(A)]) == [1, 2]
        assert entries([*assumed.all(GateDecision)]) == [2]
        assert entries([*base.all(Ingest)]) == [1, 3]
        assert entries([*assumed.signed_under(Only("ingest")).all()]) == [1, 3, 9]
        assert entries([*assumed.before(2).all(Ingest)]) == [1, 9]


def test_an_entry_by_an_unknown_key_is_left_out_and_named(here: Scene) -> None:
    source = LogSource(here.log, KeyRing())
    assert [*source.of_kind(None)] == [] == [*source.about(A)]
    assert source.entry(1) is None
    assert [left.index for left in source.left_out()] == [0, 1, 2, 3]
    assert "unknown key" in source.left_out()[0].reason
    left = read_entry(here.log.entry(2), KeyRing())
    assert isinstance(left, LeftOut) and left.index == 2
    known = source.under(key_ring(here.log, {}))
    entry = known.entry(1)
    assert entry is not None and (entry.index, entry.development) == (1, True)
    assert known.left_out() == []


def test_a_key_that_policies_name_shows_the_same_entries_as_no_development(here: Scene) -> None:
    development = LogSource(here.log, key_ring(here.log, {}))
    assert all(statement.development for statement in development.of_kind(None))
    named = KeyRing(frozenset(), {here.signer.keyid: here.signer.public_pem})
    statements = [*development.under(named).of_kind(None)]
    assert [statement.index for statement in statements] == [0, 1, 2, 3]
    assert not any(statement.development for statement in statements)
    assert [*development.under(KeyRing()).of_kind(None)] == []


def test_a_statement_is_of_its_own_kind_wherever_it_is_filed(here: Scene) -> None:
    """The index of kinds is not believed. Verification finds the entry (`tests.history`)."""
    import sqlite3

    connection = sqlite3.connect(here.log.path)
    connection.execute("DROP TRIGGER countersign_entry_UPDATE")
    connection.execute("UPDATE countersign_entry SET kind = 'gate' WHERE idx = 1")
    connection.commit()
    view = log_evidence(here.log, key_ring(here.log, {}))
    assert entries([*view.all(GateDecision)]) == [2]
    assert entries([*view.all(Ingest)]) == [3]
    assert entries([*view.all()]) == [0, 1, 2, 3]
