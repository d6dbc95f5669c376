"""The findings of a scan with their texts, for somebody who has the data: to look at, and to draw a
random sample that a person judges.

The search is repeated on the ingested records with the policy of the scan; its cache makes that
cheap. Nothing here is written anywhere.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from governance.base.errors import InputError
from governance.base.yaml import read_text
from pipelines.paths import RECORDS, ingested, scanned
from pipelines.pii import allowances
from pipelines.pii.engine import Span
from pipelines.pii.scan import batches, significant
from pipelines.pii.search import Search
from pipelines.project import Project
from pipelines.shards import open_records
from pipelines.texts import texts

AROUND = 60
"""Characters that are shown on each side of a finding."""


Place = tuple[str, int, str]
"""File, 1-based row in it, and field."""


@dataclass(frozen=True)
class Shown:
    """One finding of a scan, with its text."""

    file: str
    row: int
    """1-based row in the source file."""
    field: str
    action: str
    """What policy does about it: block, drop, redact, allow."""
    text: str
    span: Span

    @property
    def entity(self) -> str:
        """The type of personal data."""
        return self.span.entity

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.file, self.row, self.field

    @property
    def before(self) -> str:
        """The text left of the finding."""
        return self.text[max(0, self.span.start - AROUND) : self.span.start]

    @property
    def found(self) -> str:
        """The finding itself."""
        return self.text[self.span.start : self.span.end]

    @property
    def after(self) -> str:
        """The text right of the finding."""
        return self.text[self.span.end : self.span.end + AROUND]


def findings(
    project: Project, dataset: str, search: Search, advance: Callable[[int], object]
) -> list[Shown]:
    """Every finding of the dataset's scan before treatment, in the order of the records. Raises
    `InputError` where the records are not here.
    """
    policy, kind = project.policies.pii, project.params.datasets[dataset].kind
    tables = open_records(project.root / ingested(dataset) / RECORDS).tables()
    shown, listed = list[Shown](), allowances.entries(policy)
    for batch in chain.from_iterable(batches(table, advance) for table in tables):
        rows = batch.select(["file", "row"]).to_pylist()
        places = list(texts(batch, kind))
        for place, found in zip(places, search.find([one.text for one in places]), strict=True):
            not_allowed, _ = allowances.split(place.text, found.spans, listed)
            for span in significant(not_allowed, policy):
                action, row = policy.entity(span.entity).action, rows[place.row]
                one = Shown(row["file"], row["row"], place.field, action, place.text, span)
                shown.append(one)
    return shown


def written(project: Project, dataset: str, shown: Sequence[Shown]) -> dict[Shown, str]:
    """Each of these findings to its text as the scan wrote it. Records that the scan left out have
    none.
    """
    path, kind = project.root / scanned(dataset) / RECORDS, project.params.datasets[dataset].kind
    if not path.is_dir():
        return {}
    wanted = {one.place for one in shown}
    found: dict[Place, str] = {}
    for table in open_records(path).tables():
        rows = table.select(["file", "row"]).to_pylist()
        for text in texts(table, kind):
            place = (str(rows[text.row]["file"]), int(rows[text.row]["row"]), text.field)
            if place in wanted:
                found[place] = text.text
    return {one: found[one.place] for one in shown if one.place in found}


def scan_report(project: Project, dataset: str) -> dict[str, Any]:
    """The report of the dataset's last scan here, passed or refused. Raises `InputError` where
    there is none, or where policy has changed since.
    """
    places = (scanned(dataset), Path("reports") / "scan_pii" / dataset)
    found = [path for place in places if (path := project.root / place / "report.json").is_file()]
    fix = f"countersign repro scan_pii@{dataset}, or dvc pull"
    if not found:
        raise InputError("no scan of this dataset is here", where=dataset, fix=fix)
    latest = max(found, key=lambda path: path.stat().st_mtime_ns)
    report: dict[str, Any] = json.loads(read_text(latest))
    if report.get("config") != project.policies.pii_digest:
        found_now = "policies/pii.yaml has changed since the scan"
        raise InputError(found_now, where=str(latest), fix=fix)
    return report


def draw(shown: Sequence[Shown], count: int, seed: int) -> list[Shown]:
    """A random sample, without repetition."""
    return random.Random(seed).sample(list(shown), min(count, len(shown)))  # noqa: S311 - no secret


def counted(shown: Sequence[Shown], answers: Sequence[tuple[Shown, bool]]) -> dict[str, Any]:
    """Type to the number of findings, and of those that were judged correct or a false alarm."""
    population = Counter(one.entity for one in shown)
    correct = Counter(one.entity for one, is_right in answers if is_right)
    wrong = Counter(one.entity for one, is_right in answers if not is_right)
    return {
        name: {"findings": count, "correct": correct[name], "false_alarm": wrong[name]}
        for name, count in sorted(population.items())
    }
