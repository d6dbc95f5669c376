"""Bradley-Terry ratings of models from comparisons (Bradley and Terry 1952, Biometrika 39:324), by
maximum likelihood, on the scale of Elo; and the same with control of style (Arena,
https://lmsys.org/blog/2024-08-28-style-control).

1. A tie is half a win for each. 400 points are odds of ten to one. The mean rating is 1000; with an
   anchor, its rating is.
2. Ratings exist only where no group of models won all comparisons with the others, or had none with
   them (Ford 1957, Am. Math. Monthly 64:28). Otherwise there are none, and the result says so.
3. Control of style: length, headers, lists and bold text are further terms, each the difference
   between both answers over their sum and one, in standard deviations. They have an L2 penalty,
   as Arena's, so that a term that nearly always decides has a coefficient; ratings have none.
   Arena also subtracts the mean. We do not: where one model is always named first, that would undo
   the control.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from governance.base.errors import ConfigError, did_you_mean
from pipelines.judging.battles import Battle, Style
from pipelines.judging.resampling import Estimate, Floats, Ints, Sampling, codes, draws, estimate

SCALE = 400 / np.log(10)
MEAN = 1000.0
STEPS = 50
NEAR = 1e-8
"""The largest change of a step at the end."""
PENALTY = 0.5
"""(3) Of terms of style: half of it times their squares is subtracted from the log-likelihood."""
MOST_SAMPLES = 100
"""Fits for intervals with control of style."""


@dataclass(frozen=True)
class Ratings:
    """The ratings of all models."""

    models: dict[str, Estimate]
    """The best first."""
    style: dict[str, Estimate]
    """Term of style to its coefficient; above 0, who has more of it wins. Empty without control."""
    comparisons: int


class NoRatingsError(Exception):
    """(2) There are no finite ratings. Says why."""


def ratings(
    battles: Sequence[Battle], sampling: Sampling, *, anchor: str = "", control: bool = False
) -> Ratings:
    """The ratings of all models. Raises `NoRatingsError`, and `ConfigError` for an anchor that is
    no model.
    """
    known = [battle for battle in battles if battle.win is not None]
    if control:
        known = [battle for battle in known if battle.answers is not None]
    if not known:
        raise NoRatingsError("no comparison has a verdict" + " and both answers" * control)
    fit = _Fit(known, control)
    reason = fit.unrated()
    if reason:
        raise NoRatingsError(reason)
    if anchor and anchor not in fit.models:
        fix = did_you_mean(anchor, fit.models)
        raise ConfigError(f"no model {anchor[:80]!r}", where="--anchor", fix=fix)
    exact = fit.parameters(np.ones(len(fit.items)))
    if control and sampling.samples > MOST_SAMPLES:
        sampling = Sampling(MOST_SAMPLES, sampling.seed)
    drawn = np.array(
        [fit.parameters(row, exact) for part in draws(len(fit.items), sampling) for row in part]
    )
    return fit.result(exact, drawn, anchor)


class _Fit:
    """A logistic regression without a constant: a column for each model, 1 for the first and -1
    for the second, and a column for each term of style.
    """

    def __init__(self, battles: Sequence[Battle], control: bool) -> None:
        names = [name for battle in battles for name in (battle.first, battle.second)]
        self.models, places = codes(names)
        self.first, self.second = places[::2], places[1::2]
        self.items, self.of_item = codes([battle.item for battle in battles])
        self.wins = np.array([battle.win for battle in battles], dtype=float)
        self.terms, style = _style(battles) if control else ([], np.empty((len(battles), 0)))
        self.x = self._design(style)
        self.rows, self.of_row = self._rows(control)

    def _design(self, style: Floats) -> Any:
        from scipy import sparse

        rows, ones = np.arange(len(self.wins)), np.ones(len(self.wins))
        shape = (len(self.wins), len(self.models))
        first = sparse.csr_array((ones, (rows, self.first)), shape=shape)
        second = sparse.csr_array((ones, (rows, self.second)), shape=shape)
        return sparse.hstack([first - second, sparse.csr_array(style)], format="csr")

    def _rows(self, control: bool) -> tuple[Ints, Ints]:
        """The comparisons that are rows of the regression, and the row of each. Those with the same
        models and outcome are one row, unless style tells them apart.
        """
        if control:
            return np.arange(len(self.wins)), np.arange(len(self.wins))
        _, outcome = np.unique(self.wins, return_inverse=True)
        kind = (self.first * len(self.models) + self.second) * (outcome.max() + 1) + outcome
        _, first, of_kind = np.unique(kind, return_index=True, return_inverse=True)
        return first, of_kind

    def unrated(self) -> str:
        """(2) Why there are no ratings; empty where there are."""
        groups, of_model = self._groups(np.ones(len(self.rows)))
        if groups == 1:
            return ""
        apart = [name for name, group in zip(self.models, of_model, strict=True) if group == 0]
        who = ", ".join(name[:40] for name in apart[:3]) + ", ..." * (len(apart) > 3)
        return f"these models did not both win and lose against the others: {who}"

    def _groups(self, weights: Floats) -> tuple[int, Ints]:
        """Groups of models that each won against all others in it, directly or through others."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import connected_components

        wins, first, second = self.wins[self.rows], self.first[self.rows], self.second[self.rows]
        won = np.zeros((len(self.models), len(self.models)))
        np.add.at(won, (first, second), weights * wins)
        np.add.at(won, (second, first), weights * (1 - wins))
        groups, of_model = connected_components(csr_array(won), connection="strong")
        return int(groups), of_model

    def parameters(self, of_items: Floats, start: Floats | None = None) -> Floats:
        """The coefficients, where each question counts so often; NaN where there are none."""
        drawn = of_items[self.of_item]
        weights = np.bincount(self.of_row, weights=drawn, minlength=len(self.rows)).astype(float)
        if self._groups(weights)[0] > 1:
            return np.full(self.x.shape[1], np.nan)
        x, y = self.x[self.rows], self.wins[self.rows]
        return _newton(x, y, weights, len(self.models), start)

    def result(self, exact: Floats, drawn: Floats, anchor: str) -> Ratings:
        """(1) The coefficients on the scale of Elo."""
        count = len(self.models)

        def scaled(values: Floats) -> Floats:
            own: Floats = values[..., :count] * SCALE
            fixed = own[..., [self.models.index(anchor)]] if anchor else own.mean(-1, keepdims=True)
            return np.asarray(own - fixed + MEAN)

        values, samples, items = scaled(exact), scaled(drawn), len(self.items)
        rated = {
            model: estimate(float(values[at]), samples[:, at], items)
            for at, model in enumerate(self.models)
        }
        return Ratings(
            models=dict(sorted(rated.items(), key=lambda each: (-(each[1].value or 0), each[0]))),
            style={
                term: estimate(float(exact[count + at]), drawn[:, count + at], items)
                for at, term in enumerate(self.terms)
            },
            comparisons=len(self.wins),
        )


