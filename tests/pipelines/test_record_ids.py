"""Record ids: from content and key alone, in RFC 8785 form; the key stays secret and is told apart
by its id.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from governance.attest import canonical as rfc8785
from governance.base.errors import ConfigError
from pipelines.commands.record_key import command, write_key
from pipelines.kinds import KINDS
from pipelines.params import RecordKey, Splits
from pipelines.record_ids import (
    DEVELOPMENT,
    Key,
    canonical,
    identifying,
    key_id_of,
    load_key,
    split_of,
)

SECRET = bytes(range(32))
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | text,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.from_regex(r"\A[a-z_]{1,6}\Z"), inner, max_size=3)
        ),
    )
)
def test_content_is_written_as_rfc_8785_writes_it(value: Any) -> None:
    assert canonical(value).encode() == rfc8785.dumps(value)


def test_an_id_follows_from_key_kind_and_content() -> None:
    key = Key("a", SECRET)
    one = key.record_id("prompt", '{"answer":"1"}')
    assert one == Key("b", SECRET).record_id("prompt", '{"answer":"1"}')
    others = {
        Key("a", b"x" * 32).record_id("prompt", '{"answer":"1"}'),
        key.record_id("rated", '{"answer":"1"}'),
        key.record_id("prompt", '{"answer":"2"}'),
    }
    assert len(one) == 32 and one not in others and len(others) == 3


def said(*contents: str) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [{"role": roles[at % 2], "content": text} for at, text in enumerate(contents)]


RECORDS: dict[str, tuple[str, dict[str, Any]]] = {
    "068827613659395000c8d515013fd50a": (
        "conversation",
        {"messages": said("Hi", "Hello", "")},
    ),
    "9883a9850af9da8df75e3b3f4c78e201": (
        "preference",
        {"prompt": said("Q"), "chosen": said("good"), "rejected": said("bad", "worse")},
    ),
    "423a2c292b5181b90b9c08a97680abc6": (
        "unpaired",
        {"prompt": said("Q"), "completion": said("A"), "label": True},
    ),
    "8f42196da9e4ee9f9fc7e3cc58f59c3a": ("prompt", {"prompt": said("Q"), "answer": "42"}),
    "411cd66c5ab8ceb1ea91f6dd743e4c20": ("prompt", {"prompt": said("Q"), "answer": None}),
}
"""Ids written down before messages had parts beside role and content."""


@pytest.mark.parametrize("expected", RECORDS)
def test_a_record_without_the_newer_parts_keeps_its_id(expected: str) -> None:
    kind, content = RECORDS[expected]
    row = {"id": "", "split": "", "file": "", "row": 1, **content}
    (stored,) = pa.Table.from_pylist([row], schema=KINDS[kind].schema).to_pylist()
    columns = {name: stored[name] for name in KINDS[kind].content_columns}
    assert Key("a", SECRET).record_id(kind, canonical(identifying(columns))) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [{"role": "user", "content": "Hi", "name": ""}]},
        {"messages": [{"role": "user", "content": "Hi", "thinking": "T"}]},
        {"messages": [{"role": "user", "content": "Hi", "tool_calls": "[]"}]},
        {"messages": said("Hi"), "tools": "[]"},
    ],
)
def test_every_part_is_in_the_id(change: dict[str, Any]) -> None:
    before = canonical(identifying({"messages": said("Hi"), "tools": None}))
    assert canonical(identifying(change)) != before


def test_raters_have_names_that_do_not_tell_who_they_are() -> None:
    name = Key("a", SECRET).rater_name("anna")
    assert name.startswith("rater_") and len(name) == 14 and "anna" not in name
    assert name != Key("a", b"x" * 32).rater_name("anna")


def test_splits_follow_from_the_id_in_the_shares_asked_for() -> None:
    key, shares = Key("a", SECRET), Splits(train=0.7, validation=0.2, test=0.1)
    found = [split_of(key.record_id("prompt", str(at)), shares) for at in range(5000)]
    assert (
        abs(found.count("train") / 5000 - 0.7) < 0.03
        and abs(found.count("validation") / 5000 - 0.2) < 0.03
    )
    assert {split_of(one, Splits(train=0, test=1)) for one in ("0" * 32, "f" * 32)} == {"test"}
    assert {split_of(one, Splits()) for one in ("0" * 32, "f" * 32)} == {"train"}


def test_the_development_key_is_marked() -> None:
    assert load_key(Path(), RecordKey()).key_id == DEVELOPMENT
    with pytest.raises(ConfigError, match="without its key"):
        load_key(Path(), RecordKey(key="development", key_id="abc"))


def test_a_key_is_made_once_for_its_owner_alone_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "data" / "record.key"
    made = CliRunner().invoke(command, [str(file), "--json"])
    again = CliRunner().invoke(command, [str(file)])
    assert made.exit_code == again.exit_code == 0
    said = json.loads(made.output)
    secret = bytes.fromhex(file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and len(secret) == 32
    assert said == {"key": str(file), "key_id": key_id_of(secret), "made": True}
    assert said["key_id"] in again.output and "found" in again.output
    assert secret.hex() not in made.output + again.output and secret.hex() not in repr(
        Key("a", secret)
    )
    assert (
        load_key(tmp_path, RecordKey(key="data/record.key", key_id=said["key_id"])).secret == secret
    )


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("another key than the ids were made with", "ab" * 32, "has the id"),
        ("not a key", "hello", "not a record key"),
        ("bytes", "é", "cannot be read"),
        ("absent", None, "cannot be read"),
    ],
)
def test_a_key_that_is_not_the_one_is_refused(
    tmp_path: Path, name: str, content: str | None, match: str
) -> None:
    if content is not None:
        (tmp_path / "record.key").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=match) as caught:
        load_key(tmp_path, RecordKey(key="record.key", key_id="0" * 16))
    assert "abab" not in str(caught.value)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    write_key(tmp_path / "record.key", SECRET)
    with pytest.raises(ConfigError, match="already"):
        write_key(tmp_path / "record.key", b"x" * 32)
    assert (tmp_path / "record.key").read_text().strip() == SECRET.hex()
