"""Nothing of a row is lost silently: each of its texts is in the record, or below a field that
`Binding.lost` names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources.binding import bind
from pipelines.sources.readers import RowProblem

TALK = [{"role": "user", "content": "u0"}, {"role": "assistant", "content": "a0"}]
OTHER = [{"role": "user", "content": "u0"}, {"role": "assistant", "content": "a1"}]
CALL = [
    {"role": "user", "content": "u0"},
    {
        "role": "assistant",
        "content": None,
        "reasoning": "t0",
        "tool_calls": [{"id": "i0", "function": {"name": "f0", "arguments": {"to": "g0"}}}],
    },
    {"role": "tool", "content": "w0", "tool_call_id": "i0"},
]
ROWS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "messages": ("conversation", {"messages": TALK}, {}),
    "messages after a system text": ("conversation", {"messages": TALK, "system": "s0"}, {}),
    "a call of a tool": ("conversation", {"messages": CALL, "tools": [
        {"type": "function", "function": {"name": "f0", "description": "d0"}}]}, {}),
    "a call by ShareGPT": ("conversation", {"conversations": [
        {"from": "human", "value": "u0"},
        {"from": "function_call", "value": {"name": "f0", "arguments": {"to": "g0"}}}]}, {}),
    "thinking in a part": ("conversation", {"messages": [{"role": "assistant", "content": [
        {"type": "thinking", "thinking": "t0"}, {"type": "text", "text": "a0"}]}]}, {}),
    "turns": ("prompt", {"turns": ["q0", "q1", "q2"], "reference": ["r0", "r1", "r2"]},
        {"answer": "reference.2"}),
    "sharegpt": ("conversation", {"conversations": [
        {"from": "human", "value": "u0"}, {"from": "gpt", "value": "a0"}]}, {}),
    "messages in a cell": ("conversation", {"messages": json.dumps(TALK)}, {}),
    "alpaca": ("conversation", {
        "instruction": "i0", "input": "n0", "output": "o0", "history": [["h0", "h1"]]}, {}),
    "an instance": ("conversation", {
        "instruction": "i0", "instances": [{"input": "n0", "output": "o0"}]}, {}),
    "nested fields": ("conversation", {
        "request": {"text": "q0", "by": {"name": "w0"}}, "replies": [{"body": "b0"}, {"body": "b1"}]},
        {"prompt": "request.text", "completion": "replies.0.body"}),
    "parts": ("conversation", {"messages": [
        {"role": "user", "content": [{"type": "text", "text": "p0"}]},
        {"role": "assistant", "content": "a0"}]}, {}),
    "preference": ("preference", {"prompt": "q0", "chosen": "c0", "rejected": "r0"}, {}),
    "two conversations": ("preference", {"chosen": TALK, "rejected": OTHER, "system": "s0"}, {}),
    "unpaired": ("unpaired", {"messages": TALK, "label": True}, {}),
    "question": ("prompt", {"question": "q0", "answer": "a0"}, {}),
    "rated": ("rated", {"prompt": "q0", "completions": ["c0"],
        "ratings": [{"rater": "r0", "value": 3}]}, {}),
}  # fmt: skip
"""Kind, row, and fields by hand."""


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Path and text of each text in a row."""
    if isinstance(value, str):
        yield path, value
    for name, member in value.items() if isinstance(value, dict) else ():
        yield from leaves(member, f"{path}.{name}" if path else name)
    for at, member in enumerate(value) if isinstance(value, list) else ():
        yield from leaves(member, f"{path}.{at}")


def plain(path: str) -> str:
    return ".".join(part for part in path.split(".") if not part.isdecimal())


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a row."""
    if isinstance(value, dict):
        yield value
    for member in value.values() if isinstance(value, dict) else ():
        yield from objects(member)
    for member in value if isinstance(value, list) else ():
        yield from objects(member)


@pytest.mark.parametrize("name", ROWS)
@given(data=st.data())
def test_each_text_is_kept_or_named(name: str, data: st.DataObject) -> None:
    kind, example, fields = ROWS[name]
    row = json.loads(json.dumps(example))
    for number in range(data.draw(st.integers(0, 3))):
        places = list(objects(row))
        place = places[data.draw(st.integers(0, len(places) - 1))]
        place[f"extra{number}"] = data.draw(st.sampled_from([f"x{number}", {"deep": f"x{number}"}]))
    binding = bind(kind, [example], fields)
    kept, lost = json.dumps(binding.record(row)), binding.lost(row)
    for path, text in leaves(row):
        named = any(
            f"{plain(path)}.".startswith(f"{plain(one)}.") or path.startswith(one) for one in lost
        )
        keeps = text in kept or text in (
            "user",
            "human",
            "gpt",
            "text",
            "function",
            "tool",
            "function_call",
            "thinking",
        )
        assert keeps or named or (name == "messages in a cell" and path == "messages"), (path, lost)


def test_two_system_texts_are_refused() -> None:
    row = {"messages": [{"role": "system", "content": "one"}, *TALK], "system": "another"}
    binding = bind("conversation", [{"messages": TALK, "system": "s"}], {})
    with pytest.raises(RowProblem, match="MESSAGES_MALFORMED"):
        binding.record(row)
    assert binding.record({**row, "system": "one"})["messages"][0]["content"] == "one"
