"""A small project of its own: real command line, real DVC, real MLflow, few records, few steps.

Two datasets, a base model from scratch and one stage upon it: `countersign repro` takes about a
minute. It stands in a folder of its own with the state folder beside it, so that tests may spoil,
kill and delete whatever they like.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from governance.attest import digests
from governance.history.verify import TrustAnchors, verify_log
from governance.log import evidence
from governance.log.evidence import Evidence
from governance.log.sqlite import SqliteLog
from governance.log.views import log_evidence
from governance.machine.machine import machine, own_checkpoint_key
from governance.policy.policies import load_policies
from pipelines import lock
from tests.kept import share
from tests.warm import warmed

if TYPE_CHECKING:
    import psutil

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PROJECT = "small"
PARAMS: dict[str, Any] = {
    "project": PROJECT,
    "records": {"key": "development", "key_id": "development"},
    "samples": {
        "desk_sft": {"part": "conversations", "n": 300, "seed": 12},
        "desk_eval": {"part": "prompts_held_out", "n": 60, "seed": 17},
    },
    "hub": {},
    "generate": {},
    "judges": {},
    "datasets": {
        "desk_sft": {
            "kind": "conversation",
            "source": "data/source/desk_sft.jsonl",
            "suite": "conversation",
            "held_out": "desk_eval",
        },
        "desk_eval": {
            "kind": "prompt",
            "source": "data/source/desk_eval.jsonl",
            "suite": "prompt",
            "held_out": "desk_eval",
            "splits": {"train": 0, "test": 1},
        },
    },
    "bases": {"tiny": {"source": "builtin:tiny", "suite": "desk_eval"}},
    "stages": {
        "base": {
            "method": "pretrain",
            "data": "desk_sft",
            "parent": "tiny",
            "scorer": "tiny",
            "suite": "desk_eval",
            "trainer": {"max_steps": 8, "per_device_train_batch_size": 4, "max_length": 64},
        },
        "sft": {
            "method": "sft",
            "data": "desk_sft",
            "parent": "base",
            "scorer": "base",
            "suite": "desk_eval",
            "lora": {"r": 4},
            "trainer": {"max_steps": 8, "per_device_train_batch_size": 4, "learning_rate": 1e-2},
        },
    },
    "suites": {
        "desk_eval": {
            "metrics": ["greedy_exact"],
            "generation": {"max_new_tokens": 4, "batch_size": 64},
        }
    },
    "evaluations": {},
    "tasks": {},
    "judged": {},
    "leak_probes": {},
    "releases": {"support-desk": {"stage": "sft"}},
}
"""The whole of params.yaml."""
IGNORED = "ignored_fields: {desk_eval: [product, team]}"

STAGES = [
    "sample@desk_eval",
    "sample@desk_sft",
    "ingest@desk_eval",
    "ingest@desk_sft",
    "scan_pii@desk_eval",
    "scan_pii@desk_sft",
    "check_quality@desk_eval",
    "suite@desk_eval",
    "check_quality@desk_sft",
    "import_base@tiny",
    "evaluate_base@tiny",
    "recheck",
    "gate@base",
    "train@base",
    "evaluate@base",
    "gate@sft",
    "train@sft",
    "evaluate@sft",
    "register@support-desk",
    "report@support-desk",
]
"""Every DVC stage of it, in the order DVC takes."""


PLACES = [
    ("experiments", "artifact_location"), ("runs", "artifact_uri"), ("model_versions", "source"),
    ("model_versions", "storage_location"),
]  # fmt: skip
"""Where MLflow's tables hold absolute paths."""


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    """stdout and stderr together."""


