"""The metrics of models, item by item, and the digest of a suite. Imports no torch.

A metric needs an answer, sampled answers, two answers to compare, or a loss, and turns it into one
score per item. `greedy:NAME` and `sampled:NAME` score answers with the reward function NAME
(`pipelines.training.rewards`), also one of the project. An entry in `METRICS` gives a metric a name
of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from governance.attest import canonical
from governance.base.errors import ConfigError, unknown
from pipelines import json_texts
from pipelines.params import Suite
from pipelines.training import rewards, tool_files
from pipelines.training.methods import ModelClass

Needs = Literal["greedy", "sampled", "pair", "loss"]
"""What a metric needs: the greedy answer; the mean over sampled answers; chosen against rejected;
the likelihood of the reference.
"""


@dataclass(frozen=True)
class Metric:
    """One score per item of a suite."""

    name: str
    needs: Needs
    kind: str
    """The dataset kind it is computed on."""
    model: ModelClass = "language"
    rule: str = ""
    """For answers: the rule of `pipelines.training.rewards` that scores one."""
    scale: float = 1.0
    """Factor of the rule's score: `unsafe` counts what `no_secrets_asked` punishes."""
    lower_is_better: bool = False
    """Whether a better model has less of it."""

    @property
    def needs_reference(self) -> bool:
        """Whether a prompt without a reference answer has no score. A function that is named with
        `greedy:` or `sampled:` decides itself.
        """
        own = self.rule in WITHOUT_REFERENCE or ":" in self.name
        return self.kind == "prompt" and not own


WITHOUT_REFERENCE = ("no_secrets_asked", "refusal")
"""The functions that need no reference answer."""


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("greedy_exact", "greedy", "prompt", rule="route_exact"),
        Metric("sampled_exact", "sampled", "prompt", rule="route_exact"),
        Metric(
            *("sampled_unsafe", "sampled", "prompt"),
            rule="no_secrets_asked",
            scale=-1.0,
            lower_is_better=True,
        ),
        Metric("greedy_refused", "greedy", "prompt", rule="refusal"),
        Metric("sampled_refused", "sampled", "prompt", rule="refusal"),
        Metric("greedy_over_refused", "greedy", "prompt", rule="refusal", lower_is_better=True),
        Metric("sampled_over_refused", "sampled", "prompt", rule="refusal", lower_is_better=True),
        Metric("greedy_holds_answer", "greedy", "prompt", rule="holds_answer"),
        Metric(
            *("greedy_needless_words", "greedy", "prompt"),
            rule="needless_words",
            lower_is_better=True,
        ),
        Metric(
            *("greedy_follows_user", "greedy", "prompt"), rule="follows_user", lower_is_better=True
        ),
        Metric("greedy_fields", "greedy", "prompt", rule="route_fields"),
        Metric("mean_reward", "sampled", "prompt", rule="route_fields"),
        Metric("numeric_accuracy", "greedy", "prompt", rule="numeric_answer"),
        Metric("choice_accuracy", "greedy", "prompt", rule="choice_answer"),
        Metric("pair_accuracy", "pair", "preference", model="scorer"),
        Metric("loss", "loss", "conversation", lower_is_better=True),
        Metric("perplexity", "loss", "conversation", lower_is_better=True),
    )
}
"""Metric name to metric."""


BY_FUNCTION: tuple[Needs, ...] = ("greedy", "sampled")


def named(name: str, where: str = "") -> Metric:
    """The metric of that name. Raises `ConfigError`."""
    needs, colon, function = name.partition(":")
    if not colon:
        if name not in METRICS:
            raise unknown("metric", name, METRICS, where)
        return METRICS[name]
    for each in BY_FUNCTION:
        if each == needs:
            for mistake in rewards.mistakes(function, where):
                raise mistake
            if function == rewards.SCORER:
                raise ConfigError("a reward model is no metric of answers", where=where)
            return Metric(name, each, "prompt", rule=function)
    forms = ", ".join(f"{each}:{function}" for each in BY_FUNCTION)
    raise ConfigError(f"no metric {name[:80]!r}", expected=f"one of {forms}", where=where)


def sources(metrics: Iterable[Metric]) -> dict[str, str]:
    """The reward functions that some metrics use: name to the sha256 of its file."""
    used = sorted({metric.rule for metric in metrics} - {""})
    return {name: rewards.source_digest(name) for name in used}


