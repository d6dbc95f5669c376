"""The process that workers are forked from: `boot.py pipelines.workers.parent SOCKET [PROCESS]`,
descriptors of a listening socket and of the process to end with.

1. It imports and runs no stage: a worker begins where a cold process is after its imports. What it
   reads beside code (parameters, policies) is kept by content; typed models are built, and patterns
   of scans are compiled.
2. One process per group of vendor libraries (`libraries`), forked from the first. The next ones are
   imported while the ones before work.
3. No fork of a process with threads, other than those that outlive a fork by themselves. Where
   there is a GPU, nothing that could touch it is imported before the fork.
4. Before each fork: every file that was loaded, and every file of our own packages, is the file
   that it was when the parent began, and nothing was installed. For evidence, a worker began when
   the parent did (`boot.STARTED`).
5. The environment is that of a cold run. Variables that are read at import or before must be the
   parent's own; only this project's and DVC's may differ.
6. A worker is killed with its parent, and with its client. The parent ends as soon as nothing runs
   and stdin, or the process to end with, has ended.
"""

from __future__ import annotations

import array
import ctypes
import gc
import importlib
import os
import re
import select
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from governance.base.errors import CountersignError
from governance.base.model import Model
from governance.policy.data import PiiPolicy
from governance.report import html
from governance.report.frameworks import catalogue_of
from pipelines import boot, families, isolation, lock, process, provenance
from pipelines.commands.stage import threads_of
from pipelines.installed import COMPILED, mapped
from pipelines.optional import hidden
from pipelines.params import Params
from pipelines.pii.engine import Unscanned
from pipelines.pii.presidio import unused
from pipelines.project import open_project
from pipelines.training import reward_files
from pipelines.workers import client
from pipelines.workers.libraries import AFTER, GROUP_OF, GROUPS, MODELS, prepare_scans, without

Files = dict[str, tuple[int, int, int, int, int]]
"""Path to size, time of the content, device, inode, time of change."""
FREE = re.compile(r"(COUNTERSIGN|DVC)_\w+")
"""(5) Variables that nothing reads before a worker runs."""
SURVIVING = frozenset({"jemalloc_bg_thd"})
"""(3) Threads of pyarrow's allocator, which starts them again in a fork."""
DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dri/renderD128")
"""(3) Where drivers show that there is a GPU."""
STARTED = ("psutil",)
"""What each stage needs at its start under DVC (`process`)."""
ON_DEVICES = frozenset(family for family, libraries in GROUP_OF.items() if libraries is MODELS)
"""Families whose stages use one."""
ASKED = frozenset({"scan_pii", "train"})
"""(5) Families of which a row or policy says what a worker must have been started with."""
TICK_NANOSECONDS = 20_000_000
"""The times of a file system are that coarse."""
SECONDS = 5.0
"""How long a client may take to say what it wants."""
COLD = 253
"""Exit status of a worker that leaves the stage to a cold run."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Request:
    """A stage that a client asks for."""

    connection: socket.socket
    descriptors: tuple[int, ...]
    content: bytes

    @property
    def pid(self) -> int:
        """The client."""
        return client.peer(self.connection)[0]

    @property
    def parts(self) -> tuple[str, list[str], dict[str, str]]:
        """Folder, arguments, environment. Raises `ValueError`."""
        folder, count, *rest = self.content.decode("utf-8", "surrogateescape").split("\0")
        arguments, variables = rest[: int(count)], rest[int(count) :]
        return folder, arguments, dict(variable.split("=", 1) for variable in variables)

    def close(self) -> None:
        """Of the parent's copies. A client that has no status yet runs cold."""
        self.connection.close()
        for descriptor in self.descriptors:
            os.close(descriptor)


