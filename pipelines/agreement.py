"""How far people who judged the same things agree."""

from __future__ import annotations

import numpy as np

from pipelines.turns import Column


def krippendorff_alpha(unit: Column, value: Column, nominal: bool) -> float:
    """1 - observed / expected disagreement; NaN where nothing was rated twice, or all ratings are equal.

    Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), repository.upenn.edu/asc_papers/43.
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
        within = size**2 - np.bincount(cells[:, 0].astype(np.int64), weights=counts.astype(float) ** 2)
        overall = total**2 - float(np.sum(np.unique(value, return_counts=True)[1].astype(float) ** 2))
    else:  # squared differences of all pairs: 2 (n sum of squares - square of sum)
        value = value - value.mean()
        within = 2 * (size * np.bincount(unit, weights=value**2) - np.bincount(unit, weights=value) ** 2)
        overall = 2 * total * float(np.sum(value**2))
    observed = float(np.sum(within / (size - 1))) / total
    expected = overall / (total * (total - 1))
    return 1 - observed / expected if expected > 0 else float("nan")
