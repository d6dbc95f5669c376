"""Scores a model on a suite beside its own, as `pipelines.stages.evaluate` scores it on that."""

from __future__ import annotations

from dataclasses import replace

from pipelines.families import no_mistakes
from pipelines.stages import evaluate

FAMILY = replace(evaluate.FAMILY, table="evaluations", mistakes=no_mistakes)