@dataclass
class Parent:
    """One process of which workers are forks."""

    source: socket.socket
    """The listener of the first process; for a group's, the end of a pair with the first."""
    environ: dict[str, str]
    """As it was when the imports began."""
    loaded: Files
    scans: PiiPolicy | None = None
    """The policy of scans when the imports began; None if there is none."""
    group: int | None = None
    """Index in `GROUPS`; None of the first process."""
    groups: dict[int, socket.socket] = field(default_factory=dict)
    """Group to the first process's end of a pair."""
    running: dict[int, Request] = field(default_factory=dict)
    """Worker to what it serves."""
    open: bool = True
    """Whether more may come."""

    def serve(self, lifeline: int | None) -> None:
        """Until the lifeline, or the first process, is gone and nothing runs."""
        woken, waker = os.pipe()
        os.set_blocking(waker, False)
        os.set_blocking(woken, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        while self.open or self.running:
            watched: list[int | socket.socket] = [woken]
            watched += [request.connection for request in self.running.values()]
            if self.open:
                watched += [self.source, *([] if lifeline is None else [lifeline])]
            ready, _, _ = select.select(watched, [], [])
            if woken in ready:
                with suppress(BlockingIOError):
                    os.read(woken, 1024)
                self._reap()
            for pid, request in list(self.running.items()):
                if request.connection in ready:
                    _pass_on(pid, request.connection)
            if lifeline in ready:  # nobody writes to stdin
                self.open = False
            if self.source in ready and self.open:
                self._take()

    def _take(self) -> None:
        if self.group is None:
            connection, _ = self.source.accept()
            connection.settimeout(SECONDS)
            _, uid, _ = client.peer(connection)
            request = _received(connection, client.DESCRIPTORS) if uid == os.geteuid() else None
            if request is None:
                connection.close()
                return
            request = Request(connection, request.descriptors, request.content)
        else:
            passed = _received(self.source, client.DESCRIPTORS + 1)
            if passed is None:  # the first process is gone
                self.open = False
                return
            connection = socket.socket(fileno=passed.descriptors[0])
            request = Request(connection, passed.descriptors[1:], passed.content)
        try:
            self._answer(request)
        except (CountersignError, OSError, ValueError):
            request.close()

    def _answer(self, request: Request) -> None:
        """Passes a request to its group's process, or forks a worker for it."""
        folder, arguments, environ = request.parts
        wanted = isolation.environment(environ)
        if not self._is_as_cold(arguments, wanted):
            request.close()
            return
        if self.group is None and (group := self._group_for(arguments, request)) is not None:
            rights = [request.connection.fileno(), *request.descriptors]
            _send(self.groups[group], request.content, rights)
            request.close()
            return
        if not self.is_unchanged():
            request.close()
            self.open = False  # what comes later runs cold as well
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, client.FORWARDED)  # until the worker can take one
        try:
            parent, pid = os.getpid(), os.fork()
            if pid == 0:
                self._forget()
                _work(request, parent, folder, arguments, wanted)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, client.FORWARDED)
        for descriptor in request.descriptors:
            os.close(descriptor)
        self.running[pid] = Request(request.connection, (), b"")

    def _group_for(self, arguments: Sequence[str], request: Request) -> int | None:
        """The group whose process serves a stage; None if this one does. Starts it and the next
        two. The first group starts one only: its stages are short, and two would delay the scans.
        """
        group = _group_of(arguments, GROUP_OF)
        if group is None:
            later = _group_of(arguments, AFTER)
            return later if later in self.groups and not _has_device() else None
        last = group + 2 if group else 1
        for each in range(group, min(last + 1, len(GROUPS))):
            if each not in self.groups:
                self._start(each, request)
        return group

    def _is_as_cold(self, arguments: Sequence[str], wanted: dict[str, str]) -> bool:
        """(3), (5)"""
        if not _is_served(arguments):
            return False
        named = set(isolation.named(wanted))
        names = {name for name in {*wanted, *self.environ} if not FREE.fullmatch(name)} | named
        if any(wanted.get(name) != self.environ.get(name) for name in names):
            return False
        if arguments[0] != "stage":
            return True
        if families.family(arguments[1]).network and "huggingface_hub" in sys.modules:
            return False
        return arguments[1] not in ON_DEVICES or not _has_device()

    def is_unchanged(self) -> bool:
        """(4)"""
        return all(status_of(path) == status for path, status in self.loaded.items())

    def _start(self, group: int, request: Request) -> None:
        """Forks the process of a group, which imports its libraries. The request is not its own."""
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        if os.fork() == 0:
            ours.close()
            self._forget()
            request.close()
            code = 0
            try:
                os.dup2(1, 0)  # the lifeline is the first process's alone
                _end_with(parent)
                preload(GROUPS[group], self.scans)
                loaded = loaded_files(boot.STARTED)
                Parent(theirs, self.environ, loaded, self.scans, group).serve(None)
            except BaseException:  # noqa: BLE001 - clients run cold
                code = 1
            os._exit(code)
        theirs.close()
        self.groups[group] = ours

    def _forget(self) -> None:
        """Closes in a fork what belongs to its parent."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.source.close()
        for pair in self.groups.values():
            pair.close()
        for other in self.running.values():
            other.connection.close()

    def _reap(self) -> None:
        """Tells the clients of workers that have ended how they ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            request = self.running.pop(pid, None)
            if request is None:
                continue
            code = os.waitstatus_to_exitcode(status)
            if code != COLD:
                with suppress(OSError):
                    request.connection.sendall(code.to_bytes(4, "big", signed=True))
            request.close()


