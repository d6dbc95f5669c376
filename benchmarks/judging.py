"""Quality throughput: records per second of the suite `conversation`, against what a person writes
with pandas.

The plain alternative computes the same features with one Python function per column and hands the
same frame to the same expectations of Great Expectations, once. It compares whole questions with
held-out ones; ours also finds them quoted, and judges again what is left. Both must find the same.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.scanning import WORDS, timed

if TYPE_CHECKING:
    import pyarrow as pa

    from governance.policy.data import QualitySuite

ROOT = Path(__file__).parent.parent
RECORDS = 50_000
HELD_OUT = 500
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")
SPACE = re.compile(r"\s+")


def rows(say: Callable[[str], None]) -> list[tuple[str, str, str, str]]:
    """The line of the benchmark's table."""
    from governance.base.yaml import load_model
    from governance.policy.data import QualitySuite
    from pipelines.features.leaks import HeldOut
    from pipelines.quality import judge

    say("quality throughput")
    suite = load_model(ROOT / "policies/quality/conversation.yaml", QualitySuite)
    asked = [f"{_said(random.Random(seed))} {seed}" for seed in range(HELD_OUT)]  # noqa: S311
    records, held_out = conversations(RECORDS, asked), prompts(asked)
    judge([records.slice(0, 100)], "conversation", suite, None)  # what is imported once
    found: list[Any] = []
    ours = timed(
        lambda: found.append(judge([records], "conversation", suite, HeldOut([held_out], "prompt")))
    )
    plain = timed(lambda: found.append(plainly(records, held_out, suite)))
    left_out = {one.id for one in found[0].excluded}
    if not left_out or left_out != found[1]:
        raise SystemExit(
            f"bench: quality finds {len(left_out)} records, the plain alternative {len(found[1])}"
        )
    what = f"quality, {RECORDS:,} conversations, {len(suite.expectations)} expectations"
    alternative = f"pandas and Great Expectations: {RECORDS / plain:,.0f} records/s"
    return [
        (what, f"{RECORDS / ours:,.0f} records/s", alternative, f"{plain / ours:.1f} times faster")
    ]


def _said(source: random.Random) -> str:
    return " ".join(source.choice(WORDS) for _ in range(40))


def conversations(count: int, asked: list[str]) -> pa.Table:
    """Two messages each; one in a hundred empty, repeated, out of order, or asking what is held
    out.
    """
    source, made = random.Random(7), []  # noqa: S311
    for number in range(count):
        texts, roles = [f"{_said(source)} number {number}", _said(source)], ["user", "assistant"]
        spoiled = number % 400
        if spoiled == 100:
            texts[1] = " "
        elif spoiled == 200:
            roles = ["user", "user"]
        elif spoiled == 300:
            texts[0] = source.choice(asked)
        messages = [
            {"role": role, "content": text} for role, text in zip(roles, texts, strict=True)
        ]
        made.append({"messages": made[-1]["messages"] if number and spoiled == 0 else messages})
    return _table("conversation", made)


def prompts(asked: list[str]) -> pa.Table:
    """A held-out dataset of these questions."""
    made = [{"prompt": [{"role": "user", "content": text}], "answer": "42"} for text in asked]
    return _table("prompt", made)


def _table(kind: str, made: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    from pipelines.kinds import KINDS
    from pipelines.shards import KIND_KEY

    common = (
        {"id": f"{at:032x}", "split": "train", "file": "a.jsonl", "row": at + 1}
        for at in range(len(made))
    )
    schema = KINDS[kind].schema.with_metadata({KIND_KEY: kind.encode()})
    return pa.Table.from_pylist(
        [{**one, **row} for one, row in zip(common, made, strict=True)], schema=schema
    )


def plainly(records: pa.Table, held_out: pa.Table, suite: QualitySuite) -> set[str]:
    """The ids of records that the suite's expectations leave out, as a script with pandas finds
    them.
    """
    from pipelines.quality import Expectations

    features = _features(records, held_out)
    columns = {name: column.to_numpy() for name, column in features.items() if name != "id"}
    results = Expectations().validate(columns, len(features), suite.expectations)
    rows_out = {
        int(row)
        for check in suite.expectations
        for row in results[check.name].rows
        if check.action == "drop"
    }
    return {features["id"][row] for row in rows_out}


def _features(records: pa.Table, held_out: pa.Table) -> Any:
    frame = records.to_pandas()
    long = {_normal(row["prompt"][0]["content"]) for row in held_out.to_pylist()}
    joined = frame["messages"].map(
        lambda said: "\n".join(f"{one['role']}:{_normal(one['content'])}" for one in said)
    )
    asked = frame["messages"].map(lambda said: _normal(said[0]["content"]))
    training = frame["split"] == "train"
    return frame[["id"]].assign(
        empty_texts=frame["messages"].map(
            lambda said: sum(not _normal(one["content"]) for one in said)
        ),
        control_characters=frame["messages"].map(
            lambda said: sum(len(CONTROL.findall(one["content"])) for one in said)
        ),
        roles_alternate=frame["messages"].map(_alternate),
        starts_with_user=frame["messages"].map(lambda said: said[0]["role"] == "user"),
        ends_with_assistant=frame["messages"].map(lambda said: said[-1]["role"] == "assistant"),
        leaks_held_out=asked.isin(long),
        leaks_split=training & asked.isin(set(asked[~training])),
        duplicate=joined.duplicated(),
        characters=frame["messages"].map(lambda said: sum(len(one["content"]) for one in said)),
    )


def _alternate(said: Any) -> bool:
    return all(one["role"] != other["role"] for one, other in pairwise(said))


def _normal(text: str) -> str:
    return SPACE.sub(" ", unicodedata.normalize("NFKC", text).lower()).strip()
