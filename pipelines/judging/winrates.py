"""Win rates, and how consistent a judge is between the two orders of the answers.

A tie counts half. A comparison without a verdict counts nowhere and is counted. Win rates of all
models are from the same draws of questions, so that their differences are paired.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.judging.battles import LOSS, TIE, WIN, Battle, Score
from pipelines.judging.resampling import Estimate, Floats, Ints, Sampling, codes, draws, estimate


@dataclass(frozen=True)
class WinRate:
    """One model, against a baseline or against all others."""

    model: str
    items: int
    """Questions with a verdict."""
    wins: int
    losses: int
    ties: int
    no_verdict: int
    rate: Estimate
    standard_error: float | None
    """Of the mean over comparisons, as AlpacaEval has it; None for fewer than two."""
    length: float | None
    """Mean length of the model's answers; None where the file has no answers."""


@dataclass(frozen=True)
class Orders:
    """How a judge decides when the answers change places."""

    comparisons: int
    """Comparisons that were judged in both orders."""
    consistent: int
    first: int
    """The answer that was shown first won in both orders."""
    second: int
    """The answer that was shown second won in both orders."""
    rate: Estimate
    """Consistent comparisons / all."""


def win_rates(
    battles: Sequence[Battle], sampling: Sampling, *, baseline: bool = False
) -> list[WinRate]:
    """The win rate of each model, the best first. `baseline`: of the first models alone, against
    the second.
    """
    sides = [(battle, battle.first, battle.win, 0) for battle in battles]
    if not baseline:
        sides += [
            (battle, battle.second, None if battle.win is None else 1 - battle.win, 1)
            for battle in battles
        ]
    models, of_model = codes([model for _, model, _, _ in sides])
    items, of_item = codes([battle.item for battle, _, _, _ in sides])
    wins = np.array([np.nan if win is None else win for _, _, win, _ in sides])
    lengths = np.array(
        [
            battle.answers[at].style.length if battle.answers else np.nan
            for battle, _, _, at in sides
        ]
    )
    totals, counts = _by_item(wins, of_model, of_item, len(models), len(items))
    drawn = _drawn(totals, counts, sampling)
    rates = [
        _win_rate(model, wins[of_model == at], lengths[of_model == at], counts[at], drawn[:, at])
        for at, model in enumerate(models)
    ]
    return sorted(rates, key=lambda each: (-(each.rate.value or 0.0), each.model))


def _by_item(
    wins: Floats, of_model: Ints, of_item: Ints, models: int, items: int
) -> tuple[Floats, Floats]:
    """Models × items: the sum of wins, and the number of verdicts."""
    has = ~np.isnan(wins)
    cell = (of_model * items + of_item)[has]
    totals = np.bincount(cell, weights=wins[has], minlength=models * items).astype(np.float64)
    counts = np.bincount(cell, minlength=models * items).astype(np.float64)
    return totals.reshape(models, items), counts.reshape(models, items)


def _drawn(totals: Floats, counts: Floats, sampling: Sampling) -> Floats:
    """Samples × models: win rates."""
    parts = []
    for weights in draws(totals.shape[1], sampling):
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append((weights @ totals.T) / (weights @ counts.T))
    return np.concatenate(parts)


def _win_rate(model: str, wins: Floats, lengths: Floats, counts: Floats, drawn: Floats) -> WinRate:
    known = wins[~np.isnan(wins)]
    rate = float(known.mean()) if len(known) else float("nan")
    items = int((counts > 0).sum())
    known_lengths = lengths[~np.isnan(lengths)]
    return WinRate(
        model=model,
        items=items,
        wins=int((known > TIE).sum()),
        losses=int((known < TIE).sum()),
        ties=int((known == TIE).sum()),
        no_verdict=len(wins) - len(known),
        rate=estimate(rate, drawn, items),
        standard_error=float(known.std(ddof=1) / len(known) ** 0.5) if len(known) > 1 else None,
        length=float(known_lengths.mean()) if len(known_lengths) else None,
    )


def orders(battles: Iterable[Battle], sampling: Sampling) -> Orders | None:
    """How consistent verdicts are between orders; None where no comparison has both."""
    judged = [(battle.item, *battle.orders) for battle in battles if battle.orders is not None]
    if not judged:
        return None
    places = Counter((given, swapped) for _, given, swapped in judged)
    same = np.array([float(given == swapped) for _, given, swapped in judged])
    items, of_item = codes([item for item, _, _ in judged])
    totals, counts = _by_item(same, np.zeros(len(same), dtype=np.int64), of_item, 1, len(items))
    drawn = _drawn(totals, counts, sampling)[:, 0]
    return Orders(
        comparisons=len(judged),
        consistent=int(same.sum()),
        first=places[WIN, LOSS],
        second=places[LOSS, WIN],
        rate=estimate(float(same.mean()), drawn, len(items)),
    )


@dataclass(frozen=True)
class MeanScore:
    """What a judge gave to the answers of one model, each alone."""

    model: str
    answers: int
    no_verdict: int
    mean: Estimate
    turns: dict[int, float]
    """Turn of the conversation to the mean of its scores."""


def mean_scores(scores: Sequence[Score], sampling: Sampling) -> list[MeanScore]:
    """The mean score of each model, the best first."""
    models, of_model = codes([each.model for each in scores])
    items, of_item = codes([each.item for each in scores])
    values = np.array([np.nan if each.score is None else each.score for each in scores])
    turns = np.array([each.turn for each in scores])
    totals, counts = _by_item(values, of_model, of_item, len(models), len(items))
    drawn = _drawn(totals, counts, sampling)
    found = []
    for at, model in enumerate(models):
        own = values[of_model == at]
        known = ~np.isnan(own)
        of_turn = turns[of_model == at]
        mean = float(own[known].mean()) if known.any() else float("nan")
        found.append(
            MeanScore(
                model=model,
                answers=len(own),
                no_verdict=int((~known).sum()),
                mean=estimate(mean, drawn[:, at], int((counts[at] > 0).sum())),
                turns={
                    int(turn): float(own[known & (of_turn == turn)].mean())
                    for turn in sorted(set(of_turn[known].tolist()))
                },
            )
        )
    return sorted(found, key=lambda each: (-(each.mean.value or 0.0), each.model))
