"""The registry against the log where there is no registry: on the machine that keeps the log, and
on an auditor's.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from governance.log.sqlite import SqliteDatabase
from governance.machine.machine import CHECKPOINT
from governance.registry.rows import TABLES
from governance.release.reconcile import reconcile
from tests.governance.governed import governed


def test_a_registry_that_is_gone_where_the_log_is_kept(tmp_path: Path) -> None:
    scene = governed(tmp_path)
    found = reconcile(scene.story.log, scene.story.machine)
    assert found is not None
    assert [one.code for one in found] == ["REGISTRY_VERSION_MISSING"]


def test_a_copy_of_the_log_has_no_registry_to_compare(tmp_path: Path) -> None:
    scene = governed(tmp_path)
    (scene.story.machine.keys / f"{CHECKPOINT}.pem").unlink()
    assert reconcile(scene.story.log, scene.story.machine) is None
    shutil.rmtree(scene.story.machine.keys)
    assert reconcile(scene.story.log, scene.story.machine) is None


def test_what_a_killed_writer_left_half_done_is_read_as_it_was(tmp_path: Path) -> None:
    """A journal that nobody holds is rolled back by who opens next: a connection that may only read
    could not.
    """
    database, left = tmp_path / "registry.db", tmp_path / "left.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        for table in TABLES:
            writer.execute(f"CREATE TABLE {table} (name)")
        writer.execute("INSERT INTO runs VALUES ('first')")
        writer.execute("PRAGMA cache_size = 1")  # pages go to the file before the transaction ends
        writer.execute("BEGIN")
        writer.execute("UPDATE runs SET name = 'second'")
        writer.execute("INSERT INTO runs SELECT zeroblob(90000)")
        for end in ("", "-journal"):
            shutil.copyfile(f"{database}{end}", f"{left}{end}")
    with SqliteDatabase(left).snapshot() as execute:
        assert execute is not None
        assert execute("SELECT name FROM runs", ()) == [("first",)]
