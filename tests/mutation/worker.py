"""Runs mutants in a copy of the project, one after the other: `python -m tests.mutation.worker`.

Reads one JSON object per line: the file, its changed text, and the tests in their order, each with
the seconds after which it is ended. Answers with one line: what killed the mutant, or nothing. Third
parties' packages are imported once; each mutant runs in a fork, which imports the core anew.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

PRELOADED = (
    "pytest", "hypothesis", "hypothesis.strategies", "hypothesis.stateful", "pydantic", "jinja2",
    "cryptography.x509", "cryptography.hazmat.primitives.serialization.ssh", "nacl.signing",
    "securesystemslib.signer", "ruamel.yaml", "yaml", "orjson", "rfc8785", "click", "packaging",
    "cryptography.hazmat.primitives.asymmetric.ed25519", "concurrent.futures", "multiprocessing",
    "http.server", "urllib.request", "sqlite3", "asyncio", "ssl", "email.message",
)  # fmt: skip
MEMORY = 6 << 30
"""Bytes that one mutant may use."""
REPORT = Path("mutant.report")
"""In the copy: the tests that began, and the one that failed."""


class Chosen:
    """A pytest plugin: only these tests, in this order, each within its time."""

    def __init__(self, limits: dict[str, float]) -> None:
        self.limits = limits
        REPORT.write_text("", encoding="utf-8")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Drops every other test."""
        by_name = {item.nodeid: item for item in items}
        items[:] = [by_name[name] for name in self.limits if name in by_name]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """SIGALRM ends the process, whatever it is doing."""
        signal.setitimer(signal.ITIMER_REAL, self.limits[nodeid])
        self._says(f"began {nodeid}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The first failure is the last test."""
        if report.failed:
            self._says(f"failed {report.nodeid}")

    def _says(self, line: str) -> None:
        with REPORT.open("a", encoding="utf-8") as stream:
            stream.write(line.replace("\n", " ") + "\n")


def killed_by(limits: dict[str, float]) -> str:
    """Runs the tests in a fork: the one that fails, or `time limit`, or nothing."""
    child = os.fork()
    if child == 0:
        _run(limits)
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:  # ended by a signal, too
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # it and what it started
    if status in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return ""
    lines = REPORT.read_text(encoding="utf-8").splitlines() if REPORT.exists() else []
    if status == -signal.SIGALRM:
        return "time limit"
    return lines[-1].split(" ", 1)[1] if lines else "the tests do not start"


def _run(limits: dict[str, float]) -> None:
    """Becomes pytest. Does not return."""
    code = 99
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        output = os.open("mutant.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        REPORT.unlink(missing_ok=True)
        files = dict.fromkeys(name.split("::")[0] for name in limits)
        options = ["-x", "-q", "--tb=short", "-W", "ignore", "-p", "no:xdist"]
        code = pytest.main([*options, *files], plugins=[Chosen(limits)])
    finally:
        os._exit(code)


def tried(order: dict[str, Any]) -> str:
    """Applies the change, runs each batch of tests until one fails, and takes the change back."""
    path = Path(order["file"])
    whole, times = path.read_bytes(), path.stat()
    try:
        path.write_text(order["text"], encoding="utf-8")
        changed = times.st_mtime_ns + 5_000_000_000  # byte code of the whole file is out of date
        os.utime(path, ns=(changed, changed))
        for batch in order["batches"]:
            if killer := killed_by(batch):
                return killer
        return ""
    finally:
        path.write_bytes(whole)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def main() -> None:
    """Answers until its input ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for name in PRELOADED:
        with suppress(ImportError):
            importlib.import_module(name)
    for line in sys.stdin:
        began = time.monotonic()
        killer = tried(json.loads(line))
        print(
            json.dumps({"killed": killer, "seconds": round(time.monotonic() - began, 1)}),
            flush=True,
        )


if __name__ == "__main__":
    main()
