"""What a machine knows of its logs besides their databases: no older or other copy is continued."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from governance.base.errors import CountersignError, StorageError, VerificationError
from governance.log import evidence, merkle
from governance.log.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from governance.log.heads import Heads
from governance.log.sql import SqlLog
from governance.machine.machine import heads, log_of, log_to_add_to, missing_head, read_log
from governance.machine.signers import CHECKPOINT, stored_signer
from pipelines.cli import cli
from tests.conftest import KILL_STEP
from tests.governance.examples import A, Scene, artifact, ingest, scene
from tests.governance.keys import stranger
from tests.governance.killed import dying_at_step, in_child
from tests.governance.log.databases import ADAPTERS, raw
from tests.governance.log.trees import Tree
from tests.governance.story import begin

TABLES = ("entry", "subject", "node", "head")


@pytest.fixture(params=ADAPTERS)
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    """A log of four entries that this machine appended."""
    address = f"sqlite:///{tmp_path}/home/desk/countersign.db"
    if request.param == "postgresql":
        address = str(request.getfixturevalue("cluster").database())
    made = scene(tmp_path / "home", COUNTERSIGN_LOG=address)
    for number in range(3):
        append(made, f"ingest@{number}")
    return made


def append(place: Scene, stage: str) -> int:
    log = log_to_add_to(place.machine)
    return evidence.record(
        log, place.signer, "ingest", [artifact("records", A)], ingest(stage)
    ).index


class Copy:
    """A backup of the log's tables, made and restored past Countersign."""

    def __init__(self, place: Scene) -> None:
        self.address = place.machine.log_uri
        raw(
            self.address,
            *(f"CREATE TABLE kept_{name} AS SELECT * FROM countersign_{name}" for name in TABLES),
        )

    def restore(self) -> None:
        raw(
            self.address,
            *(f"DELETE FROM countersign_{name}" for name in TABLES),
            *(f"INSERT INTO countersign_{name} SELECT * FROM kept_{name}" for name in TABLES),
            guarded=False,
        )


def known(place: Scene) -> int:
    """Entries of the last head that this machine keeps."""
    origin = parse_checkpoint(place.log.checkpoint())[0].origin
    return parse_checkpoint(heads(place.machine).last(origin))[0].size


def test_an_append_is_remembered_outside_the_database(here: Scene) -> None:
    folder = heads(here.machine).folder
    (kept,) = folder.iterdir()
    assert kept.read_text() == here.log.checkpoint() and known(here) == 4
    assert kept.stat().st_mode & 0o777 == 0o600 and folder.stat().st_mode & 0o077 == 0
    append(here, "ingest@more")
    assert kept.read_text() == here.log.checkpoint() and known(here) == 5


def test_a_restored_older_copy_is_neither_read_nor_continued(here: Scene) -> None:
    copy = Copy(here)
    later = log_to_add_to(here.machine)  # a process that runs on
    append(here, "ingest@lost")
    copy.restore()
    told = r"the log has 4 entries, fewer than the 5 .*signed or verified last"
    for use in (read_log, log_to_add_to):
        with pytest.raises(VerificationError, match=told) as refused:
            use(here.machine)
        assert "restore a copy" in refused.value.fix and "last_checkpoint" in str(refused.value)
    with pytest.raises(VerificationError, match=told):
        evidence.record(later, here.signer, "ingest", [artifact("records", A)], ingest("ingest@x"))
    assert log_of(here.machine).size() == 4 and known(here) == 5


def test_a_copy_that_has_grown_otherwise_is_not_continued(here: Scene) -> None:
    """As long as before, and longer: neither is the log that this machine knows."""
    copy = Copy(here)
    append(here, "ingest@lost")
    copy.restore()
    forgetful = log_of(here.machine, stored_signer(here.machine.keys, CHECKPOINT))
    assert isinstance(forgetful, SqlLog)
    forgetful.heads = None
    for stage in ("ingest@fork", "ingest@and-more", "ingest@and-most"):
        evidence.record(forgetful, here.signer, "ingest", [artifact("records", A)], ingest(stage))
        with pytest.raises(VerificationError, match="does not begin with the 5 entries"):
            append(here, "ingest@next")
        with pytest.raises(VerificationError, match="does not begin with the 5 entries"):
            read_log(here.machine)


