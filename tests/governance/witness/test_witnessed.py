"""A log whose policy asks for witnesses: promotions, forged histories, and witnesses that lie."""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.attest.envelope import decoded, encoded, sign_statement
from governance.attest.keys import Signer, public_key
from governance.attest.predicates import Artifact, Cosigned
from governance.base.errors import (
    ConfigError,
    CountersignError,
    OfflineError,
    RefusedError,
    StorageError,
    VerificationError,
)
from governance.base.text import moment
from governance.bundle import standalone_verifier as standalone
from governance.bundle import verify_bundle
from governance.gates.decisions import GOVERNED_CHECKS
from governance.history.verify import TrustAnchors
from governance.log import evidence, notes
from governance.log.checkpoint import parse_checkpoint
from governance.log.notes import LOG_KEY, VerifierKey, parse_note
from governance.log.sqlite import SqliteLog
from governance.machine.machine import checkpoint_keys, signer
from governance.policy.policies import load_policies
from governance.policy.rules import Witness
from governance.policy.witnesses import Requirement, log_requirement
from governance.release import cosigned, promotion, retrospect
from governance.report.build import _anchor
from governance.server.append import verifier
from governance.server.witnesses import Asking
from governance.witness import client
from governance.witness.book import request_body, vkey
from tests.governance.bundles import made, opened, sealed
from tests.governance.forged import forge
from tests.governance.governed import governed, person
from tests.governance.keys import stranger
from tests.governance.story import MODEL
from tests.governance.witness.changed import (
    propose,
    put_in_force,
    with_one_witness,
    without_witnesses,
)
from tests.governance.witness.served import in_thread
from tests.governance.witness.worlds import NAMES, ONE, TWO, Witnessed, forged, world


def codes(error: pytest.ExceptionInfo[RefusedError]) -> str:
    return str(error.value)


# -- Decisions -------------------------------------------------------------------------------------


def test_a_promotion_wants_a_quorum_of_witnesses(here: Witnessed) -> None:
    here.scene.asked_for()
    with pytest.raises(RefusedError) as refused:
        here.scene.consume()
    assert "WITNESSES_MISSING" in codes(refused)
    here.ask(0)
    with pytest.raises(RefusedError) as refused:
        here.scene.consume()
    assert "WITNESSES_MISSING" in codes(refused)
    assert not list(here.log.by_kind(["cosigned"]))
    here.ask(1)
    assert here.scene.consume().allowed
    (entry,) = here.log.by_kind(["cosigned"])
    now = promotion.state(here.log)
    moves = [move for move in now.decisions() if move.predicate.allowed]
    assert [move.index for move in moves] == [entry.index + 1]
    assert not retrospect.forged(now)


def test_old_cosignatures_do_not_count_and_new_ones_are_recorded(here: Witnessed) -> None:
    here.ask()
    here.pass_hours(30)
    here.scene.asked_for()
    with pytest.raises(RefusedError) as refused:
        here.scene.consume()
    assert "WITNESSES_MISSING" in codes(refused)
    here.ask()
    assert here.scene.consume().allowed


def test_a_rollback_a_retirement_and_an_incident_wait_for_no_witness(here: Witnessed) -> None:
    checks = {action: "witnessed" in table for action, table in GOVERNED_CHECKS.items()}
    assert checks == {"promote": True, "rollback": False, "retire": False}
    here.ask()
    here.scene.released()
    for server in here.servers:
        server.shutdown()
    here.pass_hours(100)
    size = here.log.size()
    here.scene.incident("1", "open")
    here.scene.request(action="retire", from_version="1")
    assert here.log.size() == size + 2


def test_the_plan_of_a_promotion_is_what_the_promotion_does(here: Witnessed) -> None:
    here.scene.asked_for()
    now = promotion.state(here.log)
    assert cosigned.assumed(now, MODEL, here.scene.now) == []
    here.ask()
    now = promotion.state(here.log)
    (planned,) = cosigned.assumed(now, MODEL, here.scene.now)
    assert isinstance(planned.predicate, Cosigned) and planned.index == now.size


def test_one_note_is_not_recorded_for_every_promotion(here: Witnessed) -> None:
    here.ask()
    here.scene.released()
    now = promotion.state(here.log)
    assert cosigned.to_record(now, MODEL, here.scene.now) == []


def _recorded(here: Witnessed, text: str) -> None:
    """The operator records a note, past everything that would ask for it."""
    note = parse_note(text)
    subject = Artifact(role="checkpoint", name=note.origin, sha256=note.root.hex())
    said = Cosigned(notes=[text], run=here.scene.story.run())
    evidence.record(here.log, signer(here.scene.story.machine), "cosigned", [subject], said)


