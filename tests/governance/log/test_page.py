"""docs/log.md: backup and restore, performed as the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from governance.machine.machine import machine, open_log, signer
from governance.policy.policies import load_policies
from tests.conftest import ROOT
from tests.governance.examples import NOON, Scene, artifact, ingest
from tests.postgres import Cluster

PAGE = (ROOT / "docs" / "log.md").read_text(encoding="utf-8")
PROJECT = "support-desk"


def blocks(heading: str) -> list[tuple[str, str]]:
    """What is said of each block of a section, and its lines."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```sh ?([^\n]*)\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    shutil.copy(ROOT / "params.yaml", root)
    shutil.copytree(ROOT / "policies", root / "policies")
    return root


def shell(project: Path, text: str, **environ: str) -> tuple[int, str]:
    main = "#!/bin/sh\nexec python -c 'from pipelines.cli import main; main()' \"$@\"\n"
    programs = project.parent / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "countersign").write_text(main)
    (programs / "countersign").chmod(0o755)
    done = subprocess.run(
        ["bash", "-euc", text],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            **environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
    )
    return done.returncode, done.stdout + done.stderr


def grown(project: Path, home: Path, **environ: str) -> Scene:
    place = machine(PROJECT, {"COUNTERSIGN_HOME": str(home), **environ})
    log = open_log(place, load_policies(project / "policies"), lambda: NOON)
    made = Scene(place, log, signer(place))  # type: ignore[arg-type]
    for _ in range(2):
        made.record("ingest", ingest(f"ingest@d{log.size()}"), artifact("records"))
    return made


def performed(project: Path, heading: str, kind: str, **environ: str) -> None:
    """The blocks of a section that are about one kind of database, or about any."""
    for said, text in blocks(heading):
        about = (
            "postgresql"
            if "postgresql" in said
            else "sqlite"
            if "support-desk/countersign.db" in text
            else kind
        )
        if about == kind:
            expected = int(said.removeprefix("ends with ")) if said.startswith("ends with") else 0
            code, told = shell(project, text, **environ)
            assert code == expected, (text, told)
            if expected == 5:
                assert "the checkpoint this machine last signed or verified" in told


@pytest.mark.slow
def test_the_backup_and_restore_of_sqlite(project: Path, own_home: Path) -> None:
    place = grown(project, own_home)
    performed(project, "Backup", "sqlite")
    grown(project, own_home)
    assert place.log.size() == 5
    assert shell(project, "countersign verify --no-files")[0] == 0
    (place.machine.keys / "checkpoint.pem").unlink()
    performed(project, "Restore", "sqlite")
    assert place.log.size() == 3 and (place.machine.keys / "checkpoint.pem").exists()
    assert grown(project, own_home).log.size() == 5
    assert shell(project, "countersign verify --no-files")[0] == 0


@pytest.mark.slow
def test_the_backup_and_restore_of_postgresql(
    project: Path, own_home: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{cluster.programs}:{os.environ['PATH']}")
    address = {"COUNTERSIGN_LOG": cluster.database()}
    place = grown(project, own_home, **address)
    performed(project, "Backup", "postgresql", **address)
    grown(project, own_home, **address)
    assert place.log.size() == 5
    assert shell(project, "countersign verify --no-files", **address)[0] == 0
    performed(project, "Restore", "postgresql", **address)
    assert place.log.size() == 3
    assert grown(project, own_home, **address).log.size() == 5
    code, told = shell(project, "countersign verify --no-files", **address)
    assert code == 0, told
