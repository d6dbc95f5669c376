"""Which files a model folder may hold: files with numbers and text, never files that can run code.

This is an allow list by name and by content. An unknown kind of file is refused because nobody
knows what loading it does. The bytes decide what a file is, not its name.
"""

from __future__ import annotations

import io
import json
import pickletools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from governance.base.errors import InputError
from governance.models import weights
from governance.models.configs import config_fault
from governance.models.templates import template_fault

SAFE_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".md", ".jinja", ".model"})
"""Weights, configuration, vocabulary, notes, chat template (rendered in a sandbox), SentencePiece.
"""

SAFE_NAMES = frozenset({"LICENSE", "LICENCE", "NOTICE", "USE_POLICY", ".gitattributes"})

CODE_FOLDERS = frozenset({"code", "custom_generate"})
"""Folders from which MLflow's pyfunc and transformers load code."""

REDIRECTS = frozenset({"adapter_config.json"})
"""Files that make transformers load another model, which no manifest covers."""

CODE_KEYS = frozenset({"auto_map", "custom_pipelines", "trust_remote_code", "transformers_weights"})
"""Keys of a configuration, at any depth, that ask for code or for weights under another name (such
an index may lead anywhere).
"""

KERNEL_KEYS = frozenset(
    {
        "attn_implementation",
        "_attn_implementation",
        "experts_implementation",
        "_experts_implementation",
    }
)
"""Keys that make transformers fetch code from a repository if their value names one."""

MAX_TEXT = 256 << 20
"""The most bytes of a file that is not weights. No known model has a larger one."""