def test_a_loss_that_is_accepted_by_hand(here: Scene) -> None:
    """As docs/log.md says: the folder is moved away. Then the copy is the log."""
    copy = Copy(here)
    append(here, "ingest@lost")
    copy.restore()
    folder = heads(here.machine).folder
    folder.rename(folder.with_suffix(".before-restore"))
    assert append(here, "ingest@next") == 4 and known(here) == 5


def test_a_head_that_cannot_be_read_closes_the_log(here: Scene) -> None:
    origin = parse_checkpoint(here.log.checkpoint())[0].origin
    path = heads(here.machine).place(origin)
    path.write_bytes(b"\xff")
    with pytest.raises(StorageError, match="cannot be read: it is no text; nothing was appended"):
        append(here, "ingest@x")
    path.write_text("something else")
    with pytest.raises(VerificationError, match="not a checkpoint"):
        append(here, "ingest@x")


def test_another_machine_of_the_same_database_goes_on(here: Scene, tmp_path: Path) -> None:
    """Each machine knows what it signed, and nobody else's appends are an error."""
    keys = tmp_path / "other" / "desk" / "keys"
    shutil.copytree(here.machine.keys, keys)
    environ = {**here.machine.environ, "COUNTERSIGN_HOME": str(tmp_path / "other")}
    environ["COUNTERSIGN_LOG"] = here.machine.log_uri
    other = scene(tmp_path / "other", COUNTERSIGN_LOG=here.machine.log_uri)
    assert append(other, "ingest@other") == 4
    assert (known(here), known(other)) == (4, 5)
    assert append(here, "ingest@here") == 5
    assert append(other, "ingest@again") == 6
    assert (known(here), known(other)) == (6, 7)


