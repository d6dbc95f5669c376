"""`countersign judge FILE...`: win rates, ratings and consistency from judged comparisons. It needs
no project and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from governance.attest.predicates import Finding
from governance.base.distribution import pip_install
from governance.base.errors import ConfigError
from governance.base.progress import Progress
from governance.base.text import one_line
from governance.commands import session
from governance.commands.session import FILE, Call

if TYPE_CHECKING:
    from pipelines.judging.battles import Battle, Judged, Score
    from pipelines.judging.length_control import Baseline, LengthControlled
    from pipelines.judging.ratings import Ratings
    from pipelines.judging.resampling import Estimate, Sampling
    from pipelines.judging.winrates import MeanScore, Orders, WinRate

WIDTH = 22


@dataclass(frozen=True)
class Result:
    """What was computed of the files."""

    files: list[str]
    judges: list[str]
    questions: int
    comparisons: int
    baseline: str | None
    """The model that all others are compared with."""
    price: float | None
    """The sum that the files have."""
    win_rates: list[WinRate]
    length_controlled: dict[str, LengthControlled]
    orders: Orders | None
    ratings: Ratings | str | None
    """Or why there are none."""
    style_controlled: Ratings | str | None
    scores: list[MeanScore]
    findings: list[Finding]


@click.command("judge")
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--difficulties", type=FILE, help="AlpacaEval's df_gamed.csv, for its figure.")
@click.option("--anchor", default="", metavar="MODEL", help="The model that is rated 1000.")
@click.option("--samples", type=click.IntRange(100, 10_000), default=1_000, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True)
@session.options("as_json")
def command(
    call: Call,
    files: tuple[Path, ...],
    difficulties: Path | None,
    anchor: str,
    samples: int,
    seed: int,
) -> None:
    """Show win rates with 95% intervals, also at equal length, Bradley-Terry ratings, also at equal
    style, and how consistent the judge is, from FILES of AlpacaEval, MT-Bench or Arena (JSONL,
    JSON, CSV, Parquet).
    """
    missing = [name for name in ("numpy", "scipy", "pyarrow", "sklearn") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"{', '.join(missing)} is not installed", fix=pip_install("pipeline"))
    from pipelines.judging.baselines import read_baseline
    from pipelines.judging.reading import read_all
    from pipelines.judging.resampling import Sampling

    with Progress().bar(0, "rows read") as bar:
        judged = read_all(files, bar.advance)
    baseline = read_baseline(difficulties) if difficulties else None
    sampling = Sampling(samples, seed)
    result = _result([file.name for file in files], judged, baseline, anchor, sampling)
    call.show(document(result, sampling), list(lines(result, sampling)))


def _result(
    files: list[str], judged: Judged, known: Baseline | None, anchor: str, sampling: Sampling
) -> Result:
    from pipelines.judging.suspicions import suspicions
    from pipelines.judging.winrates import mean_scores, orders, win_rates

    battles, scores = judged.battles, judged.scores
    baseline = battles[0].second if judged.has_baseline else None
    prices = [battle.price for battle in battles if battle.price is not None]
    told: list[Battle | Score] = [*battles, *scores]
    rated = bool(anchor) or baseline is None or len({battle.first for battle in battles}) > 1
    return Result(
        files=files,
        judges=sorted({each.judge for each in told if each.judge}),
        questions=len({each.item for each in told}),
        comparisons=len(battles),
        baseline=baseline,
        price=sum(prices) if prices else None,
        win_rates=win_rates(battles, sampling, baseline=judged.has_baseline) if battles else [],
        length_controlled=_length_controlled(battles, known, sampling) if baseline else {},
        orders=orders(battles, sampling),
        ratings=_ratings(battles, sampling, anchor) if battles and rated else None,
        style_controlled=(
            _ratings(battles, sampling, anchor, control=True)
            if rated and any(battle.answers for battle in battles)
            else None
        ),
        scores=mean_scores(scores, sampling) if scores else [],
        findings=list(suspicions(battles)),
    )


def _ratings(
    battles: Sequence[Battle], sampling: Sampling, anchor: str, *, control: bool = False
) -> Ratings | str:
    from pipelines.judging.ratings import NoRatingsError, ratings

    try:
        return ratings(battles, sampling, anchor=anchor, control=control)
    except NoRatingsError as error:
        return str(error)


def _length_controlled(
    battles: Sequence[Battle], known: Baseline | None, sampling: Sampling
) -> dict[str, LengthControlled]:
    """Model to its win rate at equal length; of models whose answers are all there. Raises
    `ConfigError` where there are more comparisons than difficulties.
    """
    import numpy as np

    from pipelines.judging.length_control import length_controlled

    found = {}
    for model in dict.fromkeys(battle.first for battle in battles):
        own = [battle for battle in battles if battle.first == model]
        answers = [battle.answers for battle in own if battle.answers]
        if len(answers) < len(own):
            continue
        if known is not None and max(battle.position for battle in own) >= len(known.difficulty):
            what = f"{len(known.difficulty):,} difficulties, and a comparison at a later place"
            raise ConfigError(what, where="--difficulties", expected="files of one benchmark")
        result = length_controlled(
            np.array([np.nan if battle.win is None else battle.win for battle in own]),
            np.array([one.style.length - other.style.length for one, other in answers]),
            known.difficulty[[battle.position for battle in own]] if known else None,
            known.gamed if known else None,
            sampling,
        )
        if result is not None:
            found[model] = result
    return found


# --- output ---------------------------------------------------------------------------------------


def document(result: Result, sampling: Sampling) -> dict[str, Any]:
    """The result for scripts. A figure that is not defined is null."""
    return {
        **asdict(result),
        "confidence": 0.95,
        **asdict(sampling),
        "findings": [finding.model_dump(mode="json") for finding in result.findings],
    }


def lines(result: Result, sampling: Sampling) -> Iterator[str]:
    """The result for people."""
    judges = one_line(", ".join(result.judges[:5])) or "not named"
    yield (
        f"{result.questions:,} questions, {result.comparisons:,} comparisons; judge: {judges};"
        f" 95% intervals from {sampling.samples:,} samples"
    )
    if result.price is not None:
        yield f"price of the judgements, as the files have it: {result.price:.2f}"
    yield from _of_orders(result.orders)
    yield from _of_win_rates(result)
    yield from _of_ratings("rating", result.ratings)
    yield from _of_ratings("rating at equal style", result.style_controlled)
    if result.scores:
        yield ""
        yield _row("mean score", ["", "answers", "no score", "by turn"])
    for each in result.scores:
        turns = ", ".join(f"{turn}: {mean:.2f}" for turn, mean in each.turns.items())
        yield _row(each.model, [_figure(each.mean), str(each.answers), str(each.no_verdict), turns])
    for finding in result.findings:
        yield ""
        yield f"{finding.code}  {finding.subject}: {finding.message}"
        yield f"  found: {finding.found}"
        yield f"  expected: {finding.expected}"
        yield f"  next: {finding.next}"


def _of_orders(orders: Orders | None) -> Iterator[str]:
    if orders is None:
        yield "order consistency: not shown; the files do not have both orders of the answers"
        return
    yield (
        f"order consistency: {_figure(orders.rate)} of {orders.comparisons:,} comparisons in both"
        f" orders; the answer shown first won both times in {orders.first:,}, the second in"
        f" {orders.second:,}"
    )


def _of_win_rates(result: Result) -> Iterator[str]:
    if not result.win_rates:
        return
    yield ""
    against = f"win rate against {result.baseline}" if result.baseline else "win rate"
    width = max(WIDTH, *(len(each.model) + 2 for each in result.win_rates), len(against) + 2)
    controlled = ["at equal length"] * bool(result.length_controlled)
    yield _row(against, ["", *controlled, "won", "tied", "lost", "no verdict"], width)
    for each in result.win_rates:
        equal = result.length_controlled.get(each.model)
        cells = [_figure(each.rate)]
        cells += [_figure(equal.rate) if equal else "-"] * bool(controlled)
        counts = (each.wins, each.ties, each.losses, each.no_verdict)
        yield _row(each.model, [*cells, *(f"{count:,}" for count in counts)], width)


def _of_ratings(title: str, ratings: Ratings | str | None) -> Iterator[str]:
    if ratings is None:
        return
    yield ""
    if isinstance(ratings, str):
        yield f"{title}: none; {ratings}"
        return
    width = max(WIDTH, len(title) + 2, *(len(model) + 2 for model in ratings.models))
    yield title
    for model, each in ratings.models.items():
        yield _row(model, [_figure(each, 0)], width)
    for term, each in ratings.style.items():
        yield _row(f"  effect of {term}", [_figure(each)], width)


def _row(name: str, cells: Sequence[str], width: int = WIDTH) -> str:
    figures = "".join(f"{cell:<24}" for cell in cells[:2])
    return f"{name:<{width}}{figures}{'  '.join(cells[2:])}".rstrip()


def _figure(each: Estimate, digits: int = 3) -> str:
    if each.value is None:
        return "-"
    if each.low is None or each.high is None:
        return f"{each.value:.{digits}f}"
    return f"{each.value:.{digits}f} [{each.low:.{digits}f}, {each.high:.{digits}f}]"
