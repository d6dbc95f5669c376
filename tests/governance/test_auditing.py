"""docs/auditing.md is true: each command of it is run on the log it speaks of; sections are the
report's own JSON.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from governance.attest.findings import finding
from governance.commands import sources
from governance.report import index, sections
from governance.report.build import build
from pipelines.cli import cli
from tests.governance.auditing_page import BLOCK, COMPARED, PAGE, masked
from tests.governance.bundles import pin
from tests.governance.governed import Governed
from tests.governance.many import many
from tests.governance.story import MODEL, altered

TEXT = PAGE.read_text(encoding="utf-8")
THEN = "2026-11-21T00:00:00Z"


@pytest.fixture
def scene(whole: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Governed:
    """A copy, in whose folder commands are run."""
    return entered(whole.copy(tmp_path), tmp_path, monkeypatch)


def entered(made: Governed, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Governed:
    monkeypatch.chdir(made.story.root)
    monkeypatch.setenv("COUNTERSIGN_HOME", str(folder / "home"))
    return made


@pytest.fixture(scope="module")
def full_report(whole: Governed, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `report --json` says, once for all sections."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        entered(whole.copy(folder), folder, patch)
        return json.loads(run("report", f"{MODEL}/2", "--json", "--at", THEN).output)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def examples() -> Iterator[tuple[str, list[str]]]:
    """Every command of the page, with the output that the page shows."""
    for block in BLOCK.findall(TEXT):
        command, *output = block.splitlines()
        yield command, output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "shown"), list(examples()), ids=[command for command, _ in examples()]
)
def test_the_page_shows_what_comes_out(scene: Governed, command: str, shown: list[str]) -> None:
    name, *arguments = shlex.split(command)[1:]
    done = run(name, *arguments)
    assert done.exit_code == (3 if name == "trace" else 0), done.output  # nothing has the record
    if name in COMPARED:
        found = [masked(line) for line in done.output.rstrip().splitlines()]
        expected = [masked(line) for line in shown]
        if expected[-1] == "...":
            assert len(found) >= len(expected)
            found, expected = found[: len(expected) - 1], expected[:-1]
        assert found == expected, "run `python -m tests.governance.auditing_page`"


def test_the_page_answers_all_twenty() -> None:
    assert [int(number) for number in re.findall(r"^\*\*(\d+)\. ", TEXT, re.MULTILINE)] == list(
        range(1, 21)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", sections.SECTIONS)
def test_a_section_as_json_is_the_reports_own(scene: Governed, full_report: Any, name: str) -> None:
    part = json.loads(run("show", f"{MODEL}/2", name, "--json", "--at", THEN).output)
    fields = sections.SECTIONS[name].fields.split()
    assert {field: part[field] for field in fields} == {
        field: full_report[field] for field in fields
    }
    assert part["section"] == name and part["verdict"] == full_report["verdict"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sections.SECTIONS)
def test_no_section_is_empty(scene: Governed, name: str) -> None:
    """A version about which nobody spoke, too: "none", "not run" and "not recorded" are said."""
    for version in ("1", "2"):
        lines = run("show", f"{MODEL}/{version}", name, "--at", THEN).output.rstrip().splitlines()
        assert len(lines) > 1 and all(line.strip() for line in lines)


def test_what_does_not_verify_exits_with_5_and_says_nothing_else(scene: Governed) -> None:
    altered(scene.story.log, 20)
    for arguments in (
        ("report", f"{MODEL}/2"),
        ("show", f"{MODEL}/2", "people"),
        ("report", "--all"),
    ):
        done = run(*arguments)
        assert (
            done.exit_code == 5
            and "EVIDENCE DOES NOT VERIFY" in done.output
            and "entry 20" in done.output
        )
        assert "approved" not in done.output
    for command in ("live", "history", "explain", "diff", "trace", "control"):
        asked = {
            "live": [MODEL],
            "history": [MODEL],
            "diff": [f"{MODEL}/1", f"{MODEL}/2"],
            "trace": ["0" * 12],
        }
        done = run(command, *asked.get(command, [f"{MODEL}/2"]))
        assert "EVIDENCE DOES NOT VERIFY: entry 20" in str(done.exception) and not done.output, (
            command
        )


def test_a_registry_that_says_otherwise_exits_with_5(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = finding(
        "REGISTRY_ALIAS_MOVED",
        f"{MODEL}@champion",
        "moved",
        expected="version 2",
        found="version 1",
    )
    monkeypatch.setattr(sources, "differing", lambda *_: [moved])
    for arguments in (("report", f"{MODEL}/2"), ("show", f"{MODEL}/2")):
        done = run(*arguments)
        assert done.exit_code == 5 and "Alias moved without a decision" in done.output
    assert run("report", "--all").exit_code == 5
    assert "The registry is not what the log says" in Path("reports/index.html").read_text(
        encoding="utf-8"
    )
    assert run("show", f"{MODEL}/2", "--at", THEN).exit_code == 0  # of the past it says nothing


def test_a_bundle_answers_without_a_log(
    scene: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "v2.bundle"
    assert run("bundle", f"{MODEL}/2", "-o", str(bundle)).exit_code == 0
    here = run("show", f"{MODEL}/2", "decisions", "--at", THEN).output
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTERSIGN_HOME", str(tmp_path / "nowhere"))
    found = CliRunner().invoke(
        cli, ["show", f"{MODEL}/2", "decisions", "--at", THEN, "--bundle", str(bundle)]
    )
    assert found.exit_code == 0
    assert found.stdout == here


@pytest.mark.slow
def test_a_stranger_answers_all_twenty_from_a_bundle_alone(
    scene: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No log, no project, no registry, no network: one file, and a digest known by another way."""
    bundle, model = tmp_path / "v2.bundle", scene.story.root / "models/sft/model"
    assert run("bundle", f"{MODEL}/2", "-o", str(bundle)).exit_code == 0
    known = ("--bundle", str(bundle), "--origin", pin(scene.story.log))
    (tmp_path / "laptop").mkdir()
    monkeypatch.chdir(tmp_path / "laptop")
    monkeypatch.setenv("COUNTERSIGN_HOME", str(tmp_path / "nowhere"))
    assert run("verify", str(bundle), *known[2:]).exit_code == run("verify", *known).exit_code == 0
    assert "two bundles" in str(run("verify", str(bundle), *known).exception)
    asked = [shlex.split(command)[1:] for command, _ in examples()]
    for words in asked:
        words = [str(model) if word == "models/sft/model" else word for word in words]
        if words[0] == "rollback":
            continue  # whether it would be allowed now, the log says; the way, `show ... back` does
        done = CliRunner().invoke(cli, [*words, *known])
        found = 3 if words[0] == "trace" else 0  # nothing here has the record
        assert done.exit_code == found, (words, done.output, done.exception)
        assert done.stdout.strip()
    assert {words[0] for words in asked} >= {
        "live",
        "show",
        "verify-model",
        "lineage",
        "trace",
        "diff",
        "control",
    }
    model.joinpath("config.json").write_text('{"another": 1}')
    assert (
        CliRunner()
        .invoke(cli, ["verify-model", str(model), "--against", f"{MODEL}/2", *known])
        .exit_code
        == 5
    )


