"""A project's own reward functions are known by their files, and run only when a stage trains."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from governance.base.errors import ConfigError, CountersignError, TrainingError
from pipelines.training import own_rewards, rewards
from pipelines.training.objective import Objective, ResolvedReward, texts

BRIEF = '''"""Short answers."""
LIMIT = 3


def brief(text, answer, most=LIMIT):
    return float(len(text.split()) <= most)
'''


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rewards").mkdir()
    return tmp_path


def write(name: str, text: str) -> str:
    """Writes a file of `rewards/` and returns its digest."""
    Path("rewards", f"{name}.py").write_text(text, encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def test_an_own_function_is_found_scored_and_known_by_its_file() -> None:
    digest = write("brief", BRIEF)
    assert rewards.names()[-1] == "brief" and not list(rewards.mistakes("brief", "params.yaml"))
    assert rewards.source_digest("brief") == digest and rewards.source_text("brief") == BRIEF
    score = rewards.for_trainer("brief", {"most": 2}, digest)
    assert score([], ["one two", "one two three"]) == [1.0, 0.0]


def test_a_constant_outside_the_function_is_part_of_its_identity() -> None:
    assert write("brief", BRIEF) != write("brief", BRIEF.replace("= 3", "= 4"))


def test_the_bytes_that_were_decided_on_run_or_none() -> None:
    digest = write("brief", BRIEF)
    write("brief", BRIEF.replace("float(", "2 * float("))
    with pytest.raises(TrainingError, match="changed during the run"):
        rewards.for_trainer("brief", {}, digest)


def test_an_own_file_does_not_replace_a_rule_of_ours() -> None:
    write("route_exact", "def route_exact(text, answer):\n    return 1.0\n")
    assert rewards.find("route_exact")("a", "b") == 0.0
    (mistake,) = rewards.mistakes("route_exact", "")
    assert "rewards/route_exact.py" in str(mistake)
    write("model", "def model(text, answer):\n    return 1.0\n")
    assert rewards.source_text("model") == "model"


MISTAKES = [
    # text, what is told
    ("def brief(text, answer:\n", "rewards/brief.py:1"),
    ("def other(text, answer):\n    return 1.0\n", "it defines other"),
    ("", "no function"),
    ("def brief(text):\n    return 1.0\n", "other parameters"),
    ("a\0b", "valid Python"),
]


@pytest.mark.parametrize(("text", "told"), MISTAKES)
def test_a_mistake_is_told_before_any_run(text: str, told: str) -> None:
    write("brief", text)
    (mistake,) = rewards.mistakes("brief", "params.yaml: stages.grpo.rewards[0].name")
    assert told in str(mistake)
    with pytest.raises(CountersignError):
        rewards.find("brief")


def test_looking_at_a_function_runs_nothing(project: Path) -> None:
    write("brief", f"{BRIEF}\nopen('ran', 'w').close()\n")
    assert not list(rewards.mistakes("brief", ""))
    rewards.source_digest("brief")
    assert not (project / "ran").exists()
    rewards.find("brief")
    assert (project / "ran").exists()


def test_a_file_that_fails_ends_the_training_without_its_message() -> None:
    write("brief", f"{BRIEF}\nraise KeyError('secret')\n")
    with pytest.raises(TrainingError, match="raised KeyError") as caught:
        rewards.find("brief")
    assert "secret" not in str(caught.value) and "rewards/brief.py" in str(caught.value)


@pytest.mark.parametrize("code", ["", "0", "3"])
def test_a_function_that_exits_does_not_end_the_training_as_done(code: str) -> None:
    write("brief", f"{BRIEF}\nraise SystemExit({code})\n")
    with pytest.raises(TrainingError, match="raised SystemExit"):
        rewards.find("brief")
    write("brief", f"def brief(text, answer):\n    raise SystemExit({code})\n")
    with pytest.raises(TrainingError, match="raised SystemExit"):
        rewards.for_trainer("brief", {})([], ["one"])


def test_a_signal_still_ends_the_training() -> None:
    write("brief", "def brief(text, answer):\n    raise SystemExit(143)\n")
    with pytest.raises(SystemExit):
        rewards.for_trainer("brief", {})([], ["one"])


def test_another_file_of_the_project_cannot_be_imported() -> None:
    write("helper", "def helper(text, answer):\n    return 1.0\n")
    write("brief", f"import helper\n{BRIEF}")
    with pytest.raises(TrainingError, match="ModuleNotFoundError"):
        rewards.find("brief")


def test_a_text_is_shown_under_its_own_digest_only() -> None:
    """The file is edited between the decision and the copy of its text for people."""
    decided = write("brief", BRIEF)
    reward = ResolvedReward(name="brief", weight=1.0, options={}, source=decided)
    found = Objective(method="grpo", seed=1, threads=1, lora=None, rewards=[reward], trainer={})
    edited = write("brief", f"{BRIEF}# edited\n")
    shown = texts(found)
    assert decided not in shown and edited in shown and found.digest in shown


def test_an_unknown_function_names_the_nearest() -> None:
    write("brief", BRIEF)
    with pytest.raises(ConfigError, match="did you mean 'brief'"):
        rewards.find("breif")
    assert own_rewards.names() == ["brief"]


def test_a_file_that_is_no_text_is_told() -> None:
    Path("rewards/brief.py").write_bytes(b"\xff\xfe")
    (mistake,) = rewards.mistakes("brief", "")
    assert "not UTF-8" in str(mistake)