def test_a_checkpoint_of_a_log_whose_name_ends_alike_counts_for_nothing(here: Witnessed) -> None:
    """The operator has another log at the same witnesses."""
    here.scene.asked_for()
    own, key = parse_checkpoint(here.log.checkpoint())[0], stranger(74)
    other = f"elsewhere/{own.origin.rpartition('/')[2]}"
    note = notes.sign_note(f"{other}\n1\n{encoded(bytes(32))}\n", key)
    vkey_ = VerifierKey(other, public_key(key.public_pem), LOG_KEY)
    for server, witness in zip(here.servers, (ONE, TWO), strict=True):
        server.book.add_log(other, vkey_)
        answer = server.book.add_checkpoint(request_body(0, [], note), witness, server.clock)
        assert answer.status == 200
        _recorded(here, note + answer.text)
    with pytest.raises(RefusedError) as refused:
        here.scene.consume()
    assert "WITNESSES_MISSING" in codes(refused)
    found = here.verify()
    assert "too few witnesses" in str(found.broken)
    forge(here.scene, "1")
    here.ask()  # so that only the promotion lacks them
    first, second = both(here, made(here.log))
    assert "WITNESSES_MISSING" in first and second == "too few witnesses had cosigned the log"


def test_a_recorded_checkpoint_of_another_history_is_found(here: Witnessed, tmp_path: Path) -> None:
    """The witnesses saw the true history. A forged one records what they cosigned, and its promotion
    is decided as if they had seen it.
    """
    size = here.log.size()
    here.scene.asked_for()
    here.scene.incident("1", "open")
    seen = here.ask()
    log = forged(here, tmp_path, size)
    other = replace(here, scene=replace(here.scene, story=replace(here.scene.story, log=log)))
    while log.size() <= max(one.size for one in seen):
        other.scene.asked_for()
    for one in seen:
        _recorded(other, one.note)
    assert other.scene.consume().allowed
    assert "a cosigned checkpoint is not one of this log" in str(here.verify(log).broken)


# -- Histories that the operator forged --------------------------------------------------------------


def test_a_forged_history_is_refused_by_a_client_that_has_the_policy(
    here: Witnessed, tmp_path: Path
) -> None:
    trusted = log_requirement(here.rules)
    assert "witnesses" in str(here.verify().broken)
    here.ask()
    report = here.verify(trusted=trusted)
    assert report.ok and [one.witness for one in report.witnessed] == list(NAMES)
    assert {one.size for one in report.witnessed} == {here.log.size()}
    log = forged(here, tmp_path, here.log.size() - 3)
    for text in here.log.cosigned():
        log.keep_cosigned(text, 0, text)  # the true cosignatures show nothing about it
    report = here.verify(log, trusted)
    assert not report.ok and "too few witnesses" in str(report.broken)
    with pytest.raises(VerificationError, match="cosigned"):
        client.request(log, here.rules.witnesses[0], lambda: here.scene.now)
    assert here.servers[0].book.splits()


def test_a_forged_end_is_refused_once_the_grace_period_is_over(
    here: Witnessed, tmp_path: Path
) -> None:
    """The beginning was cosigned, the forged rest was not, and the witnesses know the true log."""
    here.ask()
    early = here.log.cosigned()
    size = here.log.size()
    here.scene.asked_for()
    here.ask()
    log = forged(here, tmp_path, size)
    for text in early:
        log.keep_cosigned(text, 0, text)
    trusted = log_requirement(here.rules)
    with pytest.raises(VerificationError):
        client.request(log, here.rules.witnesses[0], lambda: here.scene.now)
    assert not here.verify(log, trusted, timedelta(hours=25)).ok
    assert here.verify(later=timedelta(hours=20)).ok


def test_owners_keys_do_not_take_the_witnesses_away(here: Witnessed, tmp_path: Path) -> None:
    """The attacker has people's keys as well, and puts a policy without witnesses in force."""
    here.ask()
    trusted = log_requirement(here.rules)
    size = here.log.size()
    log = forged(here, tmp_path, size - 2)
    put_in_force(here.scene, log, without_witnesses(here.scene))
    assert here.verify(log).broken is None  # its own policy asks for nothing
    assert "too few witnesses" in str(here.verify(log, trusted).broken)


