"""`countersign label`: people compare the answers of two models, blind. Their votes become data of
kind `rated`.

1. Answers and prompts are those of stored evaluations, read and cleaned as `countersign answers`
   does; the reads are recorded. Items of which a text is withheld are left out and counted.
2. Records keep which answer is whose model's: the first of each record is the first model's.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from governance.attest.digests import sha256_bytes
from governance.base.errors import ConfigError, InputError, StorageError
from governance.base.storage import write_atomic
from governance.commands import session
from governance.commands.admitting import admitted
from governance.commands.session import Call
from pipelines.commands import answers
from pipelines.commands.answers import WITHHELD, Stored
from pipelines.labelling import sample, tasks, votes
from pipelines.labelling.sample import RULES, Item, Rule
from pipelines.labelling.tasks import Compared, Folder, Guideline, SampleRecord
from pipelines.project import Project, open_project, utc_now
from pipelines.record_ids import Key, load_key

HOW = ("greedy", "sampled")
GUIDELINES = (".md", ".txt", ".pdf", ".html")


@click.group("label")
def command() -> None:
    """Let people compare the answers of two models, blind.

    `export` draws items; raters work with Label Studio or the local `page`; `import` reads their
    votes as a dataset of kind `rated`.
    """


# --- export ---------------------------------------------------------------------------------------


@command.command("export")
@click.argument("first")
@click.argument("second")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--rule", type=click.Choice(list(RULES)), default="random", show_default=True)
@click.option("--n", "count", type=click.IntRange(1, 100_000), default=100, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**53 - 1), default=1, show_default=True)
@click.option("--metric", help="The scores that the rule uses; by default the suite's first.")
@click.option("--how", type=click.Choice(HOW), default="greedy", show_default=True)
@click.option("--guideline", type=click.Path(path_type=Path), help="What raters are asked to do.")
@session.options("key", "purpose", "as_json")
def export(
    call: Call,
    first: str,
    second: str,
    folder: Path,
    rule: Rule,
    count: int,
    seed: int,
    metric: str | None,
    how: str,
    guideline: Path | None,
) -> None:
    """Draw items and write FOLDER for raters.

    FIRST and SECOND are stages, bases or MODEL/VERSION, evaluated on one suite, with stored
    answers. The rule says which items come first: `random`; `disagreement`, where the scores of
    both differ most; `small-margin`, where they differ least; `worst-slice`, from the slice in
    which SECOND is worst.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError("not an empty folder", where=str(folder), fix="name a new one")
    text = _guideline(guideline)
    project, now = open_project(Path.cwd(), os.environ), call.read()
    pair = (answers.found(project, now, first), answers.found(project, now, second))
    suite = _one_suite(pair)
    metric = _metric(pair, metric)
    admitted(call, "answers", now, lambda: [answers.wanted(project, now, each) for each in pair])
    items, left_out = _items(project, pair, metric, how)
    drawn = sample.draw(items, rule, count, seed)
    record_key = load_key(project.root, project.params.records)
    made = tasks.tasks_of(drawn.items, record_key)
    content = tasks.tasks_bytes(made)
    described = SampleRecord(
        rule=rule,
        seed=seed,
        metric=metric,
        slice=drawn.slice,
        asked=count,
        population=drawn.population,
        population_sha256=drawn.population_sha256,
        identical=drawn.identical,
        suite=suite,
        models=(_compared(first, pair[0]), _compared(second, pair[1])),
        how=how,
        key_id=record_key.key_id,
        guideline=_described(guideline, text),
        items=len(made),
        tasks_sha256=sha256_bytes(content),
    )
    tasks.write(folder, content, described, text)
    document = {"folder": str(folder), "withheld": left_out, **described.model_dump(mode="json")}
    call.show(document, _exported(folder, described, left_out))


def _one_suite(pair: Sequence[Stored]) -> str:
    suites = [each.scored.suite_name for each in pair]
    if pair[0].scored.suite != pair[1].scored.suite:
        found = f"evaluated on two suites: {suites[0]} and {suites[1]}"
        fix = "name two models that were evaluated on the same suite, as it is now"
        raise InputError(found, expected="one suite, with the same records", fix=fix)
    return suites[0]


def _metric(pair: Sequence[Stored], metric: str | None) -> str:
    known = [name for name in pair[0].scored.scores if name in pair[1].scored.scores]
    if metric is None and known:
        return known[0]
    if metric not in known:
        expected = ", ".join(known) or "a metric of both"
        raise ConfigError(f"no metric {metric!r} of both", where="--metric", expected=expected)
    return metric


