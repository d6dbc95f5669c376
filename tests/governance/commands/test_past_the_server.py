"""Entries that no server accepted: somebody with the database and the log's key wrote them. Every
command that reads says what it thinks of them, with a documented exit code.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from governance.attest.envelope import unverified
from governance.attest.keys import Signer
from governance.attest.predicates import KINDS, Artifact
from governance.base.errors import CountersignError
from governance.log import evidence
from governance.log.port import Filing, Log
from governance.machine.machine import log_to_add_to, signer
from tests.conftest import PROFILE
from tests.fuzzing import cases
from tests.governance.audited import audited
from tests.governance.examples import every_kind
from tests.governance.governed import PEOPLE, Governed, keypair, person
from tests.governance.keys import stranger
from tests.governance.nonsense import nonsense, signed
from tests.governance.story import MODEL, digest
from tests.governance.terminal import at_terminal, run

pytestmark = pytest.mark.slow
READERS = (
    ("status",),
    ("pending",),
    ("history", MODEL),
    ("live", MODEL),
    ("verify",),
    ("report", f"{MODEL}/1"),
    ("report", f"{MODEL}/2"),
    ("report", "--all"),
    ("checkpoint-key", "status"),
    ("policy", "show"),
)
LEFT_OUT = {"origin", "rules", "cosigned", "revocation"}
"""Kinds of which any other entry breaks the log, and one that would take all rights away."""
MOST = 4
"""Statements of a kind that are added; at night, all."""
ANSWERS = {0, 4, 5}
"""What they end with: fine; a fault of a version; something does not verify."""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Two versions, the second released; and a statement of every kind that has none yet."""
    scene = audited(tmp_path_factory.mktemp("begun"))
    log, here = scene.story.log, scene.story.log.entry(0).leaf_hash.hex()
    missing = every_kind().keys() - {entry.kind for entry in log.entries()} - LEFT_OUT
    for kind in sorted(missing):
        said = {**every_kind()[kind].model_dump(), "log": here}
        author = signer(scene.story.machine)
        if "principal" in said:
            said |= {"principal": "ada", "role": "policy-owner"}
            author = person("ada")
        if kind == "checkpoint_key":
            said["pem"] = keypair("next")[1]
        subject = Artifact(role=kind, name="x", sha256=digest(kind))
        evidence.record(log, author, kind, [subject], KINDS[kind].model.model_validate(said))
    return scene


def add(log: Log, envelope: bytes) -> None:
    """Past the server's checks."""
    log.append(envelope, evidence.filed_under(envelope), also=lambda _: None)


