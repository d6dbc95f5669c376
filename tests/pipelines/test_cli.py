"""The table of commands: every command that reports has `--json`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from pipelines.cli import COMMANDS, cli
from tests.conftest import ROOT

WITHOUT = {
    "repro": "its output is DVC's; `plan --json` and `status --json` tell the same before and after",
    "label page": "it runs until it is stopped",
    "serve": "it runs until it is stopped",
    "server": "it runs until it is stopped",
    "stage": "DVC runs it; its results are files and statements",
    "witness serve": "it runs until it is stopped",
}
"""Command to the reason why it has no `--json`."""


def commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """A command, or those below it."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    if command.invoke_without_command:
        yield name, command
    for below, member in command.commands.items():
        yield from commands(f"{name} {below}", member)


def test_every_command_that_reports_has_json() -> None:
    without = set()
    for name in COMMANDS:
        found = cli.get_command(click.Context(cli), name)
        assert found is not None
        for path, command in commands(name, found):
            options = {option for parameter in command.params for option in parameter.opts}
            if "--json" not in options:
                without.add(path)
    assert without == set(WITHOUT)


def test_the_graph_as_json_names_what_each_stage_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(cli, ["graph", "--json", "train@sft"])
    stages = json.loads(done.output)
    assert "gate@sft" in stages["train@sft"] and "train@dpo" not in stages
