"""What the PII scan finds of labelled personal data: the tables of docs/pii.md.

    python -m benchmarks.pii_recall ../shared/data

Found: a finding of that entity overlaps the label. Covered: nine tenths of the label's letters and
digits are in findings that policy does not allow to stay, whatever their entity: this is what
redaction removes. Precision: findings that overlap a label of that entity, among its findings; not
every set labels everything that is in it.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from governance.base.yaml import load_model
from governance.policy.data import PiiPolicy
from pipelines.pii.engine import PlainEngine, Span
from pipelines.pii.search import Search

ENTITY = {
    "PERSON_NAME": "PERSON",
    "SOCIAL_SECURITY_NUMBER": "US_SSN",
    "BANK_ACCOUNT_NUMBER": "US_BANK_NUMBER",
    "TIMESTAMP": "DATE_TIME",
    "DOMAIN_NAME": "URL",
    "ADDRESS": "STREET_ADDRESS",
    "ORGANIZATION_NAME": "ORGANIZATION",
    "person": "PERSON",
    "PER": "PERSON",
    "location": "LOCATION",
    "LOC": "LOCATION",
    "ORG": "ORGANIZATION",
}
"""Label of a set to the entity it is compared with; its own name where it is not listed."""


NOT_PERSONAL = frozenset(
    {"TITLE", "PREFIX", "JOB_TITLE", "HEALTH_CONDITION", "MEDICATION_NAME", "MISC"}
    | {"product", "corporation", "group", "creative-work"}
)
"""Labels that are ignored: a scan for identifiers does not search for them."""


COVERED = 0.9
"""The share of a label that must be removed for it to count as covered. A country code may stay."""


@dataclass(frozen=True)
class Label:
    """One labelled piece of personal data."""

    start: int
    end: int
    entity: str


@dataclass
class Figures:
    """One set's counts by entity."""

    labels: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    covered: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)

    def add(
        self, text: str, labels: list[Label], spans: tuple[Span, ...], policy: PiiPolicy
    ) -> None:
        """Counts one text."""
        removed: set[int] = set()
        for one in spans:
            if policy.entity(one.entity).action != "allow":
                removed.update(range(one.start, one.end))
        for label in labels:
            self.labels[label.entity] += 1
            self.found[label.entity] += any(
                one.entity == label.entity and _overlap(one, label) for one in spans
            )
            plain = [at in removed for at in range(label.start, label.end) if text[at].isalnum()]
            self.covered[label.entity] += sum(plain) >= COVERED * len(plain)
        for one in spans:
            self.findings[one.entity] += 1
            self.right[one.entity] += any(
                one.entity == label.entity and _overlap(one, label) for label in labels
            )

    def table(self) -> str:
        """Markdown, entities with most labels first."""
        lines = ["| entity | labels | found | covered | precision |", "|---|---:|---:|---:|---:|"]
        for entity, count in self.labels.most_common():
            findings = self.findings[entity]
            precision = f"{self.right[entity] / findings:.2f}" if findings else "-"
            found, covered = self.found[entity] / count, self.covered[entity] / count
            lines.append(f"| {entity} | {count} | {found:.2f} | {covered:.2f} | {precision} |")
        return "\n".join(lines)


def _overlap(one: Span, label: Label) -> bool:
    return one.start < label.end and label.start < one.end


def labelled(data: Path) -> Iterator[tuple[str, str, list[Label]]]:
    """(set, text, labels) of every labelled set that is there."""
    for path in sorted((data / "presidio_research").glob("*.json")):
        for row in json.loads(path.read_text(encoding="utf-8")):
            spans = [
                (one["start_position"], one["end_position"], one["entity_type"])
                for one in row["spans"]
            ]
            yield "presidio_research", row["full_text"], _labels(spans)
    for name, pattern in (
        ("pii_anon", "pii_anon/*.jsonl"),
        ("ner_real", "ner_real/*/*.spans.jsonl"),
    ):
        for path in sorted(data.glob(pattern)):
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                spans = [(one["start"], one["end"], one["entity_type"]) for one in row["spans"]]
                yield name, row["text"], _labels(spans)


def _labels(spans: list[tuple[int, int, str]]) -> list[Label]:
    named = [Label(start, end, ENTITY.get(name, name)) for start, end, name in spans]
    return [label for label in named if label.entity not in NOT_PERSONAL]


def measure(data: Path, policy: PiiPolicy) -> dict[str, Figures]:
    """Set to figures."""
    sets: dict[str, list[tuple[str, list[Label]]]] = defaultdict(list)
    for name, text, labels in labelled(data):
        sets[name].append((text, labels))
    figures = {name: Figures() for name in sets}
    with Search(PlainEngine(policy, Path.cwd()), None, b"") as search:
        for name, rows in sets.items():
            for (text, labels), found in zip(
                rows, search.find([text for text, _ in rows]), strict=True
            ):
                figures[name].add(text, labels, found.spans, policy)
    return figures


def tables(data: Path, policy: PiiPolicy) -> str:
    """Markdown, one table per set."""
    return "\n\n".join(
        f"### {name}\n\n{figures.table()}" for name, figures in measure(data, policy).items()
    )


def main() -> None:
    """Prints one table per set."""
    data = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data")
    policy = load_model(Path("policies/pii.yaml"), PiiPolicy)
    print(tables(data, policy))


if __name__ == "__main__":
    main()