def main() -> None:
    """The first process. Clients may connect at once; they wait until the imports are done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source = socket.socket(fileno=int(sys.argv[1]))
    own = os.getpid()
    try:
        environ = isolation.environment(os.environ)
        process.settle(os.environ, threads=1, network=False)
        preload(STARTED)
        scans = None
        with suppress(CountersignError, OSError):  # a stage says what is wrong with them
            project = open_project(Path.cwd(), os.environ)
            scans = project.policies.pii
            provenance.prepare(project.root, project.machine)
            for name, family in families.all_families().items():
                if family.may_always_run:
                    lock.installed(name)
            catalogue_of(project.policies)
            for name in reward_files.shipped():
                reward_files.source_text(name)
            html.prepare()
        loaded = loaded_files(boot.STARTED)
        Parent(source, environ, loaded, scans).serve(int(sys.argv[2]) if sys.argv[2:] else 0)
    finally:
        if sys.argv[2:] and os.getpid() == own:  # nobody else removes the socket's folder
            shutil.rmtree(Path(source.getsockname()).parent, ignore_errors=True)


def preload(names: Sequence[str], scans: PiiPolicy | None = None) -> None:
    """Imports our own modules, and vendor libraries by name, as a stage would. Raises `OSError`
    where no fork can follow.
    """
    gc.disable()  # almost nothing that an import makes is garbage
    for command in client.SERVED:
        importlib.import_module(f"pipelines.commands.{command}")
    families.all_families()
    for name in names:
        with suppress(ImportError), hidden(without(name, scans)):
            importlib.import_module(name)
    if scans is not None and "presidio_analyzer" in names:
        with suppress(CountersignError, ImportError, Unscanned):
            prepare_scans(scans, Path.cwd())
    for model in _models(Model):
        model.model_rebuild()
    require_no_threads()
    gc.freeze()  # or the first collection of each fork would copy every page
    gc.enable()


def _models(above: type[Model]) -> Iterator[type[Model]]:
    """All typed models, which are built at their first use otherwise."""
    for model in above.__subclasses__():
        yield model
        yield from _models(model)


def loaded_files(since: int) -> Files:
    """(4) The files that this process has loaded. Raises `OSError` if one has changed `since` then,
    in nanoseconds since 1970.
    """
    found = {}
    for path in {*boot.LOADED, *mapped(), *sys.path, *map(str, _own_files())}:
        if (status := status_of(path)) is not None:
            found[path] = status
    if any(status[4] > since - TICK_NANOSECONDS for status in found.values()):
        raise OSError("a file changed while it was imported")
    return found


def _own_files() -> Iterator[Path]:
    """Every file of our own packages that a stage may read: no compiled ones (`pipelines.boot`)."""
    for folder in isolation.packages():
        for path in folder.rglob("*"):
            if path.is_file() and COMPILED not in path.parts:
                yield path


def require_no_threads() -> None:
    """(3) Raises `OSError` if there are any that a fork would lack."""
    tasks = (task for task in Path("/proc/self/task").iterdir() if task.name != str(os.getpid()))
    if names := {_thread(task) for task in tasks} - SURVIVING:
        raise OSError(f"threads: {', '.join(sorted(names))}")


def _thread(task: Path) -> str:
    with suppress(OSError):
        return (task / "comm").read_text(encoding="utf-8").strip()
    return ""


def status_of(path: str) -> tuple[int, int, int, int, int] | None:
    """What changes with a file, or with the names in a folder; None if it is not there."""
    try:
        status = os.stat(path)  # noqa: PTH116 - for thousands of files
    except OSError:
        return None
    return (
        status.st_size,
        status.st_mtime_ns,
        status.st_dev,
        status.st_ino,
        status.st_ctime_ns,
    )


def _has_device() -> bool:
    """(3)"""
    return any(Path(path).exists() for path in DEVICES)


def _is_served(arguments: Sequence[str]) -> bool:
    """Whether a worker may run this command."""
    if arguments[:1] == ["stage"]:
        return len(arguments) > 1 and arguments[1] in families.names()
    return arguments[:1] == ["ready"]


def _group_of(arguments: Sequence[str], groups: Mapping[str, Sequence[str]]) -> int | None:
    """The group of libraries of a stage; None if it has none."""
    libraries = groups.get(arguments[1]) if arguments[0] == "stage" else None
    return None if libraries is None else GROUPS.index(libraries)


def _send(target: socket.socket, content: bytes, descriptors: Sequence[int]) -> None:
    socket.send_fds(target, [len(content).to_bytes(4, "big")], list(descriptors))
    target.sendall(content)


def _received(source: socket.socket, count: int) -> Request | None:
    """A request with `count` descriptors. None if the other end is gone or says something else."""
    descriptors = array.array("i")
    try:
        head, rights, _, _ = socket.recv_fds(source, 4, count)
        descriptors.extend(rights)
        content = b""
        while len(head) == 4 and len(content) < (wanted := int.from_bytes(head, "big")):
            part = source.recv(wanted - len(content))
            if not part:
                break
            content += part
        if head and len(descriptors) == count and len(content) == int.from_bytes(head, "big"):
            return Request(source, tuple(descriptors), content)
    except OSError:
        pass
    for descriptor in descriptors:
        os.close(descriptor)
    return None


def _pass_on(pid: int, connection: socket.socket) -> None:
    """A signal from the client; without a client nobody waits for the worker any more."""
    numbers = b""
    with suppress(OSError):
        numbers = connection.recv(16)
    for number in numbers or (signal.SIGKILL,):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _end_with(parent: int) -> None:
    """(6) The system kills this process when its parent ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) or os.getppid() != parent:
        os._exit(COLD)


