"""A kept file gives back what was written under the same key, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.pii.kept import HMAC_BYTES, KeptFile

CONTENT = b"compiled"


@pytest.fixture
def kept(tmp_path: Path) -> KeptFile:
    file = KeptFile(tmp_path / "cache" / "file", b"key")
    file.write(CONTENT)
    return file


def test_what_was_written_is_read(kept: KeptFile) -> None:
    assert kept.read() == CONTENT
    kept.write(CONTENT * 2)
    assert kept.read() == CONTENT * 2
    assert kept.path.stat().st_mode & 0o777 == 0o600


def test_another_key_reads_nothing(kept: KeptFile) -> None:
    assert KeptFile(kept.path, b"other").read() == b""


@pytest.mark.parametrize("at", [0, HMAC_BYTES, -1])
def test_a_changed_file_is_not_read(kept: KeptFile, at: int) -> None:
    data = bytearray(kept.path.read_bytes())
    data[at] ^= 1
    kept.path.write_bytes(data)
    assert kept.read() == b""


@pytest.mark.parametrize("size", [0, 1, HMAC_BYTES, HMAC_BYTES + 1])
def test_a_cut_file_is_not_read(kept: KeptFile, size: int) -> None:
    kept.path.write_bytes(kept.path.read_bytes()[:size])
    assert kept.read() == b""


def test_a_file_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "none" / "file"):
        (tmp_path / "none").write_text("a file, no folder", encoding="utf-8")
        kept = KeptFile(path, b"key")
        kept.write(CONTENT)
        assert kept.read() == b""
        (tmp_path / "none").unlink()
