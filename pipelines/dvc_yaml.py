"""DVC's YAML files, read and written faster: DVC reads params.yaml for each stage, and reads and
writes all of dvc.lock after each, with a parser in pure Python.

1. Plain files are read by `governance.base.fast_yaml`, which returns what DVC's own parser returns,
   or leaves the file to it. The value of a text is kept; each caller gets a copy.
2. dvc.lock is written, by DVC's own writer, only where its content changes. Its text is put
   together from one text for each stage. Those of stages that did not change are kept.
3. DVC writes its table of locks several times for each stage; here, JSON is written in one step.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from typing import IO, Any

from governance.base import fast_yaml

LOCK = "dvc.lock"
KEPT = 32
"""Texts whose value is kept."""
STAGES = "stages"
"""The last key of dvc.lock."""


@cache
def install() -> None:
    """From now on, DVC in this process reads and writes that way."""
    from dvc import dvcfile, rwlock
    from dvc.utils import serialize, strictyaml
    from dvc.utils.serialize import _common, _yaml

    slow, modify_slowly = _yaml.parse_yaml, _yaml.modify_yaml
    write = LockWriter(_yaml._dump)

    def parse_yaml(text: str, path: Any, typ: str = "safe") -> Any:
        with suppress(fast_yaml.Unusual):
            if typ == "safe":
                return _copied(_read(text)) or {}
        return slow(text, path, typ)

    @contextmanager
    def modify_yaml(path: Any, fs: Any = None) -> Iterator[Any]:
        if os.path.basename(path) != LOCK or not os.path.exists(path):  # noqa: PTH110, PTH119
            with modify_slowly(path, fs=fs) as data:
                yield data
            return
        data = _common._load_data(path, parser=parse_yaml, fs=fs)
        before = _copied(data)
        yield data
        if data != before:
            _common._dump_data(path, data, dumper=write, fs=fs)

    _yaml.parse_yaml = serialize.parse_yaml = parse_yaml
    strictyaml.parse_yaml = parse_yaml
    dvcfile.modify_yaml = modify_yaml
    rwlock.json = _Json()


class LockWriter:
    """(2) Writes the text that `dump` writes."""

    def __init__(self, dump: Callable[[Any, IO[str]], Any]) -> None:
        self._dump = dump
        self._texts: dict[str, tuple[str, str]] = {}
        """Stage to its entry and the text of that."""

    def __call__(self, data: Any, stream: IO[str]) -> None:
        *head, last = data or {"": None}
        if last != STAGES or not head or not isinstance(data[STAGES], dict) or not data[STAGES]:
            self._dump(data, stream)
            return
        texts = [self._text_of(name, entry) for name, entry in data[STAGES].items()]
        self._dump({name: data[name] for name in head}, stream)
        stream.write(f"{STAGES}:\n{''.join(texts)}")

    def _text_of(self, name: str, entry: Any) -> str:
        content = repr(entry)
        kept, text = self._texts.get(name, ("", ""))
        if kept != content:
            alone = io.StringIO()
            self._dump({STAGES: {name: entry}}, alone)
            text = alone.getvalue().removeprefix(f"{STAGES}:\n")
            self._texts[name] = content, text
        return text


@lru_cache(maxsize=KEPT)
def _read(text: str) -> Any:
    """(1) Raises `Unusual`."""
    return fast_yaml.read(text)


def _copied(value: Any) -> Any:
    """A copy of a value that `fast_yaml` returned."""
    if isinstance(value, dict):
        return {key: _copied(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_copied(member) for member in value]
    return value


class _Json:
    """(3) `json` with a faster `dump`, which writes the same text."""

    def __getattr__(self, name: str) -> Any:
        return getattr(json, name)

    @staticmethod
    def dump(value: Any, stream: IO[str]) -> None:
        stream.write(json.dumps(value))
