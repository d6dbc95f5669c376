"""What a witness signs: others' test vectors, forks, clocks, kills, concurrent requests."""

from __future__ import annotations

import hashlib
import itertools
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.attest.envelope import decoded, encoded
from governance.base.errors import ConfigError, StorageError, VerificationError
from governance.log import merkle, notes
from governance.log.checkpoint import Checkpoint, sign_checkpoint
from governance.log.notes import LOG_KEY, VerifierKey, cosigned_at, parse_note, read_vkey
from governance.witness.book import Answer, Book, request_body
from tests.governance.keys import ONE, TWO
from tests.governance.killed import dying_at_write, in_child
from tests.governance.witness import vectors
from tests.governance.witness.logs import FORK, KEY, LOG, NAME, ORIGIN, TREE, WITNESS
from tests.governance.witness.vectors import Step


@pytest.fixture
def book(tmp_path: Path) -> Book:
    book = Book(tmp_path / "witness")
    book.begin(NAME)
    book.add_log(ORIGIN, LOG)
    return book


def ask(book: Book, body: bytes, at: int = 1_800_000_000) -> Answer:
    return book.add_checkpoint(body, WITNESS, lambda: at)


def signed_at(note: str, answer: Answer) -> int | None:
    return cosigned_at(parse_note(note + answer.text), KEY)


@pytest.mark.parametrize(
    ("origin", "key", "steps"),
    [
        (vectors.SIGSUM_KEY.name, vectors.SIGSUM_KEY, vectors.SIGSUM),
        (vectors.MONKEYS_ORIGIN, vectors.MONKEYS_KEY, vectors.MONKEYS),
        (
            vectors.SUMDB_ORIGIN,
            vectors.SUMDB_KEY,
            [Step(vectors.request(0, [], vectors.SUMDB), 200)],
        ),
    ],
    ids=["sigsum", "monkeys", "sumdb"],
)
def test_it_answers_others_test_vectors(
    book: Book, origin: str, key: VerifierKey, steps: list[Step]
) -> None:
    book.add_log(origin, key)
    for number, step in enumerate(steps):
        answer = ask(book, step.body.encode())
        assert answer.status == step.status, (number, answer)
        note = step.body.partition("\n\n")[2]
        assert (answer.text.startswith("\u2014")) == (step.status == 200)
        if step.status == 200:
            assert signed_at(note, answer) == 1_800_000_000
        if step.status == 409:
            assert answer.content_type == "text/x.tlog.size"
            assert answer.text == ("3\n" if number == 8 else "5\n")


def test_the_size_is_answered_where_the_old_one_is_another(book: Book) -> None:
    assert ask(book, TREE.request(0, 7)).status == 200
    answer = ask(book, TREE.request(3, 9))
    assert (answer.status, answer.text, answer.content_type) == (409, "7\n", "text/x.tlog.size")


def test_a_cosignature_is_the_one_that_the_specification_describes(book: Book) -> None:
    """Rebuilt from c2sp.org/tlog-cosignature alone."""
    answer = ask(book, TREE.request(0, 7), at=1_800_000_123)
    dash, name, blob = answer.text.rstrip("\n").split(" ")
    raw = decoded(blob, "")
    key = notes.public_key(WITNESS.public_pem)
    assert (dash, name, len(raw)) == ("\u2014", NAME, 4 + 8 + 64)
    assert raw[:4] == hashlib.sha256(NAME.encode() + b"\n\x04" + key.raw).digest()[:4]
    assert int.from_bytes(raw[4:12], "big") == 1_800_000_123
    body = TREE.note(7).partition("\n\n")[0] + "\n"
    key.verify(raw[12:], f"cosignature/v1\ntime 1800000123\n{body}".encode())


def test_the_example_of_the_specification_is_read() -> None:
    note = parse_note(vectors.EXAMPLE)
    name, blob = note.signatures[1]
    assert (note.size, name, len(blob)) == (20852163, "witness.example.com/w1", 76)
    assert int.from_bytes(blob[4:12], "big") == vectors.EXAMPLE_TIME