def test_a_change_of_witnesses_holds_where_the_former_ones_saw_it(
    here: Witnessed, tmp_path: Path
) -> None:
    trusted = log_requirement(here.rules)
    name, three = "new.example/w1", stranger(73)

    def clock() -> int:
        return int(here.scene.now.timestamp())

    with in_thread(tmp_path / "three", name, three, clock) as third:
        changed = with_one_witness(here.scene, third.url, str(vkey(name, three)))
        put_in_force(here.scene, here.log, changed)
        origin = parse_checkpoint(here.log.checkpoint())[0].origin
        key = VerifierKey(origin, public_key(checkpoint_keys(here.log)[-1][1]), LOG_KEY)
        third.book.add_log(origin, key)
        now = promotion.state(here.log).authority.policies.rules
        client.request(here.log, now.witnesses[0], lambda: here.scene.now)
        assert "too few witnesses" in str(here.verify(trusted=trusted).broken)
        here.ask()  # the former witnesses see the entry that names their successor
        here.pass_hours(1000)
        client.request(here.log, now.witnesses[0], lambda: here.scene.now)
        assert here.verify(trusted=trusted).ok


# -- Cosignatures that do not count ------------------------------------------------------------------


def missing(here: Witnessed) -> bool:
    return "too few witnesses" in str(here.verify(trusted=log_requirement(here.rules)).broken)


def cosign(here: Witnessed, signer: Signer, name: str, text: str, seconds: float = 0) -> str:
    at = int(here.scene.now.timestamp() + seconds)
    return text + notes.cosignature(parse_note(text), name, signer, at)


@pytest.mark.parametrize("seconds", [3600, -25 * 3600])
def test_the_time_of_a_cosignature_is_neither_old_nor_in_the_future(
    here: Witnessed, seconds: float
) -> None:
    here.ask(0)
    text = cosign(here, TWO, NAMES[1], here.log.checkpoint(), seconds)
    here.log.keep_cosigned("two", 1, text)
    assert missing(here)
    here.log.keep_cosigned("two", 1, cosign(here, TWO, NAMES[1], here.log.checkpoint()))
    assert not missing(here)


def test_cosignatures_of_another_log_do_not_count(here: Witnessed, tmp_path: Path) -> None:
    here.ask(0)
    with world(tmp_path / "other") as other:
        other.ask()
        for number, text in enumerate(other.log.cosigned()):
            here.log.keep_cosigned(f"other {number}", 1, text)
    assert missing(here)


def test_one_key_under_two_names_is_one_witness(here: Witnessed) -> None:
    key = str(vkey(NAMES[0], ONE))
    line = public_key(ONE.public_pem).line
    path = here.scene.story.root / "policies" / "policy.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(str(vkey(NAMES[1], TWO)), line), encoding="utf-8")
    with pytest.raises(ConfigError, match="one key"):
        load_policies(path.parent)
    both = (notes.read_vkey(key), VerifierKey(NAMES[1], public_key(ONE.public_pem), 4))
    once = Requirement(both, 2, timedelta(hours=24))
    text = cosign(here, ONE, NAMES[0], here.log.checkpoint())
    here.log.keep_cosigned("both", 1, cosign(here, ONE, NAMES[1], text))
    assert "too few witnesses" in str(here.verify(trusted=once).broken)


def test_the_logs_own_key_is_no_witness(here: Witnessed) -> None:
    own = here.log.signer
    assert own is not None
    trusted = Requirement((vkey("own.example", own),), 1, timedelta(hours=24))
    here.ask()
    here.log.keep_cosigned("own", 1, cosign(here, own, "own.example", here.log.checkpoint()))
    assert "too few witnesses" in str(here.verify(trusted=trusted).broken)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("url: 'http://127.0.0.1", "url: 'http://192.0.2.7"),
        ("url: 'http://127.0.0.1", "url: 'file://127.0.0.1"),
        ("url: 'http://127.0.0.1", "url: 'http://ada:secret@127.0.0.1"),
        ("name: audit.example/w1", "name: audit.example/w2"),
        ("witnesses: 2", "witnesses: 3"),
        ("audit.example/w1, key: 'audit", "audit.example/w1, key: 'audot"),
    ],
)
def test_a_policy_with_a_wrong_witness_is_refused(here: Witnessed, old: str, new: str) -> None:
    path = here.scene.story.root / "policies" / "policy.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError):
        load_policies(path.parent)


# -- Witnesses that lie, and networks ----------------------------------------------------------------


class _Answers(http.server.BaseHTTPRequestHandler):
    """Answers what the test says."""

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.asked.append((self.path, self.rfile.read(length), dict(self.headers)))  # type: ignore[attr-defined]
        status, body, headers = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def answering(status: int, body: bytes, **headers: str) -> Iterator[Any]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.answer, server.asked = (status, body, headers), []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def at(here: Witnessed, server: Any) -> Witness:
    return here.rules.witnesses[0].model_copy(
        update={"url": f"http://127.0.0.1:{server.server_address[1]}"}
    )


