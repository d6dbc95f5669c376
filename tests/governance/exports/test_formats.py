"""Formats by name; files whole or not at all; nothing inside a sealed model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.attest.envelope import verify_envelope
from governance.base.errors import ConfigError, StorageError, VerificationError
from governance.exports.catalog import Document, export, known_formats
from governance.exports.files import write
from governance.exports.records import Records, read
from governance.exports.text import cleaned, file_name, json_bytes, outside_path
from tests.governance.exports.told import records_of
from tests.governance.governed import person
from tests.governance.story import MODEL, Story, altered, every_text

DOCUMENTS = [Document("a.json", b"new a"), Document("deep/b.json", b"new b")]


def test_every_format_gives_what_it_says(plain: Records) -> None:
    made = {name: [each.path for each in one.documents] for name, one in export(plain).items()}
    assert list(made) == list(known_formats())
    assert made["croissant"] and made["model-card"]
    paths = [path for each in made.values() for path in each]
    assert len(set(paths)) == len(paths)


def test_the_same_log_read_again_gives_the_same_bytes(shared: Story) -> None:
    assert export(records_of(shared)) == export(records_of(shared))


def test_an_unknown_format_names_those_there_are(plain: Records) -> None:
    with pytest.raises(ConfigError) as refused:
        export(plain, ["spdx"])
    assert "no format 'spdx'" in refused.value.found
    assert all(name in str(refused.value.expected) for name in known_formats())


def test_only_the_formats_named_are_made(plain: Records) -> None:
    assert list(export(plain, ["slsa-vsa", "cyclonedx"])) == [
        "cyclonedx",
        "slsa-vsa",
    ]


def test_signed_statements_verify_and_say_the_same(plain: Records) -> None:
    signer = person("ci")
    names = ["slsa-provenance", "slsa-vsa", "test-result"]
    unsigned = [each for one in export(plain, names).values() for each in one.documents]
    signed = [each for one in export(plain, names, signer).values() for each in one.documents]
    assert len(signed) == len(unsigned) > 3
    for one, bare in zip(signed, unsigned, strict=True):
        verified = verify_envelope(one.data, {signer.keyid: signer.public_pem})
        assert verified.payload == bare.data
        assert one.path == bare.path.removesuffix(".json") + ".dsse.json"


def test_nothing_is_made_from_a_log_that_does_not_verify(shared: Story, tmp_path: Path) -> None:
    other = shared.copy(tmp_path)
    altered(other.log, 7)
    with pytest.raises(VerificationError, match="EVIDENCE DOES NOT VERIFY: entry 7"):
        read(other.sources, (MODEL, "1"))


def test_all_files_are_written(tmp_path: Path) -> None:
    assert write(tmp_path / "x", DOCUMENTS) == [
        tmp_path / "x" / "a.json",
        tmp_path / "x" / "deep" / "b.json",
    ]
    assert (tmp_path / "x" / "deep" / "b.json").read_bytes() == b"new b"
    assert sorted(path.name for path in (tmp_path / "x").rglob("*")) == ["a.json", "b.json", "deep"]


def test_where_one_cannot_be_written_the_others_stay_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"old a")
    (tmp_path / "deep" / "b.json").mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot be written"):
        write(tmp_path, DOCUMENTS)
    assert (tmp_path / "a.json").read_bytes() == b"old a"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.json", "b.json", "deep"]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        write(tmp_path, DOCUMENTS)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("below", ["", "sub/folder"])
def test_a_model_folder_is_sealed(tmp_path: Path, below: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ConfigError, match="model folder"):
        write(tmp_path / below, DOCUMENTS)
    assert [path.name for path in tmp_path.rglob("*")] == ["model.safetensors"]


ANY = st.text(st.characters(codec=None), max_size=80)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_any_value_is_json_of_plain_visible_lines(value: Any) -> None:
    back = json.loads(json_bytes(value).decode("utf-8"))
    assert back == cleaned(value)
    assert all(text.isprintable() for text in every_text(back))


@given(ANY)
def test_any_name_is_a_plain_file_name(text: str) -> None:
    name = file_name(text)
    assert name.replace("-", "").replace("_", "").isalnum() and name.isascii() and len(name) < 70
    assert name == text or file_name(text + "x") != name


def test_two_names_never_share_a_file() -> None:
    assert len({file_name(name) for name in ("a/b", "a b", "a-b", "A-b", "a:b", "../a-b", "")}) == 7


@pytest.mark.parametrize(
    "path", ["/home/ada/model", "~/model", "C:\\models\\x", "file:///home/ada", "\\\\host\\x"]
)
def test_a_path_of_a_machine_is_not_told(path: str) -> None:
    assert "ada" not in outside_path(path) and "\\" not in outside_path(path)
    assert outside_path("Qwen/Qwen3-0.6B@c1899de289a04d12100db370d81485cdf75e47ca") != outside_path(
        path
    )