def ask_all(scene: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any error that is not the project's own, and any other exit code, is a fault."""
    at_terminal(scene, monkeypatch)
    for words in READERS:
        code, said = run(*words)
        assert code in ANSWERS, (words, code, said)


def hostile(scene: Governed, chance: Random) -> Iterator[tuple[dict[str, Any], Signer]]:
    """For each kind, statements with a text, number, list or table that the schema lets stand and
    no program expects; signed by who signs such a statement.
    """
    log = scene.story.log
    latest = {entry.kind: entry for entry in log.entries()}
    people = {person(name).keyid: person(name) for name in PEOPLE}
    for kind in sorted(latest.keys() - LEFT_OUT):
        statement, keyid = unverified(latest[kind].envelope)
        author = people.get(keyid, signer(scene.story.machine))
        changes = [
            (name, odd)
            for name, value in sorted(statement["predicate"].items())
            for odd in ODD_OF.get(type(value), ())
        ]
        chance.shuffle(changes)
        for name, odd in changes:
            yield {**statement, "predicate": {**statement["predicate"], name: odd}}, author


ODD_OF: dict[type, tuple[Any, ...]] = {
    str: ("", "\x1b[2J\n‮", "9" * 5000, "/../x", "0" * 64, "9998-12-31T23:59:59.999999Z"),
    int: (2**53 - 1, -(2**53 - 1)),
    float: (1e308, -0.0),
    list: ([],),
    dict: ({}, {"": None}, {"x": {"x": [2**53 - 1]}}),
    type(None): ("0" * 64, "x", {}),
}


def test_every_field_of_every_kind(
    begun: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = begun.copy(tmp_path)
    log = log_to_add_to(scene.story.machine)
    added: Counter[str] = Counter()
    for statement, author in hostile(scene, Random(7)):
        kind = statement["predicateType"].split("/")[-2]
        if added[kind] == MOST and PROFILE != "nightly":
            continue
        with suppress(CountersignError):  # its schema refuses it
            add(log, signed(statement, author))
            added[kind] += 1
    assert added.keys() == every_kind().keys() - LEFT_OUT
    ask_all(scene, monkeypatch)
    _, said = run("verify", "--json")
    assert json.loads(said)["log"]["broken"] is None, said


def test_a_key_that_cannot_be_read_is_offered(
    begun: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no successor. What waits, and which key signs, is said as before."""
    scene = begun.copy(tmp_path)
    at_terminal(scene, monkeypatch)
    before = [run(*words)[1] for words in (("pending",), ("checkpoint-key", "status"))]
    said = every_kind()["checkpoint_key"].model_dump() | scene.signed("ada", "policy-owner")
    offer = KINDS["checkpoint_key"].model.model_validate({**said, "pem": "garbage"})
    scene.say("ada", "checkpoint_key", [Artifact(role="x", name="x", sha256=digest("x"))], offer)
    assert [run(*words)[1] for words in (("pending",), ("checkpoint-key", "status"))] == before


def test_a_move_whose_question_cannot_be_read(
    begun: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service says that version 1 holds the alias, and what it says was asked is no question.
    That is a fault of the version, not of the program.
    """
    scene = begun.copy(tmp_path)
    log = scene.story.log
    *_, move = [entry for entry in log.by_kind(["promotion"]) if b"champion" in _said(entry)]
    statement, _ = unverified(move.envelope)
    statement["predicate"]["asked"] = {"released": {"files": []}}
    add(log_to_add_to(scene.story.machine), signed(statement, signer(scene.story.machine)))
    at_terminal(scene, monkeypatch)
    version = statement["predicate"]["version"]
    name = f"{MODEL}/{version}"
    expected = {("report", name): 5, ("report", "--all"): 4, ("live", MODEL): 5, ("verify",): 5}
    assert {words: run(*words)[0] for words in expected} == expected


def _said(entry: Any) -> bytes:
    return json.dumps(unverified(entry.envelope)[0]).encode()


UNSOUND: dict[str, bytes] = {
    "no JSON": b"garbage",
    "another JSON value": b"[]",
    "no envelope": b'{"payload":"","payloadType":"x","signatures":[]}',
    "a number too large": b'{"payload":' + b"9" * 5000 + b"}",
    "nested too deep": b"[" * 5000 + b"]" * 5000,
    "nothing": b"",
}


@pytest.mark.parametrize("row", [*UNSOUND, "a stranger's"])
@pytest.mark.parametrize("kind", ["approval", "rules"])
def test_what_is_no_statement(
    row: str, kind: str, life: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verify` names the entry; nothing ends in an error of the program's own."""
    scene = life.copy(tmp_path)
    log = log_to_add_to(scene.story.machine)
    envelope = UNSOUND.get(row)
    if envelope is None:
        said = every_kind()[kind].model_copy(update={"log": log.entry(0).leaf_hash.hex()})
        subject = Artifact(role="x", name="x", sha256=digest("x"))
        envelope = signed(evidence.build_statement(kind, [subject], said), stranger())
    filing = Filing(digest(row), digest(row), kind, (digest("x"),))
    log.append(envelope, filing, also=lambda _: None)
    at_terminal(scene, monkeypatch)
    assert run("verify")[0] == 5
    for words in (("status",), ("pending",), ("history", MODEL), ("live", MODEL)):
        code, answer = run(*words)
        assert code in ANSWERS, (words, code, answer)


def test_nonsense_of_every_kind(
    begun: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By somebody with a key and the database; `make nightly` goes on for ten minutes."""
    for chance in cases(few=2):
        folder = tmp_path / "nonsense"
        shutil.rmtree(folder, ignore_errors=True)
        scene = begun.copy(folder)
        _add_some(scene, chance)
        ask_all(scene, monkeypatch)


def _add_some(scene: Governed, chance: Random) -> None:
    log = log_to_add_to(scene.story.machine)
    size = log.size() + chance.choice((1, 3, 12))
    for _ in range(200):
        if log.size() >= size:
            return
        with suppress(CountersignError):
            add(log, signed(*nonsense(scene, chance)))
