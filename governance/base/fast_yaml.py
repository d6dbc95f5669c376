"""A fast reader for plain YAML, by libyaml's parser. The strict reader stays the authority.

`read` returns a value only where the strict reader (`governance.base.yaml`) returns the same one.
It raises `Unusual` for everything else: errors, tags, anchors, aliases, directives, several
documents, keys that are not text or stand twice, and scalars whose type takes more than a simple
rule. The caller then reads the text with the strict reader, which also words the error.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import yaml
from yaml.cyaml import CParser
from yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

_LEFT_TO_STRICT = re.compile(
    r"[\t\r\ufeff]|^(?:%|---|\.\.\.)|^ +$|[|>][-+0-9]*#|[|>][^\n]*\n\n|[\"'][ \n]*:[^ \n]",
    re.MULTILINE,
)
"""Directives and documents; block texts whose beginning, and quoted keys whose colon, the two
parsers read differently.
"""
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+|(?:\.[0-9]+)?[eE][-+]?[0-9]+)")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_HEX = re.compile(r"(?=[0-9a-f]*[acdf])(?:[0-9a-f]{32}(?:\.dir)?|[0-9a-f]{40}|[0-9a-f]{64})")
_TEXT = re.compile(
    r"[A-Za-z_/^(\\$][^\n]*|[0-9.]+[,(][^\n]*|[0-9]+(?:\.[0-9]+){2,}(?:[+a-z][a-z0-9.]*)?"
)
"""A letter or mark at the beginning; numbers in a list or before a bracket; a version."""
_IN_FLOW = re.compile(r"(?:[^:?#,\[\]{}]|(?<=[A-Za-z]):(?=[A-Za-z]))*")
"""In brackets, a colon is part of the text only between two letters (`builtin:tiny`)."""
_WORDS: dict[str, bool | None] = {"": None, "null": None, "true": True, "false": False}


class Unusual(Exception):
    """The strict reader has to read this text."""


def read(text: str) -> Any:
    """The value of plain YAML text. Raises `Unusual`."""
    if _LEFT_TO_STRICT.search(text):
        raise Unusual
    try:
        return _document(CParser(text))
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Unusual from None


def _document(parser: Any) -> Any:
    _expect(parser, StreamStartEvent)
    if isinstance(parser.peek_event(), StreamEndEvent):
        return None
    _expect(parser, DocumentStartEvent)
    value = _value(parser, parser.get_event(), in_flow=False)
    _expect(parser, DocumentEndEvent)
    _expect(parser, StreamEndEvent)
    return value


def _expect(parser: Any, kind: type) -> None:
    if not isinstance(parser.get_event(), kind):
        raise Unusual


def _value(parser: Any, event: Any, *, in_flow: bool) -> Any:
    if getattr(event, "anchor", None) is not None or getattr(event, "tag", None) is not None:
        raise Unusual  # an alias has an anchor, too
    if isinstance(event, ScalarEvent):
        return _scalar(event, in_flow)
    in_flow = in_flow or bool(event.flow_style)
    if isinstance(event, SequenceStartEvent):
        return _sequence(parser, in_flow)
    if isinstance(event, MappingStartEvent):
        return _mapping(parser, in_flow)
    raise Unusual


def _sequence(parser: Any, in_flow: bool) -> list[Any]:
    items = []
    while not isinstance(event := parser.get_event(), SequenceEndEvent):
        items.append(_value(parser, event, in_flow=in_flow))
    return items


def _mapping(parser: Any, in_flow: bool) -> dict[str, Any]:
    members: dict[str, Any] = {}
    while not isinstance(event := parser.get_event(), MappingEndEvent):
        key = _value(parser, event, in_flow=in_flow)
        if not isinstance(key, str) or key in members:
            raise Unusual
        members[key] = _value(parser, parser.get_event(), in_flow=in_flow)
    return members


def _scalar(event: Any, in_flow: bool) -> Any:
    text: str = event.value
    if event.style:
        return text  # quoted, or a block
    if in_flow and not _IN_FLOW.fullmatch(text):
        raise Unusual
    if text in _WORDS:
        return _WORDS[text]
    if text.lower() in _WORDS:
        raise Unusual  # True, NULL
    if _TEXT.fullmatch(text) or _HEX.fullmatch(text):
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _DATE.fullmatch(text):
        return date.fromisoformat(text)
    raise Unusual
