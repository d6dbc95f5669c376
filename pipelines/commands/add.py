"""`countersign add FILE`: writes a dataset's row in params.yaml and its datacard.

It guesses the kind from the first rows and shows three records (shortened, and on a terminal only).
It changes nothing until all that it would write is valid.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click

from governance.attest.digests import digest_of
from governance.base.errors import ConfigError, InputError, did_you_mean
from governance.base.storage import write_atomic
from governance.base.yaml import load_model, parse_yaml
from governance.policy.data import QualitySuite
from governance.policy.policies import Datacard
from pipelines.commands.params_edit import WHERE, with_dataset
from pipelines.kinds import KINDS
from pipelines.params import Params, broken_references, load_params
from pipelines.sources.binding import PROBE, Binding, NoShape, bind, fitting_kinds
from pipelines.sources.readers import RowProblem, read_rows, source_files

SHOWN = 3
"""Number of records that are shown."""

WIDTH = 100
"""Characters of each text that are shown."""

SUITES = Path("policies/quality")

CARD = """\
# yaml-language-server: $schema=../schemas/datacard.json
# What is declared about {name}. The gate names every blank; nothing trains until all are filled in.
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
    datacard: str
    blanks: list[str]
    rows_tried: int
    problems: dict[str, int]
    """Finding code to the number of rows that could not become records."""
    next: list[str]


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
    "--held-out", help="The dataset no record may leak into; by default the released stage's suite."
)
@click.option("--suite", help="The quality suite; by default that of the kind.")
@click.option("--encoding", default="utf-8", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; shows no text.")
def command(
    file: Path,
    name: str | None,
    kind: str | None,
    fields: tuple[str, ...],
    held_out: str | None,
    suite: str | None,
    encoding: str,
    as_json: bool,
) -> None:
    """Add a dataset from FILE, a JSONL, JSON, CSV or Parquet file or a folder of them."""
    root = Path.cwd()
    params, rows = load_params(root), first_rows(file, encoding)
    given = _given(fields)
    fits = [kind] if kind else fitting_kinds(rows)
    if not fits:
        raise _no_kind(file, rows)
    binding = bind(fits[0], rows, given, str(file))
    dataset = name or slug(file)
    suite = suite or usual_suite(fits[0], binding, rows)
    require_suite(root, suite, fits[0])
    row = _row(root, file, fits[0], given, held_out or _released(params), suite, encoding)
    card = CARD.format(name=dataset, suite=suite, sha256=digest_of(file))
    written = write(root, dataset, row, card)
    added = _added(dataset, fits, binding, rows, row, written, card)
    if as_json:
        click.echo(json.dumps(asdict(added), indent=2, sort_keys=True))
    else:
        click.echo(_shown(added, binding, rows, texts=sys.stdout.isatty()))


# --- looking --------------------------------------------------------------------------------------


def first_rows(source: Path, encoding: str) -> list[dict[str, Any]]:
    """The first readable rows of a source's first file. Raises `InputError` where there are
    none.
    """
    path = source_files(source)[0][1]
    rows = list(islice(read_rows(path, encoding), PROBE))
    readable = [row.value for row in rows if row.problem is None]
    if not readable:
        problem = next((row.problem for row in rows if row.problem), None)
        why = (
            f"none of the first rows can be read: {problem.reason}, {problem.detail}"
            if problem
            else "it holds no rows"
        )
        fix = (
            "name its encoding, e.g. --encoding cp1252"
            if problem and problem.reason == "ROW_ENCODING"
            else ""
        )
        raise InputError(why, where=str(path), expected="rows with named fields", fix=fix)
    return readable


def slug(file: Path) -> str:
    """A dataset name made from a file name. Raises `ConfigError` if nothing usable is left."""
    stem = file.name if file.is_dir() else file.stem
    plain = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")[:63]
    if not re.match(r"[a-z]", plain):
        raise ConfigError(
            f"no name for a dataset in {file.name!r}",
            expected="letters",
            fix="give it one: --name NAME",
        )
    return plain


def _given(fields: Sequence[str]) -> dict[str, str]:
    pairs = [field.partition("=") for field in fields]
    for target, sign, source in pairs:
        if not (target and sign):
            raise ConfigError(
                f"--field {target}{source}",
                expected="TARGET=SOURCE, e.g. prompt=question; or TARGET= to take none",
            )
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
    columns = ", ".join(
        sorted({name for row in rows for name in row if re.fullmatch(r"[\w.-]{1,64}", name)})[:20]
    )
    return InputError(
        found,
        where=str(file),
        expected=(
            "one of the shapes in docs/your-own-data.md; this file has the fields"
            f" {columns or 'none'}"
        ),
        fix="name kind and fields by hand, e.g. --kind prompt --field prompt=question",
    )


# --- writing --------------------------------------------------------------------------------------


def usual_suite(kind: str, binding: Binding, rows: Sequence[Mapping[str, Any]]) -> str:
    """The default quality suite of a kind. Plain text has its own, and so have prompts that mostly
    have no answer.
    """
    if binding.shape.name == "text":
        return "text"
    records, _ = _tried(binding, rows)
    answered = sum(record.get("answer") is not None for record in records)
    return "question" if kind == "prompt" and 2 * answered < len(records) else kind


def require_suite(root: Path, name: str, kind: str) -> None:
    """Raises `ConfigError` unless there is a quality suite of this name, for this kind."""
    suites = {
        path.stem: load_model(path, QualitySuite).kind
        for path in sorted((root / SUITES).glob("*.yaml"))
    }
    if suites.get(name) == kind:
        return
    fitting = [one for one, of in suites.items() if of == kind]
    raise ConfigError(
        (
            f"the suite {name} is for {suites[name]}"
            if name in suites
            else f"no quality suite {name!r}"
        ),
        where=f"{SUITES}/{name}.yaml",
        expected=f"one for {kind}: {', '.join(fitting) or 'none is there yet'}",
        fix=did_you_mean(name, fitting),
    )


def _released(params: Params) -> str:
    return params.stages[params.release.stage].suite


def _row(
    root: Path,
    file: Path,
    kind: str,
    given: dict[str, str],
    held_out: str,
    suite: str,
    encoding: str,
) -> dict[str, Any]:
    source = Path(os.path.relpath(file, root)).as_posix()
    row: dict[str, Any] = {"kind": kind, "source": source, "suite": suite, "held_out": held_out}
    if given:
        row["fields"] = given
    if encoding != "utf-8":
        row["encoding"] = encoding
    return row


def write(root: Path, name: str, row: dict[str, Any], card: str) -> Path:
    """Writes row and datacard, both or neither; returns the datacard's path. Raises `ConfigError`
    or `Problems`.
    """
    path, params = Path("policies/datacards") / f"{name}.yaml", root / WHERE
    if (root / path).exists():
        raise ConfigError(
            "there is a datacard already",
            where=str(path),
            fix="choose another --name, or remove it",
        )
    text = with_dataset(params.read_text(encoding="utf-8"), name, row)
    _validated(text)
    Datacard.model_validate(parse_yaml(card, str(path)))
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    write_atomic(root / path, card.encode())
    write_atomic(params, text.encode())
    return path


def _validated(text: str) -> None:
    from pydantic import ValidationError

    try:
        params = Params.model_validate(parse_yaml(text, WHERE))
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            first["msg"], where=f"{WHERE}: {'.'.join(map(str, first['loc']))}"
        ) from None
    if broken := broken_references(params, Path(WHERE)):
        raise broken[0]


