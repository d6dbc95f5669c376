"""Two copies of one log: clients who were shown different histories find out."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from governance.base.errors import ConfigError, OfflineError, StorageError, VerificationError
from governance.log.notes import parse_note
from governance.log.sqlite import SqliteLog
from governance.machine.machine import checkpoint_keys
from governance.witness.book import vkey
from governance.witness.compare import Comparison, compare
from pipelines.cli import cli
from tests.governance.keys import stranger
from tests.governance.story import MODEL
from tests.governance.witness.worlds import NAMES, Witnessed, forged


def against(log: SqliteLog, address: str) -> Comparison:
    return compare(log, checkpoint_keys(log), address, None)


def test_a_witness_detects_a_split_view_between_two_clients(
    here: Witnessed, tmp_path: Path
) -> None:
    url = here.servers[0].url
    here.ask(0)
    assert against(here.log, url).agrees
    fork = forged(here, tmp_path, here.log.size() - 3)
    here.scene.freeze()
    assert against(here.log, url).agrees  # the true log is longer
    seen = against(fork, url)
    assert not seen.agrees
    assert seen.note == fork.checkpoint()
    assert parse_note(seen.other_note).root != parse_note(seen.note).root


def test_a_copy_that_ends_earlier_does_not_agree(here: Witnessed, tmp_path: Path) -> None:
    old = SqliteLog(tmp_path / "old.db", MODEL)
    (tmp_path / "old.db").write_bytes(here.log.path.read_bytes())
    here.scene.freeze()
    here.ask(0)
    seen = against(old, here.servers[0].url)
    assert not seen.agrees and "entries more" in seen.shown


def test_a_file_is_compared(here: Witnessed, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.txt"
    path.write_text(here.log.checkpoint(), encoding="utf-8")
    here.scene.freeze()
    assert against(here.log, str(path)).agrees
    fork = forged(here, tmp_path, here.log.size() - 5)
    assert not against(fork, str(path)).agrees
    text = here.log.checkpoint()
    path.write_text(text.replace("countersign/support-desk", "countersign/other"), "utf-8")
    with pytest.raises(VerificationError):
        against(here.log, str(path))
    path.write_text(text[:-9] + "AAAAAAA=\n", encoding="utf-8")
    with pytest.raises(VerificationError):
        against(here.log, str(path))


def test_an_address_that_knows_nothing_of_it_is_told(here: Witnessed, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no witness"):
        against(here.log, here.servers[0].url)  # it has cosigned nothing yet
    with pytest.raises(OfflineError):
        against(here.log, "http://127.0.0.1:9")
    with pytest.raises(ConfigError):
        against(here.log, str(tmp_path / "missing.txt"))
    with pytest.raises(ConfigError):
        against(here.log, "http://ada:secret@127.0.0.1:9")


def test_the_commands_of_the_logs_side(
    here: Witnessed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked by hand, verified by the policy of the folder, and then by what this machine saw."""
    story = here.scene.story
    for name, value in story.machine.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COUNTERSIGN_PROJECT", MODEL)
    monkeypatch.chdir(story.root)
    here.offset[0] = time.time() - here.scene.now.timestamp()

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, words)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    monkeypatch.setattr("governance.commands.verify._registry", lambda *_: None)  # there is none
    code, shown = run("verify", "--no-files")
    assert code == 5 and "too few witnesses" in shown
    assert run("witness", "log")[1].startswith("countersign witness add countersign/support-desk/")
    code, shown = run("witness", "request")
    assert code == 0 and all(name in shown for name in NAMES)
    code, shown = run("verify", "--no-files")
    assert code == 0 and "has cosigned" in shown, shown
    assert run("verify", "--against", here.servers[0].url)[0] == 0
    assert run("verify", "--no-files", "--witness", str(here.rules.witnesses[0].verifier))[0] == 0
    other = str(vkey("other.example", stranger(76)))
    assert run("verify", "--no-files", "--witness", other)[0] == 5
    monkeypatch.chdir(tmp_path)  # no policies here: what was seen in force counts
    assert run("verify", "--no-files")[0] == 0
    with sqlite3.connect(here.log.path) as database:
        database.execute("DELETE FROM countersign_cosignature")
    code, shown = run("verify", "--no-files")
    assert code == 5 and "too few witnesses" in shown
    here.servers[0].shutdown()
    here.servers[0].server_close()
    assert run("witness", "request")[0] == 8