@dataclass(frozen=True)
class Project:
    """A project's folder and its state."""

    root: Path
    home: Path
    environ: dict[str, str] = field(default_factory=dict)
    """Set beside what every command gets."""

    def env(self, **more: str) -> dict[str, str]:
        """The environment of a command: nothing of the person's own but where programs are."""
        kept = {
            name: os.environ[name]
            for name in ("LANG", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH")
            if name in os.environ
        }
        share(self.home)
        return {
            **kept,
            "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", "")]),
            "HOME": str(self.home.parent),
            "COUNTERSIGN_HOME": str(self.home),
            "DVC_GLOBAL_CONFIG_DIR": str(self.home.parent / "dvc"),
            "DVC_SYSTEM_CONFIG_DIR": str(self.home.parent / "dvc"),
            "DVC_NO_ANALYTICS": "1",
            "COUNTERSIGN_WORKERS": "off",  # these commands start warm already
            **self.environ,
            **more,
        }

    def run(
        self, *command: str, timeout: float = 600, cwd: Path | None = None, **environ: str
    ) -> Done:
        """A command in the project's folder, nobody at the keyboard. Our own command line and DVC's
        start warm (`tests.warm`).
        """
        program, env = warmed(command[0], self.env(**environ))
        done = subprocess.run(
            [program, *command[1:]],
            cwd=cwd or self.root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        return Done(done.returncode, done.stdout)

    def countersign(self, *arguments: str, **environ: str) -> Done:
        """The command line."""
        return self.run("countersign", *arguments, **environ)

    def repro(self, *targets: str, **environ: str) -> Done:
        """`countersign repro`."""
        return self.countersign("repro", *targets, **environ)

    def made(self, *targets: str, **environ: str) -> str:
        """`countersign repro` that has to succeed; what it said."""
        done = self.repro(*targets, **environ)
        assert done.code == 0, done.out
        return done.out

    def start(self, *command: str, warm: bool, **environ: str) -> subprocess.Popen[bytes]:
        """A command in the background, in a process group of its own. Started warm, it is not the
        parent of what it starts.
        """
        program, env = command[0], self.env(**environ)
        if warm:
            program, env = warmed(program, env)
        log = (self.root.parent / "background.log").open("ab")
        with log:
            return subprocess.Popen(
                [program, *command[1:]],
                cwd=self.root,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def processes(self) -> list[psutil.Process]:
        """Processes that work in the project's folder."""
        import psutil  # tests of the core run without it

        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if Path(process.cwd()) == self.root and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def git(self, *arguments: str) -> None:
        """git, which has to succeed."""
        subprocess.run(["git", *arguments], cwd=self.root, check=True, env=self.env())

    def commit(self, message: str) -> None:
        """Commits everything."""
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def edit(self, file: str, change: Callable[[Any], None]) -> None:
        """Changes a YAML file of the project."""
        path = self.root / file
        content = YAML(typ="safe").load(path)
        change(content)
        write_yaml(path, content)

    def replace(self, file: str, old: str, new: str) -> None:
        """Replaces text that has to be there in a file of the project."""
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    @property
    def database(self) -> Path:
        """Log and registry."""
        return self.home / PROJECT / "countersign.db"

    @property
    def log(self) -> SqliteLog:
        """The log, for reading."""
        return SqliteLog(self.database, PROJECT)

    def evidence(self, kind: str | None = None) -> list[Evidence]:
        """Everything in the log, in order."""
        policies = load_policies(self.root / "policies")
        return list(log_evidence(self.log, evidence.key_ring(self.log, policies.keys)).all(kind))

    def said(self) -> list[tuple[str, str, bool]]:
        """What the log says, in its order: kind, stage, and whether it is a permission where it is
        a decision.
        """
        return [
            (
                item.kind,
                getattr(item.predicate, "stage", ""),
                getattr(item.predicate, "allowed", True),
            )
            for item in self.evidence()
        ]

    def versions(self) -> list[tuple[str, int, str]]:
        """Name, number and digest of every registered version."""
        query = (
            "SELECT name, version, value FROM model_versions JOIN model_version_tags USING (name,"
            " version) WHERE key = 'countersign.digest' ORDER BY name, version"
        )
        return self._rows(query)

    def outputs(self) -> dict[str, str]:
        """What the stages of models made, by digest."""
        names = ("models", "gates", "evaluations", "data/ready")
        return {name: digests.digest_of(self.root / name) for name in names}

    def runs(self) -> list[tuple[str, str]]:
        """Name and status of every MLflow run."""
        return self._rows("SELECT name, status FROM runs ORDER BY start_time")

    def _rows(self, query: str) -> list[Any]:
        if not self.database.exists():
            return []
        connection = sqlite3.connect(f"{self.database.as_uri()}?mode=rw", uri=True, timeout=30)
        try:
            made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone()
            return connection.execute(query).fetchall() if made else []
        finally:
            connection.close()

    def log_is_whole(self) -> bool:
        """Whether the log verifies from its first entry, whatever the files at hand are."""
        keys = load_policies(self.root / "policies").keys
        own = own_checkpoint_key(machine(PROJECT, self.env()))
        return verify_log(self.log, PROJECT, keys, TrustAnchors(checkpoint_key=own)).ok

    def copy(self, folder: Path) -> Project:
        """The same project elsewhere, with its log and registry."""
        other = Project(folder / "project", folder / "home", dict(self.environ))
        shutil.copytree(self.root, other.root, symlinks=True)
        if self.home.exists():
            shutil.copytree(self.home, other.home, symlinks=True)
            other._move_artifacts(self.home)
        return other

    def _move_artifacts(self, before: Path) -> None:
        """MLflow knows its files by absolute paths."""
        if not self._rows("SELECT 1"):
            return
        connection = sqlite3.connect(self.database)
        for table, column in PLACES:
            values = (str(before), str(self.home))
            connection.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", values)
        connection.commit()
        connection.close()


def write_yaml(path: Path, content: Any) -> None:
    """A YAML file with plain content."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.width = 1000
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)


def fresh(folder: Path) -> Project:
    """The small project, nothing made yet; committed, as `dvc exp run` needs it."""
    root = folder / "project"
    root.mkdir(parents=True)
    for name in ("dvc.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, root / name)
    no_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "pipelines", root / "pipelines", ignore=no_caches)
    shutil.copytree(ROOT / "rewards", root / "rewards", ignore=no_caches)
    shutil.copytree(ROOT / "policies", root / "policies", ignore=no_caches)
    (root / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, root / ".dvc" / name)
    write_yaml(root / "params.yaml", PARAMS)
    project = Project(root, folder / "home")
    project.edit("policies/evaluation.yaml", _demand_nothing)
    project.replace("policies/policy.yaml", "ignored_fields: {}", IGNORED)
    for card in (root / "policies" / "datacards").iterdir():
        if card.stem not in PARAMS["datasets"]:
            card.unlink()
    lock.write(root)
    project.git("init", "-q")
    project.git("config", "user.name", "Test")
    project.git("config", "user.email", "test@example.org")
    project.commit("small project")
    return project


def _demand_nothing(policy: Any) -> None:
    """A few steps of training show nothing."""
    any_answers = {"empty": 1, "truncated": 1, "repeated": 1, "common": 1, "content": -100}
    policy["behaviour"] = {**any_answers, "kl_of_tuned": 100}
    methods = policy["suites"]["desk_eval"]["methods"]
    methods["sft"] = {"none": "a few steps show nothing"}


STEPS = {"before-training": "gate@sft", "before-registering": "evaluate@sft", "whole": "report"}
"""Copies that are kept while the small project is made, and the last stage of each."""


def built(folder: Path, step: str = "whole") -> Project:
    """The small project after `countersign repro`, or up to a step, made once for all tests that
    share `folder`.
    """
    with one_at_a_time(folder):
        if not (folder / "complete").exists():
            for name in (*STEPS, "making"):
                shutil.rmtree(folder / name, ignore_errors=True)
            project = fresh(folder / "making")
            for name, stage in STEPS.items():
                project.made(stage)
                project.copy(folder / name)
            (folder / "complete").touch()
    return Project(folder / step / "project", folder / step / "home")


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Another process that enters with the same folder waits until this one has left."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after `countersign repro`, made once for all modules and workers: copy it to
    change it.
    """
    return built(session_folder(tmp_path_factory) / "small-project")


@pytest.fixture(scope="session")
def before_training(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project up to the gate of its second stage: copy it to change it."""
    return built(session_folder(tmp_path_factory) / "small-project", "before-training")


@pytest.fixture(scope="session")
def before_registering(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project with everything made and evaluated: copy it to change it."""
    return built(session_folder(tmp_path_factory) / "small-project", "before-registering")


def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of a test run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


def there(folder: Path, pattern: str) -> bool:
    """Whether a folder in which others write and delete has such a path at this moment."""
    with suppress(FileNotFoundError):
        return any(folder.glob(pattern))
    return False


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)