def test_extension_lines_are_signed(book: Book) -> None:
    body = TREE.note(7).partition("\n\n")[0] + "\nextension 1\n"
    line = encoded(LOG.hash + ONE.sign(body.encode()))
    note = f"{body}\n\u2014 {ORIGIN} {line}\n"
    answer = ask(book, request_body(0, [], note))
    assert answer.status == 200 and signed_at(note, answer)
    with pytest.raises(VerificationError):
        signed_at(note.replace("extension 1", "extension 2"), answer)


def test_an_empty_tree_has_one_root(book: Book) -> None:
    empty = sign_checkpoint(Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT), ONE)
    other = sign_checkpoint(Checkpoint(ORIGIN, 0, bytes(32)), ONE)
    assert ask(book, request_body(0, [], other)).status == 422
    assert ask(book, request_body(0, [], empty)).status == 200
    assert ask(book, request_body(0, [], other)).status == 409
    assert ask(book, TREE.request(0, 4)).status == 200


# -- Forks -----------------------------------------------------------------------------------------


def test_another_root_of_the_same_size_is_refused_and_kept(book: Book) -> None:
    ask(book, TREE.request(0, 9))
    assert ask(book, request_body(9, [], FORK.note(9))).status == 409
    (split,) = book.splits()
    assert split.proved and split.origin == ORIGIN
    assert parse_note(split.known).root == TREE.root(9)
    assert split.other == FORK.note(9)
    assert notes.is_signed_by_log(parse_note(split.known), [LOG])
    assert cosigned_at(parse_note(split.known), KEY)
    ask(book, request_body(9, [], FORK.note(9)))
    assert len(book.splits()) == 1
    assert ask(book, TREE.request(9, 12)).status == 200  # the true log goes on


@pytest.mark.parametrize(("old", "proved"), [(9, True), (8, False)])
def test_a_longer_fork_is_refused_and_kept(book: Book, old: int, proved: bool) -> None:
    """Where the old size is a power of two, the proof does not carry the old root: the notes are
    kept, and the log's operator has to show a proof.
    """
    ask(book, TREE.request(0, old))
    assert ask(book, FORK.request(old, 14)).status == 422
    (split,) = book.splits()
    assert split.proved is proved
    if proved:
        proof = [decoded(step, "") for step in split.proof]
        roots = merkle.roots_of_proof(old, 14, TREE.root(old), proof)
        assert roots == (FORK.root(old), FORK.root(14))


def test_a_wrong_proof_shows_no_fork(book: Book) -> None:
    """Anybody who has a checkpoint can send a wrong proof; it must not accuse the log."""
    ask(book, TREE.request(0, 9))
    assert ask(book, request_body(9, [bytes(32)] * 3, TREE.note(14))).status == 422
    assert [split.proved for split in book.splits()] == [False]


def test_wrong_proofs_do_not_fill_the_disk(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governance.witness.book.MAX_SPLITS", 3)
    ask(book, TREE.request(0, 9))
    for size in range(10, 20):
        ask(book, request_body(9, [bytes(32)] * 3, TREE.note(size)))
    assert len(book.splits()) == 3
    assert ask(book, request_body(9, [], FORK.note(9))).status == 409
    assert [split.proved for split in book.splits()].count(True) == 1  # a proof still finds room


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0",
        b"old 00\n\n",
        b"old -1\n\n",
        b"old 1_0\n\n",
        "old \u0663\n\n".encode(),
        b"old 0\nAAAA\n\n",
        b"old 0\n\n\xff",
        b"new 0\n\n",
        b"old  0\n\n",
    ],
)
def test_a_malformed_request_is_400(book: Book, body: bytes) -> None:
    note = TREE.note(5).encode()
    assert ask(book, body + note if body.endswith(b"\n\n") else body).status == 400


