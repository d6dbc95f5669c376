"""Digests that are kept by a file's status: a change is never overlooked."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from governance.attest.digests import sha256_bytes
from pipelines import known_files


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """What was hashed; nothing is known at first."""
    monkeypatch.setattr(known_files, "_KNOWN", {})
    yield []


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that has not changed for a while."""
    path = tmp_path / "file"
    path.write_bytes(b"one")
    later(monkeypatch)
    return path


def later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns() + 2 * known_files.RECENT_NANOSECONDS
    monkeypatch.setattr(known_files.time, "time_ns", lambda: now)


def digest(path: Path, reads: list[bytes]) -> str:
    def of(content: bytes) -> str:
        reads.append(content)
        return sha256_bytes(content)

    return known_files.digest(str(path), "sha256", of)


def test_an_old_file_is_read_once(file: Path, reads: list[bytes]) -> None:
    assert digest(file, reads) == digest(file, reads) == sha256_bytes(b"one")
    assert reads == [b"one"]


def test_a_young_file_is_read_each_time(tmp_path: Path, reads: list[bytes]) -> None:
    path = tmp_path / "young"
    path.write_bytes(b"one")
    digest(path, reads)
    digest(path, reads)
    assert reads == [b"one", b"one"]


def test_an_edit_with_the_same_size_and_time_is_seen(file: Path, reads: list[bytes]) -> None:
    digest(file, reads)
    before = file.stat()
    time.sleep(0.02)  # the file system's clock has ticks
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert digest(file, reads) == sha256_bytes(b"two")


def test_another_file_in_its_place_is_seen(file: Path, reads: list[bytes]) -> None:
    digest(file, reads)
    other = file.with_name("other")
    other.write_bytes(b"two")
    other.replace(file)
    assert digest(file, reads) == sha256_bytes(b"two")


def test_digests_of_two_kinds_do_not_mix(file: Path, reads: list[bytes]) -> None:
    assert known_files.digest(str(file), "length", lambda content: str(len(content))) == "3"
    assert digest(file, reads) == sha256_bytes(b"one")


def test_a_missing_file_is_an_error(tmp_path: Path, reads: list[bytes]) -> None:
    with pytest.raises(OSError):
        digest(tmp_path / "nothing", reads)
