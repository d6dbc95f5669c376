"""Agreement of people who rated the same records."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.agreement.bootstrap import alpha, alpha_low
from pipelines.agreement.panel import Level, Panel, panel_of_units
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
    answers, interval for scores. The lower of both where there are both.
    """
    return _judgements(records)


def rater_alpha_low(records: Records, around: Around) -> Column:
    """The lower end of the 95% interval of that alpha: 2,000 samples of the records, drawn with
    replacement, with a fixed seed. None below 20 records with two ratings.
    """
    return _judgements(records)


def _judgements(records: Records) -> Column:
    """The ratings of each record, and whether they compare answers."""
    owner, value, answers = _ratings(records)
    ratings: list[list[tuple[float, bool]]] = [[] for _ in range(len(records))]
    for record, rating, among in zip(owner.tolist(), value.tolist(), answers.tolist(), strict=True):
        ratings[record].append((rating, among > 1))
    return objects(ratings)


def alpha_of_all(records: Column, around: Around) -> Column:
    """The lower alpha of compared answers and of scores, for every record."""
    return _lowest(records, alpha)


def alpha_low_of_all(records: Column, around: Around) -> Column:
    """The lower bound, likewise."""
    return _lowest(records, alpha_low)


def _lowest(records: Column, figure: Callable[[Panel, Level], float]) -> Column:
    figures = []
    levels: tuple[Level, ...] = ("nominal", "interval")
    for level in levels:
        ratings = [
            (unit, value)
            for unit, ratings in enumerate(records)
            for value, compared in ratings
            if compared == (level == "nominal")
        ]
        if ratings:
            units, values = zip(*ratings, strict=True)
            figures.append(figure(panel_of_units(np.array(units), np.array(values)), level))
    return np.full(len(records), np.min(figures) if figures else np.nan)
