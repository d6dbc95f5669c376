"""Text from records in other formats. It stays text, on one line, whatever it contains."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from io import StringIO
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from ruamel.yaml import YAML

from governance.base.text import moment, share, visible

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!&$@]|:(?=[^\s\d]))")
"""Characters with a meaning in Markdown, its tables and extensions, HTML or mathematics. `:` and
`@` turn words into links.
"""
_BEGINS = ((re.compile(r"^([-+=])"), r"\\\1"), (re.compile(r"^(\d{1,9})([.)])(?=\s|$)"), r"\1\\\2"))
"""Patterns that would begin a list, a rule or the underline of a heading."""


def line(value: object) -> str:
    """Any value as one line, in which nothing is hidden."""
    return " ".join(visible(str(value)).split())


def stated(value: object, none: str = "not stated") -> str:
    """As `line`, or the words for a blank."""
    return line(value) if value is not None and line(value) else none


def markdown(value: object, none: str = "not stated") -> str:
    """Markdown that shows one line of text and does nothing else."""
    text = _MARKUP.sub(r"\\\1", stated(value, none))
    text = re.sub(r"(?i)\bwww\.", lambda found: found.group()[:-1] + r"\.", text)
    for pattern, escaped in _BEGINS:
        text = pattern.sub(escaped, text)
    return text


def drawn(template: str, **records: Any) -> str:
    """A Markdown page from a template. Every value that it prints is escaped."""
    page = _templates().get_template(template).render(**records)
    return re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("governance.exports", "templates"),
        undefined=StrictUndefined,
        finalize=markdown,
        autoescape=False,  # noqa: S701 - Markdown, not HTML; `finalize` escapes
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": moment, "outside_path": outside_path, "share": share}
    return environment


def cleaned(value: Any) -> Any:
    """A JSON value with every text and key on one line and visible."""
    if isinstance(value, str):
        return line(value)
    if isinstance(value, dict):
        return {line(key): cleaned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [cleaned(item) for item in value]
    return value


def json_bytes(value: Any) -> bytes:
    """A JSON document for people and tools: keys in the order given, indented by two blanks."""
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
    """A name that is safe in a path. A name with other characters gets its digest, so that no two
    names collide.
    """
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", text):
        return text
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:40].strip("-") or "name"
    return f"{plain}-{hashlib.sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}"


def outside_path(text: str) -> str:
    """A source without a path of a machine, because a path may contain a person's name."""
    return (
        "a folder on the machine that imported it"
        if re.match(r"\s*(/|~|[A-Za-z]:[\\/]|file:|\\\\)", text)
        else text
    )
