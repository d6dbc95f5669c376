"""What an answer of OpenAI's API says of itself: tokens, length, refusal. Its text is held where it
is in the sample that is searched (`searching`), until it is handed over.

1. JSON of chat completions, completions, responses and embeddings, and their streams of server-sent
   events. Anything else, or more than `MAX_READ` without an end, is not read.
2. A refusal is what the server marks as one: `refusal`, or `content_filter` as the reason of the
   end. Words are not interpreted.
3. The server is not trusted: a number that is none is absent, and nothing raises.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from governance.proxy.tally import End, Observed, Said

MAX_READ = 1 << 20
MAX_TOKENS = 10**9
MAX_ID = 200
_FILTERED = "content_filter"


@dataclass
class Reader:
    """Reads an answer while its bytes are passed on."""

    content_type: str
    encoded: bool
    """Whether the bytes are compressed."""
    id: str = ""
    keeps: int = 0
    """How many characters of text are held; beyond, none is."""
    failed: bool = False
    """Whether an event of the stream says that the answer failed."""
    _rest: bytearray = field(default_factory=bytearray, repr=False)
    _characters: int = 0
    _refused: bool = False
    _tokens: tuple[int | None, int | None] = (None, None)
    _unread: bool = False
    _found: bool = False
    _texts: dict[int, list[str]] = field(default_factory=dict, repr=False)
    """By choice."""

    @property
    def text(self) -> str | None:
        """The text of the answer, one choice after the other; None where it was not held."""
        if not self.keeps or self._characters > self.keeps:
            return None
        return "\n".join("".join(parts) for parts in self._texts.values())

    @property
    def _is_stream(self) -> bool:
        return self.content_type == "text/event-stream"

    def feed(self, chunk: bytes) -> None:
        """The next bytes."""
        if self._unread:
            return
        self._rest += chunk
        if self._is_stream:
            *lines, rest = self._rest.split(b"\n")
            self._rest = bytearray(rest)
            for line in lines:
                self._event(line)
        if len(self._rest) > MAX_READ or self.encoded:
            self._unread = True
            self._rest.clear()

    def end(self) -> Said | None:
        """What was read; None where it could not be."""
        if self._unread:
            return None
        if self._is_stream:
            self._event(self._rest)
        elif self.content_type == "application/json":
            self._part(self._rest)
        if self._unread or not self._found:
            return None
        return Said(self._characters, self._refused, *self._tokens)

    def _event(self, line: bytes | bytearray) -> None:
        name, _, data = bytes(line).strip().partition(b":")
        data = data.strip()
        if name == b"data" and data and data != b"[DONE]":
            self._part(data)

    def _part(self, data: bytes | bytearray) -> None:
        try:
            part = json.loads(data)
        except (ValueError, RecursionError):
            self._unread = True
            return
        if not isinstance(part, dict):
            self._unread = True
            return
        self._found = True
        self.failed |= bool(part.get("error")) or part.get("type") == "response.failed"
        whole = part.get("response")  # the event that ends a stream of `responses`
        answer = whole if isinstance(whole, dict) else part
        self._name(answer)
        self._count_tokens(answer)
        self._choices(part)
        self._output(part, answer)

    def _name(self, answer: dict[str, Any]) -> None:
        name = answer.get("id")
        if not self.id and isinstance(name, str) and len(name) <= MAX_ID:
            self.id = name

    def _count_tokens(self, answer: dict[str, Any]) -> None:
        stated = answer.get("usage")
        if not isinstance(stated, dict):
            return
        read = _number(stated, "prompt_tokens", "input_tokens")
        written = _number(stated, "completion_tokens", "output_tokens")
        if written is None and answer.get("object") == "list":
            written = 0  # embeddings
        self._tokens = (read, written)

    def _choices(self, part: dict[str, Any]) -> None:
        """Of chat completions and completions."""
        for choice in _dicts(part.get("choices")):
            index = _number(choice, "index") or 0
            self._refused |= choice.get("finish_reason") == _FILTERED
            for holder in (choice.get("message"), choice.get("delta")):
                if isinstance(holder, dict):
                    self._add(holder.get("content"), index)
                    self._refused |= bool(holder.get("refusal"))
            self._add(choice.get("text"), index)

    def _output(self, part: dict[str, Any], answer: dict[str, Any]) -> None:
        """Of responses. A stream repeats the whole at its end; its parts were counted."""
        kind = part.get("type")
        if kind == "response.output_text.delta":
            self._add(part.get("delta"))
        self._refused |= kind == "response.refusal.delta"
        details = answer.get("incomplete_details")
        self._refused |= isinstance(details, dict) and details.get("reason") == _FILTERED
        if self._is_stream:
            return
        for item in _dicts(answer.get("output")):
            for content in _dicts(item.get("content")):
                self._add(content.get("text"))
                self._refused |= content.get("type") == "refusal"

    def _add(self, text: object, choice: int = 0) -> None:
        if not isinstance(text, str):
            return
        self._characters += len(text)
        if self._characters <= self.keeps:
            self._texts.setdefault(choice, []).append(text)
        else:
            self._texts.clear()


def reader_of(headers: Iterable[tuple[bytes, bytes]], keeps: int = 0) -> Reader:
    """The reader of an answer with these headers. `keeps`: characters of its text."""
    named = {name.lower(): value for name, value in headers}
    kind = named.get(b"content-type", b"").partition(b";")[0].strip().lower()
    encoded = named.get(b"content-encoding", b"identity").strip().lower() != b"identity"
    return Reader(kind.decode("latin-1"), encoded, keeps=keeps)


def ended(status: int) -> End:
    """How a request ended whose answer is whole."""
    if status >= 500:
        return "failed"
    return "rejected" if status >= 400 else "answered"


def counted(began: float, end: End, reader: Reader | None) -> Observed:
    """What is counted of a request that ended now. `began`: by the steady clock."""
    milliseconds = round(1000 * (time.monotonic() - began))
    said = reader.end() if reader is not None and end == "answered" else None
    if reader is not None and reader.failed and end == "answered":
        end, said = "failed", None
    return Observed(end, milliseconds, said)


def _dicts(value: object) -> list[dict[str, Any]]:
    rows = value if isinstance(value, list) else []
    return [row for row in rows if isinstance(row, dict)]


def _number(stated: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = stated.get(name)
        if type(value) is int and 0 <= value <= MAX_TOKENS:
            return value
    return None
