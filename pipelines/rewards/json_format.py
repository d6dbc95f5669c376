"""1 when the answer is one JSON value, with nothing around it, that has the form of the `schema`.

`schema` is a JSON Schema, as an object or text: an option of the reward, or an extra column of the
record. Understood are `type`, `properties`, `required`, `additionalProperties` (true or false),
`items`, `enum`, `const`, `minimum`, `maximum`, `minLength`, `maxLength`, `minItems` and `maxItems`;
a schema with another keyword is refused, because it would be checked in part.
"""

import json
from collections.abc import Callable
from typing import Any

PURPOSE = "the answer has the demanded JSON form"
RANGE = (0, 1)
BLIND_SPOTS = [
    "the values are not judged: the right form with wrong content has the best score",
    "without a schema, every JSON value is right, also a bare number",
]
COUNTER_METRICS = ["greedy_exact", "sampled_exact"]

NOTES = {"$schema", "$id", "title", "description", "default", "examples"}
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def json_format(text: str, answer: str | None, schema: Any = None) -> float:
    wanted = json.loads(schema) if isinstance(schema, str) else schema
    try:
        value = json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return 0.0
    return float(wanted is None or _fits(value, wanted))


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _fits(value: Any, schema: Any) -> bool:
    if isinstance(schema, bool):
        return schema
    checks: dict[str, Callable[[Any], bool]] = {
        "type": lambda wanted: any(
            _is(value, each) for each in ([wanted] if isinstance(wanted, str) else wanted)
        ),
        "enum": lambda wanted: any(_same(value, each) for each in wanted),
        "const": lambda wanted: _same(value, wanted),
        "minimum": lambda least: not _is(value, "number") or value >= least,
        "maximum": lambda most: not _is(value, "number") or value <= most,
        "minLength": lambda least: not isinstance(value, str) or len(value) >= least,
        "maxLength": lambda most: not isinstance(value, str) or len(value) <= most,
        "minItems": lambda least: not isinstance(value, list) or len(value) >= least,
        "maxItems": lambda most: not isinstance(value, list) or len(value) <= most,
        "items": lambda each: (
            not isinstance(value, list) or all(_fits(item, each) for item in value)
        ),
        "required": lambda names: not isinstance(value, dict) or set(names) <= value.keys(),
        "properties": lambda named: (
            not isinstance(value, dict)
            or all(_fits(value[name], named[name]) for name in named if name in value)
        ),
        "additionalProperties": lambda allowed: (
            not isinstance(value, dict)
            or all(_fits(value[name], allowed) for name in value.keys() - _named(schema))
        ),
    }
    unknown = schema.keys() - checks.keys() - NOTES
    if unknown:
        raise ValueError(f"the schema has {', '.join(sorted(unknown))}")
    return all(checks[key](wanted) for key, wanted in schema.items() if key in checks)


def _named(schema: Any) -> set[str]:
    return set(schema.get("properties", {}))


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, TYPES[name])


def _same(value: Any, other: Any) -> bool:
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)
