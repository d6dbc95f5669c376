"""Bundles that somebody spoiled, and logs in which somebody with a key stated nonsense: both
verifiers refuse them or agree, and neither ends in a traceback.

`make nightly` runs each for ten minutes (TESTS_FUZZ_SECONDS).
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
import rfc8785

from governance.base.errors import CountersignError
from governance.bundle import standalone_verifier, verify_bundle
from governance.history.verify import TrustAnchors, verify_log
from governance.log import evidence
from governance.log.notes import sign_note
from governance.machine.machine import log_to_add_to
from tests.fuzzing import ODD, cases, other_bytes, other_text, other_value
from tests.governance.bundles import Json, made, opened, pin, sealed
from tests.governance.governed import Governed
from tests.governance.keys import stranger
from tests.governance.nonsense import nonsense, signed
from tests.governance.story import MODEL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scene(life: Governed, tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """A released version with an incident that is closed, a waiver, and a vote taken back."""
    scene = life.copy(tmp_path_factory.mktemp("fuzzed"))
    scene.incident("1", "open")
    scene.incident("1", "closed")
    scene.waive("THRESHOLD_MISSED", "model sft")
    scene.released()
    scene.freeze()
    return scene


def first_accepts(data: bytes, origin: str) -> bool:
    try:
        return verify_bundle(data, TrustAnchors(origin)).ok
    except CountersignError:
        return False


def second_accepts(data: bytes, origin: str) -> bool:
    try:
        standalone_verifier.verify(data, origin)
    except standalone_verifier.Refused:
        return False
    return True


def spoiled(bundle: Json, chance: Random) -> bytes:
    """The bundle with some changes; sealed again, so that not the seal alone refuses it."""
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        part = chance.choice(("entries", "entries", "sequence", "files", "notes", "whole"))
        if part == "sequence" and bundle.get("entries"):
            bundle = {**bundle, "entries": other_sequence(bundle["entries"], chance)}
        elif part == "notes":
            name = chance.choice(("checkpoint", "index"))
            bundle = {**bundle, name: other_note(bundle.get(name), chance)}
        elif part in ("sequence", "whole") or not bundle.get(part):
            bundle = other_value(bundle, chance)
        else:
            bundle = {**bundle, part: other_value(bundle[part], chance)}
        if not isinstance(bundle, dict):
            break
    try:
        return sealed(bundle)
    except (rfc8785.CanonicalizationError, AttributeError, UnicodeError):
        return json.dumps(bundle).encode()


def other_sequence(entries: Any, chance: Random) -> Any:
    """An entry is left out, repeated or in the place of another; or its envelope is."""
    if not isinstance(entries, list) or len(entries) < 2:
        return entries
    one, two = chance.sample(range(len(entries)), 2)
    others, how = list(entries), chance.randrange(4)
    if how == 0:
        del others[one]
    elif how == 1:
        others.insert(two, others[one])
    elif how == 2:
        others[one], others[two] = others[two], others[one]
    elif isinstance(others[one], dict) and isinstance(others[two], dict):
        others[one] = {**others[one], "envelope": others[two].get("envelope")}
    return others


def other_note(note: Any, chance: Random) -> Any:
    """Another text, signed as before or by a stranger; or no note."""
    if not isinstance(note, str) or not note or chance.random() < 0.1:
        return chance.choice(ODD)
    body, gap, tail = note.partition("\n\n")
    body = other_text(body, chance)
    if chance.random() < 0.5:
        with suppress(CountersignError):
            return sign_note(f"{body}\n", stranger())
    return f"{body}{gap}{tail}"


def is_part_of(data: bytes, whole: Json) -> bool:
    """Whether a bundle shows only entries of the log as they are there, of the same version."""
    part = json.loads(data)
    entries = {entry["index"]: entry["envelope"] for entry in whole["entries"]}
    same = all(part[name] == whole[name] for name in ("model", "version", "checkpoint"))
    return same and all(
        entries.get(entry["index"]) == entry["envelope"] for entry in part["entries"]
    )


@pytest.mark.parametrize("accepts", [first_accepts, second_accepts])
def test_spoiled_bundles(accepts: Any, scene: Governed) -> None:
    data, origin = made(scene.story.log), pin(scene.story.log)
    assert accepts(data, origin)
    bundle, refused = opened(data), 0
    for chance in cases(few=150):
        other = other_bytes(data, chance) if chance.random() < 0.3 else spoiled(bundle, chance)
        if accepts(other, origin):
            assert other == data or is_part_of(other, bundle)
        else:
            refused += 1
    assert refused


def appended(scene: Governed, folder: Path, chance: Random) -> Governed:
    """A copy of the log with nonsense behind it, past the server's checks: up to five statements
    that follow their schema.
    """
    shutil.rmtree(folder, ignore_errors=True)
    there = scene.copy(folder)
    log = log_to_add_to(there.story.machine)
    size = log.size() + chance.randint(1, 5)
    for _ in range(60):
        if log.size() == size:
            break
        envelope = signed(*nonsense(scene, chance))
        with suppress(CountersignError):
            log.append(envelope, evidence.filed_under(envelope), also=lambda _: None)
    return there


def test_nonsense_in_the_log(scene: Governed, tmp_path: Path) -> None:
    """By somebody with a key and the database: every reader says what it thinks of it. What the
    first verifier accepts, the second one accepts.
    """
    for chance in cases(few=25):
        there = appended(scene, tmp_path / "nonsense", chance)
        log, origin = there.story.log, pin(there.story.log)
        verify_log(log, MODEL, there.story.policies.keys, TrustAnchors(origin=origin))
        try:
            data = made(log)
        except CountersignError:
            continue
        if first_accepts(data, origin):
            assert second_accepts(data, origin)
