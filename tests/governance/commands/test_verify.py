"""`countersign verify`: for people, for scripts, and its exit codes."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME

from governance.base.errors import VerificationError
from governance.commands.bundle import command as bundle_command
from governance.commands.retrospect import live_command
from governance.commands.verify import verify_command
from governance.log import evidence
from governance.log.sqlite import SqliteLog
from governance.machine.machine import machine, open_log, signer
from governance.machine.signers import CHECKPOINT, stored_signer
from governance.policy.policies import load_policies
from pipelines.cli import main
from pipelines.commands import import_results, reproduce
from tests.conftest import ROOT
from tests.governance.examples import NOON, Scene, artifact, gate, ingest
from tests.governance.keys import checkpoint_of


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").write_text("project: desk\n")
    shutil.copytree(ROOT / "policies", root / "policies")
    return root


@pytest.fixture
def here(project: Path, own_home: Path) -> Scene:
    place = machine("desk", {"COUNTERSIGN_HOME": str(own_home)})
    log = open_log(place, load_policies(project / "policies"), lambda: NOON)
    made = Scene(place, log, signer(place))
    made.record("ingest", ingest(), artifact("records"))
    made.record("gate", gate(False), artifact("gate"))
    return made


def call(project: Path, *arguments: str) -> tuple[int, str]:
    """`countersign verify` in this process, with what its program prints and returns."""
    out = io.StringIO()
    before, argv = Path.cwd(), sys.argv
    os.chdir(project)
    sys.argv = ["countersign", "verify", *arguments]
    try:
        with redirect_stdout(out), redirect_stderr(out):
            main()
        return 0, out.getvalue()
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    finally:
        os.chdir(before)
        sys.argv = argv


def started(project: Path, *arguments: str) -> tuple[int, str]:
    """`countersign verify` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", "from pipelines.cli import main; main()", "verify", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return done.returncode, done.stdout + done.stderr


