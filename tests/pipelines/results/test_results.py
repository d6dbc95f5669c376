"""Results of other tools: real files of both are read, and recorded with what they show; spoiled
ones are refused. `lm_eval.json` (its `pretty_env_info` emptied) and `inspect_ai.json` were written
by lm-eval 0.4.13 and inspect-ai 0.3.285 about a model of the default project.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from governance.attest.predicates import Results
from governance.base.errors import CountersignError
from governance.exports.formats.model_card import model_card
from governance.report.build import build
from governance.report.html import page
from governance.report.sections import text
from pipelines.commands.import_results import command
from pipelines.results.file import read
from tests.governance.exports.told import records_of
from tests.governance.governed import keypair
from tests.governance.story import MODEL, Story, told

HERE = Path(__file__).parent
LM_EVAL, INSPECT = HERE / "lm_eval.json", HERE / "inspect_ai.json"


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """One registered version; read only."""
    return told(tmp_path_factory.mktemp("story"))


@pytest.fixture
def story(registered: Story, tmp_path: Path) -> Story:
    return registered.copy(tmp_path)


def test_lm_eval() -> None:
    given = read(LM_EVAL)
    assert (given.tool, given.version, given.named) == ("lm-eval", "0.4.13", "model")
    choices, sums = given.tasks
    assert (choices.name, choices.version) == ("local_choices", "1.0")
    assert (choices.items, choices.of, choices.shots) == (4, 4, 0) and choices.digest
    accuracy = choices.metrics[0]
    assert (accuracy.name, accuracy.variant, accuracy.value) == ("acc", "none", 0.5)
    assert accuracy.stderr == pytest.approx(0.2887, abs=1e-4)
    assert [one.name for one in sums.metrics] == ["exact_match"]


def test_inspect_ai() -> None:
    given = read(INSPECT)
    assert (given.tool, given.named) == ("inspect-ai", "hf/local")
    (task,) = given.tasks
    assert (task.name, task.items, task.of) == ("local_sums", 4, 4)
    found = [(one.name, one.variant, one.value, one.stderr) for one in task.metrics]
    assert found == [("accuracy", "match", 0.0, 0.0), ("accuracy", "includes", 0.0, 0.0)]


def changed(source: Path, change: Callable[[Any], object]) -> bytes:
    content = json.loads(source.read_text())
    change(content)
    return json.dumps(content).encode()


def row(content: Any) -> Any:
    return content["results"]["local_choices"]


HALF = b'"acc,none": 0.5'
SPOILED: dict[str, bytes] = {
    "nothing": b"",
    "a zip": b"PK\x03\x04",
    "another file": b'{"results": {}}',
    "a list": b"[1]",
    "a name twice": b'{"lm_eval_version": "1", "lm_eval_version": "2"}',
    "nested": b"[" * 100_000,
    "not a number": LM_EVAL.read_bytes().replace(HALF, b'"acc,none": NaN'),
    "infinite": LM_EVAL.read_bytes().replace(HALF, b'"acc,none": 1e999'),
    "text for a number": changed(LM_EVAL, lambda c: row(c).update({"acc,none": "high"})),
    "no results": changed(LM_EVAL, lambda c: c.update(results={})),
    "results of nothing": changed(LM_EVAL, lambda c: c["results"].update(x={"alias": "x"})),
    "a task with markup": changed(LM_EVAL, lambda c: c["results"].update({"<b>": row(c)})),
    "a long name": changed(LM_EVAL, lambda c: c["results"].update({"a" * 200: row(c)})),
    "a date of no year": changed(LM_EVAL, lambda c: c.update(date=1e300)),
    "a date past the calendar": changed(LM_EVAL, lambda c: c.update(date=1e17)),
    "a time of no place": changed(
        INSPECT, lambda c: c["stats"].update(completed_at="2026-11-24T00:00:00")
    ),
    "a version of markup": changed(LM_EVAL, lambda c: c.update(lm_eval_version="<script>")),
    "a task that is a text": changed(LM_EVAL, lambda c: c["results"].update(x="y")),
    "too many tasks": changed(
        LM_EVAL, lambda c: c["results"].update({f"t{at}": row(c) for at in range(501)})
    ),
    "a failed run": changed(INSPECT, lambda c: c.update(status="error")),
    "an invalidated run": changed(INSPECT, lambda c: c.update(invalidated=True)),
    "a later format": changed(INSPECT, lambda c: c.update(version=3)),
    "no scores": changed(INSPECT, lambda c: c.update(results=None)),
}


def imported(
    story: Story, monkeypatch: pytest.MonkeyPatch, file: Path, *more: str
) -> tuple[int, Result]:
    """The exit code of the command, and its result."""
    monkeypatch.chdir(story.root)
    monkeypatch.setenv("COUNTERSIGN_HOME", str(story.machine.home))
    done = CliRunner().invoke(command, [str(file), "--model", f"{MODEL}/1", *more])
    error = done.exception
    return (error.exit_code if isinstance(error, CountersignError) else done.exit_code), done


@pytest.mark.parametrize("what", SPOILED)
def test_a_spoiled_file_is_refused(
    what: str, registered: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(SPOILED[what])
    code, done = imported(
        registered, monkeypatch, path, "--digest", registered.models["sft"], "--dry-run"
    )
    assert code == 3, (code, done.output, done.exception)


def test_results_are_recorded_and_shown_and_change_no_decision(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = build(story.sources, MODEL, "1")
    folder = ("--folder", str(story.root / "models/sft/model"))
    code, done = imported(story, monkeypatch, LM_EVAL, *folder, "--json")
    assert code == 0, (done.output, done.exception)
    assert imported(story, monkeypatch, LM_EVAL, *folder)[0] == 0
    (statement,) = story.view.all(Results)  # the same twice is one entry
    said = statement.predicate
    assert (said.model_digest, said.digest_from) == (story.models["sft"], "folder")
    assert json.loads(done.output)["entry"] == statement.index
    made = build(story.sources, MODEL, "1")
    (shown,) = made.outside
    assert shown.evidence == [statement.index]
    assert shown.words.startswith("separately run; imported under the key that trained it")
    assert made.verdict.word == before.verdict.word and made.metrics == before.metrics
    assert [gate.result for gate in made.gates] == [gate.result for gate in before.gates]
    drawn = page(made).decode()
    assert "local_choices" in drawn and shown.words in drawn
    assert any("local_choices" in line for line in text(made, "evaluation"))
    assert "0.289" in model_card(records_of(story))


def test_the_model_must_be_the_registered_one(
    story: Story, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text("{}")
    digest = story.models["sft"]
    for more, expected in (
        (["--folder", str(other)], 3),
        (["--folder", str(tmp_path / "none")], 3),
        (["--digest", "0" * 64], 3),
        ([], 2),
        (["--folder", str(other), "--digest", digest], 2),
        (["--digest", digest, "--dry-run"], 0),
    ):
        code, done = imported(story, monkeypatch, LM_EVAL, *more)
        assert code == expected, (more, done.output, done.exception)
    assert not story.view.all(Results)


def test_a_key_without_the_right_is_told(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_SIGNER", "env:KEY")
    monkeypatch.setenv("KEY", keypair("stranger")[0].decode())
    code, done = imported(story, monkeypatch, LM_EVAL, "--digest", story.models["sft"])
    assert code == 2 and not story.view.all(Results), (done.output, done.exception)
