"""DVC's YAML files, read and written faster: DVC reads params.yaml for each stage, and reads and
writes all of dvc.lock after each, with a parser in pure Python.

1. Plain files are read by `governance.base.fast_yaml`, which returns what DVC's own parser returns,
   or leaves the file to it. The value of a text is kept; each caller gets a copy.
2. dvc.lock is written, by DVC's own writer, only where its content changes.
3. DVC writes its table of locks several times for each stage; here, JSON is written in one step.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import IO, Any

from governance.base import fast_yaml

LOCK = "dvc.lock"
KEPT = 32
"""Texts whose value is kept."""


def install() -> None:
    """From now on, DVC in this process reads and writes that way."""
    from dvc import dvcfile, rwlock
    from dvc.utils import serialize, strictyaml
    from dvc.utils.serialize import _common, _yaml

    slow, modify_slowly = _yaml.parse_yaml, _yaml.modify_yaml

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
        before = copy.deepcopy(data)
        yield data
        if data != before:
            _common._dump_data(path, data, dumper=_yaml._dump, fs=fs)

    _yaml.parse_yaml = serialize.parse_yaml = parse_yaml
    strictyaml.parse_yaml = parse_yaml
    dvcfile.modify_yaml = modify_yaml
    rwlock.json = _Json()


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
