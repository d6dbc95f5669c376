"""`make repro-public DATA=FOLDER`: the project's graph with this folder's params.yaml and
policies/, on public data.

The project it makes stands in `build/public/project`, its log and registry in `build/public/state`
(unless COUNTERSIGN_HOME says otherwise), so that the checkout's own data, models and log stay as
they are. Run again, it goes on there and does nothing but decide its gates anew.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines import lock

ROOT = Path(__file__).parent.parent.parent
OVERLAY = Path(__file__).parent
COUNTERSIGN = Path(sys.executable).parent / "countersign"
SETS = ("gsm8k", "hh_rlhf", "pandalm")


@dataclass(frozen=True)
class Size:
    """How much is done; the whole by default."""

    gsm8k: int = 7000
    """Lines of its one file that train; those after them are held out."""
    gsm8k_eval: int = 473
    hh: int = 1000
    """Likewise."""
    hh_eval: int = 168
    max_steps: int | None = None
    """No stage trains for more steps than this."""


WHOLE = Size()


def main(arguments: list[str]) -> int:
    """Prepares the project, runs the pipeline in it, and says where things are."""
    if len(arguments) not in (1, 2):
        sys.stderr.write(
            "usage: make repro-public DATA=FOLDER (the folder with gsm8k/, hh_rlhf/ and pandalm/)\n"
        )
        return 2
    data, build = (
        Path(arguments[0]).resolve(),
        Path(arguments[1] if len(arguments) == 2 else ROOT / "build/public"),
    )
    missing = [name for name in SETS if not (data / name).is_dir()]
    if missing:
        sys.stderr.write(
            f"error: {data}: no {', '.join(missing)} there\n  next: make repro-public DATA=FOLDER\n"
        )
        return 3
    project = build.resolve() / "project"
    prepare(data, project)
    environ = environment(build.resolve(), os.environ)
    code = subprocess.run([COUNTERSIGN, "repro"], cwd=project, env=environ, check=False).returncode
    pages = sorted((project / "reports").glob("*.html"))
    told = [f"report: {page}" for page in pages]
    told += [
        f"look around: cd {project} && COUNTERSIGN_HOME={environ['COUNTERSIGN_HOME']} countersign"
        " status"
    ]
    sys.stdout.write("\n".join([*told, ""]))
    return code


def environment(build: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` with a state folder of the trial's own."""
    return {"COUNTERSIGN_HOME": str(build / "state"), **environ}


def prepare(data: Path, project: Path, size: Size = WHOLE) -> None:
    """Code, graph, overlay and data in `project`, committed as a repository of its own."""
    project.mkdir(parents=True, exist_ok=True)
    for name in ("pipelines", "policies", "rewards"):
        shutil.rmtree(project / name, ignore_errors=True)
        shutil.copytree(
            ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "datacards")
        )
    shutil.copytree(OVERLAY / "policies", project / "policies", dirs_exist_ok=True)
    (project / ".dvc").mkdir(exist_ok=True)
    for name in ("dvc.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copyfile(ROOT / name, project / name)
    params = (OVERLAY / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(_capped(params, size.max_steps), encoding="utf-8")
    lock.write(project)
    _sources(data, project / "data" / "source", size)
    _commit(project)


def _capped(params: str, most: int | None) -> str:
    if most is None:
        return params
    return re.sub(
        r"max_steps: (\d+)", lambda found: f"max_steps: {min(int(found[1]), most)}", params
    )


def _sources(data: Path, target: Path, size: Size) -> None:
    target.mkdir(parents=True, exist_ok=True)
    _cut(data / "gsm8k/train.jsonl", target, "gsm8k", size.gsm8k, size.gsm8k_eval)
    _cut(data / "hh_rlhf/harmless-base-test.part.jsonl", target, "hh", size.hh, size.hh_eval)
    shutil.copyfile(data / "pandalm/testset-v1.part.json", target / "pandalm.json")


def _cut(source: Path, target: Path, name: str, train: int, held_out: int) -> None:
    """The first lines to NAME.jsonl, those that follow to NAME_eval.jsonl."""
    lines = source.read_bytes().split(b"\n")
    (target / f"{name}.jsonl").write_bytes(b"\n".join([*lines[:train], b""]))
    (target / f"{name}_eval.jsonl").write_bytes(b"\n".join([*lines[train : train + held_out], b""]))


def _commit(project: Path) -> None:
    """One commit, and no other while nothing changes: the commit stands in every statement."""
    if not (project / ".git").is_dir():
        _git(project, "init", "-q")
    _git(project, "add", "-A", "--", ".", ":(exclude)dvc.lock")
    changed = subprocess.run(
        ["git", "diff", "--cached", "--quiet"], cwd=project, check=False
    ).returncode
    if changed:
        _git(
            project,
            "-c",
            "user.name=public",
            "-c",
            "user.email=public@example.org",
            "commit",
            "-qm",
            "public data",
        )


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
