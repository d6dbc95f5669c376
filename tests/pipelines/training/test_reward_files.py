"""A project's own reward functions are known by their files, and run only when a stage trains."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from governance.base.errors import ConfigError, CountersignError, TrainingError
from pipelines.training import reward_files, rewards
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


@pytest.mark.parametrize(
    "line",
    [
        "import helper",
        "from helper import helper",
        "from rewards import helper",
        "import rewards.helper",
        "from . import helper",
        "from .helper import helper",
    ],
)
def test_an_import_of_another_file_of_the_project_is_refused(line: str) -> None:
    write("helper", "def helper(text, answer):\n    return 1.0\n")
    write("brief", f"{line}\n{BRIEF}")
    (mistake,) = rewards.mistakes("brief", "")
    assert "a file of this project" in str(mistake) and "rewards/brief.py:1" in str(mistake)
    with pytest.raises(ConfigError):
        rewards.find("brief")


DECLARED = """PURPOSE = "short answers"
RANGE = (-1, None)
BLIND_SPOTS = ["an empty answer is the best"]
COUNTER_METRICS = ["greedy_exact"]
"""


def test_what_a_file_declares_is_read_without_running_it() -> None:
    write("brief", f"{DECLARED}{BRIEF}\nraise KeyError\n")
    declared = rewards.declaration("brief")
    assert (declared.purpose, declared.range) == ("short answers", (-1.0, None))
    assert declared.blind_spots == ["an empty answer is the best"]
    assert declared.counter_metrics == ["greedy_exact"] and declared.bounds == "at least -1"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("RANGE = (0, 10 * 2)", "RANGE is computed"),
        ("RANGE = (1, 0)", "RANGE cannot be read"),
        ("RANGE = (0,)", "RANGE cannot be read"),
        ("PURPOSE = 7", "PURPOSE cannot be read"),
        ("BLIND_SPOTS = 'none'", "BLIND_SPOTS cannot be read"),
    ],
)
def test_a_declaration_that_cannot_be_read_is_told(line: str, told: str) -> None:
    write("brief", f"{line}\n{BRIEF}")
    (mistake,) = rewards.mistakes("brief", "")
    assert told in str(mistake)


@pytest.mark.parametrize(
    ("score", "is_inside"), [("0", True), ("1", True), ("1.01", False), ("-0.5", False)]
)
def test_a_score_outside_the_declared_range_ends_the_training(score: str, is_inside: bool) -> None:
    write("brief", f"RANGE = (0, 1)\n\ndef brief(text, answer):\n    return {score}\n")
    function = rewards.for_trainer("brief", {})
    if is_inside:
        assert function([], ["one"]) == [float(score)]
        return
    with pytest.raises(TrainingError, match="0 to 1, as its RANGE declares") as caught:
        function([], ["one"])
    assert f"gave {score}" in str(caught.value) and "rewards/brief.py" in str(caught.value)


# --- TRL's signature ------------------------------------------------------------------------------

LENGTHS = "def plain(completions, **kwargs):\n    return [float(len(c[0]['content'])) for c in completions]\n"
TALK = [
    [{"role": "assistant", "content": "abc"}],
    [{"role": "assistant", "content": "<think>x</think>a"}],
]


def test_a_function_of_trls_signature_gets_what_trl_gives() -> None:
    write("plain", LENGTHS)
    assert not list(rewards.mistakes("plain", ""))
    assert rewards.for_trainer("plain", {})([], TALK, answer=["1", "2"]) == [3.0, 17.0]


def test_it_gets_the_columns_and_options_that_it_names() -> None:
    write(
        "plain",
        "def plain(prompts, completions, tests, most):\n    return [float(t == p and most == 3) for t, p in zip(tests, prompts)]\n",
    )
    function = rewards.for_trainer("plain", {"most": 3})
    assert function(["a", "b"], ["x", "y"], tests=["a", "c"], answer=[1, 2], other=[0, 0]) == [
        1.0,
        0.0,
    ]


def test_none_is_no_score() -> None:
    write("plain", "def plain(completions, **kwargs):\n    return [None, 1]\n")
    assert rewards.for_trainer("plain", {})([], ["a", "b"]) == [None, 1]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("[1.0]", "gave 1 scores for 2 answers"),
        ("[1.0, 'a']", "gave a str"),
        ("[1.0, float('nan')]", "gave nan"),
        ("[1.0, float('inf')]", "gave inf"),
        ("None", "raised TypeError"),
    ],
)
def test_what_is_no_list_of_scores_ends_the_training(value: str, told: str) -> None:
    write("plain", f"def plain(completions, **kwargs):\n    return {value}\n")
    with pytest.raises(TrainingError, match=told):
        rewards.for_trainer("plain", {})([], ["a", "b"])


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
    assert reward_files.own() == ["brief"]


def test_a_file_that_is_no_text_is_told() -> None:
    Path("rewards/brief.py").write_bytes(b"\xff\xfe")
    (mistake,) = rewards.mistakes("brief", "")
    assert "not UTF-8" in str(mistake)
