"""The index of records: a million records in fifty versions are added, then some are looked up."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.trace.index import Index

RECORDS = 1_000_000
VERSIONS = 50
SHARD = 65_536
CHANGED = 0.1
"""Share of the shards that each version writes anew, with the same records under another digest."""
ASKED = 500
SUBJECTS = 100_000
"""Each record mentions one of them, so ten records mention each."""


def rows(say: Callable[[str], None]) -> list[tuple[str, str, str, str]]:
    """Lines of the benchmark's table."""
    from pipelines.trace.index import Index

    say(f"index of records: {RECORDS:,} in {VERSIONS} versions")
    source = random.Random(7)  # noqa: S311
    ids = [os.urandom(16) for _ in range(RECORDS)]
    shards = [ids[at : at + SHARD] for at in range(0, RECORDS, SHARD)]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "records.sqlite"
        began = time.process_time()
        with Index(path) as index:
            memberships, added = _build(index, shards, source)
        built = time.process_time() - began
        size = path.stat().st_size / 1e6
        with Index(path) as index:
            times = [_timed(index, record.hex()) for record in source.sample(ids, ASKED)]
            _mention(index, shards)
            asked = source.sample(range(SUBJECTS), ASKED)
            subjects = [_timed_subject(index, _subject(number)) for number in asked]
    rate = 60 * added / built
    what = f"{added:,} rows for {memberships:,} memberships, {size:,.0f} MB"
    return [
        (
            "index of records, built",
            f"{built:.1f} CPU-s",
            what,
            f"{rate / 1e6:.1f} million rows/CPU-min",
        ),
        (
            "trace of a record in the index",
            f"{1000 * statistics.median(times):.2f} ms",
            f"{RECORDS:,} records, {VERSIONS} versions",
            f"slowest of {ASKED}: {1000 * max(times):.1f} ms",
        ),
        (
            "trace of a subject in the index",
            f"{1000 * statistics.median(subjects):.2f} ms",
            f"{RECORDS:,} records, {SUBJECTS:,} subjects in {RECORDS // SUBJECTS} records each",
            f"slowest of {ASKED}: {1000 * max(subjects):.1f} ms",
        ),
    ]


def _build(index: Index, shards: list[list[bytes]], source: random.Random) -> tuple[int, int]:
    """Adds each version; returns the numbers of memberships and of rows."""
    from pipelines.trace.index import MEMBERS, Rows

    memberships, added = 0, 0
    now = [_name(0, at) for at in range(len(shards))]
    for version in range(VERSIONS):
        for at, shard in enumerate(shards):
            if version and source.random() < CHANGED:
                now[at] = _name(version, at)
            memberships += len(shard)
            if index.lacks(now[at], MEMBERS):
                members = [(record, "a.jsonl", row, "") for row, record in enumerate(shard)]
                index.add(now[at], MEMBERS, Rows(members=members))
                added += len(shard)
        index.complete(sha256(f"version {version}".encode()).hexdigest(), now, MEMBERS)
    return memberships, added


def _mention(index: Index, shards: list[list[bytes]]) -> None:
    """Adds the subjects of the first version."""
    from pipelines.trace.index import Rows

    first = 0
    for at, shard in enumerate(shards):
        rows = enumerate(shard, start=first)
        words = [(_subject(number % SUBJECTS), record) for number, record in rows]
        index.add(_name(0, at), "subjects", Rows(words=words))
        first += len(shard)
    index.commit()


def _subject(number: int) -> bytes:
    """What stands for its HMAC."""
    return sha256(f"subject {number}".encode()).digest()[:16]


def _name(version: int, at: int) -> str:
    return sha256(f"{version} {at}".encode()).hexdigest()


def _timed(index: Index, record: str) -> float:
    began = time.perf_counter()
    index.members(index.ids(record[:12]))
    index.parents(record)
    index.children(record)
    return time.perf_counter() - began


def _timed_subject(index: Index, key: bytes) -> float:
    began = time.perf_counter()
    records = index.with_word(key)
    index.members(records)
    for record in records:
        index.parents(record)
        index.children(record)
    return time.perf_counter() - began
