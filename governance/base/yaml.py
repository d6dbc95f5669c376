"""Reads a YAML file into a typed model; all mistakes are reported at once, with file, line and
field.

1. YAML 1.2 by ruamel's safe loader: no duplicate keys, at most `MAX_BYTES`.
2. No aliases: with them a small file can grow without bound. No tags, directives and merge keys
   (`<<`): parsers differ in them, so two programs could read two policies.
3. No character that shows people other lines, or another order, than what is read.
4. `governance.base.fast_yaml` reads plain files first, in a tenth of the time. It returns the same
   values or none, so errors and unusual files always come from the strict reader.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from governance.base import fast_yaml
from governance.base.errors import ConfigError, CountersignError, Problems, did_you_mean
from governance.base.model import SLUG, Model

if TYPE_CHECKING:  # imported where needed: plain files do not need it
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import Node

MAX_BYTES = 512 << 10
"""Of a file, and of text out of a log: ten seconds of parsing."""
_DECEIVING = re.compile("[\u202a-\u202e\u2066-\u2069\x85\u2028\u2029]|\r(?!\n)")
"""Characters that reverse the order of text, and line ends that editors, terminals and `diff` show
inside a line.
"""
_UNPLAIN = re.compile("[*!%]|<<")
"""With one of these begin aliases, tags, directives and merge keys."""
_CONFLICT = re.compile("^<{7} ", re.MULTILINE)
"""How git begins a conflict."""
NAME = "a small letter, then at most 62 small letters, figures, - and _; not true, false or null"
"""What `is_name` accepts, in words."""
M = TypeVar("M", bound=Model)


def is_name(text: str) -> bool:
    """Whether a text can be a name in YAML as it stands: `null` would be read as no text."""
    return re.fullmatch(SLUG, text) is not None and parse_yaml(text, "") == text


def read_yaml(path: Path) -> Any:
    """The plain value of a YAML file. Raises `ConfigError` with file and line."""
    return parse_yaml(read_text(path), str(path))


def parse_yaml(text: str, where: str, *, plain: bool = True) -> Any:
    """The plain value of YAML text; `where` names it in errors. `plain=False`: with tags,
    directives and merge keys, as earlier versions read it.
    """
    if len(text) > MAX_BYTES:
        raise _too_large(where)
    refuse_deceiving(text, where)
    try:
        return fast_yaml.read(text)
    except fast_yaml.Unusual:
        return _parse_strictly(text, where, plain)


def edited(text: str, change: Callable[[Any], None]) -> str:
    """YAML text after `change` of its tree. Comments, order and quotes are kept. New lists and
    tables of plain values stand in one line.
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    yaml.default_flow_style = None
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.ignore_aliases = lambda value: True  # policies are read without aliases
    tree = yaml.load(text)
    change(tree)
    out = io.StringIO()
    yaml.dump(tree, out)
    return out.getvalue()


