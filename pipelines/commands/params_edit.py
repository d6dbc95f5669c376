"""Adds a row to a table of params.yaml and keeps every other character."""

from __future__ import annotations

import json
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node

from governance.base.errors import ConfigError
from governance.base.yaml import parse_yaml

WHERE = "params.yaml"


def with_dataset(text: str, name: str, row: dict[str, Any]) -> str:
    """`text` with `name: row` as the last entry of `datasets`. Raises `ConfigError` if the entry
    exists.
    """
    return with_row(text, "datasets", name, row)


def with_row(text: str, table: str, name: str, row: dict[str, Any]) -> str:
    """The same for any table."""
    before = parse_yaml(text, WHERE)
    if not isinstance(before, dict) or not isinstance(before.get(table), dict | None):
        raise _no_table(table)
    known = before.get(table) or {}
    if name in known:
        found, where = f"{name!r} is there already", f"{WHERE}: {table}"
        raise ConfigError(found, where=where, fix="choose another --name")
    made = _inserted(text, table, f"{name}: {flow(row)}")
    if parse_yaml(made, WHERE) != {**before, table: {**known, name: row}}:
        found, where = "the row cannot be added without changing other rows", f"{WHERE}: {table}"
        raise ConfigError(found, where=where, fix=f"add it by hand: {name}: {flow(row)}")
    return made


def flow(value: Any) -> str:
    """A value as YAML on one line. Text is quoted if YAML would read it as something else."""
    if isinstance(value, dict):
        members = [f"{flow(key)}: {flow(member)}" for key, member in value.items()]
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    plain = re.fullmatch(r"[A-Za-z0-9_./][A-Za-z0-9_./-]*", value)
    return value if plain and parse_yaml(value, WHERE) == value else json.dumps(value)


def _inserted(text: str, table: str, entry: str) -> str:
    """`text` with `entry` after the last entry of a table."""
    key, value = _table(text, table)
    if not isinstance(value, MappingNode):  # `datasets:` without a value
        at = text.index(":", key.end_mark.index) + 1
        return f"{text[:at]} {{{entry}}}{text[at:]}"
    if value.flow_style:
        at = value.end_mark.index - 1
        return f"{text[:at].rstrip()}{', ' if value.value else ''}{entry}{text[at:]}"
    indent = " " * value.value[0][0].start_mark.column
    line = _last_line(value)
    lines = text.split("\n")
    return "\n".join([*lines[: line + 1], f"{indent}{entry}", *lines[line + 1 :]])


def _table(text: str, table: str) -> tuple[Node, Node]:
    """The key and the value of a table."""
    root = YAML(typ="safe", pure=True).compose(text)
    for key, value in root.value:
        if key.value == table:
            return key, value
    raise _no_table(table)


def _no_table(table: str) -> ConfigError:
    return ConfigError(f"no `{table}` mapping", where=WHERE, fix=f"add a line `{table}: {{}}`")


def _last_line(node: Node) -> int:
    """The 0-based line of a node's last character; comments come before a block's own end mark."""
    if isinstance(node, CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.line)
