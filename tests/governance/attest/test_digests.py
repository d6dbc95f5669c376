"""Digests of folders: a closed world."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.attest import digests
from governance.base.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    (model / "tokenizer").mkdir(parents=True)
    (model / "config.json").write_bytes(b"{}")
    (model / "model.safetensors").write_bytes(b"weights")
    (model / "tokenizer" / "vocab.txt").write_bytes(b"")
    return model


def test_the_manifest_lists_every_file_by_path_size_and_content(folder: Path) -> None:
    listed = [(file.path, file.size) for file in digests.manifest(folder)]
    assert listed == [("config.json", 2), ("model.safetensors", 7), ("tokenizer/vocab.txt", 0)]
    assert (
        digests.manifest(folder)[0].sha256
        == digests.sha256_bytes(b"{}")
        == digests.sha256_file(folder / "config.json")
    )


def test_the_digest_is_fixed(folder: Path) -> None:
    """Changing how a folder is hashed would orphan all evidence there is."""
    assert (
        digests.tree_digest(folder)
        == "608cbee16ef761096615a4ee0f9d19f672fea154fa1bfa8f7a613fecb6470fa9"
    )
    assert digests.manifest_digest(digests.manifest(folder)[::-1]) == digests.tree_digest(folder)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a byte": lambda folder: (folder / "model.safetensors").write_bytes(b"weightz"),
    "a file more": lambda folder: (folder / "extra.txt").write_bytes(b""),
    "a hidden file more": lambda folder: (folder / ".git").write_bytes(b""),
    "a file less": lambda folder: (folder / "config.json").unlink(),
    "a name": lambda folder: (folder / "config.json").rename(folder / "Config.json"),
    "a place": lambda folder: (folder / "config.json").rename(folder / "tokenizer" / "config.json"),
    "a byte moved to the next file": lambda folder: [
        (folder / "config.json").write_bytes(b"{}w"),
        (folder / "model.safetensors").write_bytes(b"eights"),
    ],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_any_change_gives_another_digest(folder: Path, change: Callable[[Path], object]) -> None:
    before, files = digests.tree_digest(folder), digests.manifest(folder)
    change(folder)
    assert digests.tree_digest(folder) != before
    assert digests.difference(files, digests.manifest(folder))


def test_times_permissions_and_hard_links_are_no_part_of_it(folder: Path, tmp_path: Path) -> None:
    """DVC links files from its cache, read-only."""
    before = digests.tree_digest(folder)
    os.link(folder / "config.json", tmp_path / "cached")
    (folder / "config.json").chmod(0o444)
    os.utime(folder / "config.json", (0, 0))
    assert digests.tree_digest(folder) == before


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "symbolic link": (lambda f: (f / "link").symlink_to(f / "config.json"), "symbolic link"),
    "link to a folder": (lambda f: (f / "link").symlink_to(f / "tokenizer"), "symbolic link"),
    "dangling link": (lambda f: (f / "link").symlink_to("/nowhere"), "symbolic link"),
    "FIFO": (lambda f: os.mkfifo(f / "pipe"), "FIFO"),
    "socket": (lambda f: _socket(f / "s"), "socket"),
    "empty folder": (lambda f: (f / "empty").mkdir(), "empty folder"),
    "names that differ in case": (
        lambda f: (f / "CONFIG.json").write_bytes(b""),
        "one name on some systems",
    ),
    "names that differ in normal form": (
        lambda f: [(f / "\u00e9").write_bytes(b""), (f / "e\u0301").write_bytes(b"")],
        "one name on some systems",
    ),
    "newline in a name": (lambda f: (f / "a\nb").write_bytes(b""), "U+000A"),
    "zero-width character": (lambda f: (f / "con\u200bfig.json").write_bytes(b""), "U+200B"),
    "right-to-left override": (lambda f: (f / "a\u202etxt.exe").write_bytes(b""), "U+202E"),
    "backslash": (lambda f: (f / "..\\x").write_bytes(b""), "U+005C"),
    "not UTF-8": (
        lambda f: Path(os.fsdecode(os.fsencode(f) + b"/\xff")).write_bytes(b""),
        "U+DCFF",
    ),
    "too deep": (lambda f: (f / "/".join("d" * 40)).mkdir(parents=True), "too deep"),
}


@pytest.mark.parametrize(("plant", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_a_manifest_cannot_name_is_refused(
    folder: Path, plant: Callable[[Path], object], says: str
) -> None:
    plant(folder)
    with pytest.raises(InputError) as error:
        digests.tree_digest(folder)
    assert says in str(error.value)


def test_missing_and_special_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        digests.sha256_file(tmp_path / "nothing")
    with pytest.raises(InputError, match="no such folder"):
        digests.manifest(tmp_path / "nothing")
    with pytest.raises(InputError, match="the folder is empty"):
        digests.manifest(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"):  # and does not wait for a writer
        digests.sha256_file(tmp_path / "pipe")


def test_a_data_file_may_be_a_link_to_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "big.jsonl").write_bytes(b"{}")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "big.jsonl")
    assert digests.digest_of(tmp_path / "link.jsonl") == digests.sha256_bytes(b"{}")


def test_the_difference_names_each_file(folder: Path) -> None:
    before = digests.manifest(folder)
    (folder / "config.json").unlink()
    (folder / "model.safetensors").write_bytes(b"other")
    (folder / "evil.pkl").write_bytes(b"")
    assert digests.difference(before, digests.manifest(folder)) == [
        "config.json: missing",
        "evil.pkl: not in the manifest",
        "model.safetensors: content changed",
    ]


names = st.text(st.characters(categories=["Ll", "Nd"]), min_size=1, max_size=4)


@given(
    st.dictionaries(names, st.binary(max_size=8), min_size=1, max_size=4),
    st.dictionaries(names, st.binary(max_size=8), min_size=1, max_size=4),
)
def test_two_folders_agree_exactly_when_their_files_do(
    tmp_path_factory: pytest.TempPathFactory, one: dict[str, bytes], two: dict[str, bytes]
) -> None:
    made = []
    for files in (one, two):
        folder = tmp_path_factory.mktemp("f")
        for name, data in files.items():
            (folder / name).write_bytes(data)
        try:
            made.append(digests.tree_digest(folder))
        except InputError as error:
            assert "one name on some systems" in str(error)
            return
    assert (made[0] == made[1]) == (one == two)


def test_what_cannot_be_read_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        digests.sha256_file(tmp_path)
