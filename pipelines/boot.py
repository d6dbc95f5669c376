"""Starts a module of this project isolated: `python -P -s -S boot.py MODULE ARGUMENTS`.

`pipelines.isolation` starts a stage with it, and `pipelines.training.launch` each process of a
launcher. Nothing but the standard library is imported here.

1. `governance` and `pipelines` come from the folders in COUNTERSIGN_PACKAGES, never from elsewhere
   on the path.
2. Every module is compiled from its source. A compiled file beside a source is never read: it says
   only which time and size the source had. What was compiled is kept in COUNTERSIGN_BYTECODE under
   the sha256 of the source and its path. That folder is used only if it belongs to this account and
   no other account can write to it.
3. The sha256 of each source is kept in `LOADED`: of the bytes that were compiled, not of the file
   as it is later.
4. Then the environment's own start-up files run (`site`: `.pth` files, `sitecustomize`). They are
   files of the environment and count as such (`pipelines.installed`).
"""

from __future__ import annotations

import gc
import hashlib
import marshal
import os
import sys
import time
from collections.abc import Sequence
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from types import CodeType, ModuleType

PACKAGES = "COUNTERSIGN_PACKAGES"
"""Environment variable: the folders of both packages, separated as in PATH."""
BYTECODE = "COUNTERSIGN_BYTECODE"
"""Environment variable: the folder for compiled code."""
LOADED: dict[str, str] = {}
"""File to sha256 of the source that was compiled from it."""
STARTED = 0
"""When this process began, in nanoseconds since 1970; 0 if it was not started here."""
STARTER = 0
"""The process that asked for this one (`pipelines.workers`); 0 if that is its parent."""
_VERSION = f"{sys.implementation.cache_tag}-{sys.hexversion:x}-{sys.flags.optimize}"


class Loader(SourceFileLoader):
    """(2), (3) Loads a module from its source."""

    def get_code(self, fullname: str) -> CodeType:
        """The compiled source."""
        path = self.get_filename(fullname)
        source = self.get_data(path)
        LOADED[path] = hashlib.sha256(source).hexdigest()
        kept = _kept(path, source)
        code = _read(kept)
        if code is None:
            code = self.source_to_code(source, path)
            _write(kept, code)
        return code


class Packages:
    """(1) Finds both packages."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The package at its folder."""
        for folder in os.environ.get(PACKAGES, "").split(os.pathsep):
            parent, name = os.path.split(folder)
            if name == fullname:
                return FileFinder(parent, (Loader, SOURCE_SUFFIXES)).find_spec(fullname)
        return None


def _kept(path: str, source: bytes) -> str:
    """Where the compiled code is kept; empty if it is not."""
    folder = os.environ.get(BYTECODE, "")
    if not folder or not _private(folder):
        return ""
    name = hashlib.sha256(f"{_VERSION}\0{path}\0".encode("utf-8", "surrogateescape") + source)
    return f"{folder}/{name.hexdigest()}"


def _private(folder: str) -> bool:
    try:
        status = os.stat(folder)  # noqa: PTH116
    except OSError:
        return False
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _read(kept: str) -> CodeType | None:
    try:
        with open(kept, "rb") as stream:  # noqa: PTH123 - pathlib is not imported yet
            code = marshal.loads(stream.read())  # noqa: S302 - as Python does; the folder is private
    except (OSError, ValueError, EOFError, TypeError):
        return None
    return code if isinstance(code, CodeType) else None


keeps_compiled = True
"""Whether what is compiled is kept. `pipelines.training.guard` turns it off while code runs that
may write nothing.
"""


def _write(kept: str, code: CodeType) -> None:
    """In one step. A folder that cannot be written costs time only."""
    if not kept or not keeps_compiled:
        return
    unfinished = f"{kept}.{os.getpid()}"
    try:
        with open(unfinished, "wb") as stream:  # noqa: PTH123
            stream.write(marshal.dumps(code))
        os.replace(unfinished, kept)  # noqa: PTH105
    except OSError:
        pass


def install() -> None:
    """From now on, modules are loaded as (1) to (3) say."""
    loaders = (ExtensionFileLoader, EXTENSION_SUFFIXES), (Loader, SOURCE_SUFFIXES)
    sys.path_hooks[:] = [FileFinder.path_hook(*loaders)]
    sys.path_importer_cache.clear()
    sys.meta_path.insert(0, Packages)
    sys.modules["pipelines.boot"] = sys.modules[__name__]


def installed() -> bool:
    """Whether this process loads its modules that way."""
    return Packages in sys.meta_path


def _start() -> None:
    """Runs `main()` of the module that the first argument names."""
    from importlib import import_module

    module, *arguments = sys.argv[1:]
    sys.argv = ["countersign", *arguments]
    gc.disable()  # almost nothing that an import makes is garbage
    program = import_module(module)
    gc.enable()
    program.main()


if __name__ in ("__main__", "__mp_main__"):  # the second one is a process of `multiprocessing`
    STARTED = time.time_ns()
    install()
    if sys.flags.no_site:
        import site

        site.main()  # (4)
if __name__ == "__main__":
    _start()
