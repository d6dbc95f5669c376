"""`countersign agreement FILE`: how far raters agree, and who should be looked at. It needs no
project and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from governance.attest.predicates import Finding
from governance.base.distribution import pip_install
from governance.base.errors import ConfigError
from governance.base.progress import Progress
from governance.commands import session
from governance.commands.session import FILE, Call

if TYPE_CHECKING:
    from pipelines.agreement.bootstrap import Estimate, Estimates
    from pipelines.agreement.majority import Disputes, Overruled
    from pipelines.agreement.panel import Level, Panel
    from pipelines.agreement.reading import Columns

NAMES = {
    "alpha": "Krippendorff's alpha",
    "fleiss_kappa": "Fleiss' kappa",
    "cohen_kappa": "Cohen's kappa",
    "ac1": "Gwet's AC1",
    "agreement": "agreement",
}
KINDS = ("nominal", "ordinal", "interval", "ratio")
WIDTH = 24


@dataclass(frozen=True)
class Sampling:
    """How intervals are made."""

    samples: int
    seed: int


@dataclass(frozen=True)
class Result:
    """What was computed of one file."""

    file: str
    kind: str
    sampling: Sampling
    whole: Estimates
    slices: dict[str, dict[str, Estimates]]
    """Column to slice to figures."""
    left_out: tuple[str, ...]
    """The raters named by --exclude, else those with findings."""
    without: Estimates | None
    disputes: Disputes
    overruled: dict[str, dict[str, Overruled]]
    """Attribute of --groups to group to counts."""
    not_searched: tuple[str, ...]
    """What was not looked for, in words."""
    findings: list[Finding]


@click.command("agreement")
@click.argument("file", type=FILE)
@click.option("--raters", metavar="A,B,C", default="", help="Their columns; or of --rater, whom.")
@click.option("--item", default="", metavar="FIELD", help="A row is one rating: of which item.")
@click.option("--pair", default="", metavar="A,B", help="A row is one choice: between which two.")
@click.option("--rater", default="", metavar="FIELD", help="A row is one rating: by whom.")
@click.option("--value", default="", metavar="FIELD", help="A row is one rating: the rating.")
@click.option("--kind", type=click.Choice(KINDS), default="nominal", show_default=True)
@click.option("--slice", "slices", multiple=True, metavar="FIELD", help="Figures for each value.")
@click.option("--exclude", metavar="A,B", default="", help="Compute without these raters, too.")
@click.option("--position", default="", metavar="FIELD", help="The rating that stood first.")
@click.option("--seconds", default="", metavar="FIELD", help="How long a rating took.")
@click.option(
    "--batch", default="", metavar="FIELD", help="When or by which guideline: find drift."
)
@click.option("--groups", type=FILE, help="Rows of a rater and attributes: who is overruled.")
@click.option("--samples", type=click.IntRange(100, 100_000), default=2_000, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True)
@session.options("as_json")
def command(call: Call, file: Path, **options: Any) -> None:
    """Show how far the raters of FILE (JSONL, JSON, CSV, Parquet) agree, with 95% intervals, by
    slice and rater, and which raters to look at.

    Rows are items with a column for each rater (--raters), or single ratings (--item, --rater,
    --value), or single choices (--pair, too). With a column for each rater, {rater} in --position
    and --seconds stands for the rater. Several columns can name an item: --item question,turn
    """
    _libraries()
    columns = _columns(options)
    sampling = Sampling(options["samples"], options["seed"])
    exclude, groups = _names(options["exclude"]), options["groups"]
    result = _result(file, columns, options["kind"], exclude, sampling, groups)
    call.show(document(result), list(lines(result)))


def _libraries() -> None:
    """Raises `ConfigError` where the libraries for figures are not installed."""
    missing = [name for name in ("numpy", "scipy", "pyarrow") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"{', '.join(missing)} is not installed", fix=pip_install("pipeline"))


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _columns(options: dict[str, Any]) -> Columns:
    """Raises `ConfigError` unless the options say one shape."""
    from pipelines.agreement.reading import Columns

    long = [options[name] for name in ("item", "rater", "value")]
    raters = _names(options["raters"])
    pair = _names(options["pair"])
    if any(long) and not all(long):
        found = "--item, --rater and --value belong together"
        raise ConfigError(found, expected="all three, or --raters alone")
    if pair and (len(pair) != 2 or not all(long) or options["position"]):
        expected = "--pair FIELD,FIELD with --item, --rater and --value, without --position"
        raise ConfigError("--pair with other options", expected=expected)
    if not any(long) and len(raters) < 2:
        found = f"--raters names {len(raters)}"
        fix = "where each row is one rating: --item FIELD --rater FIELD --value FIELD"
        raise ConfigError(found, expected="two columns or more: --raters a,b,c", fix=fix)
    return Columns(
        raters=raters,
        item=_names(options["item"]),
        pair=pair,
        rater=options["rater"],
        value=options["value"],
        slices=tuple(dict.fromkeys(options["slices"])),
        position=options["position"],
        seconds=options["seconds"],
        batch=options["batch"],
    )


# --- figures --------------------------------------------------------------------------------------


def _result(
    file: Path,
    columns: Columns,
    kind: Level,
    exclude: tuple[str, ...],
    sampling: Sampling,
    groups: Path | None,
) -> Result:
    import numpy as np

    from pipelines.agreement.majority import disputes, overruled, read_groups
    from pipelines.agreement.reading import read
    from pipelines.agreement.suspicions import drifts, not_searched, prevalence, suspicions

    progress = Progress()
    with progress.bar(0, "rows read") as bar:
        ratings = read(file, columns, kind, bar.advance)
    panel = ratings.panel
    grouped = read_groups(groups, panel.raters) if groups else {}
    estimated = partial(_estimated, progress, kind, sampling)
    whole = estimated("all", panel)
    slices = {
        column: {
            name or "(none)": estimated(name, panel.of_items(np.array(of_item) == name))
            for name in sorted(set(of_item))
        }
        for column, of_item in ratings.slices.items()
    }
    about = suspicions(ratings, kind)
    suspects = {rater for suspicion in about for rater in suspicion.raters}
    left_out = _left_out(panel, exclude, suspects)
    without = estimated("without", panel.without(left_out)) if left_out else None
    return Result(
        file=file.name,
        kind=kind,
        sampling=sampling,
        whole=whole,
        slices=slices,
        left_out=left_out,
        without=without,
        disputes=disputes(panel),
        overruled=overruled(panel, grouped),
        not_searched=tuple(why for _, why in not_searched(ratings)),
        findings=[
            *(suspicion.finding for suspicion in about),
            *(drifting.finding for drifting in drifts(ratings, kind)),
            *prevalence(ratings, whole.pool),
        ],
    )


def _estimated(
    progress: Progress, kind: Level, sampling: Sampling, name: str, panel: Panel
) -> Estimates:
    from pipelines.agreement.bootstrap import estimates

    with progress.bar(sampling.samples, f"samples ({name})") as bar:
        return estimates(panel, kind, sampling.samples, sampling.seed, bar.advance)


def _left_out(panel: Panel, exclude: tuple[str, ...], suspects: set[str]) -> tuple[str, ...]:
    """The raters without whom to compute, too; none where fewer than two would remain. Raises
    `ConfigError` for names that --exclude cannot have.
    """
    unknown = [name for name in exclude if name not in panel.raters]
    if unknown:
        expected = f"one of: {', '.join(panel.raters[:20])}"
        raise ConfigError(f"no rater {unknown[0][:80]!r}", where="--exclude", expected=expected)
    if len(panel.raters) - len(exclude) < 2:
        found = f"{len(panel.raters) - len(exclude)} raters would remain"
        raise ConfigError(found, where="--exclude", expected="two or more")
    left_out = exclude or tuple(name for name in panel.raters if name in suspects)
    return left_out if len(panel.raters) - len(left_out) >= 2 else ()


# --- output ---------------------------------------------------------------------------------------


def document(result: Result) -> dict[str, Any]:
    """The result for scripts. A figure that is not defined is null."""
    return {
        "file": result.file,
        "kind": result.kind,
        "confidence": 0.95,
        **asdict(result.sampling),
        **asdict(result.whole),
        "slices": {
            column: {name: asdict(figures) for name, figures in slices.items()}
            for column, slices in result.slices.items()
        },
        "left_out": list(result.left_out),
        "without": asdict(result.without) if result.without else None,
        "disputes": asdict(result.disputes),
        "overruled": {
            attribute: {group: asdict(counts) for group, counts in table.items()}
            for attribute, table in result.overruled.items()
        },
        "not_searched": list(result.not_searched),
        "findings": [finding.model_dump(mode="json") for finding in result.findings],
    }


def lines(result: Result) -> Iterator[str]:
    """The result for people."""
    whole, sampling = result.whole, result.sampling
    yield (
        f"{whole.items:,} items, {whole.ratings:,} ratings, {len(whole.raters)} raters; alpha is"
        f" {result.kind}; 95% intervals from {sampling.samples:,} samples"
    )
    yield ""
    columns = [("all", whole)]
    if result.without:
        columns.append((f"without {', '.join(result.left_out)}", result.without))
    yield f"{'':<{WIDTH}}" + "".join(f"{name:<{WIDTH}}" for name, _ in columns).rstrip()
    for key, name in NAMES.items():
        cells = [_figure(figures.pool.get(key)) for _, figures in columns]
        yield _row(name, cells)
    for column, slices in result.slices.items():
        yield from _table(
            column, {_counted(name, figures): figures.pool for name, figures in slices.items()}
        )
    yield from _table("rater, with the others", whole.raters)
    yield ""
    disputes = result.disputes
    yield (
        f"items: {disputes.unanimous:,} unanimous, {disputes.majority:,} with a majority,"
        f" {disputes.split:,} split"
    )
    for attribute, table in result.overruled.items():
        yield from _overruled(attribute, table)
    yield ""
    for finding in result.findings:
        yield f"{finding.code}  {finding.subject}: {finding.message}"
        yield f"  found: {finding.found}"
        yield f"  expected: {finding.expected}"
        yield f"  next: {finding.next}"
    if not result.findings:
        yield "no rater stands out"
    if result.not_searched:
        yield f"not looked for: {'; '.join(result.not_searched)}"


def _overruled(attribute: str, table: dict[str, Overruled]) -> Iterator[str]:
    """Whose ratings the majority of their items overruled, by groups of raters."""
    yield ""
    yield _row(f"{attribute}: overruled", ["by the majority", "raters"])
    for group, counts in table.items():
        share = f" ({counts.overruled / counts.ratings:.0%})" if counts.ratings else ""
        found = f"{counts.overruled:,} of {counts.ratings:,}{share}"
        yield _row(f"  {group}", [found, f"{counts.raters:,}"])
    if not table:
        yield "  too few raters to show groups"


def _table(title: str, rows: dict[str, dict[str, Estimate]]) -> Iterator[str]:
    """Figures of slices or raters."""
    keys = [key for key in NAMES if any(key in figures for figures in rows.values())]
    width = max(WIDTH, *(len(name) + 4 for name in (title, *rows)))
    yield ""
    yield _row(title, [NAMES[key] for key in keys], width)
    for name, figures in rows.items():
        yield _row(f"  {name}", [_figure(figures.get(key)) for key in keys], width)


def _counted(name: str, figures: Estimates) -> str:
    return f"{name} ({figures.items:,})"


def _row(name: str, cells: Sequence[str], width: int = WIDTH) -> str:
    return f"{name:<{width}}{''.join(f'{cell:<{WIDTH}}' for cell in cells)}".rstrip()


def _figure(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "-"
    if estimate.low is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
