"""Watches what a project's own reward function or tool asks of the machine while it runs: network,
other processes and threads, files. None of these is permitted, so a function uses what it is given.

1. An audit hook (PEP 578) sees what Python code asks of the interpreter. It looks only while a
   guarded function runs, at its thread and at those that it starts. Other threads of the process
   go on, and may start more.
2. It refuses with `PermissionError`, and it remembers: a function that swallows the error is
   stopped all the same.
3. Reading what is installed is permitted: modules may be imported late.
4. This is no sandbox. Libraries of machine code open files without asking Python; the ones that
   read data are refused by the text of the file (`NATIVE`). A function that is written against the
   guard gets past it, so people read and approve its text.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pipelines import boot
from pipelines.failures import StoppedError, reward_reached_out

Access = Literal["network", "another process or thread", "a file"]

NATIVE = frozenset(
    {"ctypes", "cffi", "pyarrow", "pandas", "polars", "duckdb", "datasets", "safetensors", "mmap"}
)
"""(4) Modules that read files past the hook."""

_PREFIXES: dict[str, Access] = {
    "socket.": "network",
    "subprocess.": "another process or thread",
    "os.exec": "another process or thread",
    "os.fork": "another process or thread",
    "os.posix_spawn": "another process or thread",
    "os.spawn": "another process or thread",
    "os.system": "another process or thread",
    "pty.spawn": "another process or thread",
    "sqlite3.connect": "a file",
    "shutil.": "a file",
    "tempfile.": "a file",
}
_LISTS = frozenset({"os.listdir", "os.scandir"})
_CHANGES = frozenset(
    {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink"}
    | {"os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr"}
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_HARMLESS = ("/dev/null", "/dev/urandom", "/dev/random", "/etc/localtime", "/usr/share/zoneinfo")


@dataclass
class _Watch:
    """What the guarded function asked for."""

    thread: int = 0
    """The thread that it runs in."""
    started: list[threading.Thread] = field(default_factory=list)
    """The threads that it started, and those that they did."""
    file: str = ""
    """The function's own file: a warning shows a line of it. It is all that its digest covers."""
    is_on: bool = False
    seen: Access | None = None

    @property
    def is_here(self) -> bool:
        """Whether the thread that asks is watched."""
        here = threading.get_ident()
        own = (each.ident == here and each.is_alive() for each in self.started)
        return self.is_on and (here == self.thread or any(own))

    def refuse(self, access: Access) -> None:
        """(2)"""
        self.seen = access
        raise PermissionError(f"this function may not use {access}")


_watch = _Watch()


@contextmanager
def guarded(
    name: str, file: str, refusal: Callable[[str, str, str], StoppedError] = reward_reached_out
) -> Iterator[None]:
    """While the block runs, the function `name` of `file` gets no network, process or file.

    Raises `refusal`, whatever the block raised, if it asked for one.
    """
    _install()
    _watch.thread, _watch.started, _watch.seen = threading.get_ident(), [], None
    _watch.file = os.path.realpath(file)
    boot.keeps_compiled, _watch.is_on = False, True
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        boot.keeps_compiled, _watch.is_on = True, False
        access = _watch.seen
        if access is None and any(each.is_alive() for each in _watch.started):
            access = "another process or thread"
        if access is not None:
            raise refusal(name, file, access) from error


@cache
def _install() -> None:
    """A hook stays for the life of the process."""
    readable = _readable()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not _watch.is_here:
            return
        if (access := _asked_for(event, arguments, readable)) is not None:
            _watch.refuse(access)

    sys.addaudithook(hook)
    _notice_threads()


def _notice_threads() -> None:
    """The start of a thread is noticed in `threading`: Python 3.11 has no event of it. Below that
    module, a watched thread starts none.
    """
    start = threading.Thread.start

    def noticed(self: threading.Thread) -> None:
        if _watch.is_here:
            _watch.started.append(self)
        start(self)

    def refusing(start: Callable[..., Any]) -> Callable[..., Any]:
        def refused(*arguments: Any, **named: Any) -> Any:
            if _watch.is_here:
                _watch.refuse("another process or thread")
            return start(*arguments, **named)

        return refused

    threading.Thread.start = noticed  # type: ignore[method-assign]
    for name in ("start_new_thread", "start_new", "start_joinable_thread"):
        if (known := getattr(_thread, name, None)) is not None:
            setattr(_thread, name, refusing(known))


def _asked_for(event: str, arguments: tuple[Any, ...], readable: tuple[str, ...]) -> Access | None:
    if event == "open":
        path, mode, flags = arguments
        if path == os.devnull:
            return None
        is_written = set("wax+") & set(mode or "") or (flags or 0) & _WRITES
        return None if not is_written and _may_read(path, (*readable, _watch.file)) else "a file"
    if event in _LISTS:
        places = (*readable, os.path.dirname(_watch.file))  # noqa: PTH120 - each event comes here
        return None if _may_read(arguments[0], places) else "a file"
    if event in _CHANGES:
        return "a file"
    return next((kind for start, kind in _PREFIXES.items() if event.startswith(start)), None)


def _may_read(path: Any, places: tuple[str, ...]) -> bool:
    """Whether it is one of these places or lies in one. A place that the project lies in, such as
    /usr, does not count for files of the project. An open file's number names no new file.
    """
    if isinstance(path, int):
        return True
    found, here = os.path.realpath(os.fsdecode(path or ".")), os.path.realpath(".")
    if _is_below(found, here):
        places = tuple(place for place in places if _is_below(place, here) and place != here)
    return any(_is_below(found, place) for place in places)


def _is_below(path: str, place: str) -> bool:
    return path == place or path.startswith(place + os.sep)


def _readable() -> tuple[str, ...]:
    """(3) What is installed, with its compiled copies."""
    installed = [sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(os.__file__).parent)]
    ours = [str(Path(__file__).parents[2] / name) for name in ("governance", "pipelines")]
    compiled = [os.environ[boot.BYTECODE]] if os.environ.get(boot.BYTECODE) else []
    places = (*installed, *ours, *compiled, *_HARMLESS, *sys.path)
    return tuple(dict.fromkeys(map(os.path.realpath, places)))
