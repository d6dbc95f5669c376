"""Where each stage's files stand, relative to the project; dvc.yaml says the same (a test compares
them).
"""

from __future__ import annotations

from pathlib import Path


def sample(dataset: str) -> Path:
    """A seeded sample dataset."""
    return Path("data/source") / f"{dataset}.jsonl"


def fetched(dataset: str) -> Path:
    """A dataset that was downloaded."""
    return Path("data/source") / f"{dataset}.parquet"


def ingested(dataset: str) -> Path:
    """As read and normalised: records.parquet, slices.jsonl, excluded.jsonl, report.json,
    report.md.
    """
    return Path("data/ingested") / dataset


def scanned(dataset: str) -> Path:
    """The same, but for the slices, after the PII scan."""
    return Path("data/scanned") / dataset


def ready(dataset: str) -> Path:
    """The same four files after the quality gate; what trains."""
    return Path("data/ready") / dataset


def model(name: str) -> Path:
    """A stage's or base's folder: `model/` (what is released), for LoRA `adapter/`, and
    `training.json`.
    """
    return Path("models") / name


def evaluation(name: str) -> Path:
    """scores.jsonl (per item) and metrics.json (means, for `dvc metrics`)."""
    return Path("evaluations") / name


def curves(stage: str) -> Path:
    """Training signals by step, for `dvc plots`."""
    return Path("reports/curves") / f"{stage}.csv"


def gate(stage: str) -> Path:
    """The gate's decision and the digests decided on, nothing that changes with time."""
    return Path("gates") / f"{stage}.json"


def gate_report(stage: str) -> Path:
    """The gate's findings for people, not a DVC output."""
    return Path("reports/gates") / f"{stage}.md"
