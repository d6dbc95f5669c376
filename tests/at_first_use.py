"""A library that compiles a grammar when it is imported: it is imported when it is first called.

jsonschema imports it with each test run and each warm process (`tests.warm`), for two CPU-seconds;
one test asks it something.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

NAME = "rfc3987_syntax"


def install() -> None:
    """Before jsonschema is imported."""
    if NAME not in sys.modules and importlib.util.find_spec(NAME):
        stand_in = ModuleType(NAME)
        vars(stand_in)["is_valid_syntax"] = _is_valid_syntax
        sys.modules[NAME] = stand_in


def _is_valid_syntax(term: str, value: str) -> bool:
    """The library's own answer."""
    if getattr(sys.modules[NAME], "is_valid_syntax", None) is _is_valid_syntax:
        del sys.modules[NAME]
    return bool(importlib.import_module(NAME).is_valid_syntax(term, value))