@pytest.mark.parametrize(
    ("status", "body", "headers", "error"),
    [
        (200, b"", {}, VerificationError),
        (200, b"\xff\xfe garbage", {}, VerificationError),
        (200, b"x" * (1 << 20), {}, VerificationError),
        (200, "\u2014 audit.example/w1 AAAAAAAAAAAA\n".encode(), {}, VerificationError),
        (302, b"", {"Location": "http://127.0.0.1:1/"}, StorageError),
        (409, b"1000000\n", {"Content-Type": "text/x.tlog.size"}, VerificationError),
        (409, b"-1\n", {}, StorageError),
        (409, b"9" * 30 + b"\n", {}, StorageError),
        (422, b"", {}, VerificationError),
        (404, b"", {}, StorageError),
        (500, b"\x1b[2J", {}, StorageError),
    ],
)
def test_an_answer_that_is_no_cosignature_changes_nothing(
    here: Witnessed,
    status: int,
    body: bytes,
    headers: dict[str, str],
    error: type[CountersignError],
) -> None:
    with answering(status, body, **headers) as server, pytest.raises(error) as raised:
        client.request(here.log, at(here, server), lambda: here.scene.now)
    assert "\x1b" not in str(raised.value)
    assert here.log.cosigned() == []


def test_only_the_checkpoint_and_a_proof_leave_the_machine(
    here: Witnessed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERSIGN_PASSWORD", "secret-password")
    here.ask(0)
    here.scene.asked_for()
    with answering(404, b"") as server, pytest.raises(StorageError):
        client.request(here.log, at(here, server), lambda: here.scene.now)
    ((path, body, headers),) = server.asked
    assert path == "/add-checkpoint"
    first, _, rest = body.decode().partition("\n")
    proof, _, note = rest.partition("\n\n")
    assert first.startswith("old ") and note == here.log.checkpoint()
    assert all(len(decoded(line, "")) == 32 for line in proof.split("\n"))
    assert "secret-password" not in str(headers) and "Authorization" not in headers


def test_a_witness_that_is_silent_ends_in_time(
    here: Witnessed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        witness = at(here, type("Silent", (), {"server_address": silent.getsockname()}))
        started = time.monotonic()
        with pytest.raises(OfflineError):
            client.request(here.log, witness, lambda: here.scene.now)
    assert time.monotonic() - started < 10


def test_a_witness_whose_clock_is_wrong_is_told(here: Witnessed) -> None:
    here.offset[0] = 7200
    with pytest.raises(VerificationError, match="clock"):
        here.ask(0)
    assert here.log.cosigned() == []


def test_a_log_restored_from_a_copy_is_told_by_the_witness(here: Witnessed, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(here.log.path, copy)
    here.scene.asked_for()
    here.ask()
    restored = SqliteLog(copy, MODEL)
    with pytest.raises(VerificationError, match="it has cosigned"):
        client.request(restored, here.rules.witnesses[0], lambda: here.scene.now)


def test_a_persons_key_that_is_a_witness_is_refused(here: Witnessed) -> None:
    path = here.scene.story.root / "policies" / "policy.yaml"
    text = path.read_text(encoding="utf-8")
    changed = text.replace(str(vkey(NAMES[1], TWO)), public_key(person("ada").public_pem).line)
    path.write_text(changed, encoding="utf-8")
    with pytest.raises(ConfigError, match="principal"):
        load_policies(path.parent)


# -- Bundles, for two verifiers ----------------------------------------------------------------------


def both(here: Witnessed, data: bytes, *vkeys: str) -> list[str]:
    """What each verifier says against a bundle; empty where it verifies."""
    pin = here.log.entry(0).leaf_hash.hex()
    keys = tuple(notes.read_vkey(text) for text in vkeys)
    trusted = Requirement(keys, len(keys), timedelta()) if keys else None
    report = verify_bundle(data, TrustAnchors(pin, witnesses=trusted))
    said = [report.broken or ""] if not report.ok else []
    try:
        summary = standalone.verify(data, pin, vkeys)
    except standalone.Refused as error:
        return [*said, str(error)]
    assert summary["witnesses"] == sorted(one.witness for one in report.witnessed)
    return said


@pytest.mark.slow
def test_a_bundle_carries_what_witnesses_saw(here: Witnessed) -> None:
    here.ask()
    here.scene.released()
    assert all("witnesses" in said for said in both(here, made(here.log)))  # not the promotion
    assert len(both(here, made(here.log))) == 2
    here.ask(0)
    assert len(both(here, made(here.log))) == 2
    here.ask(1)
    data = made(here.log)
    assert both(here, data) == []
    here.scene.incident("1", "open")
    later = made(here.log)
    assert len(both(here, later)) == 2  # what is new was seen by nobody
    keys = [str(vkey(name, key)) for name, key in zip(NAMES, (ONE, TWO), strict=True)]
    assert both(here, data, *keys) == []
    assert len(both(here, data, str(vkey("other.example", stranger(74))))) == 2


@pytest.mark.slow
def test_spoiled_cosignatures_of_a_bundle_are_refused(here: Witnessed, tmp_path: Path) -> None:
    here.ask()
    here.scene.released()
    here.ask()
    here.scene.freeze()
    bundle = opened(made(here.log))
    here.ask()
    good = opened(made(here.log))
    assert both(here, sealed(good)) == [] and len(good["cosigned"]) == 2

    def spoiled(change: Any) -> list[str]:
        value = json.loads(json.dumps(good))
        change(value["cosigned"])
        return both(here, sealed(value))

    changes = [
        lambda seen: seen.pop(),
        lambda seen: seen.__setitem__(1, seen[0]),
        lambda seen: seen[0].update(note=seen[0]["note"].replace("\u2014 audit", "\u2014 other")),
        lambda seen: seen[0].update(proof=["0" * 64]),
        lambda seen: seen.clear(),
        lambda seen: seen[0].update(more=1),
    ]
    for change in changes:
        assert len(spoiled(change)) == 2
    with world(tmp_path / "other") as other:
        other.ask()
        strange = [{"note": note, "proof": []} for note in other.log.cosigned()]
        assert len(spoiled(lambda seen: seen.__setitem__(slice(None), strange))) == 2
    assert bundle["cosigned"]


def test_a_bundle_without_cosignatures_has_no_such_member(tmp_path: Path) -> None:
    scene = governed(tmp_path)
    data = made(scene.story.log)
    assert "cosigned" not in opened(data)
    value = {**opened(data), "cosigned": []}
    report = verify_bundle(sealed(value), TrustAnchors(scene.story.log.entry(0).leaf_hash.hex()))
    assert report.broken
    with pytest.raises(standalone.Refused):
        standalone.verify(sealed(value), scene.story.log.entry(0).leaf_hash.hex())


def test_the_reports_anchor_names_witness_size_and_time(here: Witnessed) -> None:
    here.ask()
    verified = here.verify()
    line = _anchor(verified)
    for one in verified.witnessed:
        assert f"{one.witness} cosigned {here.log.size()} entries at {moment(one.at)}" in line
    assert _anchor(replace(verified, witnessed=())).startswith("none")


# -- What the server accepts -------------------------------------------------------------------------


def test_nobody_sends_a_cosigned_checkpoint_to_the_server(here: Witnessed) -> None:
    here.ask()
    now = promotion.state(here.log)
    artifacts, statement = cosigned.statement(
        cosigned.kept(now, here.scene.now), here.scene.story.run()
    )
    for who in (signer(here.scene.story.machine), person("ada")):
        envelope = sign_statement(evidence.build_statement("cosigned", artifacts, statement), who)
        with pytest.raises(RefusedError, match="only the server"):
            verifier(here.log, lambda: here.scene.now)(envelope)


def test_the_witnesses_of_a_proposal_are_not_asked(here: Witnessed) -> None:
    with answering(404, b"") as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        name = "proposed.example/w1"
        files = with_one_witness(here.scene, url, str(vkey(name, stranger(75))))
        propose(here.scene, here.log, files)
        said: list[str] = []
        asking = Asking(here.log, lambda: here.scene.now, said.append)
        asking.look()
        until = time.monotonic() + 30
        while len(here.log.cosigned()) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        assert len(here.log.cosigned()) == 2 and server.asked == []
        assert here.log.size() == max(parse_note(note).size for note in here.log.cosigned())


def test_a_slow_witness_delays_no_other(here: Witnessed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SECONDS", 5.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow = at(here, type("Silent", (), {"server_address": silent.getsockname()}))
        asking = Asking(here.log, lambda: here.scene.now, lambda _: None)
        asking._read = (here.log.size(), [slow, here.rules.witnesses[1]], 3600.0)
        started = time.monotonic()
        asking.look()
        while not here.log.cosigned() and time.monotonic() - started < 4:
            time.sleep(0.05)
        assert len(here.log.cosigned()) == 1
        asking.look()  # the slow one is not asked a second time meanwhile
        assert [asked.busy for asked in asking._asked.values()].count(True) <= 1
