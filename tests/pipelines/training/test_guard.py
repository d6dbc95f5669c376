"""What a project's reward function may not ask for, and that it may do everything else."""

from __future__ import annotations

import builtins
import subprocess
import threading
from pathlib import Path

import pytest

from pipelines import boot
from pipelines.failures import StoppedError
from pipelines.training import guard, rewards
from tests.project import BIN, Done, Project

HELD_OUT = "what nobody may read"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rewards").mkdir()
    (tmp_path / "held_out.jsonl").write_text(HELD_OUT, encoding="utf-8")
    return tmp_path


def write(body: str, before: str = "") -> None:
    """rewards/mine.py, whose function has this body."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    text = f"{before}\n\ndef mine(text, answer):\n{lines}\n    return 1.0\n"
    Path("rewards", "mine.py").write_text(text, encoding="utf-8")


REFUSED = {
    "it opens a file": ("open('held_out.jsonl').read()", "a file"),
    "it reads a path": ("from pathlib import Path\nPath('held_out.jsonl').read_text()", "a file"),
    "it swallows the error": (
        "try:\n    open('held_out.jsonl').read()\nexcept BaseException:\n    pass", "a file"
    ),
    "it goes round by a link": (
        "import os\nos.open('rewards/../held_out.jsonl', os.O_RDONLY)", "a file"
    ),
    "it looks what is there": ("import os\nos.listdir('.')", "a file"),
    "it writes among the functions": ("open('rewards/found.txt', 'w')", "a file"),
    "it removes a file": ("import os\nos.remove('held_out.jsonl')", "a file"),
    "it opens a database": ("import sqlite3\nsqlite3.connect('held_out.jsonl')", "a file"),
    "it reads what lies beside it": ("open('rewards/weights.json').read()", "a file"),
    "it opens a connection": (
        "import socket\nsocket.create_connection(('127.0.0.1', 9), 0.1)", "network"
    ),
    "it asks for a name": ("import socket\nsocket.getaddrinfo('example.org', 80)", "network"),
    "it fetches a page": (
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9')", "network"
    ),
    "it starts a program": (
        "import subprocess\nsubprocess.run(['cat', 'held_out.jsonl'])", "another process or thread"
    ),
    "it calls a shell": ("import os\nos.system('true')", "another process or thread"),
    "it forks": ("import os\nos.fork() or os._exit(0)", "another process or thread"),
    "another thread reads": (
        "import threading\n"
        "thread = threading.Thread(target=lambda: open('held_out.jsonl').read())\n"
        "thread.start()\nthread.join()", "a file"
    ),
    "a thread's thread reads": (
        "import threading\n"
        "def read():\n    open('held_out.jsonl').read()\n"
        "def more():\n    inner = threading.Thread(target=read)\n    inner.start()\n"
        "    inner.join()\n"
        "thread = threading.Thread(target=more)\nthread.start()\nthread.join()", "a file"
    ),
    "it starts a thread below `threading`": (
        "import _thread\n_thread.start_new_thread(print, ())", "another process or thread"
    ),
    "a thread stays": (
        "import threading, time\n"
        "threading.Thread(target=lambda: time.sleep(0.5), daemon=True).start()",
        "another process or thread",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", REFUSED)
def test_a_function_that_asks_for_more_than_its_arguments_is_stopped(
    case: str, project: Path
) -> None:
    body, access = REFUSED[case]
    write(body)
    function = rewards.for_trainer("mine", {})
    with pytest.raises(StoppedError) as error:
        function([], ["an answer"])
    (reason,) = error.value.stopped.findings
    assert (reason.code, reason.subject, reason.found) == (
        "REWARD_REACHED_OUT", "reward mine", access,
    )  # fmt: skip
    assert HELD_OUT not in str(error.value) and error.value.exit_code == 9
    assert (project / "held_out.jsonl").read_text(encoding="utf-8") == HELD_OUT
    assert not (project / "rewards" / "found.txt").exists()


def test_the_file_itself_is_watched_while_it_runs() -> None:
    write("pass", before="KNOWN = open('held_out.jsonl').read()")
    with pytest.raises(StoppedError, match="asked for a file"):
        rewards.for_trainer("mine", {})


@pytest.mark.parametrize("module", ["pyarrow.parquet", "pandas", "ctypes"])
def test_modules_that_read_files_past_the_guard_are_refused_by_name(module: str) -> None:
    write(f"import {module}")
    (mistake,) = rewards.mistakes("mine", "params.yaml")
    assert f"it imports {module.partition('.')[0]}, which can read files" in mistake.found


PERMITTED = {
    "it imports late": "import difflib, fractions, colorsys, wave\nfractions.Fraction(1, 3)",
    "it warns": "import warnings\nwarnings.warn('this shows a line of the file')",
    "it uses an installed package": "import regex\nregex.match('a', 'b')",
    "it prints into nothing": "import contextlib, os\nprint('x', file=open(os.devnull, 'w'))",
    "it draws a number": "import os, random\nos.urandom(4), random.random()",
    "it waits for a thread": (
        "import threading\nthread = threading.Thread(target=sum, args=([1],))\n"
        "thread.start()\nthread.join()"
    ),
    "it says the time of a zone": "import zoneinfo\nzoneinfo.ZoneInfo('Europe/Berlin')",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", PERMITTED)
def test_what_a_function_needs_to_score_is_permitted(case: str) -> None:
    write(PERMITTED[case])
    assert rewards.for_trainer("mine", {})([], ["an answer"]) == [1.0]


def test_other_threads_of_the_process_and_what_comes_after_are_left_alone(project: Path) -> None:
    ready, go_on, read = threading.Event(), threading.Event(), list[str]()

    def another() -> None:
        ready.set()
        go_on.wait()
        read.append((project / "held_out.jsonl").read_text(encoding="utf-8"))

    thread = threading.Thread(target=another, daemon=True)
    thread.start()
    ready.wait()
    write("sum(range(1000))")
    function = rewards.for_trainer("mine", {})
    go_on.set()
    assert function([], ["an answer"] * 3) == [1.0] * 3
    thread.join()
    assert read == [HELD_OUT] == [(project / "held_out.jsonl").read_text(encoding="utf-8")]


def test_a_thread_that_another_thread_starts_meanwhile_is_no_ones_fault(
    monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    """As an exporter, a watcher or a logger of the process does: it reads, and it stays."""
    begun, over, read = threading.Event(), threading.Event(), list[str]()
    monkeypatch.setattr(builtins, "go_on_in_test", begun.set, raising=False)

    def reads() -> None:
        read.append((project / "held_out.jsonl").read_text(encoding="utf-8"))
        over.wait(10)

    def another() -> None:
        begun.wait(10)
        threading.Thread(target=reads, daemon=True).start()

    other = threading.Thread(target=another)
    other.start()
    write("import builtins, time\nbuiltins.go_on_in_test()\ntime.sleep(0.2)")
    try:
        assert rewards.for_trainer("mine", {})([], ["an answer"]) == [1.0]
    finally:
        begun.set()
        over.set()
        other.join()
    assert read == [HELD_OUT]


def test_what_is_imported_late_is_compiled_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the first run on a machine would refuse what the second one permits."""
    seen: list[bool] = []
    monkeypatch.setattr(builtins, "seen_by_test", seen, raising=False)
    write("import builtins, sys\nboot = sys.modules['pipelines.boot']\n"
          "builtins.seen_by_test.append(boot.keeps_compiled)")  # fmt: skip
    assert rewards.for_trainer("mine", {})([], ["an answer"]) == [1.0]
    assert seen == [False] and boot.keeps_compiled


