"""Win rates at equal length: the length-controlled win rate of AlpacaEval 2 (Dubois et al. 2024,
https://arxiv.org/abs/2404.04475).

1. A logistic regression explains the verdicts on one model by tanh of the difference in length (in
   standard deviations), by the difficulty of the instruction, and by the model itself. There is no
   further constant.
2. The win rate is the mean of what it predicts for the same instructions at equal length.
3. As in AlpacaEval: the regression has an L1 penalty, whose strength 5-fold cross-validation
   chooses by log loss; a verdict between 0 and 1 counts as both, by its weight; verdicts on the
   baseline's own verbose and concise answers are added with the weight 0.1 each. With AlpacaEval's
   own file of difficulties and such verdicts (`df_gamed.csv`), the figure is theirs.
4. Difficulties come from a file. Without one, there is no such term, and the figure is not that of
   AlpacaEval's leaderboard.
5. The interval holds the strength of the penalty and the added verdicts fixed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.judging.resampling import Estimate, Floats, Sampling, draws, estimate

SPLITS = 5
STRENGTHS = np.logspace(-4, 4, 10)
"""Inverse strengths of the penalty that are tried."""
SEED = 123
"""Of the solver, as AlpacaEval has it."""
GAMED_WEIGHT = 0.2 / 2
MOST_SAMPLES = 200
"""Fits for an interval."""


@dataclass(frozen=True)
class Baseline:
    """What is known of the baseline's answers, by instruction."""

    difficulty: Floats
    """Of each instruction, by its place in the benchmark."""
    gamed: Floats
    """Verdicts on the baseline's own verbose and concise answers: rows of win (0 to 1), difference
    in length, and difficulty.
    """


@dataclass(frozen=True)
class LengthControlled:
    """The win rate of one model at equal length."""

    rate: Estimate
    length: float
    """Coefficient of tanh of the difference in length; above 0, longer answers win."""
    difficulty: float | None
    """Coefficient of the difficulty; None without difficulties."""
    model: float
    """The model's own coefficient."""


def length_controlled(
    wins: Floats,
    longer: Floats,
    difficulty: Floats | None = None,
    gamed: Floats | None = None,
    sampling: Sampling | None = None,
) -> LengthControlled | None:
    """The win rate at equal length. `wins`: the model's, 0 to 1, NaN without a verdict. `longer`:
    the length of its answer less that of the baseline's. None where there are fewer verdicts than
    splits, or all are alike in outcome.
    """
    rows = _rows(longer, difficulty)
    equal = _rows(np.zeros_like(longer), difficulty)
    known = ~np.isnan(wins)
    if known.sum() < SPLITS or len(set(wins[known].tolist())) < 2:
        return None
    y, x, weights = wins[known], rows[known], np.ones(int(known.sum()))
    if gamed is not None and len(gamed):  # (3)
        y = np.concatenate([gamed[:, 0], y])
        x = np.concatenate([_gamed_rows(gamed), x])
        weights = np.concatenate([np.full(len(gamed), GAMED_WEIGHT), weights])
    strength = _strength(x, y, weights)
    fitted = _fit(x, y, weights, strength)
    drawn = _drawn(x, y, weights, strength, equal[known], sampling) if sampling else np.empty(0)
    return LengthControlled(
        rate=estimate(float(_predicted(equal, fitted).mean()), drawn, int(known.sum())),
        length=float(fitted[0]),
        difficulty=float(fitted[1]) if difficulty is not None else None,
        model=float(fitted[-1]),
    )


def at_equal_length(wins: Floats, longer: Floats) -> Floats | None:
    """Each verdict less what the regression explains by the difference in length, and NaN without a
    verdict. The mean is the win rate less the mean effect of length; without a penalty, it would be
    the figure of `length_controlled`. None as there.
    """
    known = ~np.isnan(wins)
    if known.sum() < SPLITS or len(set(wins[known].tolist())) < 2:
        return None
    rows, equal = _rows(longer, None), _rows(np.zeros_like(longer), None)
    y, x, weights = wins[known], rows[known], np.ones(int(known.sum()))
    fitted = _fit(x, y, weights, _strength(x, y, weights))
    adjusted: Floats = wins - (_predicted(rows, fitted) - _predicted(equal, fitted))
    return adjusted


def _rows(longer: Floats, difficulty: Floats | None) -> Floats:
    """(1) The terms of each verdict. AlpacaEval takes the baseline's length less the model's; the
    sign changes nothing but that of the coefficient.
    """
    spread = longer.std(ddof=1) if len(longer) > 1 else 0.0
    columns = [np.tanh(longer / spread) if spread else np.zeros_like(longer)]
    columns += [difficulty] if difficulty is not None else []
    return np.column_stack([*columns, np.ones_like(longer)])


def _gamed_rows(gamed: Floats) -> Floats:
    """The terms of verdicts on the baseline's own answers: the model has no part in them. The
    difference of length there is the baseline's less the other's.
    """
    return np.column_stack([np.tanh(-gamed[:, 1]), gamed[:, 2], np.zeros(len(gamed))])


def _predicted(x: Floats, coefficients: Floats) -> Floats:
    predicted: Floats = 1 / (1 + np.exp(-(x @ coefficients)))
    return predicted


def _fit(x: Floats, y: Floats, weights: Floats, strength: float) -> Floats:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        l1_ratio=1, C=strength, solver="liblinear", fit_intercept=False, random_state=SEED
    )
    labels = np.concatenate([np.ones(len(y)), np.zeros(len(y))])
    twice = np.concatenate([weights * y, weights * (1 - y)])
    model.fit(np.concatenate([x, x]), labels, sample_weight=twice)
    coefficients: Floats = model.coef_[0]
    return coefficients


def _strength(x: Floats, y: Floats, weights: Floats) -> float:
    """(3) The strength with the least log loss on the verdicts that were left out."""
    from sklearn.model_selection import GroupKFold

    groups = np.tile(np.arange(len(y)), 2)  # a verdict's two halves stay together
    folds = [
        (train[train < len(y)], test[test < len(y)])
        for train, test in GroupKFold(SPLITS).split(groups, groups=groups)
    ]
    losses = [
        np.mean(
            [
                _loss(x[test], y[test], weights[test], _fit(x[train], y[train], weights[train], c))
                for train, test in folds
            ]
        )
        for c in STRENGTHS
    ]
    return float(STRENGTHS[int(np.argmin(losses))])


def _loss(x: Floats, y: Floats, weights: Floats, coefficients: Floats) -> float:
    predicted = np.clip(_predicted(x, coefficients), 1e-15, 1 - 1e-15)
    losses = y * np.log(predicted) + (1 - y) * np.log(1 - predicted)
    return -float((losses * weights).mean())


def _drawn(
    x: Floats, y: Floats, weights: Floats, strength: float, equal: Floats, sampling: Sampling
) -> Floats:
    """(5) The win rate at equal length of samples. The last rows of x are the model's."""
    own, found = len(equal), []
    fewer = Sampling(min(sampling.samples, MOST_SAMPLES), sampling.seed)
    for part in draws(own, fewer):
        for counts in part:
            sample = weights.copy()
            sample[-own:] *= counts
            predicted = _predicted(equal, _fit(x, y, sample, strength))
            found.append(float(np.average(predicted, weights=counts)))
    return np.array(found)
