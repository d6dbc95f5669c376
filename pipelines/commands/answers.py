"""`countersign answers NAME`: the answers of a model that its evaluation scored, beside prompts.

1. NAME is a stage, a base, or MODEL/VERSION. The file in this folder must be the one that an
   evaluation in the log names, by its sha256.
2. Whoever reads needs the right for the model and for the suite's dataset. The read is recorded
   first.
3. Texts are shown on a terminal only, unless `--text` asks for them. If policy now asks for more
   than was done when they were stored, they are cleaned again before they are shown. Prompts and
   references are always cleaned: only their scan has read them, under the policy of its time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from governance.attest.digests import sha256_file, tree_digest
from governance.attest.predicates import Evaluate
from governance.base.errors import InputError, RefusedError, VerificationError, unknown
from governance.base.text import one_line
from governance.commands import session
from governance.commands.admitting import admitted
from governance.commands.session import Call
from governance.gates.judging import as_shown
from governance.history.contents import Contents
from governance.history.lineage import inputs, subject
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.policy.readers import Content
from governance.release.reading import Wanted
from pipelines import answers, paths
from pipelines.answers import Item
from pipelines.params import Params
from pipelines.project import Project, open_project
from pipelines.stages import evaluate

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 20
"""Items that are shown."""
WITHHELD = "WITHHELD"
"""In place of a text that policy lets nobody see."""


@dataclass(frozen=True)
class Stored:
    """The stored answers of one model."""

    path: Path
    sha256: str
    statement: Evidence[Evaluate]
    """The evaluation that scored them."""
    not_shown: str
    """Why its scores are not shown, as codes; empty where they are."""

    @property
    def scored(self) -> Evaluate:
        """What it says."""
        return self.statement.predicate


@click.command("answers")
@click.argument("name", metavar="NAME")
@click.option("--n", "count", type=click.IntRange(1, 10_000), default=SHOWN, show_default=True)
@click.option("--skip", type=click.IntRange(0), default=0, help="Begin after so many.")
@click.option("--lowest", metavar="METRIC", help="Begin with the lowest scores of this metric.")
@click.option("--text", is_flag=True, help="Show texts where output is no terminal, too.")
@session.options("key", "purpose", "as_json")
def command(call: Call, name: str, count: int, skip: int, lowest: str | None, text: bool) -> None:
    """Show the answers of a model that its evaluation scored, beside the prompts and scores.

    NAME is a stage, a base, a row of `evaluations`, `tasks` or `judged`, or MODEL/VERSION. It needs
    answers.jsonl of that evaluation in this folder (`dvc pull`).
    """
    project, now = open_project(Path.cwd(), os.environ), call.read()
    stored = found(project, now, name)
    if stored.scored.answers is None or stored.scored.answers.stored == "none":
        fix = f"set `answers` in policies/evaluation.yaml, then {_again(stored)}"
        raise InputError(f"the evaluation of {name} stored no answers", fix=fix)
    if project.policies.evaluation.answers == "none":
        fix = f"delete them: {_again(stored)}, then `dvc gc`"
        raise RefusedError("policy stores no answers, so none are shown", fix=fix)
    admitted(call, "answers", now, lambda: [wanted(project, now, stored)])
    order = _order(stored, lowest)
    items = list(answers.read(stored.path))
    page = [(at, items[at]) for at in order[skip : skip + count] if at < len(items)]
    texts_too = text or (sys.stdout.isatty() and not call.as_json)
    rows = list(_rows(project, stored, page)) if texts_too else [_row(stored, *one) for one in page]
    document = {
        "name": name,
        "suite": stored.scored.suite_name,
        "entry": stored.statement.index,
        "sha256": stored.sha256,
        "answers": stored.scored.answers.model_dump(mode="json"),
        "items": len(items),
        "shown": rows,
    }
    call.show(document, list(_lines(document, skip, texts_too)))


def found(project: Project, now: LogState, name: str) -> Stored:
    """(1) The stored answers. Raises `InputError` where they are not here or of another model,
    `VerificationError` where no evaluation names them.
    """
    model, stage, params = None, name, project.params
    if "/" in name:
        registration = now.registration(*session.named(name)).predicate
        model, stage = registration.model_digest, registration.stage
    elif name not in (known := _evaluated(params)):
        raise unknown("stage, base or evaluation", name, known, "params.yaml")
    file = next(each.path for each in evaluate.outputs(params, stage) if each.role == "answers")
    path = project.root / file
    if not path.is_file():
        fix = f"dvc pull {file.as_posix()}, or evaluate it again"
        raise InputError("the answers are not here", where=str(path), fix=fix)
    sha256 = sha256_file(path)
    view = now.evidence.signed_under(project.policies)
    named = [one for one in view.by_subject(sha256, Evaluate) if _is_of(one, stage, sha256)]
    if not named:
        found, expected = f"no evaluation of {stage} in the log names these answers", "its sha256"
        raise VerificationError(found, expected=expected, where=str(path), fix="dvc checkout")
    fitting = [one for one in named if model in (None, one.predicate.model)]
    if not fitting:
        fix = "check out the commit that made that version, then `dvc checkout`"
        raise InputError(f"the answers here are not those of {name}", where=str(path), fix=fix)
    shown = as_shown(view, fitting[-1], project.policies).predicate
    return Stored(path, sha256, fitting[-1], not_shown=shown.not_shown)


def _evaluated(params: Params) -> list[str]:
    further = (*params.evaluations, *params.tasks, *params.judged)
    return [*params.stages, *params.bases, *further]


def _is_of(statement: Evidence[Evaluate], stage: str, sha256: str) -> bool:
    own = statement.predicate.stage.partition("@")[2] == stage
    return own and subject(statement, "answers") == sha256


def _again(stored: Stored) -> str:
    return f"`countersign repro --force {stored.scored.stage}`"


def wanted(project: Project, now: LogState, stored: Stored) -> Wanted:
    """(2) The answers, as content of the model and of the suite's dataset."""
    known, scored = Contents(now.view), stored.scored
    stage = scored.stage.partition("@")[2]
    model = known.of_model(scored.model) | known.of_stage(stage)
    own = frozenset({Content("dataset", scored.dataset)})
    return Wanted.of(stored.sha256, known.of_digest(stored.sha256), model, own)


