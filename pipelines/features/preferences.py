"""Defects of preferences: contradictions, cycles, pairs without a difference, disputed results."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.features.leaks import Around
from pipelines.features.turns import PART, ROLE, Column, Records, fingerprints


def contradicted(records: Records, around: Around) -> Column:
    """Whether an earlier record prefers the other one of the same answers to the same prompt."""
    return _judgements(records, lambda texts: texts)


def near_contradicted(records: Records, around: Around) -> Column:
    """The same, punctuation and the case of letters aside."""
    return _judgements(records, _letters)


def _letters(texts: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(texts, r"[^\p{L}\p{N}\x1c-\x1f]+", "")


def _judgements(records: Records, seen: Callable[[pa.Array], pa.Array]) -> Column:
    """Fingerprints of each judgement and of its opposite."""
    prompt = seen(_prompts(records))
    if records.kind == "unpaired":
        first = seen(records.joined("completion"))
        labels = records.table.column("label").combine_chunks()
        pairs = [(first, labels.cast(pa.string())), (first, pc.invert(labels).cast(pa.string()))]
    else:
        chosen, rejected = seen(records.joined("chosen")), seen(records.joined("rejected"))
        pairs = [(chosen, rejected), (rejected, chosen)]
    texts = [pc.binary_join_element_wise(prompt, *pair, "\0").to_pylist() for pair in pairs]
    return np.column_stack([fingerprints(each) for each in texts])


def _prompts(records: Records) -> pa.Array:
    return pc.binary_join_element_wise(
        records.joined("prompt"), *records.beside, PART, null_handling="skip"
    )


def opposed(prints: Column, around: Around) -> Column:
    """Whether an earlier row is the opposite of each."""
    seen: set[int] = set()
    found = []
    for judgement, opposite in prints.tolist():
        found.append(opposite in seen and opposite != judgement)
        seen.add(judgement)
    return np.array(found, dtype=bool)


def in_cycle(records: Records, around: Around) -> Column:
    """Whether the preference is part of a cycle: a over b, b over c, c over a, to one prompt."""
    prompt = _prompts(records)
    answers = [records.joined("chosen"), records.joined("rejected")]
    texts = [pc.binary_join_element_wise(prompt, each, "\0").to_pylist() for each in answers]
    return np.column_stack([fingerprints(each) for each in texts])


def on_cycle(edges: Column, around: Around) -> Column:
    """Whether the two ends of each edge can be reached from one another (strongly connected)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes, ends = np.unique(edges, return_inverse=True)
    better, worse = ends.reshape(edges.shape).T
    graph = coo_array((np.ones(len(edges)), (better, worse)), shape=(len(nodes), len(nodes)))
    _, part = connected_components(graph.tocsr(), directed=True, connection="strong")
    found: Column = (part[better] == part[worse]) & (better != worse)
    return found


_WORD = re.compile(r"\w+")
_SAID = re.compile(rf"\d{ROLE}")
"""Who speaks, in a joined text."""


def answers_alike(records: Records, around: Around) -> Column:
    """How much the words of the chosen and the rejected answer agree: 2·shared / (all of both)
    (Dice 1945), counted with repetitions. 1 where only order or punctuation differ.
    """
    both = [records.joined(name).to_pylist() for name in ("chosen", "rejected")]
    return np.array([_dice(*pair) for pair in zip(*both, strict=True)], dtype=float)


def _dice(first: str, second: str) -> float:
    one, two = (Counter(_WORD.findall(_SAID.sub(" ", text))) for text in (first, second))
    size = one.total() + two.total()
    return 2 * (one & two).total() / size if size else 1.0


def result_disputed(records: Records, around: Around) -> Column:
    """Whether wanted answers to one question end in different numbers, or a number is both wanted
    and unwanted: one of the labels is wrong. Only answers that name a result are compared.
    """
    prompts = fingerprints(records.prompts).tolist()
    wanted, rows = records.wanted.tolist(), []
    for at, text in enumerate(records.answer):
        rows.append((prompts[at], wanted[at], named_result(text)))
    column = np.empty(len(rows), dtype=object)
    column[:] = rows
    return column


_RESULT = re.compile(
    r"(?:####|\b(?:the |final |correct )*(?:answer|result)\s*(?:is|:|=))\s*\$?"
    r"(-?\d[\d,]*(?:\.\d+)?)(?![\d/%])", re.IGNORECASE,
)  # fmt: skip


def named_result(text: str) -> float | None:
    """The number that a text names as its result: after `####`, or `the answer is`."""
    named = _RESULT.findall(text)
    return float(named[-1].replace(",", "")) if named else None


def disputes(rows: Column, around: Around) -> Column:
    """Whether each row's result is disputed by another row of the same question."""
    right: dict[int, set[float]] = defaultdict(set)
    wrong: dict[int, set[float]] = defaultdict(set)
    for prompt, wanted, number in rows:
        if number is not None:
            (right if wanted else wrong)[prompt].add(number)
    return np.array(
        [
            number is not None
            and (len(right[prompt]) > 1 or bool(right[prompt] & wrong[prompt] & {number}))
            for prompt, wanted, number in rows
        ],
        dtype=bool,
    )
