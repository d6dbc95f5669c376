"""A project's own reward functions: `rewards/NAME.py` defines `NAME(text, answer, **options)`.

1. A function's identity is the sha256 of its whole file.
2. Reading names, digests and mistakes runs nothing. A file runs when a stage trains with it, and
   then the bytes run that were hashed.
3. A file may import what is installed. It cannot import another file of the project: that folder is
   not on Python's path, and its digest would not be known.
"""

from __future__ import annotations

import ast
import hashlib
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from governance.base.errors import ConfigError, TrainingError

FOLDER = Path("rewards")
"""In the project's folder, which is the working folder of every command and stage."""
ON_SIGNAL = (128 + signal.SIGINT, 128 + signal.SIGTERM)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def names() -> list[str]:
    """The functions of the project, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if _NAME.fullmatch(path.stem))


def source_text(name: str) -> str:
    """The text of a function's file. Raises `ConfigError` if it cannot be read."""
    try:
        return _file(name).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = f"it cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}"
        raise ConfigError(found, where=str(_file(name)), expected="Python in UTF-8") from None


def mistakes(name: str) -> Iterator[ConfigError]:
    """What keeps the file from being a reward function, as far as its text shows (2)."""
    path, expected = str(_file(name)), f"def {name}(text, answer) -> a number"
    try:
        tree = ast.parse(source_text(name))
    except ConfigError as error:
        yield error
        return
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}:{line}" if line else path
        yield ConfigError("it is not valid Python", where=where, expected=expected)
        return
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    ours = next((node for node in defined if node.name == name), None)
    if ours is None:
        found = f"it defines {', '.join(node.name for node in defined) or 'no function'}"
        fix = "name the function like its file"
        yield ConfigError(found, where=path, expected=expected, fix=fix)
    elif len([*ours.args.posonlyargs, *ours.args.args]) < 2:
        where = f"{path}:{ours.lineno}"
        yield ConfigError(f"{name} has other parameters", where=where, expected=expected)


def load(name: str, source: str | None = None) -> Callable[..., float]:
    """Runs the file and returns its function. `source`: the digest that its text must have.

    Raises `ConfigError`, or `TrainingError` if the file changed or fails.
    """
    text, path = source_text(name), str(_file(name))
    if source is not None and hashlib.sha256(text.encode()).hexdigest() != source:
        fix = "nothing was published; run `countersign repro` to decide on the changed file"
        raise TrainingError("the reward function changed during the run", where=path, fix=fix)
    for mistake in mistakes(name):
        raise mistake
    scope: dict[str, Any] = {"__name__": f"rewards.{name}", "__file__": path}
    try:
        exec(compile(text, path, "exec"), scope)  # noqa: S102 - decided on under its digest
    except (Exception, SystemExit) as error:
        leave_if_asked(error)
        found = f"running the file raised {type(error).__name__}"
        fix = "correct it; the error's text is shown by `python FILE`"
        raise TrainingError(found, where=path, fix=fix) from error
    function: Callable[..., float] = scope[name]
    return function


def leave_if_asked(error: BaseException) -> None:
    """Raises `error` again if it is how this process ends on a signal (`pipelines.process`). Any
    other exit is the function's, and must not end a training as if it were done.
    """
    if isinstance(error, SystemExit) and error.code in ON_SIGNAL:
        raise error


def _file(name: str) -> Path:
    return FOLDER / f"{name}.py"