def _items(
    project: Project, pair: tuple[Stored, Stored], metric: str, how: str
) -> tuple[list[Item], int]:
    """Items with a prompt and two answers, and how many have none."""
    first = _by_id(project, pair[0], how, prompts=True)
    second = _by_id(project, pair[1], how, prompts=False)
    slices = pair[0].scored.slices
    made: list[Item] = []
    for at, (name, (prompt, answer, score)) in enumerate(first.items()):
        _, other, other_score = second.get(name, (None, None, {}))
        if prompt is None or answer is None or other is None:
            continue
        labels = {field: values[at] for field, values in slices.items()}
        scores = (score.get(metric), other_score.get(metric))
        made.append(Item(name, prompt, (answer, other), scores, labels))
    return made, len(first) - len(made)


def _by_id(
    project: Project, stored: Stored, how: str, *, prompts: bool
) -> dict[str, tuple[str | None, str | None, dict[str, float | None]]]:
    """Record id to prompt, first answer and scores. None: withheld, or not here."""
    rows = {}
    for row in answers.texts_of(project, stored, prompts=prompts):
        if how not in row["answers"]:
            found, known = f"no {how} answers", " or ".join(row["answers"])
            raise InputError(found, where=str(stored.path), fix=f"--how {known}")
        group = row["answers"][how]
        rows[row["id"]] = (_prompt(row.get("prompt")), group[0] if group else None, row["scores"])
    return rows


def _prompt(messages: Iterable[dict[str, Any]] | None) -> str | None:
    """The prompt as raters see it: its text alone where it is one message of the user."""
    turns = [(each["role"], each["content"] or "") for each in messages or ()]
    if not turns or any(text == WITHHELD for _, text in turns):
        return None
    if [role for role, _ in turns] == ["user"]:
        return str(turns[0][1])
    return "\n\n".join(f"{role}: {text}" for role, text in turns)


def _guideline(path: Path | None) -> bytes | None:
    if path is None:
        return None
    if path.suffix.lower() not in GUIDELINES:
        expected = ", ".join(GUIDELINES)
        raise ConfigError("not a guideline", where=f"--guideline {path}", expected=expected)
    try:
        return path.read_bytes()
    except OSError as error:
        found = f"cannot be read ({type(error).__name__})"
        raise InputError(found, where=str(path)) from None


def _described(path: Path | None, text: bytes | None) -> Guideline | None:
    if path is None or text is None:
        return None
    return Guideline(file=f"guideline{path.suffix.lower()}", sha256=sha256_bytes(text))


def _compared(name: str, stored: Stored) -> Compared:
    return Compared(
        name=name,
        sha256=stored.scored.model,
        answers=stored.sha256,
        entry=stored.statement.index,
    )


def _exported(folder: Path, made: SampleRecord, left_out: int) -> list[str]:
    return [
        f"{folder}: {made.items} items of {made.suite}, rule {made.rule}"
        + (f" ({made.slice})" if made.slice else "")
        + f", seed {made.seed}, from {made.population}",
        f"  left out: {made.identical} with equal answers, {left_out} withheld or not here",
        f"next: import {folder / tasks.TASKS} into Label Studio with {tasks.CONFIG}, or",
        f"  countersign label page {folder} --rater NAME",
    ]


# --- page -----------------------------------------------------------------------------------------


@command.command("page")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--rater", required=True, help="Your name; the file gets a pseudonym.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="A free one by default.")
def page_command(folder: Path, rater: str, port: int) -> None:
    """Serve FOLDER as a page on this machine, until Ctrl-C: two answers side by side, blind.

    Keys: 1 or left, 2 or down (equally good), 3 or right, b (back). Each vote is on disk before the
    next item is shown.
    """
    import socket

    import uvicorn

    from pipelines.labelling import page

    opened, key = _opened(folder)
    if not rater.strip():
        raise ConfigError("no name", where="--rater", expected="the rater's name")
    desk = page.opened(opened, folder, rater.strip(), key, utc_now)
    token = secrets.token_urlsafe(16)
    with socket.socket() as listening:
        try:
            listening.bind((page.LOCAL, port))
        except OSError as error:
            found = f"port {port} cannot be used ({type(error).__name__})"
            raise StorageError(found, fix="leave --port out") from None
        address = f"http://{page.LOCAL}:{listening.getsockname()[1]}/?token={token}"
        click.echo(f"{len(opened.tasks)} items, {desk.place} done; votes in {desk.path}")
        click.echo(f"open {address}   (Ctrl-C ends)")
        served = page.application(desk, token, tasks.guideline_text(folder, opened.sample))
        config = uvicorn.Config(served, log_level="error", lifespan="off")
        uvicorn.Server(config).run(sockets=[listening])


