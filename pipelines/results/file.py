"""Which tool wrote a file of results, and its content as typed data.

1. At most `canonical.MAX_BYTES`, as JSON that has one reading only: no NaN, no name twice.
2. What the signed record takes over is named field by field. Texts of items and answers, paths,
   and what the file says of the machine are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Instant, Tool, ToolName, ToolTasks
from governance.base.errors import InputError, VerificationError
from governance.base.model import Model, Sha256
from pipelines.results import inspect_ai, lm_eval

TOOLS: dict[Tool, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "lm-eval": ("lm_eval_version", lm_eval.fields),
    "inspect-ai": ("eval", inspect_ai.fields),
}
"""Tool to the field by which its files are known, and what reads them."""


class ToolFile(Model):
    """A file of results."""

    sha256: Sha256
    tool: Tool
    version: ToolName
    dated: Instant
    named: str
    """How the file calls the model, for people."""
    tasks: ToolTasks


def read(path: Path) -> ToolFile:
    """The results in a file. Raises `InputError`."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if path.is_file() and size <= canonical.MAX_BYTES else None
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", where=str(path)) from None
    if data is None:
        expected = f"a file of at most {canonical.MAX_BYTES} bytes"
        raise InputError(f"{size} bytes", expected=expected, where=str(path))
    tool, content = _known(data, path)
    try:
        fields = TOOLS[tool][1](content)
        return ToolFile(sha256=sha256_bytes(data), tool=tool, **fields)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part)[:60] for part in wrong["loc"])
        raise _refused(f"{place}: {wrong['msg']}"[:300], path) from None
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, OSError) as error:
        raise _refused(f"a field is missing or malformed ({type(error).__name__})", path) from None
    except InputError as error:
        raise InputError(error.found, where=str(path), fix=error.fix) from None


def _known(data: bytes, path: Path) -> tuple[Tool, dict[str, Any]]:
    """The tool that wrote it, and the content."""
    if data.startswith(b"PK"):
        fix = "inspect log convert LOG.eval --to json --output-dir DIR"
        raise InputError("a binary log", expected="JSON", where=str(path), fix=fix)
    try:
        content = canonical.loads(data, where=str(path))
    except VerificationError as error:
        raise InputError(error.found, expected=error.expected, where=str(path)) from None
    for tool, (field, _) in TOOLS.items():
        if isinstance(content, dict) and field in content:
            return tool, content
    raise _refused("no results of a tool that is known", path)


def _refused(found: str, path: Path) -> InputError:
    expected = "results_*.json of lm-eval, or a JSON log of inspect-ai"
    return InputError(found, expected=expected, where=str(path))
