"""`countersign add FILE`: writes a dataset's row in params.yaml and its datacard.

It guesses the kind from the first rows and shows three records (shortened, and on a terminal only).
It changes nothing until all that it would write is valid.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click

from governance.attest.digests import digest_of
from governance.base.errors import ConfigError, InputError, unknown
from governance.base.storage import write_atomic
from governance.base.yaml import NAME, edited, is_name, load_model, parse_yaml
from governance.policy.data import QualitySuite
from governance.policy.rules import Datacard
from pipelines.commands.params_edit import WHERE, with_dataset, with_row
from pipelines.commands.policy_edit import POLICY, with_ignored_fields
from pipelines.kinds import KINDS
from pipelines.metrics import metrics_of
from pipelines.params import Params, Suite, broken_references, load_params
from pipelines.quality_suites import suite_mistake
from pipelines.sources.binding import PROBE, Binding, NoShape, bind, fitting_kinds
from pipelines.sources.plain_names import plain_name
from pipelines.sources.readers import RowProblem, read_rows, source_files

SHOWN = 3
"""Number of records that are shown."""

WIDTH = 100
"""Characters of each text that are shown."""

SUITES = Path("policies/quality")
CARDS = Path("policies/datacards")

CARD = """\
# yaml-language-server: $schema=../schemas/datacard.json
# What is declared about this dataset. The gate names every blank; nothing trains until none is left
title: ""
steward: ""            # who answers for it: a role or a team
origin: ""             # who made it, how and when, and how it came here
licence: ""            # SPDX identifier, or a name that policies/policy.yaml lists
lawful_basis: null     # no_personal_data, consent, contract, legal_obligation,
                       # vital_interests, public_task, legitimate_interests