def functions_of(suite: Suite, metrics: Iterable[Metric]) -> dict[str, str]:
    """The code that a suite runs: reward functions, and tools as `tools/NAME`, to the sha256 of its
    file.
    """
    names = suite.tools.names if suite.tools else ()
    tools = {f"{tool_files.PREFIX}{name}": tool_files.source_digest(name) for name in names}
    return sources(metrics) | tools


def metrics_of(suite: Suite, where: str) -> list[Metric]:
    """A suite's metrics in its order. Raises `ConfigError` for an unknown name, or if samples are
    needed and the suite has none.
    """
    metrics = []
    for name in suite.metrics:
        metric = named(name, f"{where}.metrics")
        metrics.append(metric)
        if metric.needs == "sampled" and suite.generation.samples == 0:
            found, place = f"{name} needs sampled answers", f"{where}.generation.samples"
            raise ConfigError(found, where=place, expected="1 or more")
    for name in suite.tools.names if suite.tools else ():
        for mistake in tool_files.mistakes(name, f"{where}.tools"):
            raise mistake
    if suite.tools and any(metric.needs not in BY_FUNCTION for metric in metrics):
        found = "only metrics of answers can have tools"
        raise ConfigError(found, where=f"{where}.tools", fix="delete the field")
    if len({metric.kind for metric in metrics}) > 1:
        found = "metrics of different dataset kinds in one suite"
        raise ConfigError(found, where=where, fix="make two suites")
    return metrics


def suite_digest(suite: Suite, records: str) -> str:
    """Identifies an evaluation: sha256 of the canonical JSON of its records, settings and metrics.

    Results with the same suite digest can be compared item by item. The sources of the rules are
    part of it.
    """
    content: dict[str, Any] = {
        "records": records,
        "split": suite.split,
        "limit": suite.limit,
        "metrics": suite.metrics,
        "rules": functions_of(suite, map(named, suite.metrics)),
        "generation": suite.generation.model_dump(mode="json"),
        "seed": suite.seed,
    }
    if suite.tools is not None:
        content["rounds"] = suite.tools.rounds
    return hashlib.sha256(canonical.dumps(content)).hexdigest()


def rows_of(records: Path, suite: Suite, metrics: list[Metric], where: str) -> list[dict[str, Any]]:
    """The suite's records in the order of their ids: the first `limit` of its split."""
    from pipelines.shards import of_split, open_records

    stored = open_records(records)
    if stored.kind != metrics[0].kind:
        kinds = f"records of kind {metrics[0].kind}, these are of kind {stored.kind}"
        raise ConfigError(f"{metrics[0].name} is for {kinds}", where=f"{where}.metrics")
    tables = (of_split(table, suite.split) for table in stored.tables())
    rows = [row for table in tables for row in table.to_pylist()]
    if not rows:
        found, fix = f"no records in the split {suite.split!r}", "set `splits` of the dataset"
        raise ConfigError(found, where=where, fix=fix)
    return sorted(rows, key=lambda row: str(row["id"]))[: suite.limit]


def answer_score(
    metric: Metric, score: rewards.TrainerReward, texts: list[str], row: dict[str, Any]
) -> float | None:
    """The mean score of one item's answers, which are without what the model thought. None if the
    function needs a reference and the record has none, or if it gives None for each.

    `score` is the metric's function (`pipelines.training.rewards.for_trainer`), `row` the record.
    """
    answer = row["answer"]
    if answer is None and metric.needs_reference:
        return None
    from pipelines.kinds import EXTRA  # its import takes pyarrow, which no declaration needs

    extra = json_texts.loads(row.get(EXTRA) or "{}")
    columns = {"answer": answer, **extra}
    scores = score(
        prompts=[row["prompt"]] * len(texts),
        completions=[[{"role": "assistant", "content": text}] for text in texts],
        **{name: [value] * len(texts) for name, value in columns.items()},
    )
    return mean([None if each is None else metric.scale * each for each in scores])


def mean(scores: list[float | None]) -> float | None:
    """The mean of the scores that exist."""
    present = [score for score in scores if score is not None]
    return sum(present) / len(present) if present else None
