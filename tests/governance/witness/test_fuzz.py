"""Notes, indexes and requests that somebody spoiled, signed again or not: a clear error, and no
signature under another history. `make nightly` runs each for ten minutes (TESTS_FUZZ_SECONDS).
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from governance.attest.keys import Signer
from governance.base.errors import CountersignError
from governance.log.checkpoint import parse_checkpoint, signed_in_turn
from governance.log.model_index import ModelIndex, parse_index, sign_index, verified_index
from governance.log.notes import cosigned_at, parse_note, read_vkey, sign_note
from governance.witness.book import Book, parse_request
from governance.witness.compare import compare
from tests.fuzzing import cases, other_bytes, other_text
from tests.governance.keys import ONE, TWO
from tests.governance.witness.logs import FORK, KEY, LOG, NAME, ORIGIN, TREE, WITNESS
from tests.governance.witness.worlds import world

pytestmark = pytest.mark.slow
INDEX = sign_index(ModelIndex(ORIGIN, "support-desk", 9, 4, TREE.root(4)), ONE)
NOW = 1_800_000_000


def spoiled(text: str, chance: Random, signer: Signer) -> str:
    """Characters or lines of a note are others. Mostly `signer` signs it again."""
    body, _, tail = text.partition("\n\n")
    for _ in range(chance.choice((1, 1, 2, 4))):
        body = other_text(body, chance) or "x"
    if chance.random() < 0.7:
        try:
            return sign_note(body.rstrip("\n") + "\n", signer)
        except CountersignError:
            pass
    return f"{body}\n\n{other_text(tail, chance) if tail and chance.random() < 0.5 else tail}"


def test_what_is_parsed_is_refused_or_sound() -> None:
    """By every parser; and no text that the right key did not sign verifies."""
    parsers = (parse_note, parse_checkpoint, parse_index, read_vkey)
    verified = 0
    for chance in cases(few=300):
        key, original = chance.choice((ONE, TWO)), chance.choice((TREE.note(9), INDEX, str(KEY)))
        text = spoiled(original, chance, key)
        if chance.random() < 0.2:
            text = other_bytes(original.encode(), chance).decode("utf-8", "replace")
        for parse in parsers:
            try:
                parse(text)
            except CountersignError:
                continue
        for verify in (
            lambda text: signed_in_turn(text, [(0, ONE.public_pem)], "here"),
            lambda text: verified_index(text, [(0, ONE.public_pem)]),
        ):
            try:
                verify(text)
            except CountersignError:
                continue
            verified += 1
            body = text.partition("\n\n")[0]
            assert key is ONE or body == original.partition("\n\n")[0]
    assert verified


def a_request(chance: Random) -> bytes:
    """Sound, of a fork, by another key, with another proof, or spoiled."""
    old, new = sorted(chance.randrange(41) for _ in range(2))
    tree, signer = chance.choice((TREE, TREE, FORK)), chance.choice((ONE, ONE, ONE, TWO))
    body = tree.request(max(old, 1) if chance.random() < 0.7 else 0, max(new, 1), signer)
    how = chance.randrange(5)
    if how == 0:
        return other_bytes(body, chance)
    head, gap, note = body.decode().partition("\n\n")
    if how == 1:
        return f"{other_text(head, chance)}{gap}{note}".encode()
    if how == 2:
        return f"{head}{gap}{spoiled(note, chance, signer)}".encode()
    return body


def a_book(folder: Path) -> Book:
    book = Book(folder)
    book.begin(NAME)
    book.add_log(ORIGIN, LOG)
    return book


def test_requests_to_cosign(tmp_path: Path) -> None:
    """The witness answers with one of the protocol's codes, and signs what its log contains."""
    book, books, cosigned = a_book(tmp_path / "0"), 1, 0
    for chance in cases(few=150):
        if chance.random() < 0.1:  # a log that is cosigned as a whole grows no more
            book, books = a_book(tmp_path / str(books)), books + 1
        body = a_request(chance)
        answer = book.add_checkpoint(body, WITNESS, lambda: NOW)
        assert answer.status in (200, 400, 403, 404, 409, 422)
        if answer.status == 200:
            note = parse_request(body).note
            assert cosigned_at(parse_note(note.text + answer.text), KEY) == NOW
            assert note.root == book.logs()[ORIGIN].root
            cosigned += 1
    assert cosigned


def test_another_copy_that_lies(tmp_path: Path) -> None:
    """`verify --against` a file: an error of ours, or an answer about a checkpoint of this log."""
    with world(tmp_path / "world") as here:
        log, path = here.log, tmp_path / "other"
        signer = log.signer
        assert signer is not None
        keys, note = [(0, signer.public_pem)], log.checkpoint()
        for chance in cases(few=60):
            text = spoiled(note, chance, chance.choice((signer, TWO)))
            path.write_bytes(text.encode() if chance.random() < 0.8 else chance.randbytes(300))
            try:
                found = compare(log, keys, str(path), None)
            except CountersignError:
                continue
            assert parse_note(found.other_note).origin == parse_note(note).origin
            assert not found.agrees or parse_note(found.other_note).size <= log.size()
