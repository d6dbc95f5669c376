"""Ingest as a function, without the harness: for tests of one source."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from governance.base.progress import Progress
from governance.policy.data import IngestPolicy
from governance.policy.policies import Policies
from pipelines.job import Job
from pipelines.params import Dataset, RecordKey, load_params
from pipelines.stages import ingest
from tests.conftest import ROOT

DROP = IngestPolicy(malformed="drop", max_share=0.05)


def dataset(kind: str, **more: Any) -> Dataset:
    return Dataset(kind=cast(Any, kind), source="source", suite="s", held_out="d", **more)


def job(
    folder: Path,
    source: Path,
    row: Dataset,
    policy: IngestPolicy = DROP,
    records: RecordKey | None = None,
) -> Job:
    params = load_params(ROOT).model_copy(
        update={"datasets": {"d": row}, "records": records or RecordKey()}
    )
    outputs = {one.role: folder / one.path for one in ingest.outputs(params, "d")}
    outputs["records"].parent.mkdir(parents=True, exist_ok=True)
    return Job(
        name="ingest@d",
        key="d",
        root=folder,
        params=params,
        policies=cast(Policies, SimpleNamespace(rules=SimpleNamespace(ingest=policy))),
        machine=cast(Any, None),
        inputs={},
        input_paths={"source": source},
        output_paths=outputs,
        scratch=folder,
        now=lambda: datetime(2030, 1, 1, tzinfo=UTC),
        progress=Progress(io.StringIO()),
        open_evidence=cast(Any, None),
    )


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path
