"""Every documented defect of instruction and preference data, planted into a clean dataset, does
not pass the quality stage with its shipped suite unseen: it is left out, refused or reported.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from pipelines.params import load_params
from pipelines.stages import check_quality
from tests.conftest import ROOT
from tests.pipelines.jobs import job
from tests.pipelines.policies import shipped_suite
from tests.pipelines.tables import answer, said, table, write_records

CLEAN = 60
WORDS = [
    "river",
    "window",
    "letter",
    "garden",
    "winter",
    "market",
    "bridge",
    "candle",
    "forest",
    "kitchen",
    "mountain",
    "paper",
    "station",
    "teacher",
    "village",
    "summer",
    "morning",
    "doctor",
    "island",
    "machine",
    "picture",
    "street",
    "ticket",
    "valley",
    "weather",
]

Row = dict[str, Any]


def sentence(rng: random.Random) -> str:
    """A text of its own, in English."""
    one, two, three, four = rng.sample(WORDS, 4)
    return f"The {one} near the {two} was older than the {three} and the {four}."


def talk(question: str, text: str, **more: Any) -> Row:
    return {"messages": said(question, text), **more}


def pair(question: str, chosen: str, rejected: str) -> Row:
    return {"prompt": said(question), "chosen": answer(chosen), "rejected": answer(rejected)}


def clean(kind: str) -> list[Row]:
    rng = random.Random(7)
    rows = []
    for at in range(CLEAN):
        question, first, second = f"What is known of place {at}?", sentence(rng), sentence(rng)
        rows.append(
            talk(question, first) if kind == "conversation" else pair(question, first, second)
        )
    return rows


def each(count: int, question: str, text: str) -> list[Row]:
    return [talk(f"{question} {at}", text.format(at=at)) for at in range(count)]


LONG = " ".join(sentence(random.Random(at)) for at in range(6))
TOOL = {"type": "function", "function": {"name": "add", "parameters": {
    "type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}}}  # fmt: skip
CALL = json.dumps([{"name": "add", "arguments": {"a": "three"}}])
CALLS = {"messages": [{"role": "user", "content": "Add."},
                      {"role": "assistant", "content": "", "tool_calls": CALL}],
         "tools": json.dumps([TOOL])}  # fmt: skip
GERMAN = (
    "Die alte Brücke über den Fluss wurde im letzten Winter von den Bewohnern {at} Mal geschlossen."
)

DEFECTS: list[tuple[str, str, list[Row]]] = [
    # code, kind, what is planted
    ("ONE_ANSWER", "conversation", each(CLEAN + 5, "What next?", "Please restart it.")),
    ("DUPLICATE", "conversation", [talk("Who?", "She."), talk(" who?", "SHE.")]),
    ("NEAR_DUPLICATE", "conversation", each(10, "Tell me of the road", LONG + " {at}.")),
    ("WRONG_LANGUAGE", "conversation", each(15, "Was ist mit der Brücke geschehen?", GERMAN)),
    ("TRUNCATED_ANSWER", "conversation", each(5, "Tell me more", "Then number {at} went home and")),
    ("REFUSAL", "conversation", each(70, "Help me", "I'm sorry, but I cannot help with {at}.")),
    ("NO_OUTPUT", "conversation", [talk("Translate it.", "<nooutput>")]),
    ("TOOL_CALL_INVALID", "conversation", [CALLS]),
    ("MISSING_INPUT", "conversation", each(3, "Edit the following paragraph", "Done {at}.")),
    ("MERGED_INSTRUCTIONS", "conversation", each(3, "Name it", "Rose {at}.\n\nInstruction: Go.")),
    ("UNUSABLE_LINK", "conversation", each(3, "Describe the attached picture", "A dog, {at}.")),
    ("CODE_MISSING", "conversation", each(3, "Write a Python function that adds", "Add {at}.")),
    ("WRONG_SUM", "conversation", [talk("How many?", "48/2 = 25 clips.")]),
    (
        "RESULT_DISPUTED", "conversation",
        [talk("How many legs?", f"The answer is {at}.") for at in (4, 6, 8)],
    ),
    ("CHOSEN_EQUALS_REJECTED", "preference", [pair("Who?", "She did.", "she  did.")]),
    ("CONTRADICTED", "preference", [pair("Who?", "She.", "He."), pair("Who?", "He.", "She.")]),
    (
        "NEAR_CONTRADICTED", "preference",
        [row for at in range(3)
         for row in (pair(f"Who {at}?", "She.", "He."), pair(f"Who {at}?", "He", "She"))],
    ),
    (
        "PREFERENCE_CYCLE", "preference",
        [pair("Who?", "Ann.", "Ben."), pair("Who?", "Ben.", "Cem."), pair("Who?", "Cem.", "Ann.")],
    ),
    (
        "ANSWERS_ALIKE", "preference",
        [pair(f"Who {at}?", f"Ann, then Ben {at}.", f"Ben {at}, then Ann!") for at in range(5)],
    ),
    (
        "LENGTH_BIAS", "preference",
        [pair(f"Which {at}?", f"It is {at}. " + LONG + ".", f"No {at}.") for at in range(250)],
    ),
    ("NO_OUTPUT", "preference", [pair("Translate it.", "N/A", "It is.")]),
]  # fmt: skip


def found(tmp_path: Path, kind: str, rows: Sequence[Row]) -> set[str]:
    """The codes of what the stage left out, refused or reported."""
    params = load_params(ROOT)
    row = params.datasets["desk_sft"].model_copy(
        update={"kind": kind, "suite": kind, "held_out": "d"}
    )
    records: pa.Table = table(kind, *rows)
    write_records(tmp_path / "data/scanned/d/records", records, kind)
    params = params.model_copy(update={"datasets": {"d": row}, "suites": {}})
    suites = {kind: shipped_suite(kind)}
    policies = SimpleNamespace(quality=suites, suite_digest=lambda name: "0" * 64)
    made = tmp_path / "made"
    check_quality.run(
        job(check_quality, "check_quality", "d", tmp_path, made, params, policies=policies)
    )
    report = json.loads((made / "data/ready/d/report.json").read_text(encoding="utf-8"))
    return {
        each["reason"]
        for each in report["expectations"]
        if not each["success"] or (each["action"] == "drop" and each["unexpected"])
    }


@pytest.mark.parametrize("kind", ["conversation", "preference"])
def test_a_clean_dataset_passes(kind: str, tmp_path: Path) -> None:
    assert found(tmp_path, kind, clean(kind)) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "kind", "planted"), DEFECTS, ids=[f"{code}-{kind}" for code, kind, _ in DEFECTS]
)
def test_a_planted_defect_is_found(
    code: str, kind: str, planted: list[Row], tmp_path: Path
) -> None:
    assert code in found(tmp_path, kind, [*clean(kind), *planted])
