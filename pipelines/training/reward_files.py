"""Files of reward functions: `pipelines/rewards/NAME.py` of this package, `rewards/NAME.py` of a
project. Each defines `NAME(text, answer, **options)`, or has TRL's signature
`NAME(completions, **kwargs)`.

1. A function's identity is the sha256 of its whole file.
2. Reading names, digests, declarations and mistakes runs nothing. A file runs when a stage trains
   or evaluates with it, and then the bytes run that were hashed.
3. A file may import what is installed. It imports no other file of the project: that is refused,
   because the digest would not cover it. The versions of installed packages are not part of the
   digest; the statement of a training records them.
4. A function of the project gets no network, process or file (`pipelines.training.guard`).
5. The name of a file of this package stays that function: a project has no file of that name.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import re
import signal
from collections.abc import Callable, Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from governance.attest.reward_source import RewardDeclaration, declared, parsed
from governance.base.errors import ConfigError, TrainingError
from pipelines.failures import reward_failed
from pipelines.training import guard

FOLDER = Path("rewards")
"""In the project's folder, which is the working folder of every command and stage."""
SHIPPED = Path(__file__).parent.parent / "rewards"
ON_SIGNAL = (128 + signal.SIGINT, 128 + signal.SIGTERM)
BATCH = "completions"
"""A function with this parameter is called with all answers of a batch, as TRL does."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

Function = Callable[..., Any]


@cache
def shipped() -> tuple[str, ...]:
    """The functions of this package, sorted. They do not change while a process runs."""
    return tuple(_names(SHIPPED))


def own() -> list[str]:
    """The functions of the project, sorted."""
    return _names(FOLDER)


def place(name: str) -> str:
    """The file of a function, for people."""
    return f"pipelines/rewards/{name}.py" if name in shipped() else str(FOLDER / f"{name}.py")


def source_text(name: str) -> str:
    """The text of a function's file. Raises `ConfigError` if it cannot be read."""
    if name in shipped():
        return _shipped_text(name)
    try:
        return (FOLDER / f"{name}.py").read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = f"it cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}"
        raise ConfigError(found, where=place(name), expected="Python in UTF-8") from None


def declaration(name: str) -> RewardDeclaration:
    """What the file of a function declares. Raises `ConfigError`."""
    return declared(parsed(source_text(name), place(name)), place(name))


def mistakes(name: str) -> Iterator[ConfigError]:
    """What keeps the file from being a reward function, as far as its text shows (2)."""
    path, expected = place(name), f"def {name}(text, answer) -> a number"
    try:
        tree = parsed(source_text(name), path)
    except ConfigError as error:
        yield error
        return
    yield from _mistakes_of_function(name, tree, expected)
    yield from mistakes_of_imports(tree, path, own())
    try:
        declared(tree, path)
    except ConfigError as error:
        yield error


def load(name: str, source: str | None = None) -> Function:
    """Runs the file and returns its function. `source`: the digest that its text must have.

    Raises `ConfigError`, or `TrainingError` if the file changed or fails.
    """
    text, path = source_text(name), place(name)
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
        fix = "correct the file (`python FILE` shows the error's text)"
        problem = f"raised {kind_of(error)} when its file ran"
        raise reward_failed(name, path, problem, fix=fix) from error
    function: Function = scope[name]
    return function


def kind_of(value: object) -> str:
    """The name of its class, or of the nearest base that is Python's own: a function could name a
    class of its own after what it was given.
    """
    names = [base.__name__ for base in type(value).__mro__ if _is_pythons(base)]
    return names[0]


def _is_pythons(kind: type) -> bool:
    return vars(builtins).get(kind.__name__) is kind


def leave_if_asked(error: BaseException) -> None:
    """Raises `error` again if it is how this process ends on a signal (`pipelines.process`). Any
    other exit is the function's, and must not end a training as if it were done.
    """
    if isinstance(error, SystemExit) and error.code in ON_SIGNAL:
        raise error


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.py") if _NAME.fullmatch(path.stem))


@cache
def _shipped_text(name: str) -> str:
    return (SHIPPED / f"{name}.py").read_bytes().decode("utf-8")


def _mistakes_of_function(name: str, tree: ast.Module, expected: str) -> Iterator[ConfigError]:
    path = place(name)
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    ours = next((node for node in defined if node.name == name), None)
    if ours is None:
        found = f"it defines {', '.join(node.name for node in defined) or 'no function'}"
        fix = "name the function like its file"
        yield ConfigError(found, where=path, expected=expected, fix=fix)
        return
    given = [*ours.args.posonlyargs, *ours.args.args]
    names = {argument.arg for argument in (*given, *ours.args.kwonlyargs)}
    if len(given) < 2 and BATCH not in names:
        where = f"{path}:{ours.lineno}"
        expected = f"{expected}, or def {name}({BATCH}, **kwargs) -> a list of numbers"
        yield ConfigError(f"{name} has other parameters", where=where, expected=expected)


def mistakes_of_imports(
    tree: ast.Module, path: str, files: Collection[str]
) -> Iterator[ConfigError]:
    """(3) `files`: the names of the project's files."""
    for node in ast.walk(tree):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = ["." * node.level + (node.module or "")]
        for module in modules:
            top = module.partition(".")[0]
            if top in guard.NATIVE:
                found = f"it imports {top}, which can read files"
                fix = "score what the function is given; it may read no file"
                yield ConfigError(found, where=f"{path}:{node.lineno}", fix=fix)  # type: ignore[attr-defined]
            if not top or top == FOLDER.name or top in files:
                found = f"it imports {module}, a file of this project"
                fix = "copy what it needs into the file: its digest covers no other"
                yield ConfigError(found, where=f"{path}:{node.lineno}", fix=fix)  # type: ignore[attr-defined]
