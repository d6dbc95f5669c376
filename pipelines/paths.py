"""The paths of each stage's files, relative to the project. dvc.yaml has the same paths; a test
compares them.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

RECORDS = "records"
"""The folder of shards in the folder of each data stage (`pipelines.shards`)."""
PII = Path("policies/pii.yaml")
"""How personal data is searched for."""
HELD_OUT = Path("data/held_out")
"""What is compared with every training dataset: a small file for each suite and task."""
RECHECKED = Path("reports/recheck")
"""What the stage `recheck` finds at each run."""


def sample(dataset: str) -> Path:
    """A seeded sample dataset, or one that a `generate` stage writes."""
    return Path("data/source") / f"{dataset}.jsonl"


def fetched(dataset: str) -> Path:
    """A dataset that was downloaded."""
    return Path("data/source") / f"{dataset}.parquet"


def ingested(dataset: str) -> Path:
    """After ingest: the folder `RECORDS`, slices.jsonl, excluded.jsonl, report.json, report.md."""
    return Path("data/ingested") / dataset


def scanned(dataset: str) -> Path:
    """After the PII scan: the same without the slices."""
    return Path("data/scanned") / dataset


def ready(dataset: str) -> Path:
    """After the quality gate: the same four. Training reads them."""
    return Path("data/ready") / dataset


def suite(name: str) -> Path:
    """The reward functions that score a suite, with the sha256 of their files."""
    return Path("data/suites") / f"{name}.json"


def held_out_suite(name: str) -> Path:
    """The digest of a suite's records, for what is compared with them."""
    return HELD_OUT / "suites" / f"{name}.json"


def held_out_task(row: str) -> Path:
    """The digest of a task's folder, by row of `tasks`."""
    return HELD_OUT / "tasks" / f"{row}.json"


def task(name: str) -> Path:
    """A task of lm-evaluation-harness: its file, and its data."""
    return Path("tasks") / name


def constitution(name: str) -> Path:
    """The principles by which data is generated."""
    return Path("policies/constitutions") / f"{name}.yaml"


def model(name: str) -> Path:
    """A stage's or base's folder: `model/` (what is released), for LoRA `adapter/`, and
    `training.json`.
    """
    return Path("models") / name


def evaluation(name: str) -> Path:
    """scores.jsonl (per item), metrics.json (means, for `dvc metrics`) and answers.jsonl."""
    return Path("evaluations") / name


def further_evaluation(model: str, row: str) -> Path:
    """The same of a row of `evaluations`, in the folder of its model. Whatever reads that folder
    comes after the row.
    """
    return evaluation(model) / row


def judge(name: str) -> Path:
    """card.json, what was measured of a judge, and decisions.jsonl, by record."""
    return Path("judges") / name


def curves(stage: str) -> Path:
    """Training signals by step, for `dvc plots`."""
    return Path("reports/curves") / f"{stage}.csv"


def gate(stage: str) -> Path:
    """The gate's decision and the digests it decided on; nothing that changes with time."""
    return Path("gates") / f"{stage}.json"


def rechecked(stage: str) -> Path:
    """What speaks against the gate of a stage now."""
    return RECHECKED / f"{stage}.json"


def registered(model: str) -> Path:
    """What `register` did with a released model."""
    return Path("reports/register") / f"{model}.json"


def gate_report(stage: str) -> Path:
    """The gate's findings for people. It is not a DVC output."""
    return Path("reports/gates") / f"{stage}.md"


def is_inside(name: str) -> bool:
    """Whether a name that came from outside is of a file below the folder it is meant for."""
    path = PurePosixPath(name)
    odd = path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name
    return not odd and path.as_posix() == name