def _work(
    request: Request, parent: int, folder: str, arguments: list[str], environ: dict[str, str]
) -> None:
    """Becomes the stage. Does not return."""
    code = 1
    try:
        _end_with(parent)
        boot.STARTER = request.pid
        request.connection.close()
        for number, descriptor in enumerate(request.descriptors):
            os.dup2(descriptor, number)
        for descriptor in request.descriptors:
            if descriptor >= client.DESCRIPTORS:
                os.close(descriptor)
        for number in client.FORWARDED:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environ)
        time.tzset()
        sys.argv = ["countersign", *arguments]
        _seed()
        code = COLD if _needs_more(arguments) else _run()
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        _finish(code)


def _needs_more(arguments: Sequence[str]) -> bool:
    """(5) Libraries read at import how many threads they may start; here, it was one. Presidio was
    imported without a package that this scan uses, if policy has named a model since then; PEFT,
    without the one that a quantised training uses.
    """
    if arguments[0] != "stage" or arguments[1] not in ASKED:
        return False
    with suppress(CountersignError, IndexError):  # the stage says what is wrong
        project = open_project(Path.cwd(), os.environ)
        if arguments[1] == "scan_pii" and "presidio_analyzer" in sys.modules:
            return "torch" not in sys.modules and "torch" not in unused(project.policies.pii)
        if _quantizes(arguments[1], arguments[2], project.params) and "peft" in sys.modules:
            return True
        return threads_of(arguments[1], arguments[2], project.params) != 1
    return False


def _quantizes(family: str, key: str, params: Params) -> bool:
    """Whether the stage needs what the libraries of trainings were imported without."""
    stage = params.stages.get(key) if family == "train" else None
    return bool(stage and stage.lora and stage.lora.quantize)


def _run() -> int:
    from pipelines.cli import main as run

    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, client.FORWARDED)  # one may have come by now
        run()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 128 + signal.SIGINT
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    return 0


def _finish(code: int) -> None:
    """What Python does at the end of a process."""
    import atexit
    import threading

    with suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
    os._exit(code)


def _seed() -> None:
    """Forks would draw the same numbers; Python's own generator knows that."""
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
