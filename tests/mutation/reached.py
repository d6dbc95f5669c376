"""A pytest plugin: which functions of the core each test reaches, and how long it takes.

Loaded by `python -m tests.mutation` for the run without a change: `pytest -p tests.mutation.reached`.
Each pytest process writes one JSON file into the folder that $MUTATION_REACHED names. What the set-up
of a shared fixture reaches counts for every test that uses the fixture.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

FOLDER = "MUTATION_REACHED"
ROOT = f"{Path(__file__).parent.parent.parent}/"


class Reached:
    """What ran since the last test began."""

    def __init__(self) -> None:
        self.codes: set[CodeType] = set()
        self.by_fixture: dict[Any, set[CodeType]] = {}
        self.tests: dict[str, dict[str, Any]] = {}
        self.failed: set[str] = set()
        self.passed: set[str] = set()

    def start(self) -> None:
        """Sees every call from here on, in every thread."""
        threading.settrace(self._seen)
        sys.settrace(self._seen)

    def _seen(self, frame: FrameType, event: str, argument: object) -> None:
        self.codes.add(frame.f_code)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
        """Remembers what the set-up of a shared fixture reaches."""
        before, self.codes = self.codes, set()
        self.start()
        yield
        if fixturedef.scope != "function":
            self.by_fixture[fixturedef] = set(self.codes)
        self.codes |= before

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Remembers what one test reaches."""
        self.codes, began = set(), time.monotonic()
        self.start()
        yield
        sys.settrace(None)
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            for definition in definitions:
                self.codes |= self.by_fixture.get(definition, set())
        places = {
            f"{code.co_filename.removeprefix(ROOT)}:{code.co_firstlineno}"
            for code in self.codes
            if code.co_filename.startswith(f"{ROOT}governance/")
        }
        seconds = time.monotonic() - began
        self.tests[item.nodeid] = {"seconds": round(seconds, 2), "places": sorted(places)}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Only tests that pass without a change can kill."""
        if report.failed:
            self.failed.add(report.nodeid)
        elif report.when == "call" and report.passed:
            self.passed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Writes what this process saw."""
        usable = self.passed - self.failed
        found = {
            "tests": {name: seen for name, seen in self.tests.items() if name in usable},
            "failed": sorted(self.failed),
        }
        path = Path(os.environ[FOLDER]) / f"{os.getpid()}.json"
        path.write_text(json.dumps(found), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Registers the plugin where tests run: not in the process that hands them out."""
    hands_out = config.getoption("numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ
    if FOLDER in os.environ and not hands_out:
        config.pluginmanager.register(Reached())
