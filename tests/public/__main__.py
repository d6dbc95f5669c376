"""`make repro-public DATA=FOLDER`: the project's graph with this folder's params.yaml and policies/, on public data.

Works in `build/public`, so that the checkout's own data and models stay as they are; run again, it goes on there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
OVERLAY = Path(__file__).parent
TRAIN_LINES = 7000
"""gsm8k's one file is cut here: what comes after is held out."""


def main(arguments: list[str]) -> int:
    """Prepares the working folder and runs the pipeline in it."""
    if len(arguments) not in (1, 2):
        sys.stderr.write("usage: make repro-public DATA=FOLDER (the folder with gsm8k/, hh_rlhf/ and pandalm/)\n")
        return 2
    data, work = Path(arguments[0]).resolve(), Path(arguments[1] if len(arguments) == 2 else ROOT / "build/public")
    missing = [name for name in ("gsm8k", "hh_rlhf", "pandalm") if not (data / name).is_dir()]
    if missing:
        sys.stderr.write(f"error: {data}: no {', '.join(missing)} there\n  next: make repro-public DATA=FOLDER\n")
        return 3
    prepare(data, work)
    return subprocess.run(["countersign", "repro"], cwd=work, check=False).returncode


def prepare(data: Path, work: Path) -> None:
    """Code, graph, overlay and data in `work`, as a repository of its own."""
    work.mkdir(parents=True, exist_ok=True)
    for name in ("pipelines", "policies"):
        shutil.rmtree(work / name, ignore_errors=True)
        shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("__pycache__", "datacards"))
    shutil.copytree(OVERLAY / "policies", work / "policies", dirs_exist_ok=True)
    shutil.copytree(ROOT / ".dvc", work / ".dvc", dirs_exist_ok=True, ignore=shutil.ignore_patterns("tmp", "cache"))
    for name in ("dvc.yaml", ".gitignore", ".dvcignore"):
        shutil.copy2(ROOT / name, work / name)
    shutil.copy2(OVERLAY / "params.yaml", work / "params.yaml")
    _sources(data, work / "data" / "source")
    if not (work / ".git").is_dir():
        _git(work, "init", "-q")
    _git(work, "add", "-A")
    _git(work, "-c", "user.name=public", "-c", "user.email=public@example.org", "commit", "-qm", "public data", "--allow-empty")


def _sources(data: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    lines = (data / "gsm8k/train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (target / "gsm8k_train.jsonl").write_text("".join(lines[:TRAIN_LINES]), encoding="utf-8")
    (target / "gsm8k_eval.jsonl").write_text("".join(lines[TRAIN_LINES:]), encoding="utf-8")
    pairs = (data / "hh_rlhf/harmless-base-test.part.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (target / "hh_train.jsonl").write_text("".join(pairs[:1000]), encoding="utf-8")
    (target / "hh_eval.jsonl").write_text("".join(pairs[1000:]), encoding="utf-8")
    shutil.copyfile(data / "pandalm/testset-v1.part.json", target / "pandalm.json")


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