purposes: []           # what it may be used for, e.g. [customer-support]
regions: []            # where it may be processed: [DE, EU] or [anywhere]
classification: null   # public, internal, confidential, restricted
retention: {{until: null, then: ""}}   # last day, and what then: {{until: 2030-12-31, then: erase}}
labelling: ""          # who labelled it and under which guidelines; `none` where nobody did
suite: {suite}   # of policies/quality/: what params.yaml has it held to must be this one
source_sha256: {sha256}   # the source as it was added; null where it may change
"""


@dataclass(frozen=True)
class Added:
    """What was found in a file, and what was written."""

    name: str
    kind: str
    fits: list[str]
    """Kinds that fit the rows, the most likely first."""
    shape: str
    fields: dict[str, str]
    row: dict[str, Any]
    ignored_fields: list[str]
    """Written to policy: fields of the source that no record keeps and that may be left out."""
    datacard: str
    blanks: list[str]
    rows_tried: int
    problems: dict[str, int]
    """Finding code to the number of rows that could not become records."""
    next: list[str]


@dataclass(frozen=True)
class Tried:
    """The first rows of a file, made to records by one binding."""

    binding: Binding
    rows: int
    records: list[dict[str, Any]]
    problems: Counter[str]
    """Finding code to the number of rows that could not become records."""
    lost: list[str]
    """Fields that no record keeps, as patterns that match the names in statements, sorted."""


@click.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="The dataset's name; by default the file's.")
@click.option(
    "--kind", type=click.Choice(list(KINDS)), help="What one record is; guessed by default."
)
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="TARGET=SOURCE",
    help="A field by hand: prompt=question.",
)
@click.option(
    "--held-out",
    help="The dataset no record may leak into; by default the suite of the first release.",
)
@click.option("--suite", help="The quality suite; by default that of the kind.")
@click.option(
    "--evaluation", is_flag=True, help="Models are evaluated on it: no record of it trains."
)
@click.option(
    "--metric",
    "named",
    multiple=True,
    metavar="METRIC",
    help="What --evaluation measures; by default the usual metric of the kind.",
)
@click.option("--card", "like", metavar="DATASET", help="Begin with the datacard of this dataset.")
@click.option("--encoding", default="utf-8", show_default=True)
@click.option("--text", is_flag=True, help="Show the texts where output is no terminal, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; shows no text.")
def command(
    file: Path,
    name: str | None,
    kind: str | None,
    fields: tuple[str, ...],
    held_out: str | None,
    suite: str | None,
    evaluation: bool,
    named: tuple[str, ...],
    like: str | None,
    encoding: str,
    text: bool,
    as_json: bool,
) -> None:
    """Add a dataset from FILE, a JSONL, JSON, CSV or Parquet file or a folder of them."""
    root = Path.cwd()
    params, rows = load_params(root), first_rows(file, encoding)
    given = _given(fields)
    fits = [kind] if kind else fitting_kinds(rows)
    if not fits:
        raise _no_kind(file, rows)
    tried = tried_rows(bind(fits[0], rows, given, str(file)), rows)
    name = slug(file) if name is None else require_name(name)
    row: dict[str, Any] = {
        "kind": fits[0],
        "source": Path(os.path.relpath(file, root)).as_posix(),
        "suite": suite or usual_suite(fits[0], tried),
        "held_out": held_out or (name if evaluation else _first_suite(params)),
    }
    if evaluation:
        row["splits"] = {"train": 0, "test": 1}
    require_suite(root, row["suite"], fits[0])
    if given:
        row["fields"] = given
    if encoding != "utf-8":
        row["encoding"] = encoding
    blank = CARD.format(suite=row["suite"], sha256=digest_of(file))
    card = _like(root, like, row["suite"], digest_of(file)) if like else blank
    metrics = _metrics(fits[0], tried, named) if evaluation else None
    path = write(root, name, row, card, metrics, tried.lost)
    added = _added(name, fits, tried, row, path, card, metrics, params)
    if as_json:
        click.echo(json.dumps(asdict(added), indent=2, sort_keys=True))
    else:
        click.echo("\n".join(_shown(added, tried.records, texts=text or sys.stdout.isatty())))


# --- looking --------------------------------------------------------------------------------------


def first_rows(source: Path, encoding: str) -> list[dict[str, Any]]:
    """The first readable rows of a source's first file. Raises `InputError` where there are
    none.
    """
    path = source_files(source)[0][1]
    rows = list(islice(read_rows(path, encoding), PROBE))
    readable = [row.value for row in rows if row.problem is None]
    if readable:
        return readable
    problem = next((row.problem for row in rows if row.problem), None)
    found, fix = "it holds no rows", ""
    if problem:
        found = f"none of the first rows can be read: {problem.reason}, {problem.detail}"
    if problem and problem.reason == "ROW_ENCODING":
        fix = "name its encoding, e.g. --encoding cp1252"
    raise InputError(found, where=str(path), expected="rows with named fields", fix=fix)


def tried_rows(binding: Binding, rows: Sequence[Mapping[str, Any]]) -> Tried:
    """The records that a binding makes of the rows."""
    tried = Tried(binding, len(rows), [], Counter(), [])
    lost: set[str] = set()
    for row in rows:
        try:
            tried.records.append(binding.record(row))
            lost |= binding.lost(row)
        except RowProblem as problem:
            tried.problems[problem.reason] += 1
    tried.lost.extend(sorted({glob.escape(plain_name(field)) for field in lost}))
    return tried


def slug(file: Path) -> str:
    """A dataset name made from a file name. Raises `ConfigError` if nothing usable is left."""
    stem = file.name if file.is_dir() else file.stem
    plain = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")[:63]
    if not is_name(plain):
        found = f"no name for a dataset in {file.name!r}"
        raise ConfigError(found, expected=NAME, fix="give it one: --name NAME")
    return plain


def require_name(name: str) -> str:
    """The name. Raises `ConfigError` for one that no dataset can have."""
    if not is_name(name):
        raise ConfigError(f"{name[:80]!r} is no name of a dataset", where="--name", expected=NAME)
    return name


def _first_suite(params: Params) -> str:
    release = next(iter(params.releases.values()))
    return params.suite_of(release.stage)


def _given(fields: Sequence[str]) -> dict[str, str]:
    pairs = [field.partition("=") for field in fields]
    for target, sign, source in pairs:
        if not (target and sign):
            expected = "TARGET=SOURCE, e.g. prompt=question; or TARGET= to take none"
            raise ConfigError(f"--field {target}{source}", expected=expected)
    return {target: source for target, _, source in pairs}


def _no_kind(file: Path, rows: Sequence[Mapping[str, Any]]) -> InputError:
    """The error if no kind fits: the reason of the nearest kind, and how to name the fields by
    hand.
    """
    misfits: list[NoShape] = []
    for kind in ("prompt", "conversation", "preference", "unpaired", "rated"):
        try:
            bind(kind, rows, {}, str(file))
        except NoShape as error:
            misfits.append(error)
    nearest = next((error for error in misfits if error.row_problem), None)
    found = nearest.found if nearest else "the fields of the rows fit no known kind"
    names = {name for row in rows for name in row if re.fullmatch(r"[\w.-]{1,64}", name)}
    columns = ", ".join(sorted(names)[:20]) or "none"
    expected = f"one of the shapes in docs/your-own-data.md; this file has the fields {columns}"
    fix = "name kind and fields by hand, e.g. --kind prompt --field prompt=question"
    return InputError(found, where=str(file), expected=expected, fix=fix)


# --- writing --------------------------------------------------------------------------------------


def usual_suite(kind: str, tried: Tried) -> str:
    """The default quality suite of a kind. Plain text has its own, and so have prompts that mostly
    have no answer.
    """
    if tried.binding.shape.name == "text":
        return "text"
    answered = sum(record.get("answer") is not None for record in tried.records)
    return "question" if kind == "prompt" and 2 * answered < len(tried.records) else kind


def require_suite(root: Path, name: str, kind: str) -> None:
    """Raises `ConfigError` unless there is a quality suite of this name, for this kind."""
    files = sorted((root / SUITES).glob("*.yaml"))
    kinds = {path.stem: load_model(path, QualitySuite).kind for path in files}
    if mistake := suite_mistake(kinds, name, kind, f"{SUITES}/{name}.yaml"):
        raise mistake


def _like(root: Path, other: str, suite: str, sha256: str) -> str:
    """The datacard of another dataset, for another suite and source. Raises `ConfigError`."""
    path = root / CARDS / f"{other}.yaml"
    if not path.is_file():
        known = sorted(card.stem for card in (root / CARDS).glob("*.yaml"))
        raise unknown("datacard", other, known, f"{CARDS}")
    load_model(path, Datacard)

    def change(card: Any) -> None:
        card["suite"], card["source_sha256"] = suite, sha256

    return edited(path.read_text(encoding="utf-8"), change)


def _metrics(kind: str, tried: Tried, named: Sequence[str]) -> list[str]:
    """What models are evaluated with on such records. Raises `ConfigError`."""
    answers = any(record.get("answer") is not None for record in tried.records)
    if not named:
        return [_usual_metric(kind, answers=answers)]
    for metric in metrics_of(Suite(metrics=[*named]), "--metric"):
        if metric.kind != kind:
            found = f"{metric.name} is for records of kind {metric.kind}, these are of kind {kind}"
            raise ConfigError(found, where="--metric")
        if metric.needs_reference and not answers:
            found = f"{metric.name} needs reference answers, and these prompts have none"
            raise ConfigError(found, where="--metric", expected="greedy_refused, for example")
    return [*named]


def _usual_metric(kind: str, *, answers: bool) -> str:
    usual = {"conversation": "loss", "preference": "pair_accuracy", "prompt": "greedy_exact"}
    if kind not in usual or (kind == "prompt" and not answers):
        what = "prompts without reference answers" if kind == "prompt" else f"kind {kind}"
        kinds = "prompts with answers, conversations or preferences"
        fix = "name one that needs none: --metric greedy_refused, greedy_over_refused"
        fix = fix if kind == "prompt" else ""
        raise ConfigError(f"{what}: no usual metric", expected=kinds, fix=fix)
    return usual[kind]


def write(
    root: Path,
    name: str,
    row: dict[str, Any],
    card: str,
    metrics: list[str] | None = None,
    ignored_fields: Sequence[str] = (),
) -> Path:
    """Writes row, datacard and the fields that policy lets be left out, all or nothing; returns the
    datacard's path. With `metrics`, models are evaluated on the dataset. Raises `ConfigError` or
    `Problems`.
    """
    path, params = CARDS / f"{name}.yaml", root / WHERE
    if (root / path).exists():
        found, fix = "there is a datacard already", "choose another --name, or remove it"
        raise ConfigError(found, where=str(path), fix=fix)
    text = with_dataset(params.read_text(encoding="utf-8"), name, row)
    if metrics:
        text = with_row(text, "suites", name, {"metrics": metrics})
    _validated(text)
    policy = _policy_with(root, name, ignored_fields)
    Datacard.model_validate(parse_yaml(card, str(path)))
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    write_atomic(root / path, card.encode())
    if policy:
        write_atomic(root / POLICY, policy.encode())
    write_atomic(params, text.encode())
    return path


def _policy_with(root: Path, name: str, ignored_fields: Sequence[str]) -> str | None:
    """The new text of policy.yaml; None if nothing is to be left out."""
    if not ignored_fields:
        return None
    text = (root / POLICY).read_text(encoding="utf-8")
    return with_ignored_fields(text, name, list(ignored_fields))


def _validated(text: str) -> None:
    from pydantic import ValidationError

    try:
        params = Params.model_validate(parse_yaml(text, WHERE))
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{WHERE}: {'.'.join(map(str, first['loc']))}"
        raise ConfigError(first["msg"], where=where) from None
    if broken := broken_references(params, Path(WHERE)):
        raise broken[0]


# --- the result -----------------------------------------------------------------------------------


def _added(
    name: str,
    fits: list[str],
    tried: Tried,
    row: dict[str, Any],
    card_path: Path,
    card: str,
    metrics: list[str] | None,
    params: Params,
) -> Added:
    blanks = Datacard.model_validate(parse_yaml(card, str(card_path))).blanks()
    steps = [f"{'fill in' if blanks else 'check'} {card_path}"]
    if metrics:
        steps += [
            f"choose the metrics: {WHERE}, suites.{name}; now {', '.join(metrics)}",
            f"set thresholds: policies/evaluation.yaml, suites.{name}",
            f"name it as `suite` of a stage, and as `held_out` of what trains: {WHERE}",
            f"or evaluate models on it too: {WHERE}, evaluations",
        ]
    if tried.lost:
        steps.append(f"check what may be left out: {POLICY}, ingest.ignored_fields.{name}")
    steps.append(f"countersign repro check_quality@{name}")
    if row["source"].startswith("../"):
        copy = "copy the source into data/source/ and name it there, so that others have it too"
        steps.insert(0, copy)
    elif _is_ignored_and_kept_nowhere(row["source"], params):
        steps.insert(0, f"dvc add {shlex.quote(row['source'])}")
    return Added(
        name=name,
        kind=fits[0],
        fits=fits,
        shape=tried.binding.shape.name,
        fields=dict(tried.binding.names),
        row=row,
        ignored_fields=tried.lost,
        datacard=str(card_path),
        blanks=blanks,
        rows_tried=tried.rows,
        problems=dict(sorted(tried.problems.items())),
        next=steps,
    )


def _is_ignored_and_kept_nowhere(source: str, params: Params) -> bool:
    """Whether nobody else would have the source: git ignores it, and no stage of DVC makes it."""
    made = {f"data/source/{name}.jsonl" for name in params.samples}
    made |= {f"data/source/{name}.parquet" for name in params.hub}
    kept = source in made or Path(f"{source}.dvc").exists()
    return source.startswith("data/source/") and not kept


def _shown(added: Added, records: list[dict[str, Any]], *, texts: bool) -> Iterator[str]:
    """The result for people. It has record text only if `texts` is set, for the person's own
    screen.
    """
    others = f" (it could also be: {', '.join(added.fits[1:])}; --kind)" if added.fits[1:] else ""
    fields = ", ".join(f"{slot} = {name}" for slot, name in added.fields.items())
    yield f"{added.name}: kind {added.kind}{others}"
    yield f"shape: {added.shape} ({fields})"
    yield ""
    for number, record in enumerate(records[:SHOWN], start=1):
        yield f"record {number}"
        yield from _lines(record, texts=texts)
    if added.problems:
        reasons = ", ".join(f"{reason} {count}" for reason, count in added.problems.items())
        yield ""
        yield f"of the first {added.rows_tried} rows these cannot be records: {reasons}"
    if added.ignored_fields:
        yield ""
        yield f"no record keeps these fields: {', '.join(added.ignored_fields)}"
        yield f"{POLICY} now permits to leave them out: ingest.ignored_fields.{added.name}"
        yield "(to use one: --field TARGET=SOURCE; to report by one: `slices` in the row)"
    yield ""
    yield f"written: {WHERE} (datasets.{added.name}), {added.datacard}"
    yield f"quality suite: {added.row['suite']} (--suite)"
    yield f"leaks are searched for into: {added.row['held_out']} (--held-out)"
    if added.blanks:
        yield f"blank in the datacard: {', '.join(added.blanks)}"
    yield "next:"
    yield from (f"  {step}" for step in added.next)


def _lines(record: Mapping[str, Any], *, texts: bool) -> Iterator[str]:
    for column, value in record.items():
        if column == "ratings":
            yield f"  {column}: {', '.join(str(rating['value']) for rating in value)}"
        elif isinstance(value, list):
            answers = value if value and isinstance(value[0], list) else [value]
            for message in chain.from_iterable(answers):
                text = _text(_shown_message(message), texts=texts)
                yield f"  {column} / {message['role']}: {text}"
        elif value is not None or column == "answer":
            shown = _text(value, texts=texts) if isinstance(value, str) else value
            yield f"  {column}: {shown}"


def _shown_message(message: Mapping[str, Any]) -> str:
    """What a message thinks, says and calls."""
    parts = [message.get("thinking"), message["content"], message.get("tool_calls")]
    return " | ".join(part for part in parts if part)


def _text(text: str, *, texts: bool) -> str:
    if not texts:
        return f"{len(text)} characters"
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= WIDTH else f"{line[:WIDTH]}... ({len(text)} characters)"
