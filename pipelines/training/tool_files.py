"""Tools that a model may call while it answers: `rewards/tools/NAME.py` of the project. Each file
defines `NAME(...)`, whose parameters have types and whose docstring describes them; the model reads
both as a JSON schema.

1. A tool's identity is the sha256 of its whole file. In decisions it is a reward function of the
   name `tools/NAME`: policy permits it, people approve it, and its text is in the gate's statement.
2. Its file declares `PURPOSE`. It imports what is installed and no other file of the project.
3. A tool gets no network, process or file (`pipelines.training.guard`, which is no sandbox).
   One that asks for them ends the run, although the trainer takes what a tool raises as an answer.
4. What a tool returns is text for the model; other values become JSON. What it raises, and a text
   of more than `LONGEST` characters, is a failed call, of which the model reads the error.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from governance.attest.reward_source import declared, parsed
from governance.base.errors import ConfigError, TrainingError, unknown
from pipelines import json_texts
from pipelines.failures import StoppedError, tool_reached_out
from pipelines.training import reward_files
from pipelines.training.guard import guarded

FOLDER = reward_files.FOLDER / "tools"
PREFIX = "tools/"
"""Before a tool's name, where it stands beside reward functions."""
LONGEST = 10_000
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

Tool = Callable[..., str]


class ToolStopped(BaseException):
    """A tool asked for what it may not have."""

    def __init__(self, error: StoppedError) -> None:
        super().__init__(str(error))
        self.error = error


def names() -> list[str]:
    """The tools of the project, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if _NAME.fullmatch(path.stem))


def place(name: str) -> str:
    """The file of a tool, for people."""
    return str(FOLDER / f"{name}.py")


def source_text(name: str) -> str:
    """The text of a tool's file. Raises `ConfigError` if it cannot be read."""
    try:
        return (FOLDER / f"{name}.py").read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = f"it cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}"
        raise ConfigError(found, where=place(name), expected="Python in UTF-8") from None


def source_digest(name: str) -> str:
    """sha256 of a tool's source text."""
    return hashlib.sha256(source_text(name).encode()).hexdigest()


def mistakes(name: str, where: str) -> Iterator[ConfigError]:
    """What keeps a tool from being named there, as far as its text shows. Runs nothing."""
    if name not in names():
        yield unknown("tool", name, names(), where)
        return
    path = place(name)
    try:
        tree = parsed(source_text(name), path)
        declaration = declared(tree, path)
    except ConfigError as error:
        yield error
        return
    if not declaration.purpose:
        yield ConfigError("it declares no PURPOSE", where=path, expected='PURPOSE = "..."')
    yield from _mistakes_of_function(name, tree, path)
    yield from reward_files.mistakes_of_imports(tree, path, {*names(), *reward_files.own()})


def _mistakes_of_function(name: str, tree: ast.Module, path: str) -> Iterator[ConfigError]:
    expected = f"def {name}(...) with a type for each parameter, and a docstring with `Args:`"
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    ours = next((node for node in defined if node.name == name), None)
    if ours is None:
        found = f"it defines {', '.join(node.name for node in defined) or 'no function'}"
        yield ConfigError(
            found, where=path, expected=expected, fix="name the function like its file"
        )
        return
    where, given = f"{path}:{ours.lineno}", ours.args
    untyped = [each.arg for each in (*given.args, *given.kwonlyargs) if each.annotation is None]
    if untyped or given.posonlyargs or given.vararg or given.kwarg:
        found = f"{name} has parameters without a type, or of no name"
        yield ConfigError(found, where=where, expected=expected)
    if not ast.get_docstring(ours):
        yield ConfigError(f"{name} has no docstring", where=where, expected=expected)


def require_named(text: str, names: Collection[str], where: str) -> None:
    """Raises `ConfigError` unless a record's tools are these. `text`: its column, as JSON."""
    named = {str(one.get("function", one).get("name")) for one in json_texts.loads(text)}
    if named != set(names):
        found = f"a record has the tools {', '.join(sorted(named))}"
        expected = f"{', '.join(sorted(names))}, or none: the model is told of them in any case"
        raise ConfigError(found, where=where, expected=expected)


def load(sources: Mapping[str, str]) -> list[Tool]:
    """The tools with these digests, in order, as a trainer calls them. Raises `ConfigError`, or
    `TrainingError` if a file changed or has no schema.
    """
    return [_load(name, source) for name, source in sources.items()]


def schemas(tools: list[Tool]) -> list[dict[str, Any]]:
    """What the model reads of tools."""
    from transformers.utils import get_json_schema

    return [get_json_schema(tool) for tool in tools]


def _load(name: str, source: str) -> Tool:
    text, path = source_text(name), place(name)
    if hashlib.sha256(text.encode()).hexdigest() != source:
        fix = "nothing was published; run `countersign repro` to decide on the changed file"
        raise TrainingError("the tool changed during the run", where=path, fix=fix)
    for mistake in mistakes(name, path):
        raise mistake
    scope: dict[str, Any] = {"__name__": f"rewards.tools.{name}", "__file__": path}
    try:
        with guarded(name, path, tool_reached_out):
            exec(compile(text, path, "exec"), scope)  # noqa: S102 - decided on under its digest
    except StoppedError:
        raise
    except (Exception, SystemExit) as error:
        reward_files.leave_if_asked(error)
        found = f"the file of the tool raised {reward_files.kind_of(error)}"
        raise TrainingError(found, where=path, fix="correct the file") from error
    tool = _called(scope[name], name, path)
    from transformers.utils import chat_template_utils as told

    untold = (told.DocstringParsingException, told.TypeHintParsingException)
    try:
        schemas([tool])
    except (*untold, ValueError, TypeError, KeyError, NameError) as error:
        found = f"the model cannot be told of it: {str(error).splitlines()[0][:200]}"
        expected = "types of JSON, and a docstring with `Args:` that names each parameter"
        raise ConfigError(found, where=path, expected=expected) from None
    return tool


def _called(function: Callable[..., Any], name: str, path: str) -> Tool:
    """(3), (4)"""

    @functools.wraps(function)
    def call(**arguments: Any) -> str:
        try:
            with guarded(name, path, tool_reached_out):
                return _text(function(**arguments))
        except StoppedError as error:
            raise ToolStopped(error) from None
        except SystemExit as error:
            reward_files.leave_if_asked(error)
            raise RuntimeError("the tool ended itself") from None

    return call


def _text(result: Any) -> str:
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    if len(text) > LONGEST:
        raise ValueError(f"the result has more than {LONGEST} characters")
    return text
