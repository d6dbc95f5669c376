"""docs/people.md as it is written: every command of it, in its order, on the machine it says."""

from __future__ import annotations

import re
import shlex

import pytest

from governance.attest.predicates import Requester
from governance.history.state import state
from governance.log.port import Log
from governance.machine.machine import log_of, machine, open_log
from governance.people import policies
from governance.policy.policies import load_policies
from tests.conftest import ROOT
from tests.governance.governed import Governed, Table, keypair
from tests.governance.people.desk import Desk
from tests.governance.story import MODEL, Story, tell

PAGE = (ROOT / "docs" / "people.md").read_text(encoding="utf-8")
NAMES = ("ada", "ben", "cleo", "cleo2", "dora", "rita", "rob", "zoe", "finn", "ci", "server")


def blocks() -> list[tuple[str, list[str]]]:
    """Who, and the commands, of every block that says whose it is."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        lines = block.splitlines()
        if lines[0].startswith("# "):
            found.append(
                (
                    lines[0][2:].strip(),
                    [line for line in lines[1:] if line.startswith("countersign ")],
                )
            )
    return found


@pytest.mark.slow
def test_the_runbook_works_from_the_first_command_to_the_last(
    fresh: Desk,
) -> None:
    d = fresh
    root = d.scene.story.root
    for name in NAMES:
        (root / f"{name}.pub").write_text(keypair(name)[1])
    (yaml,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (root / "people.yaml").write_text(yaml)
    done = []
    for who, lines in blocks():
        for line in lines:
            if line == "countersign pending" and "review" not in " ".join(done):
                _work(d)  # the pipeline ran, in dora's name
            if line.endswith("propose") and line not in done:
                path = d.scene.story.root / "policies" / "policy.yaml"
                path.write_text(path.read_text().replace("max_days: 30", "max_days: 20"))
            if "waive" in line:
                d.scene.incident("1", "open")
            d.must(who, *shlex.split(_filled(d, line))[1:])
            done.append(line)
    authority = state(_log(d)).authority
    assert authority.in_force.signers == ("rita", "rob")
    assert {one.name for one in authority.policies.rules.principals} == {
        "ada",
        "cleo",
        "rita",
        "rob",
        "finn",
        "ci",
        "server",
    }
    assert len(authority.checkpoint_keys) == 2
    assert len(done) > 25


def _filled(d: Desk, line: str) -> str:
    """A command with its placeholders as a person would fill them in."""
    if "DIGEST" in line:
        authority = state(_log(d)).authority
        waiting = (
            authority.proposals[-1].digest if authority.proposals else authority.in_force.digest
        )
        line = line.replace("DIGEST", waiting[:12])
    if "KEYID" in line:
        line = line.replace("KEYID", policies.successors(state(_log(d)))[-1].keyid[:12])
    return line


def _log(d: Desk) -> Log:
    return log_of(machine(MODEL, {"COUNTERSIGN_HOME": str(d.folder / "home")}))


def _work(d: Desk) -> None:
    """What services record in the name of dora, up to a registered version."""
    root = d.scene.story.root
    environ = {
        "COUNTERSIGN_HOME": str(d.folder / "home"),
        "COUNTERSIGN_SIGNER": "env:CI_KEY",
        "CI_KEY": keypair("ci")[0].decode(),
    }
    here = machine(MODEL, environ)
    policies = load_policies(root / "policies")
    story = Story(root, here, policies, open_log(here, policies, lambda: d.scene.now))
    (said,) = state(story.log).evidence.all("authorization")
    story.asked = Requester(name="dora", authenticated=True, authorization=said.digest)
    tell(story)
    d.scene = Governed(story, Table())
