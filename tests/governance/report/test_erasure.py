"""The page of a certificate of erasure: the figures of the signed statements, and nothing else."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Artifact, Erased, Erasure
from governance.history import erasures
from governance.log.evidence import Evidence
from governance.report import erasure
from tests.governance.examples import every_kind

DIGEST = "ab" * 32
HOSTILE = "<script>alert(1)</script>"


def shown(**changes: Any) -> str:
    """The page as text; `changes` are fields of the end of the erasure."""
    made = every_kind()
    first, end = made["erasure"], made["erased"]
    assert isinstance(first, Erasure) and isinstance(end, Erased)
    subjects = (
        Artifact(role=erasures.LIST, name="DSR-2026-17", sha256=DIGEST),
        Artifact(role=erasures.MODEL, name=HOSTILE, sha256="cd" * 32),
    )
    ordered = Evidence(7, "erasure", subjects, first, "k", development=False, digest=DIGEST)
    done = Evidence(
        9, "erased", (), end.model_copy(update=changes), "k", development=False, digest=DIGEST
    )
    return erasure.page(ordered, done, b"envelope", "DSR-2026-17.dsse.json").decode()


def plain(page: str) -> str:
    """What a person reads."""
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", page.split("<body>")[1]).split()))


def test_what_is_left_comes_before_what_was_deleted() -> None:
    text = plain(shown())
    parts = ("ERASED IN PART", "sources 1", "they are retrained or retired 1", "cache of DVC 4")
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert sha256_bytes(b"envelope") in text
    assert "countersign verify DSR-2026-17.dsse.json" in text


def test_nothing_left_says_so() -> None:
    text = plain(shown(found={}, not_removed={}))
    assert "ERASED IN PART" not in text and text.count("nothing") == 2


def test_names_are_escaped_and_nothing_is_loaded_from_elsewhere() -> None:
    page = shown()
    assert HOSTILE not in page and HOSTILE in unescape(page)
    assert not re.search(r"(?:src|href)=|@import|url\(|https?:", page)