def _style(battles: Sequence[Battle]) -> tuple[list[str], Floats]:
    """(3) The terms that differ anywhere, and their values."""
    pairs = np.array([[answer.style for answer in battle.answers or ()] for battle in battles])
    first, second = pairs[:, 0], pairs[:, 1]
    terms = (first - second) / (first + second + 1)
    spread = terms.std(axis=0)
    has = spread > 0
    names = [name for name, kept in zip(Style._fields, has, strict=True) if kept]
    return names, terms[:, has] / spread[has]


def _newton(x: Any, y: Floats, weights: Floats, models: int, start: Floats | None) -> Floats:
    """The maximum of the likelihood less the penalty, by Newton's method with halved steps. The
    sum of the ratings stays 0. NaN where it is not found.
    """
    penalty = np.where(np.arange(x.shape[1]) < models, 0.0, PENALTY)
    fixed = np.diag(penalty)
    fixed[:models, :models] = 1.0
    values = np.zeros(x.shape[1]) if start is None else start
    now = _goal(x, y, weights, penalty, values)
    for _ in range(STEPS):
        predicted = 1 / (1 + np.exp(-(x @ values)))
        slope = x.T @ (weights * (y - predicted)) - penalty * values
        curve = x.T @ x.multiply((weights * predicted * (1 - predicted))[:, None]).tocsr()
        step = np.linalg.solve(curve.toarray() + fixed, slope)
        if np.abs(step).max() < NEAR:
            return values
        for _ in range(STEPS):
            new = _goal(x, y, weights, penalty, values + step)
            if new >= now:
                break
            step = step / 2
        values, now = values + step, new
    return np.full(x.shape[1], np.nan)


def _goal(x: Any, y: Floats, weights: Floats, penalty: Floats, values: Floats) -> float:
    logits = x @ values
    likelihood = float((weights * (y * logits - np.logaddexp(0, logits))).sum())
    return likelihood - float((penalty * values**2).sum()) / 2
