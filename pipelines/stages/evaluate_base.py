"""Scores a base model on its suite, as `pipelines.stages.evaluate` scores a trained one."""

from __future__ import annotations

from dataclasses import replace

from pipelines.families import no_mistakes
from pipelines.stages import evaluate

FAMILY = replace(evaluate.FAMILY, table="bases", mistakes=no_mistakes)