def as_json(project: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, text = call(project, "--json", *arguments)
    return code, json.loads(text)


def test_a_good_log_verifies_and_says_what_that_does_not_show(here: Scene, project: Path) -> None:
    code, text = call(project)
    assert code == 0, text
    assert (code, text) == started(project)
    assert text.startswith("EVIDENCE VERIFIES\n")
    assert "desk: 3 entries verified (1 gate, 1 ingest, 1 origin)" in text
    assert "development key, for `candidate` only" in text
    assert "root on this machine can rewrite the database and its keys" in text
    code, report = as_json(project)
    assert code == 0 and report["verified"] and report["log"]["entries"] == 3
    assert len(report["limits"]) == 3


def test_without_a_log_it_says_what_to_do(project: Path) -> None:
    code, text = call(project)
    assert code == 6 and "there is no log yet" in text and "COUNTERSIGN_LOG" in text


def test_the_first_broken_entry_is_named(here: Scene, project: Path) -> None:
    connection = sqlite3.connect(here.log.path)
    connection.execute("DROP TRIGGER countersign_entry_UPDATE")
    connection.execute("UPDATE countersign_entry SET envelope = x'00' WHERE idx = 1")
    connection.commit()
    code, text = call(project)
    assert code == 5 and text.startswith("EVIDENCE DOES NOT VERIFY: entry 1: ")
    code, report = as_json(project)
    assert (
        code == 5
        and not report["verified"]
        and report["log"]["broken"].startswith("entry 1: ")
        and report["files"] is None
    )


def test_a_changed_file_is_named(here: Scene, project: Path) -> None:
    (project / "gates").mkdir()
    (project / "gates" / "sft.json").write_text("{}")
    code, text = call(project)
    assert code == 5 and text.startswith(
        "FILES DO NOT MATCH THE EVIDENCE: gates/sft.json: no statement names this file"
    )
    assert as_json(project)[1]["files"]["mismatches"][0]["path"] == "gates/sft.json"
    code, text = call(project, "--no-files")
    assert code == 0 and text.startswith("EVIDENCE VERIFIES (files were not compared)")


def test_what_others_named_repaints_no_terminal(here: Scene, project: Path) -> None:
    """The name of a file, and of one that is not there: in what is found, and in an error."""
    (project / "gates").mkdir()
    (project / "gates" / "x\x1b[2J\u202e.json").write_text("{}")
    for code, text in (call(project), call(project, "--checkpoint", "none\x1b[2J\u202e")):
        assert code != 0 and "⟨U+001B⟩[2J⟨U+202E⟩" in text
        assert "\x1b" not in text and "\u202e" not in text


def test_a_checkpoint_kept_elsewhere_proves_growth(
    here: Scene, project: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "checkpoint.txt"
    assert call(project, "--write-checkpoint", str(kept))[0] == 0
    assert checkpoint_of(kept.read_text(), evidence.origin(here.log).checkpoint_key).size == 3
    here.record("gate", gate(True), artifact("gate"))
    code, text = call(project, "--checkpoint", str(kept))
    assert code == 0 and "contains the older checkpoint's 3 entries" in text
    kept.write_text(kept.read_text().replace("\n3\n", "\n4\n"))
    code, text = call(
        project, "--checkpoint", str(kept), "--write-checkpoint", str(tmp_path / "new.txt")
    )
    assert code == 5 and "the older checkpoint" in text
    assert not (tmp_path / "new.txt").exists()
    os.truncate(kept, 1 << 40)  # somebody else's file, and no more of it is read than tells
    code, text = call(project, "--checkpoint", str(kept))
    assert code == 5 and "too large to be a checkpoint" in text
    code, text = call(project, "--checkpoint", str(tmp_path / "none"))
    assert code == 2 and "cannot be read" in text


def test_on_another_machine_the_origin_has_to_be_given(here: Scene, project: Path) -> None:
    shutil.rmtree(here.machine.keys)
    code, text = call(project)
    assert code == 5 and text.startswith("INTERNALLY CONSISTENT, ORIGIN NOT ESTABLISHED")
    code, text = call(project, "--origin", here.log.entry(0).leaf_hash.hex())
    assert code == 0 and "established by the origin given" in text
    code, text = call(project, "--origin", "0" * 64)
    assert code == 5 and "the pinned origin" in text


def test_a_key_that_others_can_read_is_a_warning(here: Scene, project: Path) -> None:
    assert as_json(project)[1]["exposed_keys"] == []
    (here.machine.keys / "checkpoint.pem").chmod(0o644)
    code, text = call(project)
    assert code == 0 and "checkpoint.pem; next: chmod 600" in text


def test_the_page_about_evidence_names_options_and_files_that_exist() -> None:
    page = (ROOT / "docs" / "evidence.md").read_text()
    own = (verify_command, bundle_command, live_command)
    commands = (*own, reproduce.command, import_results.command)
    parameters = [parameter for one in commands for parameter in one.params]
    options = {
        name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)
    }
    options.add("--log-format")  # of inspect-ai
    assert set(re.findall(r"(?<=[ `])--[a-z-]+", page)) <= options
    assert all((ROOT / path).exists() for path in re.findall(r"`(governance/[\w./]+)`", page))
    schemes = set(re.findall(r"`([a-z]+):`", page))
    assert schemes and schemes <= set(SIGNER_FOR_URI_SCHEME)


def test_it_needs_neither_torch_nor_mlflow(here: Scene, project: Path) -> None:
    code = (
        "import sys, click\nfrom governance.commands.verify import verify_command\ncode = verify_command.main([],"
        " standalone_mode=False)\nheavy = {'torch', 'trl', 'mlflow', 'transformers', 'datasets',"
        " 'dvc', 'pyarrow', 'numpy'} & set(sys.modules)\nassert code == 0 and not heavy, (code,"
        " heavy)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def live_of(project: Path) -> int:
    """The exit code of `countersign live`."""
    before = Path.cwd()
    os.chdir(project)
    try:
        error = CliRunner().invoke(live_command, ["desk"]).exception
        assert isinstance(error, VerificationError) and "signed or verified" in str(error)
        return error.exit_code
    finally:
        os.chdir(before)


def test_a_log_restored_from_an_older_copy_is_found(
    here: Scene, project: Path, tmp_path: Path
) -> None:
    shutil.copy(here.log.path, tmp_path / "backup.db")
    here.record("gate", gate(True), artifact("gate"))
    assert call(project)[0] == 0
    shutil.copy(tmp_path / "backup.db", here.log.path)
    code, text = call(project)
    assert code == 5 and "the checkpoint this machine last signed or verified" in text
    assert "it counts 4 entries; expected: at most the 3 here" in text
    later = gate(True, at="2027-01-01T00:00:00Z")
    with pytest.raises(VerificationError, match="the log has 3 entries, fewer than the 4"):
        here.record("gate", later, artifact("gate"))
    assert live_of(project) == 5  # whoever only reads is told, too
    forgetful = SqliteLog(here.log.path, "desk", stored_signer(here.machine.keys, CHECKPOINT))
    evidence.record(forgetful, here.signer, "gate", [artifact("gate")], later)  # grown otherwise
    code, text = call(project)
    assert (
        code == 5
        and "the checkpoint this machine last signed or verified" in text
        and "older checkpoint was taken" in text
    )
    with pytest.raises(VerificationError, match="the log of 4 entries does not begin with the 4"):
        here.record("ingest", ingest("ingest@later"))
    (kept,) = (here.machine.state / "last_checkpoint").iterdir()
    kept.unlink()  # the loss is accepted, as docs/log.md says
    assert call(project)[0] == 0


def test_a_state_folder_that_is_moved_stays_usable(
    here: Scene, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(project)[0] == 0
    shutil.move(here.machine.home, tmp_path / "elsewhere")
    monkeypatch.setenv("COUNTERSIGN_HOME", str(tmp_path / "elsewhere"))
    assert call(project)[0] == 0
    place = machine("desk", {"COUNTERSIGN_HOME": str(tmp_path / "elsewhere")})
    log = open_log(place, load_policies(project / "policies"), lambda: NOON)
    assert evidence.record(log, signer(place), "gate", [artifact("gate")], gate(True)).index == 3
    assert call(project)[0] == 0


def test_what_this_machine_last_verified_must_be_readable(here: Scene, project: Path) -> None:
    assert call(project)[0] == 0
    (kept,) = (here.machine.state / "last_checkpoint").iterdir()
    assert kept.read_text() == here.log.checkpoint()
    kept.write_text("something else")
    code, text = call(project)
    assert (
        code == 5
        and "the checkpoint this machine last signed or verified" in text
        and "not a checkpoint" in text
    )


def test_a_checkpoint_is_not_written_over_by_a_log_that_does_not_hold_it(
    here: Scene, project: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "checkpoint.txt"
    assert call(project, "--write-checkpoint", str(kept))[0] == 0
    first = kept.read_text()
    shutil.copy(here.log.path, tmp_path / "before.db")
    here.record("gate", gate(True), artifact("gate"))
    assert call(project, "--write-checkpoint", str(kept))[0] == 0
    assert kept.read_text() == here.log.checkpoint() != first
    shutil.copy(tmp_path / "before.db", here.log.path)
    shutil.rmtree(here.machine.state / "last_checkpoint")
    code, text = call(project, "--write-checkpoint", str(kept))
    assert code == 5 and "which would be overwritten" in text and kept.read_text() != first
    (tmp_path / "notes.md").write_text("important")
    code, text = call(project, "--write-checkpoint", str(tmp_path / "notes.md"))
    assert (
        code == 2
        and "is not overwritten" in text
        and (tmp_path / "notes.md").read_text() == "important"
    )


def test_witnesses_may_add_their_lines(here: Scene, project: Path, tmp_path: Path) -> None:
    kept = tmp_path / "checkpoint.txt"
    assert call(project, "--write-checkpoint", str(kept))[0] == 0
    here.record("gate", gate(True), artifact("gate"))
    witness = (
        "\u2014 witness.example.org "
        + base64.b64encode(b"\x01\x02\x03\x04" + bytes(72)).decode()
        + "\n"
    )
    kept.write_text(kept.read_text() + witness)
    code, text = call(project, "--checkpoint", str(kept), "--write-checkpoint", str(kept))
    assert code == 0 and "contains the older checkpoint's 3 entries" in text
    assert (
        kept.read_text() == here.log.checkpoint()
    )  # the witness signed another root: its line goes
