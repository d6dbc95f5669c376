"""`make demo` tells its story to the end; every command in it ends as it says."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

CHAPTERS = [
    "Three people and a service",
    "A candidate",
    "Promotion, refused",
    "Two people look at it",
    "Promotion",
    "Somebody with root",
    "A new version",
    "Around it, by the server's own interface",
    "Version 2 is released, and taken back",
    "What anybody can check afterwards",
]
SAID = [
    r"ben signed the policies as policy-owner",
    r"APPROVAL_MISSING model support-desk",
    r"exit code 4",
    r"support-desk/1 is now champion \(promote",
    r"SAME RESULT",
    r"model.safetensors: content changed",
    r"EVIDENCE DOES NOT VERIFY: entry 9",
    r"HTTP 403\n\s+Countersign refuses: support-desk/2 as champion refused",
    r"support-desk/1 is now champion, replacing version 2 \(rollback",
    r"EVIDENCE VERIFIES",
    r"open it in a browser:\s+\S+/reports/demo.html",
]


@pytest.mark.long
@pytest.mark.nightly
def test_the_story_is_told_to_its_end() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=1700,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.findall(r"^\d+\. (.*?)  \(\d+ s\)$", done.stdout, re.MULTILINE) == CHAPTERS
    at = 0
    for pattern in SAID:  # in this order
        found = re.compile(pattern.replace(" ", r"\s+")).search(done.stdout, at)  # lines wrap
        assert found is not None, f"{pattern}\n{done.stdout[-3000:]}"
        at = found.end()
    assert "Traceback" not in done.stdout + done.stderr