def test_a_place_that_the_project_lies_in_opens_none_of_its_files(project: Path) -> None:
    inside, outside = project / "held_out.jsonl", project.parent / "library.py"
    assert not guard._may_read(str(inside), (str(project.parent),))
    assert guard._may_read(str(outside), (str(project.parent),))
    assert guard._may_read(str(inside), (str(inside),))


def test_the_name_of_a_class_is_no_way_out_for_what_a_function_was_given() -> None:
    write("raise type(text, (ValueError,), {})")
    with pytest.raises(StoppedError, match="'mine' raised ValueError") as error:
        rewards.for_trainer("mine", {})([], ["a secret"])
    assert "a secret" not in str(error.value.stopped)


def test_a_function_that_raises_is_a_recorded_failure() -> None:
    write("raise ValueError(text)")
    with pytest.raises(StoppedError, match="'mine' raised ValueError") as error:
        rewards.for_trainer("mine", {})([], ["a secret"])
    (reason,) = error.value.stopped.findings
    assert reason.code == "REWARD_FAILED" and "a secret" not in str(error.value)


# --- in a stage, as DVC starts it -----------------------------------------------------------------
LATE = """import difflib, sys, warnings
import regex
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    warnings.warn("a line of this file")
assert "pipelines.boot" in sys.modules and sys.flags.safe_path
"""


def stages(made: Project, body: str) -> Done:
    """The suite and the evaluation with this function, each in a process that starts cold."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    text = f"def mine(text, answer):\n{lines}\n    return 1.0\n"
    (made.root / "rewards" / "mine.py").write_text(text, encoding="utf-8")
    for stage in (("suite", "desk_eval"), ("evaluate", "sft")):
        command = [str(BIN / "countersign"), "stage", *stage]
        done = subprocess.run(
            command, cwd=made.root, env=made.env(), capture_output=True, text=True, check=False
        )
    return Done(done.returncode, done.stdout + done.stderr)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_stage_that_starts_cold_is_guarded_and_imports_late(
    before_registering: Project, tmp_path: Path
) -> None:
    made = before_registering.copy(tmp_path / "made")
    made.edit("params.yaml", lambda params: params["suites"]["desk_eval"].update(
        metrics=["greedy:mine"], limit=2
    ))  # fmt: skip
    done = stages(made, LATE)
    assert done.code == 0, done.out
    done = stages(made, "open('data/ready/desk_eval/records/manifest.json').read()")
    assert done.code == 9 and "asked for a file" in done.out, done.out
    failure = made.evidence("failure")[-1].predicate
    assert [reason.code for reason in failure.findings] == ["REWARD_REACHED_OUT"]
