"""Text from records in foreign formats: it stays text, on one line, whatever stands in it; JSON has
one form.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from governance.base.text import visible

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!&$@]|:(?=[^\s\d]))")
"""What Markdown, its tables and extensions, HTML and mathematics give a meaning; `:` and `@` make
links of words.
"""
_BEGINS = ((re.compile(r"^([-+=])"), r"\\\1"), (re.compile(r"^(\d{1,9})([.)])(?=\s|$)"), r"\1\\\2"))
"""What would begin a list, a rule or the underline of a heading."""


def line(value: object) -> str:
    """Any value as one line, in which nothing is hidden."""
    return " ".join(visible(str(value)).split())


def said(value: object, none: str = "not stated") -> str:
    """As `line`; the words for a blank."""
    return line(value) if value is not None and line(value) else none


def markdown(value: object, none: str = "not stated") -> str:
    """One line of text as Markdown that shows it, and does nothing else."""
    text = _MARKUP.sub(r"\\\1", said(value, none))
    text = re.sub(r"(?i)\bwww\.", lambda found: found.group()[:-1] + r"\.", text)
    for pattern, escaped in _BEGINS:
        text = pattern.sub(escaped, text)
    return text


def row(*cells: object) -> str:
    """One row of a Markdown table."""
    return "| " + " | ".join(markdown(cell) for cell in cells) + " |"


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> list[str]:
    """A Markdown table; one row of words where there is nothing."""
    body = [row(*cells) for cells in rows] or [
        row("none", *[""] * (len(head) - 1)).replace("not stated", "")
    ]
    return [row(*head), "|" + "---|" * len(head), *body]


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested values under dotted names, in their order."""
    found: dict[str, Any] = {}
    for name, value in sorted(values.items()):
        if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            value = {str(number): item for number, item in enumerate(value, 1)}
        found |= (
            flat(value, f"{before}{name}.")
            if isinstance(value, Mapping) and value
            else {f"{before}{name}": value}
        )
    return found


def cleaned(value: Any) -> Any:
    """A JSON value with every text in it on one line and visible; keys too."""
    if isinstance(value, str):
        return line(value)
    if isinstance(value, dict):
        return {line(key): cleaned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [cleaned(item) for item in value]
    return value


def json_bytes(value: Any) -> bytes:
    """A JSON document for people and tools: keys in the order given, two blanks deep, one line
    end.
    """
    text = json.dumps(cleaned(value), indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def yaml_text(value: dict[str, Any]) -> str:
    """A YAML document of plain values, one line per text."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 1 << 20
    out = StringIO()
    yaml.dump(cleaned(value), out)
    return out.getvalue()


def file_name(text: str) -> str:
    """A name that is safe in a path: as it is where it is plain, else with its digest so that no
    two are one.
    """
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", text):
        return text
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:40].strip("-") or "name"
    return f"{plain}-{hashlib.sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}"


def outside_path(text: str) -> str:
    """Where something came from, less a path of some machine, which may hold a person's name."""
    return (
        "a folder on the machine that imported it"
        if re.match(r"\s*(/|~|[A-Za-z]:[\\/]|file:|\\\\)", text)
        else text
    )