def _order(stored: Stored, lowest: str | None) -> list[int]:
    """The positions of the items in the order in which they are shown."""
    scores = stored.scored.scores
    if lowest is None:
        return list(range(len(next(iter(scores.values()), []))))
    if lowest not in scores:
        raise unknown("metric", lowest, sorted(scores), "--lowest")
    if stored.not_shown:
        found = f"not shown: {stored.not_shown}"
        row = stored.scored.judged_by.row if stored.scored.judged_by else "ROW"
        fix = f"look at judges/{row}/card.json; countersign repro --force check_judge@{row}"
        raise InputError(found, where="--lowest", fix=fix)
    values = [(value, at) for at, value in enumerate(scores[lowest]) if value is not None]
    return [at for _, at in sorted(values)]


# --- what is shown --------------------------------------------------------------------------------


def _row(stored: Stored, at: int, item: Item) -> dict[str, Any]:
    """An item without its texts."""
    if stored.not_shown:
        return {"id": item.id, "scores": {}, "not_shown": stored.not_shown}
    scores = {name: values[at] for name, values in stored.scored.scores.items()}
    return {"id": item.id, "scores": scores}


def texts_of(project: Project, stored: Stored, *, prompts: bool = True) -> Iterator[dict[str, Any]]:
    """All items of a model with scores and answers, and with prompts where they are asked for, as
    (3) lets them be shown.
    """
    return _rows(project, stored, list(enumerate(answers.read(stored.path))), prompts=prompts)


