"""docs/exports.md as it is written: every command gives what stands below it, every YAML is a
catalogue's.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from governance.exports.catalog import known_formats
from governance.policy.policies import load_policies
from governance.report.frameworks import EVIDENCE, Control, Framework, catalogue_of
from pipelines.cli import cli
from tests.conftest import ROOT
from tests.governance.story import Story

PAGE = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")


def examples() -> Iterator[tuple[str, list[str]]]:
    """Each command, and the lines that stand below it."""
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = example.splitlines()
            yield command, lines


def stands(expected: str, line: str) -> bool:
    """`...` stands for anything; sizes of files are not told on the page."""
    pattern = ".*".join(re.escape(part) for part in expected.split("..."))
    return re.fullmatch(pattern, re.sub(r" \(\d+ bytes\)$", "", line)) is not None


@pytest.mark.parametrize(
    ("command", "expected"), list(examples()), ids=[command for command, _ in examples()]
)
def test_a_command_gives_what_stands_below_it(
    shared: Story,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    expected: list[str],
) -> None:
    told = shared.copy(tmp_path)
    monkeypatch.chdir(told.root)
    monkeypatch.setenv("COUNTERSIGN_HOME", str(told.machine.home))
    done = CliRunner().invoke(cli, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    assert expected
    lines = iter(done.output.splitlines())
    for wanted in (line for line in expected if line != "..."):
        assert any(stands(wanted, line) for line in lines), f"{wanted!r} is not in:\n{done.output}"


def test_the_table_names_formats_that_exist() -> None:
    """`countersign export --list` is the full list, so that a new format needs no line here."""
    named = re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)
    assert named and set(named) <= set(known_formats())


def test_the_examples_of_policies_are_valid(tmp_path: Path) -> None:
    declared, own = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    value = YAML(typ="safe", pure=True).load(declared)
    Control.model_validate(
        {
            "id": "X 1",
            "note": "for a test",
            "evidence": list(EVIDENCE)[:1],
            "how_sure": "M",
            **value,
        }
    )
    framework = Framework.model_validate(YAML(typ="safe", pure=True).load(own))
    assert framework.every[0].id == "H-1"
    folder = Path(shutil.copytree(ROOT / "policies", tmp_path / "policies"))
    (folder / "controls" / "own.yaml").write_text(own, encoding="utf-8")
    assert catalogue_of(load_policies(folder)).find("H-1")[0].framework.framework == "HOUSE-RULES"