# --- saying ---------------------------------------------------------------------------------------


def _added(
    name: str,
    fits: list[str],
    binding: Binding,
    rows: Sequence[Mapping[str, Any]],
    row: dict[str, Any],
    card_path: Path,
    card: str,
) -> Added:
    outside = ["copy the source into data/source/ and name it there, so that others have it too"]
    outside = outside if row["source"].startswith("../") else []
    return Added(
        name=name,
        kind=fits[0],
        fits=fits,
        shape=binding.shape.name,
        fields=dict(binding.names),
        row=row,
        datacard=str(card_path),
        blanks=Datacard.model_validate(parse_yaml(card, str(card_path))).blanks(),
        rows_tried=len(rows),
        problems=dict(sorted(_tried(binding, rows)[1].items())),
        next=[*outside, f"fill in {card_path}", f"countersign repro check_quality@{name}"],
    )


def _tried(
    binding: Binding, rows: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """The rows as records, and the number of rows that cannot become one by finding code."""
    records: list[dict[str, Any]] = []
    problems: Counter[str] = Counter()
    for row in rows:
        try:
            records.append(binding.record(row))
        except RowProblem as problem:
            problems[problem.reason] += 1
    return records, problems


def _shown(
    added: Added, binding: Binding, rows: Sequence[Mapping[str, Any]], *, texts: bool
) -> str:
    """The result for people. It has record text only if `texts` is set, for the person's own
    screen.
    """
    others = f" (it could also be: {', '.join(added.fits[1:])}; --kind)" if added.fits[1:] else ""
    fields = ", ".join(f"{slot} = {name}" for slot, name in added.fields.items())
    lines = [f"{added.name}: kind {added.kind}{others}", f"shape: {added.shape} ({fields})", ""]
    for number, record in enumerate(_tried(binding, rows)[0][:SHOWN], start=1):
        lines += [f"record {number}", *_lines(record, texts=texts)]
    if added.problems:
        told = ", ".join(f"{reason} {count}" for reason, count in added.problems.items())
        lines += ["", f"of the first {added.rows_tried} rows these cannot be records: {told}"]
    lines += ["", f"written: {WHERE} (datasets.{added.name}), {added.datacard}"]
    lines += [f"quality suite: {added.row['suite']} (--suite)"]
    lines += [f"leaks are searched for into: {added.row['held_out']} (--held-out)"]
    lines += [
        f"blank in the datacard: {', '.join(added.blanks)}",
        "next:",
        *(f"  {step}" for step in added.next),
    ]
    return "\n".join(lines)


def _lines(record: Mapping[str, Any], *, texts: bool) -> list[str]:
    lines: list[str] = []
    for column, value in record.items():
        if column == "ratings":
            lines.append(f"  {column}: {', '.join(str(one['value']) for one in value)}")
        elif isinstance(value, list):
            lists = value if value and isinstance(value[0], list) else [value]
            for messages in lists:
                lines += [
                    f"  {column} / {one['role']}: {_text(one['content'], texts=texts)}"
                    for one in messages
                ]
        else:
            lines.append(
                f"  {column}: {_text(value, texts=texts) if isinstance(value, str) else value}"
            )
    return lines


def _text(text: str, *, texts: bool) -> str:
    if not texts:
        return f"{len(text)} characters"
    line = "".join(character if character.isprintable() else " " for character in text)
    return line if len(line) <= WIDTH else f"{line[:WIDTH]}... ({len(text)} characters)"