@pytest.mark.slow
@pytest.mark.parametrize(
    "here", ["sqlite", pytest.param("postgresql", marks=pytest.mark.nightly)], indirect=True
)
def test_a_kill_at_any_step_loses_nothing_and_locks_nobody_out(
    here: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before each statement and each write of a file. An append that was answered is known; after a
    kill the log goes on; and what the log has by then is known again.
    """
    killed, entries, answered = 0, 4, tmp_path / "answered"
    for moment in range(0, 400, KILL_STEP):
        copy_before = known(here)
        with dying_at_step(moment, monkeypatch):

            def act(number: int = moment) -> None:
                append(here, f"ingest@killed-{number}")
                answered.touch()

            ended = in_child(act)
        there = log_of(here.machine).size()
        assert there in (entries, entries + 1)
        if answered.exists():
            assert there == entries + 1 == known(here)
            break
        assert ended == -signal.SIGKILL
        killed += 1
        assert copy_before <= known(here) <= there, f"after a kill before step {moment}"
        read_log(here.machine)  # whoever looks next
        assert known(here) == there, f"after a kill before step {moment}"
        entries = there
    assert ended == 0 and killed * KILL_STEP > 25
    assert append(here, "ingest@after") == entries + 1


def test_an_append_that_fails_leaves_nothing_that_hinders(here: Scene) -> None:
    """Its announced head counts an entry that was never committed."""

    def fails(_: object) -> None:
        raise OSError(28, "No space left on device")

    for _ in range(2):
        with contextlib.suppress(CountersignError, OSError):
            evidence.record(
                log_to_add_to(here.machine),
                here.signer,
                "ingest",
                [artifact("records", A)],
                ingest("ingest@fails"),
                also=fails,
            )
    note = here.log.checkpoint()
    head, _ = parse_checkpoint(note)
    lost = Checkpoint(head.origin, head.size + 1, b"x" * 32)
    heads(here.machine).announce(
        sign_checkpoint(lost, stored_signer(here.machine.keys, CHECKPOINT))
    )
    read_log(here.machine)
    assert known(here) == 4
    assert append(here, "ingest@next") == 4 and known(here) == 5
    assert len(list(heads(here.machine).folder.iterdir())) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "here", ["sqlite", pytest.param("postgresql", marks=pytest.mark.nightly)], indirect=True
)
def test_what_was_announced_is_not_kept_before_it_is_committed(
    here: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same statement again, after a kill, gives the same head. It is kept after the commit."""
    for moment in range(0, 400, KILL_STEP):
        with dying_at_step(moment, monkeypatch):
            if in_child(lambda: append(here, "ingest@same")) == 0:
                break
        assert known(here) <= log_of(here.machine).size()
    assert log_of(here.machine).size() == known(here) == 5


# -- Any history of appends, kills and copies ------------------------------------------------------
STEPS = st.lists(
    st.sampled_from(["append", "killed before", "killed after", "look", "older", "fork"]),
    max_size=20,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    return tmp_path_factory.mktemp("heads")


@given(steps=STEPS)
def test_only_what_continues_the_last_answered_append_is_accepted(
    steps: list[str], folder: Path
) -> None:
    """Against a plain list: a copy is accepted if and only if it begins with all that was answered,
    or seen after it.
    """
    shutil.rmtree(folder / "state", ignore_errors=True)
    known_here, key = Heads(folder / "state"), stranger()
    log: list[bytes] = [b"entry 0"]
    must: list[bytes] = []

    def head(entries: list[bytes]) -> Checkpoint:
        leaves = [merkle.leaf_hash(entry) for entry in entries]
        return Checkpoint("countersign/desk/" + "0" * 16, len(entries), merkle.root_of(leaves))

    def check(entries: list[bytes]) -> bool:
        tree = Tree([merkle.leaf_hash(entry) for entry in entries])
        now = head(entries)
        try:
            known_here.check(
                now.origin,
                lambda: now,
                lambda old, new: merkle.consistency_proof(old, new, tree.node),
            )
        except VerificationError:
            return False
        return True

    for number, step in enumerate(steps):
        if step == "older":
            copy = log[: max(1, len(log) - 1 - number % 3)]
        elif step == "fork":
            copy = [*log[: max(1, len(log) - 1)], b"another %d" % number]
        else:
            copy = log
        fits = copy[: len(must)] == must
        assert check(copy) == fits, (step, number)
        if not fits:
            continue
        log = list(copy)
        if step in ("append", "killed before", "killed after"):
            entry = b"entry %d" % number
            known_here.announce(sign_checkpoint(head([*log, entry]), key))
            if step != "killed before":
                log.append(entry)
            if step == "append":
                known_here.keep(sign_checkpoint(head(log), key))
                must = list(log)
        elif step == "look":
            assert check(log)
            note = known_here.last(head(log).origin)
            must = log[: parse_checkpoint(note)[0].size] if note else must


def test_a_head_that_was_taken_away_is_told(
    here: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever moved it away could have replaced the log. An append keeps a new one."""
    read_log(here.machine)
    assert "missing" not in capsys.readouterr().err and not missing_head(here.machine, here.log)
    folder = heads(here.machine).folder
    folder.rename(folder.with_suffix(".moved"))
    for use in (read_log, log_to_add_to):
        use(here.machine)
    told = capsys.readouterr().err
    assert told.count("is missing: the 4 entries are accepted as they are") == 1, "said once"
    assert str(folder) in told and "--checkpoint" in told
    append(here, "ingest@next")
    assert not missing_head(here.machine, here.log)
    another = replace(here.machine, home=here.machine.home / "another")
    assert not missing_head(another, here.log), "a machine that signs nothing has nothing to miss"


def test_verify_and_status_tell_of_a_missing_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = begin(tmp_path)
    monkeypatch.chdir(story.root)
    for name, value in story.machine.environ.items():
        monkeypatch.setenv(name, value)
    shutil.rmtree(heads(story.machine).folder)
    waits = json.loads(run("status", "--json"))["waits"]
    assert [wait["code"] for wait in waits if wait["code"] == "HEAD_MISSING"]
    assert "last_checkpoint" in run("status")
    found = json.loads(run("verify", "--no-files", "--json"))
    assert found["verified"] and "is missing" in found["head_missing"]
    assert json.loads(run("verify", "--no-files", "--json"))["head_missing"] is None, "it is kept"
    shutil.rmtree(heads(story.machine).folder)
    assert "is missing" in run("verify", "--no-files") + capsys.readouterr().err


def run(*words: str) -> str:
    done = CliRunner().invoke(cli, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.stdout + ("" if "--json" in words else done.stderr)
