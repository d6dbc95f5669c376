"""Compiled Jinja templates, kept from process to process: to compile a report's takes a third of a
CPU-second.

1. They lie in the state folder of this machine, if there is one. A folder that belongs to another
   account, or that another account can write to, is not used.
2. A template is kept under the sha256 of its source, of the modules that its environment is made of
   (Jinja computes constants when it compiles), and of what compiles it.
3. What cannot be read or written costs time only.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import CodeType, ModuleType

import jinja2
from jinja2 import Environment
from jinja2.bccache import Bucket, BytecodeCache

from governance.base.errors import ConfigError, StorageError
from governance.base.home import state_home
from governance.base.storage import write_atomic

FOLDER = "templates"
"""In the state folder."""
COMPILER = f"{sys.implementation.cache_tag}-{sys.hexversion:x}-{jinja2.__version__}"


class CompiledTemplates(BytecodeCache):
    """(2) The compiled templates of one environment."""

    def __init__(self, folder: Path, name: str, modules: tuple[ModuleType, ...]) -> None:
        """`name`: of the environment. `modules`: all whose functions it may call to compile."""
        self._folder = folder
        sources = [Path(module.__file__ or "").read_bytes() for module in modules]
        self._made_of = _sha256(COMPILER.encode(), name.encode(), *sources)

    def get_bucket(
        self, environment: Environment, name: str, filename: str | None, source: str
    ) -> Bucket:
        """The place of one template, with its code if it is kept."""
        parts = (self._made_of, name, filename or "", source)
        key = _sha256(*(part.encode("utf-8", "surrogateescape") for part in parts))
        bucket = Bucket(environment, key, key)
        self.load_bytecode(bucket)
        return bucket

    def load_bytecode(self, bucket: Bucket) -> None:
        """(3)"""
        with suppress(OSError, ValueError, EOFError, TypeError):
            kept = (self._folder / bucket.key).read_bytes()
            code = marshal.loads(kept)  # noqa: S302 - as Python does; the folder is private
            bucket.code = code if isinstance(code, CodeType) else None

    def dump_bytecode(self, bucket: Bucket) -> None:
        """(3)"""
        with suppress(StorageError):
            write_atomic(self._folder / bucket.key, marshal.dumps(bucket.code), mode=0o600)


def compiled_templates(
    environ: Mapping[str, str], name: str, *modules: ModuleType
) -> CompiledTemplates | None:
    """(1) Where an environment keeps its compiled templates; None if it cannot."""
    try:
        folder = state_home(environ) / FOLDER
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        if not folder.is_dir() or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            return None
        return CompiledTemplates(folder, name, modules)
    except (ConfigError, OSError):
        return None


def _sha256(*parts: bytes) -> str:
    """Of several byte strings, each with its length."""
    return hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).hexdigest()