def _parse_strictly(text: str, where: str, plain: bool = True) -> Any:
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        _refuse_unplain(text, where, plain)
        return _strict().load(text)
    except MarkedYAMLError as error:
        _refuse_conflict(text, where)
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(
            str(error.problem or error.context), where=f"{where}{line}", expected="valid YAML"
        ) from None
    except (YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(
            str(error).splitlines()[0][:200], where=where, expected="valid YAML"
        ) from None


def _refuse_conflict(text: str, where: str) -> None:
    if match := _CONFLICT.search(text):
        raise ConfigError(
            "a merge conflict is marked in it",
            where=f"{where}:{text.count(chr(10), 0, match.start()) + 1}",
            fix="keep what is right between <<<<<<< and >>>>>>>, and delete the marks",
        )


def load_model(path: Path, model: type[M]) -> M:
    """A YAML file as `model`. Raises `Problems` naming every mistake with its line."""
    return parse_model(read_text(path), path, model)


def parse_model(text: str, path: Path, model: type[M], *, plain: bool = True) -> M:
    """As `load_model`, of a text; `path` names it in errors. The same text is read once. `plain`:
    see `parse_yaml`.
    """
    with suppress(CountersignError, ValidationError):
        return cast(M, _read(text, model, plain))
    value = parse_yaml(text, str(path), plain=plain)
    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        root = _strict().compose(text)
        raise Problems([_problem(detail, path, root, model) for detail in error.errors()]) from None


@lru_cache(maxsize=256)
def _read(text: str, model: type[Model], plain: bool) -> Model:
    value = parse_yaml(text, "", plain=plain)
    return model.model_validate({} if value is None else value)


def place(path: Path, *field: str | int, text: str | None = None) -> str:
    """Where a field of a YAML file, or of its text, stands, as errors name it:
    `path:line: a.b.c`.
    """
    root = _strict().compose(read_text(path) if text is None else text)
    return f"{path}:{_line(root, field)}: {'.'.join(str(part) for part in field)}"


def read_text(path: Path) -> str:
    """The text of a YAML file. Raises `ConfigError`."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _too_large(str(path))
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        fix = "restore it, or change to the project's folder"
        raise ConfigError("no such file", where=str(path), fix=fix) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"byte {error.start} is not UTF-8", where=str(path), expected="UTF-8 text"
        ) from None
    except OSError as error:
        raise ConfigError(error.strerror or str(error), where=str(path)) from None


def _strict() -> YAML:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True)


def _too_large(where: str) -> ConfigError:
    return ConfigError("file is too large", where=where, expected=f"at most {MAX_BYTES} bytes")


def refuse_deceiving(text: str, where: str) -> None:
    match = _DECEIVING.search(text)
    if match:
        line = text.count("\n", 0, match.start()) + 1
        raise ConfigError(
            f"the character U+{ord(match[0]):04X} shows people other text than is read",
            where=f"{where}:{line}",
            fix="leave it out; in a quoted text, write it as an escape",
        )


def _refuse_unplain(text: str, where: str, plain: bool) -> None:
    """(2)"""
    if not _UNPLAIN.search(text):
        return
    for event in _strict().parse(text):
        found = _unplain(event)
        if found is not None and (plain or found == "aliases"):
            raise ConfigError(
                f"YAML {found} are not accepted",
                where=f"{where}:{event.start_mark.line + 1}",
                fix="write the value out",
            )


def _unplain(event: Any) -> str | None:
    """What this event is that no plain file has."""
    if type(event).__name__ == "AliasEvent":
        return "aliases"
    if getattr(event, "tag", None) is not None:
        return "tags"
    if getattr(event, "version", None) is not None:
        return "directives"
    is_merge = getattr(event, "value", None) == "<<" and not event.style
    return "merge keys" if is_merge else None


def _problem(
    detail: ErrorDetails, path: Path, root: Node | None, model: type[Model]
) -> CountersignError:
    loc = tuple(part for part in detail["loc"] if not str(part).startswith("function-"))
    field = ".".join(_name(part) for part in loc) or "(whole file)"
    where = f"{path}:{_line(root, loc)}: {field}"
    if detail["type"] == "extra_forbidden":
        fields = _known_fields(model, loc[:-1])
        fix = did_you_mean(str(loc[-1]), fields) or (
            f"one of: {', '.join(fields)}" if fields else ""
        )
        return ConfigError("unknown field", where=where, fix=fix)
    found = "" if detail["type"] == "missing" else f"{_input_text(detail['input'])}: "
    choices = re.findall(r"'([^']+)'", str(detail.get("ctx", {}).get("expected", "")))
    return ConfigError(
        f"{found}{error_text(detail)}", where=where, fix=did_you_mean(str(detail["input"]), choices)
    )


def error_text(detail: ErrorDetails) -> str:
    """What is wrong with a value, as a phrase."""
    if detail.get("ctx", {}).get("pattern") == SLUG:
        return "a name is lower-case letters, digits, - and _, and begins with a letter"
    return detail["msg"].removeprefix("Value error, ")


def _input_text(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return ascii(str(value)[:80])


def _name(part: int | str) -> str:
    """A key as messages show it. Unusual characters are escaped: no key looks like another."""
    return str(part) if re.fullmatch(r"[A-Za-z0-9_./ \[\]-]+", str(part)) else ascii(part)


def _known_fields(model: type[Model], loc: tuple[int | str, ...]) -> list[str]:
    schema = model.model_json_schema()
    node: dict[str, Any] = schema
    for part in loc:
        node = _resolve(node, schema)
        named = node.get("properties", {}).get(str(part))
        keyed = next(iter(node.get("patternProperties", {}).values()), None) or node.get(
            "additionalProperties"
        )
        node = named or keyed or node.get("items") or {}
        if not isinstance(node, dict):
            return []
    return sorted(_resolve(node, schema).get("properties", {}))


def _resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for option in node.get("anyOf", []):
        if "$ref" in option:
            node = option
    if "$ref" in node:
        resolved: dict[str, Any] = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        return resolved
    return node


def _line(node: Node | None, loc: tuple[int | str, ...]) -> int:
    """The 1-based line of a field, or of the nearest thing around it that exists."""
    from ruamel.yaml.nodes import MappingNode, SequenceNode

    line = 1 if node is None else node.start_mark.line + 1
    for part in loc:
        child: Node | None = None
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    child, line = value, key.start_mark.line + 1
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            child = node.value[part]
            line = child.start_mark.line + 1
        if child is None:
            break
        node = child
    return line