MAX_PICKLE = 1 << 20
"""How many bytes are searched for a pickle of the oldest protocol, which is text."""

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,253}")
_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_RUNS = frozenset(
    {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD"}
)
"""Opcodes of a pickle that name or call something."""
_SENTENCEPIECE_FIELDS = range(1, 6)
"""Top-level fields of its ModelProto: pieces, three specifications, self-test data."""


def unsafe_files(paths: Iterable[str]) -> list[str]:
    """The paths that are not on the allow list, sorted: pickles (`.bin`, `.pt`, `.pkl`), code
    (`.py`, `.so`), unknown files.
    """
    return sorted(path for path in paths if not _safe(PurePosixPath(path)))


def path_fault(path: str) -> str | None:
    """Why a manifest may not name this path; None if it may. Paths are relative, in ASCII, and the
    same on every system.
    """
    return next(
        (reason for reason, holds in _PATH_FAULTS.items() if holds(path, path.split("/"))), None
    )


def _odd(part: str) -> bool:
    return part not in SAFE_NAMES and not _PART.fullmatch(part)


_PATH_FAULTS: dict[str, Callable[[str, list[str]], bool]] = {
    "an absolute path": lambda path, parts: (
        path.startswith("/") or re.match(r"[A-Za-z]:", path) is not None
    ),
    "a path that leaves the folder": lambda path, parts: ".." in re.split(r"[/\\]", path),
    "a backslash in the path": lambda path, parts: "\\" in path,
    "an encoded character in the path": lambda path, parts: "%" in path,
    "a path with an empty part": lambda path, parts: "" in parts or "." in parts,
    "a hidden file or folder": lambda path, parts: any(
        part.startswith(".") and _odd(part) for part in parts
    ),
    "a name that is odd on some system": lambda path, parts: any(_odd(part) for part in parts),
    "a name that is no file's on some system": lambda path, parts: any(
        part.endswith(".") or _WINDOWS.fullmatch(part) for part in parts
    ),
    "a folder that code is loaded from": lambda path, parts: bool(
        CODE_FOLDERS & {part.lower() for part in parts[:-1]}
    ),
    "an adapter's configuration, which names another model to load: release the merged model": (
        lambda path, parts: parts[-1] in REDIRECTS
    ),
    "an index of weights under another name, which is not held against the weights": (
        lambda path, parts: parts[-1].endswith(weights.INDEX[5:]) and path != weights.INDEX
    ),
    "a kind of file that can run code, or that nobody knows": lambda path, parts: (
        not _safe(PurePosixPath(path))
    ),
}
"""Maps each fault of a path to its test. The first that holds is reported."""


def collisions(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of paths that are one path on some system: they differ only in case or Unicode normal
    form, or one is a folder of the other.
    """
    seen: dict[str, str] = {}
    whole: set[str] = set()
    for path in sorted(paths):
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            name = "/".join(parts[:end]) + ("/" if end < len(parts) else "")
            folded = unicodedata.normalize(
                "NFC", unicodedata.normalize("NFC", name).casefold()
            ).rstrip("/")
            first = seen.setdefault(folded, name)
            if first != name or (end == len(parts) and path in whole):
                yield first.rstrip("/"), path
                break
        whole.add(path)


def content_fault(path: Path, *, configs: bool = True) -> str | None:
    """Why a file may not be loaded; None if its content is what its name says. Loads nothing.

    `configs`: whether JSON files and templates are held against the tables of `configs`. Those of
    versions registered under older rules are not.
    """
    try:
        if path.suffix == ".safetensors":
            weights.check_safetensors(path)
            return None
        if path.stat().st_size > MAX_TEXT:
            return f"{path.stat().st_size} bytes, which no text of a model has"
        data = path.read_bytes()
    except InputError as error:
        return error.found
    if path.suffix == ".model":
        is_model = _sentencepiece(data) or (not configs and _is_json(data))
        return None if is_model else "not a SentencePiece model"
    fault = _text_fault(data, is_json=path.suffix == ".json")
    return _config_fault(path, data) if fault is None and configs else fault


def _config_fault(path: Path, data: bytes) -> str | None:
    if path.suffix == ".json":
        return config_fault(path.name, json.loads(data), len(data))
    return template_fault(data.decode("utf-8")) if path.suffix == ".jinja" else None


def config_faults(folder: Path) -> Iterator[tuple[str, str]]:
    """Path and fault of each JSON file and template of a folder that a model may not have."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".json", ".jinja") and path.is_file():
            fault = content_fault(path)
            if fault is not None:
                yield path.relative_to(folder).as_posix(), fault


def refuse_configs(folder: Path, where: str) -> None:
    """Raises `InputError` with the faults of a folder's JSON files and templates."""
    faults = [f"{path}: {fault}" for path, fault in config_faults(folder)]
    if faults:
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise InputError(
            f"files of a model that could run code, take very long, or are not known:"
            f" {'; '.join(faults[:5])}{more}",
            where=where,
            expected="what transformers 5 writes for a language model (docs/serving.md)",
            fix="take out what is named here, or use another model",
        )


def remote_code(folder: Path) -> list[str]:
    """JSON files of a model folder that ask for code to be loaded (`auto_map`, `custom_pipelines`),
    sorted by path.
    """
    paths = []
    for path in sorted(folder.rglob("*.json")):
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError):
            continue
        if asks_for_code(value) is not None:
            paths.append(path.relative_to(folder).as_posix())
    return paths


def asks_for_code(value: Any) -> str | None:
    """The key of a configuration, at any depth, that asks for code to be loaded; None without one.

    A key with a number as its value does not count: a vocabulary may have a token of that name.
    """
    waiting: list[tuple[Any, str]] = [(value, "")]
    """Values to visit, each with the key above it that asks for a kernel."""
    while waiting:
        node, kernel = waiting.pop()
        if kernel and isinstance(node, str) and "/" in node:
            return kernel
        if isinstance(node, dict):
            for key, inner in node.items():
                if key in CODE_KEYS and (
                    inner is True or (isinstance(inner, dict | list | str) and inner)
                ):
                    return str(key)
                if kernel and "/" in key:
                    return kernel
                waiting.append((inner, key if key in KERNEL_KEYS else kernel))
        elif isinstance(node, list):
            waiting.extend((inner, kernel) for inner in node)
    return None


def _text_fault(data: bytes, *, is_json: bool) -> str | None:
    if _is_pickle(data):
        return "a pickle under another name: loading it runs code"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return "not text (no UTF-8)"
    if "\0" in text:
        return "not text (it holds NUL)"
    if not is_json:
        return None
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        return f"not JSON that has one reading ({_reason(error)})"
    key = asks_for_code(value)
    return f"it asks for code to be loaded, or for another model ({key})" if key else None


def _is_pickle(data: bytes) -> bool:
    """Whether the data begins with a pickle that can run code. Protocol 2 and later have a mark;
    older ones are parsed.
    """
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    names: set[str] = set()
    try:
        for opcode, _, _ in pickletools.genops(io.BytesIO(data[:MAX_PICKLE])):
            names.add(opcode.name)
    except Exception:  # noqa: BLE001 - what the parser rejects is not a pickle
        return False
    return bool(names & _RUNS)


def _sentencepiece(data: bytes) -> bool:
    """Whether the bytes are a sequence of length-delimited fields as its ModelProto has them."""
    at = 0
    while at < len(data):
        tag, length = data[at], 0
        at += 1
        if tag & 7 != 2 or tag >> 3 not in _SENTENCEPIECE_FIELDS:
            return False
        for shift in range(0, 35, 7):
            if at >= len(data):
                return False
            byte = data[at]
            at += 1
            length |= (byte & 127) << shift
            if byte < 128:
                break
        at += length
    return at == len(data) > 0


def _is_json(data: bytes) -> bool:
    return _text_fault(data, is_json=True) is None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


def _reason(error: Exception) -> str:
    """The reason of a JSON error, without the text that is wrong."""
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}"
    return "nested too deep" if isinstance(error, RecursionError) else str(error)[:80]


def _safe(path: PurePosixPath) -> bool:
    return path.suffix in SAFE_SUFFIXES or path.name in SAFE_NAMES
