"""Searches every text of a dataset for personal data and treats it as `policies/pii.yaml` says: see
`pipelines.pii.scan`.
"""

from __future__ import annotations

from pipelines.families import StageFamily
from pipelines.job import Input, Job, Outcome, Output, data_outputs
from pipelines.params import Params
from pipelines.paths import RECORDS, ingested, scanned


def inputs(params: Params, key: str) -> list[Input]:
    """The records as ingested."""
    return [Input("records", ingested(key) / RECORDS)]


def outputs(params: Params, key: str) -> list[Output]:
    """The records, excluded.jsonl, report.json and report.md of `data/scanned/NAME`."""
    return data_outputs(scanned(key))


def run(job: Job) -> Outcome:
    """Scans, treats, writes, scans again and reports."""
    from pipelines.pii.scan import run as work  # imports pyarrow

    return work(job)


ENGINES = ("presidio-analyzer", "spacy", "phonenumbers", "regex", "tldextract", "pyarrow")
"""What finds personal data, and what reads the records."""
FAMILY = StageFamily(
    run=run,
    inputs=inputs,
    outputs=outputs,
    table="datasets",
    evidence="scan",
    engines=ENGINES,
)
