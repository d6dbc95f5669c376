"""The sums since the proxy's start in Prometheus' text format, version 0.0.4
(https://prometheus.io/docs/instrumenting/exposition_formats/). docs/monitoring.md has the names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from governance.attest.predicates.monitoring import BOUNDS_MS
from governance.proxy.observing import Observer
from governance.proxy.permission import Held
from governance.proxy.tally import Counts

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "countersign_"
Sample = tuple[str, dict[str, str], float]
"""The end of its name, labels, value."""


def page(observer: Observer, served: Iterable[Held], entries: int, age: float) -> str:
    """The whole page. `entries`, `age`: of the log, as last read."""
    rows = [(_of(held), tally.frozen()) for held, tally in observer.sums.values()]
    families = [*_requests(rows), *_answers(rows), *_proxy(observer, served, entries, age)]
    return "".join(f"{line}\n" for family in families for line in _lines(*family))


Family = tuple[str, str, str, list[Sample]]
"""Name, kind, help, samples."""
Rows = list[tuple[dict[str, str], Counts]]


def _requests(rows: Rows) -> Iterator[Family]:
    samples: list[Sample] = [
        ("", {**labels, "end": end}, count)
        for labels, counts in rows
        for end, count in _ends(counts).items()
    ]
    yield "requests_total", "counter", "Requests that a version's server got, by end.", samples
    yield (
        "request_duration_seconds",
        "histogram",
        "From the request to the last byte of its answer.",
        [sample for labels, counts in rows for sample in _histogram(labels, counts)],
    )


def _ends(counts: Counts) -> dict[str, int]:
    answered = counts.requests - counts.errors - counts.left - counts.rejected
    return {
        "answered": answered,
        "rejected": counts.rejected,
        "failed": counts.errors,
        "left": counts.left,
    }


def _histogram(labels: dict[str, str], counts: Counts) -> Iterator[Sample]:
    bounds = [*(f"{bound / 1000:g}" for bound in BOUNDS_MS), "+Inf"]
    for bound, count in zip(bounds, accumulate(counts.latency), strict=True):
        yield "_bucket", {**labels, "le": bound}, count
    yield "_sum", labels, counts.latency_sum_ms / 1000
    yield "_count", labels, sum(counts.latency)


def _answers(rows: Rows) -> Iterator[Family]:
    tokens: list[Sample] = [
        ("", {**labels, "type": kind}, value)
        for labels, counts in rows
        for kind, value in (("input", counts.input), ("output", counts.output))
    ]
    yield "tokens_total", "counter", "Tokens, as the servers state them.", tokens
    read: list[Sample] = [("", labels, counts.read) for labels, counts in rows]
    yield "answers_read_total", "counter", "Answers whose content was read.", read
    refusals: list[Sample] = [("", labels, counts.refusals) for labels, counts in rows]
    yield "refusals_total", "counter", "Answers that the server marked as refused.", refusals
    characters: list[Sample] = [("", labels, counts.characters) for labels, counts in rows]
    yield "answer_characters_total", "counter", "Characters of the answers read.", characters
    yield from _searched(rows)
    ratings: list[Sample] = [
        ("", {**labels, "rating": rating}, value)
        for labels, counts in rows
        for rating, value in counts.feedback.model_dump().items()
    ]
    yield "feedback_total", "counter", "What users said.", ratings


def _searched(rows: Rows) -> Iterator[Family]:
    """Of the sample that is searched."""
    ends: list[Sample] = [
        ("", {**labels, "end": end}, count)
        for labels, counts in rows
        for end, count in (("searched", counts.searched.answers), ("left", counts.searched.left))
    ]
    yield "sample_answers_total", "counter", "Answers of the sample that is searched.", ends
    found: list[Sample] = [
        ("", {**labels, "entity": entity}, count)
        for labels, counts in rows
        for entity, count in counts.searched.entities.items()
    ]
    yield "sample_findings_total", "counter", "Findings of personal data in the sample.", found


def _proxy(
    observer: Observer, served: Iterable[Held], entries: int, age: float
) -> Iterator[Family]:
    refused: list[Sample] = [
        ("", {"code": code}, count) for code, count in sorted(observer.refused.items())
    ]
    yield "refused_total", "counter", "Requests that no version answered.", refused
    copies: list[Sample] = [("", {"end": end}, count) for end, count in observer.copies.items()]
    yield "copies_total", "counter", "Requests of shadow rollouts, copied or dropped.", copies
    held = [("", _of(each), 1.0) for each in served]
    yield "served", "gauge", "1 for each version that may be served now.", held
    yield "log_entries", "gauge", "Entries of the log, as last read.", [("", {}, entries)]
    yield "log_age_seconds", "gauge", "Since the log was last read.", [("", {}, round(age, 1))]


def _of(held: Held) -> dict[str, str]:
    return {"model": held.model, "version": held.version, "digest": held.digest}


def _lines(name: str, kind: str, about: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {PREFIX}{name} {about}"
    yield f"# TYPE {PREFIX}{name} {kind}"
    for end, labels, value in samples:
        pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{PREFIX}{name}{end}{f'{{{pairs}}}' if pairs else ''} {value:.15g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
