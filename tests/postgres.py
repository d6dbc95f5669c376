"""A PostgreSQL of the tests' own: started in a temporary folder on first use, gone with the
session.

Where no PostgreSQL is installed, or it does not start, tests that need one skip and say why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from tests.ports import free_port

USER, PASSWORD = "desk", "s3cret-pass/word"
_NUMBERS = count()


@dataclass
class Cluster:
    """A server and how to reach it."""

    programs: Path
    folder: Path
    port: int
    made: list[str] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def uri(self, database: str, user: str = USER, password: str = PASSWORD) -> str:
        return (
            f"postgresql://{user}:{password.replace('/', '%2F')}@127.0.0.1:{self.port}/{database}"
        )

    def database(self) -> str:
        """The address of a new, empty database."""
        import psycopg

        name = f"log{next(_NUMBERS)}"
        with psycopg.connect(self.uri("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.uri(name)

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.programs / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "PGPASSWORD": PASSWORD},
            **account(),
        )

    def start(self) -> str:
        """What prevents it, if anything."""
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c"
            f" unix_socket_directories={self.folder} "
        )
        options += "-c fsync=off -c autovacuum=off"  # which would come at a moment of its own
        log = str(self.folder / "log")
        done = self.run(
            "pg_ctl", "-D", str(self.data), "-l", log, "-w", "-t", "300", "-o", options, "start"
        )
        return (done.stderr or done.stdout)[-300:] if done.returncode else ""

    def stop(self, how: str = "fast") -> None:
        """`immediate`: as after a power cut."""
        self.run("pg_ctl", "-D", str(self.data), "-m", how, "-w", "-t", "300", "stop")


def programs() -> Path | None:
    """The folder of initdb and pg_ctl."""
    known = [Path(found).parent for name in ("initdb",) if (found := shutil.which(name))]
    known += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next(
        (
            folder
            for folder in known
            if (folder / "initdb").exists() and (folder / "pg_ctl").exists()
        ),
        None,
    )


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    pytest.importorskip("psycopg", reason="the extra `server` is not installed")
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL is installed here (initdb, pg_ctl)")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    here = Cluster(found, folder, free_port())
    try:
        if account():
            shutil.chown(folder, "nobody")
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        flags = [
            "-U",
            USER,
            "-A",
            "scram-sha-256",
            "--pwfile",
            str(folder / "password"),
            "-E",
            "UTF8",
            "--no-sync",
        ]
        done = here.run("initdb", "-D", str(here.data), *flags)
        if done.returncode:
            pytest.skip(f"PostgreSQL cannot be set up here: {done.stderr[-300:]}")
        if problem := here.start():
            pytest.skip(f"PostgreSQL does not start here: {problem}")
        yield here
    finally:
        here.stop("immediate")
        time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)


def account() -> dict[str, object]:
    """PostgreSQL refuses to run as root."""
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
