"""`python -m tests.governance.auditing_page` runs the commands of docs/auditing.md and writes their
output below them.

Blocks that end with `...` keep their number of lines. Lines that differ only in digests are kept,
because keys and digests differ from run to run.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
from pathlib import Path

from click.testing import CliRunner

from pipelines.cli import cli
from tests.conftest import ROOT
from tests.governance.audited import audited

PAGE = ROOT / "docs" / "auditing.md"
COMPARED = ("show", "diff", "lineage", "trace", "live", "control", "verify-model")
"""Commands whose output is compared line by line; of the others, that they run."""
BLOCK = re.compile(r"```console\n\$ (.*?)\n```", re.DOTALL)


def masked(line: str) -> str:
    """The line without digests."""
    return re.sub(r"[0-9a-f]{12,}", "#", line)


def output(command: str) -> list[str]:
    """What a command prints; ends the program if it fails. `trace` ends with 3 where the record is
    in nothing that could be looked into.
    """
    done = CliRunner().invoke(cli, shlex.split(command)[1:])
    if done.exit_code not in (0, 3 if " trace " in command else 0):
        sys.exit(f"{command}: exit code {done.exit_code}\n{done.output}{done.exception}")
    return done.output.rstrip().splitlines()


def renewed(command: str, shown: list[str]) -> list[str]:
    """The lines to show below a command."""
    printed = output(command)
    if shown[-1:] == ["..."]:
        printed = [*printed[: len(shown) - 1], "..."]
    old = {masked(line): line for line in shown}
    return [old.get(masked(line), line) for line in printed]


def main() -> None:
    """Rewrites the page."""

    def block(match: re.Match[str]) -> str:
        command, *shown = match[1].splitlines()
        if shlex.split(command)[1] not in COMPARED:
            return match[0]
        return "\n".join([f"```console\n$ {command}", *renewed(command, shown), "```"])

    with tempfile.TemporaryDirectory() as folder:
        scene = audited(Path(folder))
        os.environ["COUNTERSIGN_HOME"] = str(Path(folder) / "home")
        os.chdir(scene.story.root)
        text = BLOCK.sub(block, PAGE.read_text(encoding="utf-8"))
        os.chdir(ROOT)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
