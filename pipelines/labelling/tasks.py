"""The folder that raters work on.

`tasks.json`    the tasks, as Label Studio imports them: item, prompt, the left and the right answer
`label.xml`     Label Studio's labelling configuration
`sample.json`   how the sample was drawn, from what, and which digest the tasks have
`guideline.*`   what raters are asked to do, where one was given
`votes-*.jsonl` what a rater answered on the local page

1. Nothing in tasks.json says which model gave which answer. Left and right are drawn with the
   project's record key, which does not leave the machine: a coin for each item.
2. A folder whose tasks are not those of its sample.json is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from governance.attest.digests import sha256_bytes
from governance.base.errors import InputError
from governance.base.model import Model
from governance.base.storage import write_atomic
from pipelines.labelling.sample import Item, Rule
from pipelines.record_ids import Key

TASKS, CONFIG, SAMPLE = "tasks.json", "label.xml", "sample.json"
CHOICE = "better"
"""The name of the control in Label Studio."""

Choice = Literal["left", "right", "tie"]

LABEL_STUDIO = """\
<View>
  <Header value="Which answer is better?"/>
  <Text name="prompt" value="$prompt"/>
  <View style="display: grid; grid-template-columns: 1fr 1fr; column-gap: 2em">
    <Text name="left" value="$left"/>
    <Text name="right" value="$right"/>
  </View>
  <Choices name="better" toName="prompt" choice="single" showInLine="true" required="true">
    <Choice value="left" hotkey="1"/>
    <Choice value="tie" hotkey="2"/>
    <Choice value="right" hotkey="3"/>
  </Choices>
</View>
"""


class Task(Model):
    """What a rater sees."""

    item: str
    prompt: str
    left: str
    right: str


class Compared(Model):
    """A model whose answers are compared."""

    name: str
    sha256: str
    """Of the model."""
    answers: str
    """The sha256 of its stored answers."""
    entry: int
    """The log entry of the evaluation that scored them."""


class Guideline(Model):
    """What raters are asked to do."""

    file: str
    sha256: str


class SampleRecord(Model):
    """sample.json: how the sample was drawn."""

    rule: Rule
    seed: int
    metric: str
    """The scores that the rule used."""
    slice: str = ""
    asked: int
    """Items that were asked for."""
    population: int
    population_sha256: str
    identical: int
    suite: str
    models: tuple[Compared, Compared]
    how: str
    """How the answers were generated: `greedy` or `sampled`."""
    key_id: str
    """The record key that drew left and right."""
    guideline: Guideline | None = None
    items: int
    tasks_sha256: str


class Folder(Model):
    """A folder as it was read."""

    sample: SampleRecord
    tasks: tuple[Task, ...]


def first_is_left(key: Key, item: str) -> bool:
    """(1) Whether the first model's answer stands on the left."""
    return coin(key, f"left answer of {item}")


def coin(key: Key, text: str) -> bool:
    """A coin thrown for a text: always the same one, and unknown without the key."""
    return int(key.record_id("coin", text)[0], 16) % 2 == 0


def tasks_of(items: Sequence[Item], key: Key) -> list[Task]:
    """The tasks of a sample, in its order."""
    made = []
    for item in items:
        left, right = item.answers if first_is_left(key, item.id) else item.answers[::-1]
        made.append(Task(item=item.id, prompt=item.prompt, left=left, right=right))
    return made


def tasks_bytes(tasks: Sequence[Task]) -> bytes:
    """tasks.json. The same tasks give the same bytes."""
    rows = [{"data": task.model_dump()} for task in tasks]
    return (json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode("utf-8")


def write(folder: Path, tasks: bytes, sample: SampleRecord, guideline: bytes | None) -> None:
    """Writes the folder. sample.json is written last: without it, the folder is not one."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / TASKS, tasks)
    write_atomic(folder / CONFIG, LABEL_STUDIO.encode())
    if guideline is not None and sample.guideline is not None:
        write_atomic(folder / sample.guideline.file, guideline)
    text = json.dumps(sample.model_dump(mode="json"), indent=2, sort_keys=True)
    write_atomic(folder / SAMPLE, f"{text}\n".encode())


def read(folder: Path) -> Folder:
    """(2) The folder. Raises `InputError`."""
    fix = "make it again with `countersign label export`"
    sample = _sample(folder / SAMPLE, fix)
    path = folder / TASKS
    try:
        content = path.read_bytes()
    except OSError as error:
        found = f"cannot be read ({type(error).__name__})"
        raise InputError(found, where=str(path), fix=fix) from None
    if sha256_bytes(content) != sample.tasks_sha256:
        found = "not the tasks that were drawn"
        expected = f"sha256 {sample.tasks_sha256[:12]}..., as {SAMPLE} says"
        raise InputError(found, where=str(path), expected=expected, fix=fix)
    tasks = tuple(Task.model_validate(row["data"]) for row in json.loads(content))
    return Folder(sample=sample, tasks=tasks)


def guideline_text(folder: Path, sample: SampleRecord) -> str:
    """What raters are asked to do, for the local page. Raises `InputError` where the file is not
    the one that was exported.
    """
    if sample.guideline is None:
        return ""
    path = folder / sample.guideline.file
    content = path.read_bytes() if path.is_file() else b""
    if sha256_bytes(content) != sample.guideline.sha256:
        expected = f"sha256 {sample.guideline.sha256[:12]}..., as {SAMPLE} says"
        raise InputError("not the guideline of this sample", where=str(path), expected=expected)
    shown = path.suffix in (".md", ".txt")
    return content.decode("utf-8", "replace") if shown else f"see {path.name}"


def _sample(path: Path, fix: str) -> SampleRecord:
    try:
        return SampleRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        found = f"cannot be read ({type(error).__name__})"
    except ValidationError as error:
        found = f"not the record of a sample ({len(error.errors())} wrong fields)"
    raise InputError(found, where=str(path), expected="a folder of `label export`", fix=fix)