def _rows(
    project: Project, stored: Stored, page: Sequence[tuple[int, Item]], *, prompts: bool = True
) -> Iterator[dict[str, Any]]:
    asked = _prompts(project, stored, {item.id for _, item in page}) if prompts else {}
    texts = [text for _, item in page for group in item.answers.values() for text in group]
    if _must_clean(project, stored):
        texts = _cleaned(project, texts)
    rest = iter(texts)
    for at, item in page:
        answers = {name: [next(rest) for _ in group] for name, group in item.answers.items()}
        yield {**_row(stored, at, item), **asked.get(item.id, {}), "answers": answers}


def _must_clean(project: Project, stored: Stored) -> bool:
    """(3) Whether policy asks for more than was done when the answers were stored."""
    said = stored.scored.answers
    wanted = project.policies.evaluation.answers == "redacted"
    return wanted and (said is None or said.config != project.policies.pii_digest)


def _cleaned(project: Project, texts: Sequence[str | None]) -> list[str | None]:
    """(3) The texts as policy now lets them stay; None: withheld."""
    known = [text for text in texts if text is not None]
    state = project.machine.state
    done, _ = answers.cleaned(known, project.policies, project.params, project.root, state)
    rest = iter(done)
    return [None if text is None else next(rest) for text in texts]


def _prompts(project: Project, stored: Stored, ids: set[str]) -> dict[str, dict[str, Any]]:
    """Record id to prompt and reference answer; nothing where the suite's records are not here as
    they were scored. Items of a task are not records: their ids are places in the task's data.
    """
    import pyarrow as pa
    from pyarrow import compute

    from pipelines.shards import open_records

    name = next((one.name for one in stored.scored.inputs if one.role == "records"), None)
    if name is None:
        return {item: {"prompt": [], "reference": None} for item in ids}
    folder = project.root / name
    if not paths.is_inside(name) or not folder.is_dir():
        return {}
    if tree_digest(folder) != inputs(stored.statement)["records"]:
        return {}
    records = open_records(folder)
    found = [
        table.filter(compute.is_in(table["id"], pa.array(sorted(ids))))
        for table in records.tables()
    ]
    rows = _with_clean_texts(project, pa.concat_tables(found), records.kind).to_pylist()
    return {
        row["id"]: {"prompt": row.get("prompt"), "reference": row.get("answer")} for row in rows
    }


def _with_clean_texts(project: Project, records: pa.Table, kind: str) -> pa.Table:
    """(3) Records with every text as policy now lets it stay."""
    from pipelines.texts import replace_texts, texts

    found = list(texts(records, kind))
    done = _cleaned(project, [each.text for each in found])
    changed = {
        (each.row, each.field): WITHHELD if text is None else text
        for each, text in zip(found, done, strict=True)
        if text != each.text
    }
    return replace_texts(records, kind, changed)


def _lines(document: Mapping[str, Any], skip: int, texts_too: bool) -> Iterator[str]:
    said, shown = document["answers"], document["shown"]
    yield (
        f"{document['name']} on {document['suite']}: {document['items']} items,"
        f" {said['answers']} answers, stored {said['stored']}  [E{document['entry']}]"
    )
    counts = {**said.get("redacted", {}), **said.get("withheld", {})}
    if counts:
        yield f"  {', '.join(f'{name} {count}' for name, count in counts.items())}"
    for row in shown:
        yield ""
        scores = ", ".join(f"{name} {_number(value)}" for name, value in row["scores"].items())
        yield f"{row['id'][:12]}  {scores}"
        if texts_too:
            yield from _texts(row)
    if document["items"] > skip + len(shown):
        yield ""
        yield f"{document['items'] - skip - len(shown)} more: --skip {skip + len(shown)}, --n"
    if not texts_too:
        yield "output is no terminal, so no text is shown; --text shows it"


def _texts(row: Mapping[str, Any]) -> Iterator[str]:
    if row.get("prompt") is None:
        yield "  the prompt is not here as it was scored: dvc pull"
    for message in row.get("prompt") or ():
        yield f"  {message['role']:<9} {one_line(message['content'] or '')}"
    if row.get("reference") is not None:
        yield f"  reference {one_line(row['reference'])}"
    for name, group in row["answers"].items():
        for text in group:
            yield f"  {name:<9} {WITHHELD if text is None else one_line(text)}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"