def _opened(folder: Path) -> tuple[Folder, Key]:
    """The folder, and the record key that its sides were drawn with."""
    project = open_project(Path.cwd(), os.environ)
    opened, key = tasks.read(folder), load_key(project.root, project.params.records)
    if key.key_id != opened.sample.key_id:
        found = f"the record key here is {key.key_id}"
        expected = f"{opened.sample.key_id}, with which left and right were drawn"
        raise ConfigError(found, where="params.yaml: records.key_id", expected=expected)
    return opened, key


# --- import ---------------------------------------------------------------------------------------


@command.command("import")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Records (JSONL).")
@click.option("--votes", "votes_out", type=click.Path(path_type=Path), help="Votes (JSONL).")
@session.options("as_json")
def import_command(
    call: Call, folder: Path, files: tuple[Path, ...], out: Path, votes_out: Path | None
) -> None:
    """Read votes about FOLDER and write them as a source of a `rated` dataset.

    FILES are exports of Label Studio (JSON) or files of the local page; by default the page's files
    in FOLDER. Raters become pseudonyms. --votes also writes a row for each vote, for
    `countersign agreement`.
    """
    for path in (out, *([votes_out] if votes_out else [])):
        if path.exists():
            raise ConfigError("the file is there already", where=str(path), fix="name a new one")
    opened, key = _opened(folder)
    sources = files or tuple(sorted(folder.glob("votes-*.jsonl")))
    if not sources:
        expected = "votes-*.jsonl of the page, or an export of Label Studio as argument"
        raise InputError("no votes", where=str(folder), expected=expected)
    read = votes.joined((path, votes.read(path, opened, key)) for path in sources)
    if not read.votes:
        raise InputError("no votes", where=", ".join(map(str, sources)))
    records = list(votes.records(opened, read.votes, key))
    rows = list(votes.rows(opened, read.votes, key))
    if votes_out:
        _write(votes_out, rows)
    _write(out, records)
    document = _summary(opened, read.cancelled, records, rows)
    call.show({"out": str(out), **document}, _imported(out, votes_out, document))


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    lines = [json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "".join(lines).encode("utf-8"))


def _summary(
    opened: Folder,
    cancelled: int,
    records: Sequence[dict[str, Any]],
    rows: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    of_raters = Counter(row["rater"] for row in rows)
    first, second = (each.name for each in opened.sample.models)
    chosen = Counter(row["vote"] for row in rows)
    return {
        "datacard": list(_datacard(opened.sample)),
        "items": len(opened.tasks),
        "rated": len(records),
        "votes": len(rows),
        "raters": dict(sorted(of_raters.items())),
        "cancelled": cancelled,
        "chosen": {
            first: chosen["first"],
            second: chosen["second"],
            votes.TIE: chosen[votes.TIE],
        },
    }


def _datacard(made: SampleRecord) -> Iterator[str]:
    """Lines of the datacard: how the items were drawn, and by which guideline people compared."""
    yield "labelling:"
    drawn = f"rule: {made.rule}, seed: {made.seed}, population: {made.population_sha256}"
    yield f"  sampling: {{{drawn}}}"
    if made.guideline is not None:
        yield f"  guideline: {{version: '1', sha256: {made.guideline.sha256}}}"


def _imported(out: Path, votes_out: Path | None, document: dict[str, Any]) -> list[str]:
    chosen = ", ".join(f"{name} {count}" for name, count in document["chosen"].items())
    raters = ", ".join(f"{name} {count}" for name, count in document["raters"].items())
    lines = [
        f"{out}: {document['rated']} of {document['items']} items rated,"
        f" {document['votes']} votes, {document['cancelled']} cancelled",
        f"  by rater: {raters}",
        f"  chosen: {chosen}",
        f"next: countersign add {out}",
        "  in the datacard:",
        *(f"    {line}" for line in document["datacard"]),
    ]
    if votes_out:
        lines.append(
            f"  countersign agreement {votes_out} --item item --rater rater --value vote"
            " --position stood_first --seconds seconds"
        )
    return lines
