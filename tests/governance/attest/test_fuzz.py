"""Whatever arrives: a clear error of ours or a sound value, never a traceback; and no altered byte
verifies.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.attest import canonical
from governance.attest.envelope import sign_statement, verify_envelope
from governance.attest.predicates import Artifact
from governance.base.errors import CountersignError, VerificationError
from governance.log.evidence import build_statement, parse_statement
from governance.policy.authority import read_authority
from governance.policy.policies import load_policies, policies_of
from tests.conftest import ROOT
from tests.governance.examples import A, every_kind
from tests.governance.governed import empty, person

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
STATEMENTS = [
    build_statement(kind, [Artifact(role="x", name="x", sha256=A)], said)
    for kind, said in every_kind().items()
]
ENVELOPES = [sign_statement(statement, person("ci")) for statement in STATEMENTS]
KEYS = {person("ci").keyid: person("ci").public_pem}
FILES = dict(load_policies(ROOT / "policies").files)
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [at, *(place for key, inner in items for place in _places(inner, (*at, key)))]


def _put(value: Any, place: tuple[Any, ...], other: Any) -> Any:
    if not place:
        return other
    copied = json.loads(json.dumps(value))
    inner = copied
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = other
    return copied


@settings(deadline=None)
@given(st.sampled_from(STATEMENTS), st.data(), JSON)
def test_a_statement_with_anything_anywhere(
    statement: dict[str, Any], data: st.DataObject, other: Any
) -> None:
    place = data.draw(st.sampled_from(_places(statement)))
    spoiled = _put(statement, place, other)
    if not isinstance(spoiled, dict):
        return
    try:
        kind, subjects, predicate = parse_statement(spoiled, "here")
    except VerificationError as error:
        assert error.where == "here"
    else:
        assert (
            build_statement(kind, subjects, predicate)["predicateType"] == spoiled["predicateType"]
        )


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_envelope(data: bytes) -> None:
    with pytest.raises(VerificationError):
        verify_envelope(data, KEYS)


@settings(deadline=None)
@given(st.sampled_from(ENVELOPES), st.data())
def test_no_envelope_with_another_byte_verifies(envelope: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(envelope) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    spoiled = envelope[:at] + bytes([envelope[at] ^ bit]) + envelope[at + 1 :]
    with pytest.raises(VerificationError):
        verify_envelope(spoiled, KEYS)


@settings(deadline=None)
@given(st.sampled_from(ENVELOPES), st.data())
def test_no_envelope_that_was_cut_or_grew_verifies(envelope: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(envelope) - 1))
    for spoiled in (envelope[:at], envelope + envelope[at:], envelope[at:]):
        if spoiled != envelope:
            with pytest.raises(VerificationError):
                verify_envelope(spoiled, KEYS)


@SLOW
@given(st.sampled_from(sorted(FILES)), st.data())
def test_policies_with_a_line_spoiled(path: str, data: st.DataObject) -> None:
    """Cut, doubled, replaced: either an error that names the file, or policies of another
    digest.
    """
    lines = FILES[path].splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    other = data.draw(
        st.sampled_from(
            ["", lines[at] * 2, "&a [*a, *a]\n", "? !!python/object:os.system x\n", "\t- {\n"]
        )
    )
    other = other or data.draw(st.text(max_size=40))
    files = {**FILES, path: "".join([*lines[:at], other, *lines[at + 1 :]])}
    try:
        policies_of(files)
    except CountersignError as error:
        assert path.rsplit("/", 1)[-1].removesuffix(".yaml") in str(error) or "policies" in str(
            error
        )


@SLOW
@given(st.text(max_size=400))
def test_policies_that_are_any_text(text: str) -> None:
    with pytest.raises(CountersignError):
        policies_of({**FILES, "policy.yaml": text})


@pytest.mark.slow
@pytest.mark.parametrize("depth", [50, 5000])
def test_policies_nested_deeply(depth: int) -> None:
    with pytest.raises(CountersignError):
        policies_of({**FILES, "policy.yaml": "a: " + "[" * depth + "]" * depth})


def test_an_altered_right_is_found(tmp_path: Path) -> None:
    """An approval whose bytes were changed behind the log's back enacts nothing: it is told."""
    import sqlite3

    scene = empty(tmp_path)
    index = scene.story.log.size() - 1
    with sqlite3.connect(scene.story.log.path) as database:
        database.execute("DROP TRIGGER countersign_entry_UPDATE")
        (data,) = database.execute(
            "SELECT envelope FROM countersign_entry WHERE idx = ?", (index,)
        ).fetchone()
        value = canonical.loads(data, where="x")
        value["payload"] = value["payload"].replace("A", "B", 1)
        database.execute(
            "UPDATE countersign_entry SET envelope = ? WHERE idx = ?",
            (canonical.dumps(value), index),
        )
    with pytest.raises(VerificationError, match=f"entry {index}"):
        read_authority(scene.story.log)