def test_the_index_names_what_is_live_what_ends_and_what_waits(scene: Governed) -> None:
    served = scene.story.models["sft"]
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base")
    scene.story.register("sft", "3")
    scene.approve("ada", "ml-lead", scene.freeze("3"))
    assert run("report", f"{MODEL}/2").exit_code == 0
    done = run("report", "--all", "--at", "2026-11-21T00:00:00Z")
    assert done.exit_code == 0 and "3 versions, 1 live, 1 ending, 1 waiting" in done.output
    made = json.loads(Path("reports/index.json").read_bytes())
    live = made["versions"][1]
    assert [hold["alias"] for hold in live["holds"]] == ["champion"]
    assert live["approved_by"] == ["ada (ml-lead)", "ben (risk)"]
    assert [(one["version"], one["state"], one["to"], one["page"]) for one in made["versions"]] == [
        ("3", "waits for approval", None, None),
        ("2", "live", None, f"{MODEL}-2.html"),
        ("1", "superseded", "2", None),
    ]
    assert made["ending"][0]["owner"] == "risk"
    assert made["ending"][0]["due"].startswith("2026-12-04") and not made["ending"][0]["overdue"]
    assert made["waiting"][0]["what"] == "1 of 2 approvals"
    late = run("report", "--all", "--at", "2026-12-24T00:00:00Z", "--json")
    assert [one["overdue"] for one in json.loads(late.output)["ending"]] == [True]
    assert json.loads(late.output)["versions"][1]["exceptions"][0]["ended"]
    assert late.exit_code == 4
    scene.story.models["sft"] = served
    scene.incident("2", "open", reason="again")
    assert run("report", "--all").exit_code == 4


def test_usage_is_told(scene: Governed) -> None:
    for arguments, told in (
        (("show", "support-desk"), "names no version"),
        (("show", f"{MODEL}/2", "nonsense"), "is no section"),
        (("show", f"{MODEL}/2", "--at", "2026-11-21T00:00:00"), "is no time"),
        (("show", f"{MODEL}/9"), "has no version"),
        (("trace", "not-hex"), "not a record id"),
        (("report", f"{MODEL}/2", "--all"), "give one of"),
    ):
        done = run(*arguments)
        assert done.exit_code != 0 and told in str(done.exception), arguments


@pytest.mark.slow
def test_many_versions_are_told(tmp_path: Path) -> None:
    """How long it takes, `benchmarks.reporting` says."""
    scene = many(tmp_path, 40)
    sources = scene.story.sources
    made = index.index(sources.read[0], sources.verified, scene.now)
    assert len(index.page(made)) > 10_000 and len(made.versions) == 40
    assert build(sources, MODEL, "1").verdict.word == "PENDING"