@given(st.binary(max_size=400))
def test_no_bytes_make_it_fail(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    book = _SHARED.setdefault("book", Book(tmp_path_factory.mktemp("noise")))
    if not book.path.exists():
        book.begin(NAME)
        book.add_log(ORIGIN, LOG)
    valid = TREE.request(0, 7)
    middle = len(valid) // 2
    for body in (noise, valid + noise, noise + valid, valid[:middle] + noise + valid[middle:]):
        answer = ask(book, body)
        assert answer.status in (400, 403, 404) or body == valid


_SHARED: dict[str, Book] = {}


def test_another_logs_key_signs_nothing_here(book: Book) -> None:
    book.add_log("countersign/other/fedcba9876543210", VerifierKey("x", LOG.key, LOG_KEY))
    assert ask(book, TREE.request(0, 5, signer=TWO)).status == 403


def test_a_second_key_of_a_log_counts(book: Book) -> None:
    book.add_log(ORIGIN, VerifierKey(ORIGIN, notes.public_key(TWO.public_pem), LOG_KEY))
    assert ask(book, TREE.request(0, 5)).status == 200
    assert ask(book, TREE.request(5, 9, signer=TWO)).status == 200


def test_a_witness_key_is_no_log_key(book: Book) -> None:
    with pytest.raises(ConfigError):
        book.add_log(ORIGIN, KEY)
    with pytest.raises(ConfigError):
        read_vkey("witness.example/w1+00000000+BHR1")


def test_a_later_cosignature_is_never_about_a_shorter_log(book: Book) -> None:
    ask(book, TREE.request(0, 5), at=1_800_000_000)
    answer = ask(book, TREE.request(5, 9), at=1_799_999_990)  # a little behind
    assert signed_at(TREE.note(9), answer) == 1_800_000_000
    assert ask(book, TREE.request(9, 12), at=1_700_000_000).status == 503
    assert book.logs()[ORIGIN].size == 9


# -- Kills and concurrent requests -----------------------------------------------------------------


def test_killed_at_any_write_it_signs_nothing_that_it_forgets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for moment in itertools.count():
        book = Book(tmp_path / f"{moment}")
        book.begin(NAME)
        book.add_log(ORIGIN, LOG)
        ask(book, TREE.request(0, 5))
        answered = tmp_path / f"{moment}.answer"

        def run(book: Book = book, answered: Path = answered, moment: int = moment) -> None:
            with dying_at_write(moment, monkeypatch):
                answered.write_text(ask(book, TREE.request(5, 9)).text, encoding="utf-8")

        code = in_child(run)
        size = book.logs()[ORIGIN].size
        assert size in (5, 9)
        if answered.exists():
            assert size == 9
        assert ask(book, TREE.request(size, 12)).status == 200
        assert ask(book, FORK.request(9, 12)).status == 409
        if code == 0:
            break
    assert moment > 3


def test_of_racing_requests_none_takes_the_log_back(book: Book) -> None:
    ask(book, TREE.request(0, 1))
    answers: list[tuple[int, Answer]] = []

    def grow(size: int) -> None:
        for _ in range(6):
            old = book.logs()[ORIGIN].size
            if old <= size:
                answers.append((size, ask(book, TREE.request(old, size))))

    threads = [threading.Thread(target=grow, args=(size,)) for size in range(5, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert book.logs()[ORIGIN].size == 20
    assert book.splits() == []
    for size, answer in answers:
        assert answer.status in (200, 409, 400)
        assert answer.status != 200 or signed_at(TREE.note(size), answer)


def test_a_full_disk_signs_nothing(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own limit of pages stands for the disk's."""
    from governance.log import sqlite

    real = sqlite.connect

    def connect(path: Path, *, write: bool):  # type: ignore[no-untyped-def]
        connection = real(path, write=write)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    ask(book, TREE.request(0, 5))
    big = TREE.note(9).partition("\n\n")[0] + "\n" + "x" * 60_000 + "\n"
    line = encoded(LOG.hash + ONE.sign(big.encode()))
    note = f"{big}\n\u2014 {ORIGIN} {line}\n"
    proof = merkle.consistency_proof(5, 9, TREE.nodes)
    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "connect", connect)
        with pytest.raises(StorageError, match="full"):
            ask(book, request_body(5, proof, note))
    assert book.logs()[ORIGIN].size == 5
    assert ask(book, request_body(5, proof, note)).status == 200


def test_the_book_is_for_this_account_only(book: Book) -> None:
    assert stat.S_IMODE(book.path.stat().st_mode) == 0o600
    with pytest.raises(ConfigError):
        book.begin(NAME)
    with pytest.raises(StorageError):
        _ = Book(book.path.parent / "lost").name
