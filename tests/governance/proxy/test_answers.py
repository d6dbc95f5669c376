"""What is read of an answer: the numbers that it states, however its bytes are cut, and nothing that
a hostile server could harm.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.proxy.answers import MAX_READ, Reader
from governance.proxy.tally import Said

JSON, STREAM = "application/json", "text/event-stream"


def events(*parts: object) -> bytes:
    lines = [f"event: x\ndata: {json.dumps(part)}\n\n" for part in parts]
    return "".join([*lines, "data: [DONE]\n\n"]).encode()


USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
CHUNKS = [{"id": "c1", "choices": [{"delta": {"content": text}}]} for text in ("Gr", "üße", None)]
CASES: dict[str, tuple[str, bytes, Said | None]] = {
    "a chat": (
        JSON,
        json.dumps({"choices": [{"message": {"content": "Grüße"}}], "usage": USAGE}).encode(),
        Said(5, False, 5, 7),
    ),
    "a refusal": (
        JSON,
        b'{"choices": [{"message": {"content": null, "refusal": "no"}}]}',
        Said(0, True),
    ),
    "filtered": (
        JSON,
        b'{"choices": [{"text": "a", "finish_reason": "content_filter"}]}',
        Said(1, True),
    ),
    "a response": (
        JSON,
        b'{"output": [{"content": [{"type": "output_text", "text": "abc"}]}],'
        b' "usage": {"input_tokens": 1, "output_tokens": 2}}',
        Said(3, False, 1, 2),
    ),
    "embeddings": (
        JSON,
        b'{"object": "list", "data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}}',
        Said(0, False, 8, 0),
    ),
    "a stream": (STREAM, events(*CHUNKS), Said(5)),
    "a stream with usage": (
        STREAM,
        events(*CHUNKS, {"choices": [], "usage": USAGE}),
        Said(5, False, 5, 7),
    ),
    "a stream of a response": (
        STREAM,
        events(
            {"type": "response.output_text.delta", "delta": "abc"},
            {
                "type": "response.completed",
                "response": {
                    "id": "r1",
                    "output": [{"content": [{"text": "abc"}]}],
                    "usage": {"input_tokens": 1, "output_tokens": 2},
                },
            },
        ),
        Said(3, False, 1, 2),
    ),
    "numbers that are none": (
        JSON,
        b'{"usage": {"prompt_tokens": -1, "completion_tokens": true}, "choices": [1, "a", {}]}',
        Said(),
    ),
    "a number that is too large": (
        JSON,
        b'{"usage": {"prompt_tokens": 1e300, "completion_tokens": 99999999999999999999}}',
        Said(),
    ),
    "a list": (JSON, b"[]", None),
    "nothing": (JSON, b"", None),
    "deep": (JSON, b"[" * 200_000, None),
    "too large": (JSON, b'{"a": "' + b"x" * MAX_READ + b'"}', None),
    "a web page": ("text/html", b"<html>", None),
    "a stream of something else": (STREAM, b"data: x\n\n", None),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [1, 7, 1 << 22])
def test_what_is_read(name: str, size: int) -> None:
    kind, data, expected = CASES[name]
    if len(data) > 10_000 and size < 100:
        size = 10_000
    reader = Reader(kind, encoded=False)
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
    assert reader.end() == expected


def test_ids_failures_and_compression() -> None:
    reader = Reader(STREAM, encoded=False)
    reader.feed(events(*CHUNKS, {"error": {"message": "out of memory"}}))
    reader.end()
    assert (reader.id, reader.failed) == ("c1", True)
    packed = Reader(JSON, encoded=True)
    packed.feed(b"\x1f\x8b")
    assert packed.end() is None


@given(st.sampled_from([JSON, STREAM]), st.lists(st.binary()))
def test_nothing_raises(kind: str, chunks: list[bytes]) -> None:
    reader = Reader(kind, encoded=False)
    for chunk in chunks:
        reader.feed(chunk)
    reader.end()


def test_the_text_is_held_for_the_search_only_and_up_to_its_limit() -> None:
    two = {"choices": [{"delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]}
    for keeps, expected in ((0, None), (3, None), (4, "aa\nbb"), (9, "aa\nbb")):
        reader = Reader(STREAM, encoded=False, keeps=keeps)
        reader.feed(events(two, two))
        assert reader.end() == Said(4)
        assert reader.text == expected
        assert expected is None or expected not in repr(reader)
