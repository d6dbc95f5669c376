"""The index says what the files say: for generated sources, versions and redactions, and after a
kill.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.attest.digests import digest_of
from governance.attest.predicates import Artifact
from governance.base.progress import Progress
from governance.base.yaml import load_model
from governance.policy.data import PiiPolicy
from pipelines.params import Dataset, load_params
from pipelines.pii.engine import PlainEngine
from pipelines.pii.scan import Treated, treat
from pipelines.pii.search import Search
from pipelines.plain_text import plain_subject, plain_text
from pipelines.record_ids import Key, load_key
from pipelines.records import Excluded, write_excluded
from pipelines.shards import RecordWriter, open_records
from pipelines.sources.ingest import ingest
from pipelines.trace import back, exhaustive
from pipelines.trace.files import Files
from pipelines.trace.fill import fill
from pipelines.trace.index import MEMBERS, Index, Member, Rows
from pipelines.trace.steps import Step, steps
from pipelines.trace.words import Subjects, Texts, Words
from tests.conftest import ROOT, examples
from tests.governance.story import Story, _counts, begin, digest

NUMBERS = count(1)
PEOPLE = ("jane.roe@example.com", "192.0.2.17", "omar.diaz@example.org")
ASKS = ("Where is my parcel?", "Call me, {}.", "My card is 4111 1111 1111 1111, {}", "Hello")
SOURCES = st.lists(
    st.tuples(st.sampled_from(ASKS), st.sampled_from(PEOPLE)), min_size=1, max_size=6
)


@dataclass(repr=False)
class World:
    """A log with datasets whose files are real, and what looks into them."""

    story: Story
    key: Key
    search: Search
    steps: list[Step] = field(default_factory=list)

    def version(self, rows: list[tuple[str, str]]) -> None:
        """A new version of a dataset: ingested, scanned, without duplicates."""
        number = next(NUMBERS)
        source = self.story.root / f"source-{number}.jsonl"
        turns = [[("user", ask.format(who)), ("assistant", "Noted.")] for ask, who in rows]
        lines = [
            {"messages": [{"role": role, "content": text} for role, text in turn]} for turn in turns
        ]
        written = "".join(json.dumps(line) + "\n" for line in [*lines, {"messages": 7}])
        source.write_text(written, encoding="utf-8")
        dataset = Dataset.model_validate(
            {"kind": "conversation", "source": source.name, "suite": "x", "held_out": "x"}
        )
        folders = [
            self.story.root / f"data/{step}/v{number}" for step in ("ingested", "scanned", "ready")
        ]
        tally, _ = ingest(source, dataset, self.key, folders[0] / "records")
        write_excluded(folders[0] / "excluded.jsonl", tally.excluded)
        policy = self.search.plain.policy
        (table,) = open_records(folders[0] / "records").tables()
        done = Treated()
        treated = treat(table, "conversation", policy, self.search, self.key.secret, done)
        write(folders[1], [treated.slice(0, 2), treated.slice(2)], done.excluded)
        places = {record["id"]: record for record in reversed(treated.to_pylist())}
        firsts = [row["row"] == places[row["id"]]["row"] for row in treated.to_pylist()]
        again = [row for row, first in zip(treated.to_pylist(), firsts, strict=True) if not first]
        left_out = [
            Excluded(row["id"], row["file"], row["row"], "", "DUPLICATE", "") for row in again
        ]
        write(folders[2], [treated.filter(pa.array(firsts, pa.bool_()))], left_out)
        self.record(number, folders)

    def record(self, number: int, folders: list[Path]) -> None:
        """The statements about these folders."""
        made = [[self.at(folder, name) for name in FILES] for folder in folders]
        name, before = f"v{number}", Artifact(role="source", name="s", sha256=digest(str(number)))
        counts = _counts(2, 1, {"DUPLICATE": 1})
        first = self.story.log.size()
        self.story.record(
            "ingest", f"ingest@{name}", made[0], [before],
            dataset=name, kind="conversation", record_key="development", fields_unused={},
            counts=counts,
        )  # fmt: skip
        for step in (1, 2):  # what scan and quality made
            self.story.record(
                "quality", f"check_quality@{name}-{step}", made[step], [made[step - 1][0]],
                dataset=name, kind="conversation", passed=True, suite=digest("suite"),
                expectations=[], counts=counts,
            )  # fmt: skip
        now = self.story.sources.read[0]
        self.steps += [step for step in steps(now) if step.statement.index >= first]

    def at(self, folder: Path, name: str) -> Artifact:
        """A file or folder as evidence names it."""
        path = folder / name
        role = name.removesuffix(".jsonl")
        relative = path.relative_to(self.story.root).as_posix()
        return Artifact(role=role, name=relative, sha256=digest_of(path))

    @property
    def files(self) -> Files:
        return Files(self.story.root)

    @property
    def words(self) -> tuple[Texts, Subjects]:
        return Texts(self.key), Subjects(self.key, self.search.plain.digest, lambda: self.search)

    def fill(self, index: Index) -> None:
        """Everything."""
        for words in self.words:
            fill(index, self.files, self.steps, words, Progress())


FILES = ("records", "excluded.jsonl")


def write(folder: Path, tables: list[pa.Table], left_out: list[Excluded]) -> None:
    with RecordWriter(folder / "records", "conversation") as writer:
        for table in tables:
            writer.add_shard(table)
    write_excluded(folder / "excluded.jsonl", left_out)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    story = begin(tmp_path_factory.mktemp("trace"))
    policy = load_model(ROOT / "policies/pii.yaml", PiiPolicy)
    key = load_key(ROOT, load_params(ROOT).records)
    with Search(PlainEngine(policy, ROOT), None, b"key") as search:
        yield World(story, key, search)


def read_again(world: World, words: Words, value: str) -> set[str]:
    return exhaustive.holding(world.files, world.steps, words, value)


@examples(8)
@given(versions=st.lists(SOURCES, min_size=1, max_size=3))
def test_the_index_says_what_the_files_say(
    world: World, versions: list[list[tuple[str, str]]], tmp_path: Path
) -> None:
    world.steps = []
    path = tmp_path / f"{next(NUMBERS)}" / "grown.sqlite"
    for rows in versions:  # filled as versions come
        world.version(rows)
        with Index(path) as index:
            world.fill(index)
    with Index(path) as grown, Index(path.with_name("made.sqlite")) as made:
        world.fill(made)
        done = exhaustive.read(world.files, world.steps, ("",))
        ids = {member.record for member in done.members}
        assert grown.members(ids) == made.members(ids) == sorted(done.members)
        assert done.contents == grown.contents(MEMBERS)
        texts, subjects = world.words
        said = {ask.format(who) for rows in versions for ask, who in rows}
        for text in (*said, "Noted.", "Call me, <EMAIL_ADDRESS>.", "never said"):
            found = set(grown.with_word(texts.key(text)))
            assert found == read_again(world, texts, text)
            assert bool(found) or text not in said
        for person in (*PEOPLE, "nobody@example.com"):
            found = set(grown.with_word(subjects.key(person)))
            assert found == read_again(world, subjects, person)
            assert bool(found) == any(person in text for text in said)
        assert not [one for one in PEOPLE if one.encode() in path.read_bytes()]


def test_a_subject_is_looked_up_without_the_engine_that_found_it(
    world: World, tmp_path: Path
) -> None:
    world.steps = []
    world.version([(ASKS[1], PEOPLE[0])])
    with Index(tmp_path / "index.sqlite") as index:
        world.fill(index)
        found, (_, subjects) = index.with_word(world.words[1].key(PEOPLE[0])), world.words

        def opened() -> Search:
            raise AssertionError("the engine is loaded")

        again = Subjects(world.key, world.search.plain.digest, opened)
        fill(index, world.files, world.steps, again, Progress())
        assert again.task == subjects.task and found
        assert index.with_word(again.key(PEOPLE[0])) == found
        changed = Subjects(world.key, "another engine", opened)
        with pytest.raises(AssertionError):
            fill(index, world.files, world.steps, changed, Progress())


def test_reading_finds_what_the_index_lacks(world: World, tmp_path: Path) -> None:
    world.steps = []
    world.version([(ASKS[1], PEOPLE[0]), (ASKS[0], PEOPLE[1])])
    with Index(tmp_path / "index.sqlite") as index:
        world.fill(index)
    connection = sqlite3.connect(tmp_path / "index.sqlite")
    with connection:
        connection.execute(
            "DELETE FROM member WHERE reason = (SELECT id FROM name WHERE text = '')"
        )
    connection.close()
    with Index(tmp_path / "index.sqlite") as index:
        done = exhaustive.read(world.files, world.steps, ("",))
        lacking = done.members - set(index.members(member.record for member in done.members))
        assert lacking == {member for member in done.members if not member.reason} != set()


def test_a_row_that_a_step_neither_has_nor_lists_is_lost(world: World, tmp_path: Path) -> None:
    world.steps = []
    world.version([(ASKS[1], PEOPLE[0]), (ASKS[0], PEOPLE[0]), (ASKS[0], PEOPLE[1])])
    behind = back.Behind("v", world.steps[-1].digest, [], "", world.steps)
    with Index(tmp_path / "index.sqlite") as index:
        world.fill(index)
        known = index.contents(MEMBERS)
        looked = [back.looked_into(step, known, ()) for step in world.steps]
        found = {row.row: row for row in back.rows(index, [(behind, looked)])}
        assert {number: (row.state, row.reason) for number, row in found.items()} == {
            1: ("in", ""),
            2: ("in", ""),
            3: ("left out", "DUPLICATE"),
            4: ("left out", "MESSAGES_MALFORMED"),
        }
    connection = sqlite3.connect(tmp_path / "index.sqlite")
    with connection:
        connection.execute(
            "DELETE FROM member WHERE record = ? AND part IN"
            " (SELECT part FROM content WHERE sha256 = ?)",
            (bytes.fromhex(found[1].record), bytes.fromhex(world.steps[2].digest)),
        )
    connection.close()
    with Index(tmp_path / "index.sqlite") as index:
        (lost,) = (row for row in back.rows(index, [(behind, looked)]) if row.state == "lost")
    assert lost.row == 1  # where steps have equal shards, all of them lack it


def test_a_file_that_is_not_as_recorded_is_not_read(world: World, tmp_path: Path) -> None:
    world.steps = []
    world.version([(ASKS[1], PEOPLE[0])])
    (path,) = (world.story.root / "data/ingested").glob(f"{world.steps[0].dataset}/records/0*")
    path.write_bytes(path.read_bytes() + b" ")
    with Index(tmp_path / "index.sqlite") as index:
        world.fill(index)
        known = index.contents(MEMBERS)
    assert world.steps[0].digest not in known and world.steps[1].digest in known


def test_a_file_of_another_version_or_form_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    for content in (b"no database at all, but longer than a header of one" * 3, b""):
        path.write_bytes(content)
        with Index(path) as index:
            assert index.contents(MEMBERS) == set()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with Index(path) as index:
        index.add("ab" * 32, MEMBERS, Rows(members=[(b"r" * 16, "a.jsonl", 1, "")]))
        index.complete("cd" * 32, ["ab" * 32], MEMBERS)
    with Index(path) as index:
        assert index.members([b"r".hex() * 16]) == [
            Member(b"r".hex() * 16, "cd" * 32, "a.jsonl", 1)
        ]
        assert index.ids(b"r".hex() * 6) == [b"r".hex() * 16] and index.ids("0" * 12) == []
    assert path.stat().st_mode & 0o077 == 0


KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.trace import index as module
module.STAGED = 1000
with module.Index(Path(sys.argv[1])) as index:
    for at in range(10):
        rows = [(os.urandom(16), "a.jsonl", row, "") for row in range(400)]
        index.add(f"{at:064x}", "members", module.Rows(members=rows))
        index.complete(f"{at:064x}", [f"{at:064x}"], "members")
        if at == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("at", [0, 2, 6])
def test_a_killed_run_leaves_whole_contents_or_none(tmp_path: Path, at: int) -> None:
    path = tmp_path / "index.sqlite"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(at)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    with Index(path) as index:
        known = index.contents(MEMBERS)
        assert len(known) == (at + 1) // 3 * 3  # each third one ends a transaction
    connection = sqlite3.connect(path)
    (rows,) = connection.execute("SELECT count(*) FROM member").fetchone()
    assert rows == 400 * len(known)
    connection.close()


def test_how_values_are_compared() -> None:
    assert plain_text("  Where\n is\tＭＹ parcel? ") == "where is my parcel?"
    assert plain_subject("Jane  Roe") == plain_subject("JANE,\u00a0roe") == "jane roe"
    assert plain_subject("+1 (212) 555-0188") == "12125550188"
    assert plain_subject("jane.e@xample.com") != plain_subject("jane@example.com")
    assert plain_subject(" -- ") == ""
