"""Checkpoints: C2SP signed notes of the log's state."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.attest.keys import public_key
from governance.base.errors import VerificationError
from governance.log.checkpoint import (
    Checkpoint,
    origin_of,
    parse_checkpoint,
    sign_checkpoint,
    signed_in_turn,
)
from tests.governance.keys import ONE, TWO, checkpoint_of

STATE = Checkpoint(origin_of("desk", bytes(range(32))), 42, hashlib.sha256(b"root").digest())
NOTE = sign_checkpoint(STATE, ONE)


def test_the_note_is_one_any_reader_of_signed_notes_understands() -> None:
    """Rebuilt here from the specifications alone: c2sp.org/tlog-checkpoint and
    c2sp.org/signed-note.
    """
    text, _, signature = NOTE.partition("\n\n")
    assert text.split("\n") == [
        "countersign/desk/0001020304050607",
        "42",
        base64.b64encode(STATE.root).decode(),
    ]
    dash, name, blob = signature.rstrip("\n").split(" ")
    assert (dash, name) == ("\u2014", "countersign/desk/0001020304050607")
    key = public_key(ONE.public_pem)
    raw = base64.b64decode(blob)
    assert raw[:4] == hashlib.sha256(name.encode() + b"\n\x01" + key.raw).digest()[:4]
    key.verify(raw[4:], (text + "\n").encode())
    assert len(raw) == 4 + 64


def test_it_says_what_was_signed() -> None:
    assert checkpoint_of(NOTE, ONE.public_pem) == STATE


def test_witnesses_may_add_their_lines() -> None:
    witness = sign_checkpoint(
        Checkpoint("countersign/desk/0001020304050607", 42, STATE.root), TWO
    ).split("\n")[-2]
    other = (
        "\u2014 witness.example/w1 "
        + base64.b64encode(b"\x00\x01\x02\x03\x04" + bytes(72)).decode()
    )
    assert checkpoint_of(f"{NOTE}{witness}\n{other}\n", ONE.public_pem) == STATE
    assert len(parse_checkpoint(f"{NOTE}{witness}\n{other}\n")[1]) == 3
    first, mine = NOTE.split("\n\n")
    assert checkpoint_of(f"{first}\n\n{other}\n{mine}", ONE.public_pem) == STATE


def test_only_the_logs_own_key_will_do() -> None:
    with pytest.raises(VerificationError, match="not signed by this log's checkpoint key"):
        checkpoint_of(NOTE, TWO.public_pem)
    line = NOTE.split("\n")[-2]
    with pytest.raises(VerificationError, match="signed twice"):
        checkpoint_of(f"{NOTE}{line}\n", ONE.public_pem)


BODY, SIGNED = NOTE.split("\n\n")
REFUSED = {
    "nothing": "",
    "no signature": BODY + "\n\n",
    "no gap": NOTE.replace("\n\n", "\n"),
    "four lines": f"{BODY}\nextension\n\n{SIGNED}",
    "windows line ends": NOTE.replace("\n", "\r\n"),
    "no last line end": NOTE.rstrip("\n"),
    "another log's name": NOTE.replace("countersign/desk", "countersign/Desk"),
    "no name": NOTE.replace("countersign/desk/0001020304050607", ""),
    "a size with a zero": NOTE.replace("\n42\n", "\n042\n"),
    "a size with a sign": NOTE.replace("\n42\n", "\n+42\n"),
    "a size in other digits": NOTE.replace("\n42\n", "\n\u0664\u0662\n"),
    "a short root": NOTE.replace(
        base64.b64encode(STATE.root).decode(), base64.b64encode(STATE.root[:-1]).decode()
    ),
    "a hyphen for the dash": NOTE.replace("\u2014", "-"),
    "a thousand signatures": NOTE + (SIGNED * 1000),
    "huge": NOTE + "x" * 100_000,
}


@pytest.mark.parametrize("note", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_checkpoint_is_refused(note: str) -> None:
    with pytest.raises(VerificationError):
        checkpoint_of(note, ONE.public_pem)


@given(
    st.integers(0, len(NOTE) - 1), st.characters(), st.sampled_from(["replace", "insert", "delete"])
)
def test_no_character_can_change(position: int, character: str, how: str) -> None:
    rest = NOTE[position + 1 :] if how != "insert" else NOTE[position:]
    note = NOTE[:position] + ("" if how == "delete" else character) + rest
    if note == NOTE:
        return
    with pytest.raises(VerificationError):
        checkpoint_of(note, ONE.public_pem)


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def test_bytes_have_one_form_in_base64() -> None:
    """The last character before the padding has bits that no byte uses; they must be 0."""
    root = base64.b64encode(STATE.root).decode()
    twin = f"{root[:-2]}{ALPHABET[ALPHABET.index(root[-2]) + 1]}="
    assert base64.b64decode(twin, validate=True) == STATE.root
    for other in (twin, "", "===="):
        with pytest.raises(VerificationError):
            parse_checkpoint(NOTE.replace(root, other, 1))
    with pytest.raises(VerificationError, match="canonical"):
        parse_checkpoint(NOTE.replace(root, twin, 1))


def _witnessed(lines: int) -> str:
    line = "\u2014 witness.example/w1 " + base64.b64encode(bytes(76)).decode()
    return NOTE + f"{line}\n" * (lines - 1)


def test_a_note_has_64_signatures_at_most() -> None:
    assert checkpoint_of(_witnessed(64), ONE.public_pem) == STATE
    with pytest.raises(VerificationError, match="not a checkpoint"):
        parse_checkpoint(_witnessed(65))
    with pytest.raises(VerificationError, match="not a checkpoint"):
        parse_checkpoint(NOTE.partition("\n\n")[0] + "\n\n")


TURNS = [
    # entries; signed by the first key, by the second; the second signs from entry 9 on
    (1, True, False),
    (9, True, False),
    (10, True, True),
    (11, False, True),
    (42, False, True),
]


@pytest.mark.parametrize(("size", "first", "second"), TURNS)
def test_a_key_signs_in_its_turn(size: int, first: bool, second: bool) -> None:
    """The entry that brings a successor may still be signed by the key before it."""
    keys = [(0, ONE.public_pem), (9, TWO.public_pem)]
    state = Checkpoint(STATE.origin, size, STATE.root)
    for signer, accepted in ((ONE, first), (TWO, second)):
        note = sign_checkpoint(state, signer)
        if accepted:
            assert signed_in_turn(note, keys, "x") == state
        else:
            with pytest.raises(VerificationError, match="not signed by this log's checkpoint key"):
                signed_in_turn(note, keys, "x")


def test_before_any_entry_the_first_key_signs() -> None:
    state = Checkpoint(STATE.origin, 0, STATE.root)
    assert signed_in_turn(sign_checkpoint(state, ONE), [(0, ONE.public_pem)], "x") == state


@pytest.mark.parametrize("root", [bytes(31), bytes(33)])
def test_a_root_has_32_bytes(root: bytes) -> None:
    note = sign_checkpoint(Checkpoint(STATE.origin, 1, root), ONE)
    with pytest.raises(VerificationError, match="not 32 bytes"):
        parse_checkpoint(note)
