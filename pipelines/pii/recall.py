"""Measures recall: plants made-up values in a dataset's own texts and searches for them with the
same engine.

1. The surroundings are the dataset's own: up to `NEAR` characters on both sides, from records
   spread evenly over it. A dataset without text uses the shipped sentences alone.
2. A value is found if the engine names its entity for at least `COVERED` of its letters and digits.
   A text that could not be searched completely counts as not found.
3. The result describes the engine on values of these shapes in this dataset, and no more. Planted
   values are written nowhere.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import pyarrow as pa

from governance.attest.predicates import Planted, Recall
from governance.policy.data import PiiPolicy
from pipelines.pii import seeds as made_up
from pipelines.pii.engine import Span
from pipelines.pii.search import Search
from pipelines.pii.seeds import Seed
from pipelines.shards import ROW_GROUP
from pipelines.texts import texts

NEAR = 150
"""Characters of the dataset's own text kept on each side of a planted value."""

ROWS = 400
"""At most this many records are used."""

COVERED = 0.9
"""Share of a value that must be found: a country code may stay."""

_BREAK = re.compile(r"(?<=[.!?…])\s+|\n+")


@dataclass(frozen=True)
class _Placed:
    entity: str
    text: str
    start: int
    end: int


def measure(
    tables: Iterable[pa.Table], records: int, kind: str, policy: PiiPolicy, search: Search
) -> Recall:
    """Plants values of every entity the search looks for, searches, and counts. `records`: how many
    the tables together have.
    """
    own, planted = _sample(tables, records, kind), made_up.seeds(policy, search.plain.entities)
    placed = _plant(own, planted)
    counts: dict[str, list[bool]] = {}
    results = search.find([seed.text for seed in placed])
    for seed, result in zip(placed, results, strict=True):
        hit = not result.problem and _is_found(seed, result.spans)
        counts.setdefault(seed.entity, []).append(hit)
    return Recall(
        seeds=made_up.digest(planted),
        texts=len(own),
        entities={
            name: Planted(planted=len(hits), found=sum(hits))
            for name, hits in sorted(counts.items())
        },
    )


def _sample(tables: Iterable[pa.Table], records: int, kind: str) -> list[str]:
    """The texts of at most `ROWS` records spread evenly over the tables, without blank ones."""
    step, start = max(1, -(-records // ROWS)), 0
    sample: list[str] = []
    # In batches, because a whole table's text can be more than one array holds.
    for batch in chain.from_iterable(table.to_batches(max_chunksize=ROW_GROUP) for table in tables):
        rows = batch.take(pa.array(range(-start % step, batch.num_rows, step), pa.int64()))
        sample += [place.text for place in texts(rows, kind) if place.text.strip()]
        start += batch.num_rows
    return sample


def _plant(own: Sequence[str], planted: Sequence[Seed]) -> list[_Placed]:
    rng = random.Random("countersign places 1")  # noqa: S311 - nothing secret is made of it
    return [
        _placed(own[int(rng.random() * len(own))] if own else "", seed, rng.random())
        for seed in planted
    ]


def _placed(text: str, seed: Seed, draw: float) -> _Placed:
    """The seed's sentence before, between or after sentences of the text."""
    gaps = [0, *(match.end() for match in _BREAK.finditer(text)), len(text)]
    at = gaps[int(draw * len(gaps))]
    before, after = text[max(0, at - NEAR) : at], text[at : at + NEAR]
    before += "" if not before or before[-1].isspace() else " "
    head, _, tail = seed.sentence.partition("{}")
    start = len(before) + len(head)
    whole = f"{before}{head}{seed.value}{tail}{' ' if after else ''}{after}"
    return _Placed(seed.entity, whole, start, start + len(seed.value))


def _is_found(seed: _Placed, spans: Sequence[Span]) -> bool:
    found = {
        at for span in spans if span.entity == seed.entity for at in range(span.start, span.end)
    }
    value = [at for at in range(seed.start, seed.end) if seed.text[at].isalnum()]
    return sum(at in found for at in value) >= COVERED * len(value)
