"""Evidence: said once, read back verified, and worth what its signer is worth."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.envelope import sign_payload, unverified
from governance.attest.predicates import PREDICATES, Artifact, Ingest, Requester
from governance.base.errors import VerificationError
from governance.base.model import Model
from governance.log import evidence
from governance.log.evidence import (
    KINDS,
    KeyRing,
    build_statement,
    key_ring,
    parse_statement,
    record,
)
from governance.log.port import Filing
from governance.log.views import EvidenceView, log_evidence
from tests.governance.examples import A, B, C, Scene, artifact, every_kind, gate, ingest, run, scene
from tests.governance.keys import stranger


@pytest.fixture
def here(tmp_path: Path) -> Scene:
    return scene(tmp_path / "home")


def view(place: Scene, service: dict[str, str] | None = None) -> EvidenceView:
    return log_evidence(place.log, key_ring(place.log, service or {}))


def test_there_is_an_example_of_every_kind() -> None:
    assert set(every_kind()) == set(KINDS)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "origin"])
def test_what_is_recorded_reads_back_as_it_was(here: Scene, kind: str) -> None:
    predicate = every_kind()[kind]
    subjects = (artifact("records", A, "data/ready/x/records"), artifact("report", B))
    index = here.record(kind, predicate, *subjects)
    item = view(here).all(kind)[-1]
    named = predicate.model_copy(update={"log": here.log.entry(0).leaf_hash.hex()})
    assert (item.index, item.kind, item.subjects, item.predicate) == (index, kind, subjects, named)
    assert (item.keyid, item.development) == (here.signer.keyid, True)
    statement, _ = unverified(here.log.entry(index).envelope)
    assert item.digest == sha256_bytes(canonical.dumps(statement))
    assert view(here).by_subject(A, kind) == view(here).by_subject(B, kind) == [item]
    assert view(here).by_subject(A, "scan" if kind != "scan" else "gate") == []


def test_evidence_comes_in_the_order_of_the_log(here: Scene) -> None:
    for n in (3, 1, 2):
        here.record("ingest", ingest(f"ingest@d{n}"))
    assert [item.predicate.stage for item in view(here).by_subject(A)] == [
        "ingest@d3",
        "ingest@d1",
        "ingest@d2",
    ]
    assert [item.index for item in view(here).all()] == [0, 1, 2, 3]


# What makes two statements the same entry
SAME = {"when and how it ran": {"run": run(5)}}
DIFFERENT: dict[str, dict[str, object]] = {
    "stage": {"stage": "ingest@y"},
    "an input": {"inputs": [artifact("source", C)]},
    "a parameter": {"parameters": {"seed": 2}},
    "the policy": {"policy": A},
    "the code": {"code": {"commit": None, "dirty": True}},
    "a result": {"kind": "rated"},
}


@pytest.mark.parametrize("fields", SAME.values(), ids=SAME.keys())
def test_the_same_thing_is_said_once(here: Scene, fields: dict[str, object]) -> None:
    assert here.record("ingest", ingest()) == here.record("ingest", ingest(**fields)) == 1


@pytest.mark.parametrize("fields", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_another_thing_is_another_entry(here: Scene, fields: dict[str, object]) -> None:
    first = ingest()
    other = Ingest.model_validate({**first.model_dump(), **fields})
    assert [here.record("ingest", first), here.record("ingest", other)] == [1, 2]


def test_another_signer_saying_it_is_another_entry(here: Scene) -> None:
    here.record("ingest", ingest())
    assert record(here.log, stranger(), "ingest", [artifact("records")], ingest()).index == 2


def test_nothing_is_signed_that_is_said_already(here: Scene) -> None:
    """A KMS signature costs money and time."""

    class Counting:
        keyid, public_pem, used = here.signer.keyid, here.signer.public_pem, 0

        def sign(self, payload: bytes) -> bytes:
            self.used += 1
            return here.signer.sign(payload)

    signer = Counting()
    for _ in range(3):
        record(here.log, signer, "gate", [artifact("gate")], gate(True))
    assert signer.used == 1


def test_evidence_by_an_unknown_key_counts_as_missing(here: Scene) -> None:
    record(here.log, stranger(), "ingest", [artifact("records")], ingest())
    mine = view(here)
    assert mine.by_subject(A, "ingest") == [] and list(mine.all("ingest")) == []
    assert [
        (item.index, item.reason.startswith("signed by an unknown key"))
        for item in mine.source.left_out()
    ] == [(1, True)]


def test_a_key_that_policies_name_is_no_development_key(here: Scene) -> None:
    record(here.log, stranger(), "ingest", [artifact("records")], ingest())
    here.record("ingest", ingest())
    found = view(here, {stranger().keyid: stranger().public_pem}).by_subject(A, "ingest")
    assert [item.development for item in found] == [False, True]
    both = {here.signer.keyid: here.signer.public_pem}
    assert [item.development for item in view(here, both).by_subject(A, "ingest")] == [False]


def test_an_altered_entry_is_never_handed_out(here: Scene) -> None:
    here.record("ingest", ingest())
    connection = sqlite3.connect(here.log.path)
    connection.execute("DROP TRIGGER countersign_entry_UPDATE")
    connection.execute(
        "UPDATE countersign_entry SET envelope = CAST(replace(CAST(envelope AS TEXT), 'A', 'B') AS"
        " BLOB) WHERE idx = 1"
    )
    connection.commit()
    with pytest.raises(
        VerificationError, match="entry 1: the entry's bytes are not those that were logged"
    ):
        view(here).by_subject(A)


def test_a_forged_index_row_does_not_make_evidence(here: Scene) -> None:
    """Someone files a good statement under a digest it does not name."""
    here.record("ingest", ingest())
    connection = sqlite3.connect(here.log.path)
    connection.execute("INSERT INTO countersign_subject VALUES (?, 1)", (C,))
    connection.commit()
    assert [entry.index for entry in here.log.by_subject(C)] == [0, 1]
    assert [item.index for item in view(here).by_subject(C)] == [0]


STATEMENT = build_statement("ingest", [artifact("records")], ingest())
MALFORMED = {
    "another type": {**STATEMENT, "_type": "https://in-toto.io/Statement/v0.1"},
    "a field more": {**STATEMENT, "note": 1},
    "an unknown predicate": {
        **STATEMENT,
        "predicateType": "https://countersign.dev/evidence/ingest/v2",
    },
    "a predicate that is a list": {**STATEMENT, "predicateType": [1]},
    "no subject": {**STATEMENT, "subject": []},
    "a subject without digest": {
        **STATEMENT,
        "subject": [{"name": "x", "annotations": {"role": "x"}}],
    },
    "a digest of another length": {
        **STATEMENT,
        "subject": [{"name": "x", "digest": {"sha256": "a"}, "annotations": {"role": "x"}}],
    },
    "two digests": {
        **STATEMENT,
        "subject": [{"name": "x", "digest": {"sha256": A, "md5": A}, "annotations": {"role": "x"}}],
    },
    "a subject that is text": {**STATEMENT, "subject": ["x"]},
    "subjects that are a number": {**STATEMENT, "subject": 1},
    "a predicate of another kind": {
        **STATEMENT,
        "predicate": every_kind()["policy"].model_dump(mode="json"),
    },
    "an unknown field": {**STATEMENT, "predicate": {**STATEMENT["predicate"], "extra": 1}},
}


@pytest.mark.parametrize("statement", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_signed_statement_that_does_not_follow_its_schema_is_refused(
    here: Scene, statement: dict[str, object]
) -> None:
    with pytest.raises(VerificationError):
        parse_statement(statement, "x")
    here.log.append(
        sign_payload(canonical.dumps(statement), here.signer), Filing("i", "s", "ingest", (A,))
    )
    with pytest.raises(VerificationError, match="entry 1"):
        view(here).by_subject(A)


def test_numbers_that_cannot_be_signed_are_refused_before_anything_is_written(here: Scene) -> None:
    with pytest.raises(VerificationError, match="canonical JSON"):
        here.record("ingest", ingest(parameters={"loss": float("nan")}))
    assert here.log.size() == 1


def test_the_ring_knows_keys_by_what_they_are() -> None:
    one, two = stranger(1), stranger(2)
    ring = KeyRing(frozenset({one.public_pem}), {two.keyid: two.public_pem})
    assert ring.known == {one.keyid: one.public_pem, two.keyid: two.public_pem}
    assert ring.is_development(one.keyid) and not ring.is_development(two.keyid)


def test_every_predicate_is_a_closed_frozen_model() -> None:
    for model in PREDICATES.values():
        assert (
            issubclass(model, Model)
            and model.model_config["extra"] == "forbid"
            and model.model_config["frozen"]
        )


def test_the_head_is_checked_on_opening(here: Scene) -> None:
    here.record("ingest", ingest())
    assert evidence.check_head(here.log, "desk").size == 2
    with pytest.raises(VerificationError, match="the log of project 'desk'"):
        evidence.check_head(here.log, "another")


def test_an_artifact_keeps_its_role_and_name() -> None:
    subject = Artifact(role="model", name="models/sft/model", sha256=A)
    assert build_statement("ingest", [subject], ingest())["subject"] == [
        {"name": "models/sft/model", "digest": {"sha256": A}, "annotations": {"role": "model"}}
    ]


def test_what_was_said_in_nobodys_name_is_said_again_in_somebodys(here: Scene) -> None:
    nobodys = ingest()
    asked = Requester(name="ada", authenticated=True, authorization=A)
    adas = nobodys.model_copy(
        update={"run": nobodys.run.model_copy(update={"requested_by": asked})}
    )
    first = here.record("ingest", nobodys)
    assert here.record("ingest", nobodys) == first
    second = here.record("ingest", adas)
    assert second == first + 1
    assert here.record("ingest", adas) == here.record("ingest", nobodys) == second


def test_what_another_process_recorded_meanwhile_is_one_entry(
    here: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not there when this process looked, and is there when it appends."""
    first = here.record("ingest", ingest())
    monkeypatch.setattr(type(here.log), "latest", lambda self, scope: None)
    assert here.record("ingest", ingest()) == first
    assert here.log.size() == 2
