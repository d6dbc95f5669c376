"""countersign erasure: what can be looked into is, what cannot is said; what was made of it is
followed by digest.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from click.testing import CliRunner

from governance.attest.digests import sha256_file, tree_digest
from pipelines.commands.erasure import command
from tests.governance.story import Story, begin, digest, tell

SEEN, DROPPED, NEVER = digest("seen")[:32], digest("dropped")[:32], digest("never")[:32]


def write_ids(folder: Path, *ids: str) -> str:
    """A dataset of records that have nothing but these ids, one in a shard. Returns its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    for at, one in enumerate(ids):
        parquet.write_table(pa.table({"id": [one]}), folder / f"{at:05}.parquet")
    return tree_digest(folder)


class WithRecords(Story):
    """A story whose ready records are real tables; those of desk_text are one file."""

    def _file(self, name: str, text: str) -> str:
        if not name.endswith("/records"):
            return super()._file(name, text)
        ids = [digest(text)[:32]] + ([SEEN] if "desk_sft" in name else [])
        path = self.root / name
        if "desk_text" not in name:
            return write_ids(path, *ids)
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table({"id": ids}), path)
        return sha256_file(path)


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    made = begin(tmp_path)
    made.__class__ = WithRecords
    monkeypatch.chdir(made.root)
    monkeypatch.setenv("COUNTERSIGN_HOME", str(tmp_path / "home"))
    return tell(made)


def asked(record: str) -> dict[str, list[dict[str, str]]]:
    done = CliRunner().invoke(command, [record, "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, list[dict[str, str]]] = json.loads(done.output)
    return found


def results(found: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {one["step"]: one["result"] for one in found["datasets"]}


def test_what_was_made_with_a_record_is_named(story: Story) -> None:
    found = asked(SEEN)
    assert results(found)["check_quality@desk_sft"] == "holds"
    assert results(found)["check_quality@desk_text"] == "absent"
    assert results(found)["scan_pii@desk_sft"] == "not looked up"
    assert [(one["what"], one["how"]) for one in found["touched"]] == [
        ("train@sft", "trained on it"),
        ("support-desk/1", "built from train@sft"),
    ]
    assert asked(SEEN[:12])["touched"] == found["touched"]


def test_a_model_made_from_one_that_has_seen_it_is_named_though_it_is_no_version(
    story: Story,
) -> None:
    story.train("dpo", "dpo", "preference", "desk_text", "sft")
    found = {one["what"]: one["how"] for one in asked(SEEN)["touched"]}
    assert found["train@sft"] == "trained on it" and found["train@dpo"] == "its parent has seen it"
    assert "train@base" not in found


def test_a_record_that_was_left_out_says_why(story: Story) -> None:
    path = story.root / "data/ingested/desk_sft/excluded.jsonl"
    left_out = json.loads(path.read_text().splitlines()[0])["id"]
    found = asked(left_out)
    (ingest,) = (one for one in found["datasets"] if one["step"] == "ingest@desk_sft")
    assert (ingest["result"], ingest["reason"]) == ("excluded", "FIELD_MISSING")
    assert found["touched"] == []


def test_what_cannot_be_looked_into_is_never_a_no(story: Story) -> None:
    write_ids(story.root / "data/ready/desk_sft/records", NEVER)
    found = asked(NEVER)
    assert results(found)["check_quality@desk_sft"] == "not looked up"
    assert found["touched"] == []
    told = CliRunner().invoke(command, [NEVER]).output
    assert "files could not be read" in told and "not shown:" in told


def test_a_file_that_an_older_version_wrote_is_looked_into(story: Story) -> None:
    assert (story.root / "data/ready/desk_text/records").is_file()
    found = asked(digest("records of desk_text")[:32])
    assert results(found)["check_quality@desk_text"] == "holds"
    assert results(found)["check_quality@desk_sft"] == "absent"
