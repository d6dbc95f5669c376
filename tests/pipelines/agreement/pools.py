"""Simulated pools of raters who err alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipelines.agreement.coefficients import Coefficients
from pipelines.agreement.panel import MISSING, Codes, Level, Panel


@dataclass
class Raters:
    """Raters of items with `values` possible answers, the first of which is right for a share
    `common` of them. On hard items everybody knows less.
    """

    seed: int
    items: int = 200
    raters: int = 5
    accuracy: Any = 0.85
    values: int = 2
    common: float = 0.5
    hard: float = 0.0
    missing: float = 0.0
    level: Level = "nominal"
    codes: Codes = field(init=False)

    def __post_init__(self) -> None:
        self.rng = rng = np.random.default_rng(self.seed)
        shape = (self.items, self.raters)
        if self.level == "nominal":
            others = rng.integers(1, self.values, size=self.items)
            truth = np.where(rng.random(self.items) < self.common, 0, others)[:, None]
            knows = np.broadcast_to(self.accuracy, shape)
            knows = np.where(rng.random((self.items, 1)) < self.hard, 0.35 + 0.3 * knows, knows)
            wrong = (truth + rng.integers(1, self.values, size=shape)) % self.values
            self.codes = np.where(rng.random(shape) < knows, truth, wrong).astype(np.int64)
        else:
            truth = rng.normal(0, 2, size=(self.items, 1))
            noise = rng.normal(size=shape) * self.accuracy
            self.codes = np.clip(np.round(5 + truth + noise), 0, 9).astype(np.int64)
            self.values = 10
        self.codes[rng.random(shape) < self.missing] = MISSING

    @property
    def of(self) -> Coefficients:
        """Their coefficients."""
        values = tuple(float(value) for value in range(self.values))
        names = tuple(f"r{at}" for at in range(self.raters))
        return Coefficients(Panel(self.codes, values, names), self.level)


CLEAN: dict[str, dict[str, Any]] = {
    "alike": {},
    "of few items": {"items": 60},
    "of unlike care": {"accuracy": [0.75, 0.8, 0.85, 0.9, 0.95]},
    "of whom two are nearly always right": {"accuracy": [0.98, 0.98, 0.7, 0.7, 0.7]},
    "who only guess": {"accuracy": 0.5},
    "who hardly see the rarer answer": {"common": 0.97, "accuracy": 0.97},
    "who never disagree": {"common": 1.0, "accuracy": 1.0},
    "of three answers": {"values": 3, "common": 0.33},
    "of hard and easy items": {"hard": 0.4, "items": 500},
    "who leave items out": {"missing": 0.4},
    "of three": {"raters": 3, "accuracy": [0.99, 0.99, 0.85], "items": 500},
    "of ten": {"raters": 10},
    "who give scores": {"level": "interval", "accuracy": [0.3, 0.3, 1.0, 1.0, 2.0]},
}
"""Pools in which nobody is to be accused."""
