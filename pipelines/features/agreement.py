"""Agreement of people who rated the same records."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.features.leaks import Around
from pipelines.features.turns import Column, Records, objects, plain


def _ratings(records: Records) -> tuple[Column, Column, Column]:
    """(record, value, number of answers to choose from) of every rating."""
    array = pa.concat_arrays(records.table.column("ratings").chunks)
    owner = np.repeat(np.arange(len(records)), pc.list_value_length(array).to_numpy())
    answers = np.bincount(records.parts["completions"].owner, minlength=len(records))
    return owner, plain(array.flatten().field("value")), answers[owner]


def raters(records: Records, around: Around) -> Column:
    """Ratings per record."""
    return np.bincount(_ratings(records)[0], minlength=len(records))


def ratings_valid(records: Records, around: Around) -> Column:
    """Whether every rating of compared answers names one of them, or 0 for a tie."""
    owner, value, answers = _ratings(records)
    wrong = (answers > 1) & ((value != np.round(value)) | (value < 0) | (value > answers))
    good: Column = np.bincount(owner[wrong], minlength=len(records)) == 0
    return good


def rater_majority(records: Records, around: Around) -> Column:
    """The share of raters who gave a record's most frequent rating."""
    owner, value, _ = _ratings(records)
    given, counts = np.unique(np.column_stack([owner, value]), axis=0, return_counts=True)
    commonest = np.zeros(len(records))
    np.maximum.at(commonest, given[:, 0].astype(np.int64), counts)
    total = np.bincount(owner, minlength=len(records))
    share: Column = np.divide(commonest, total, out=np.full(len(records), np.nan), where=total > 0)
    return share


def rater_alpha(records: Records, around: Around) -> Column:
    """Krippendorff's alpha of the whole dataset, repeated in every row: nominal for compared
    answers, interval for scores.
    """
    owner, value, answers = _ratings(records)
    ratings: list[list[tuple[float, bool]]] = [[] for _ in range(len(records))]
    for record, rating, among in zip(owner.tolist(), value.tolist(), answers.tolist(), strict=True):
        ratings[record].append((rating, among > 1))
    return objects(ratings)


def alpha_of_all(records: Column, around: Around) -> Column:
    """The lower alpha of compared answers and of scores, for every record."""
    alphas = []
    for nominal in (True, False):
        ratings = [
            (unit, value)
            for unit, ratings in enumerate(records)
            for value, compared in ratings
            if compared == nominal
        ]
        if ratings:
            units, values = zip(*ratings, strict=True)
            alphas.append(krippendorff_alpha(np.array(units), np.array(values), nominal))
    return np.full(len(records), min(alphas) if alphas else np.nan)


def krippendorff_alpha(unit: Column, value: Column, nominal: bool) -> float:
    """1 - observed / expected disagreement. NaN if nothing was rated twice or all ratings are
    equal.

    Krippendorff, Computing Krippendorff's Alpha-Reliability (2011),
    repository.upenn.edu/asc_papers/43.
    """
    _, unit = np.unique(unit, return_inverse=True)
    paired = np.bincount(unit)[unit] > 1
    if not paired.any():
        return float("nan")
    _, unit = np.unique(unit[paired], return_inverse=True)
    value, size = value[paired], np.bincount(unit).astype(float)
    total = float(len(value))
    if nominal:  # pairs of unequal values: all pairs less those of equal ones
        cells, counts = np.unique(np.column_stack([unit, value]), axis=0, return_counts=True)
        squares = counts.astype(float) ** 2
        within = size**2 - np.bincount(cells[:, 0].astype(np.int64), weights=squares)
        frequencies = np.unique(value, return_counts=True)[1].astype(float)
        overall = total**2 - float(np.sum(frequencies**2))
    else:  # squared differences of all pairs: 2 (n sum of squares - square of sum)
        value = value - value.mean()
        sums, squares = (np.bincount(unit, weights=weights) for weights in (value, value**2))
        within = 2 * (size * squares - sums**2)
        overall = 2 * total * float(np.sum(value**2))
    observed = float(np.sum(within / (size - 1))) / total
    expected = overall / (total * (total - 1))
    return 1 - observed / expected if expected > 0 else float("nan")
