"""1 when the program in the answer passes the record's tests; 0 otherwise.

`tests` and `entry_point` are extra columns of the record: Python text (or a list of texts) that
raises where the program is wrong, as in MBPP; a test that defines `check(candidate)` is called with
the function `entry_point`, as in HumanEval. The program is the last fenced block of the answer, or
all of it.

The program has the standard library. It runs in a process of its own, in an empty folder, with
limits of time, memory, file size and open files. An audit hook refuses network, other programs,
files outside that folder and the modules that would go round it. The process group is killed at the
end.

THIS IS NO SANDBOX. The hook and the limits stop accidents and simple attacks. A program that is
written against them can leave the interpreter, read what this account can read, and forge a score.
Run code of a model that you do not trust in a container or virtual machine without network and
secrets.

The score counts only if the process reports a secret after the last test: an early exit, or what
the program prints, scores nothing.
"""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import Any

PURPOSE = "the program passes its tests"
RANGE = (0, 1)
BLIND_SPOTS = [
    "what the tests do not try is not judged: a program may answer the tested inputs alone",
    "objects that equal everything pass tests of equality",
    "the limits are no sandbox: a program written against them can forge a score",
]
COUNTER_METRICS = ["greedy_exact", "sampled_exact"]

MIB = 2**20
RUNNER = r"""
import json, os, resource, signal, sys

def _run():
    given = json.loads(sys.stdin.buffer.read())
    secret, out = given["secret"], given["out"]
    folder = os.path.realpath(os.getcwd())
    libraries = tuple({os.path.realpath(p) for p in (sys.prefix, sys.base_prefix, sys.exec_prefix)})
    for name, value in given["limits"].items():
        limit = getattr(resource, name)
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    signal.setitimer(signal.ITIMER_REAL, given["seconds"])
    modules = {"_ctypes", "_posixsubprocess", "_socket", "_ssl", "_multiprocessing", "_testcapi",
               "_interpreters", "_xxsubinterpreters"}
    frames = {"tb_frame", "gi_frame", "cr_frame", "ag_frame"}
    starts = ("socket.", "ctypes.", "subprocess.", "os.exec", "os.posix_spawn", "os.spawn",
              "os.fork", "os.startfile", "pty.", "gc.", "sys._current", "sys.set", "urllib.",
              "http.", "ftplib.", "smtplib.", "shutil.", "mmap.", "os.kill", "os.putenv",
              "resource.")
    names = {"os.system", "os.chdir", "os.chroot", "os.symlink", "os.link"}
    files = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.listdir", "os.scandir",
             "os.truncate", "os.chmod", "os.chown", "os.utime", "os.walk", "glob.glob"}
    real, fspath, readers = os.path.realpath, os.fsdecode, os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def inside(path, places):
        if isinstance(path, int):
            return True
        found = real(fspath(path))
        return any(found == place or found.startswith(place + "/") for place in places)

    getframe, asks = sys._getframe, []

    def from_library():
        # namedtuple and others look at the frame that calls them; a program may not
        asks.append(1)
        try:
            return getframe(2).f_code.co_filename.startswith(libraries)
        finally:
            asks.pop()

    def hook(event, args):
        if event.startswith("sys._getframe"):
            if asks or from_library():
                return
            raise PermissionError(f"{event} is refused")
        bad = event in names or event.startswith(starts)
        if event == "import":
            bad = args[0].partition(".")[0] in modules
        elif event == "object.__getattr__":
            bad = args[1] in frames
        elif event == "open" and not isinstance(args[0], int):
            writes = bool(args[2] & readers) if isinstance(args[2], int) else True
            bad = not inside(args[0], (folder,) if writes else (folder, *libraries))
        elif event in files:
            path = args[0] if args[0] is not None else folder
            reads = event in ("os.listdir", "os.scandir", "os.walk", "glob.glob")
            bad = not inside(path, (folder, *libraries) if reads else (folder,))
        if bad:
            raise PermissionError(f"{event} is refused")

    code = compile(given["program"], "program", "exec")
    tests = [compile(test, "test", "exec") for test in given["tests"]]
    write, close, done = os.write, os._exit, secret.encode()
    scope = {"__name__": "program"}
    sys.stdin.close()
    sys.addaudithook(hook)
    try:
        exec(code, scope)
        for test in tests:
            scope.pop("check", None)
            exec(test, scope)
            if given["entry_point"] and callable(scope.get("check")):
                scope["check"](scope[given["entry_point"]])
    except BaseException:
        close(1)
    write(out, done)
    close(0)

_run()
"""


def code_tests(
    text: str,
    answer: str | None,
    tests: Any = None,
    entry_point: str = "",
    seconds: float = 10,
    memory_mib: int = 512,
) -> float:
    wanted = [tests] if isinstance(tests, str) else list(tests or [])
    blocks = re.findall(r"```[\w+-]*\n(.*?)```", text, re.DOTALL)
    program = blocks[-1] if blocks else text
    if not wanted or not program.strip():
        return 0.0
    secret = secrets.token_hex(16)
    limits = {
        "RLIMIT_AS": memory_mib * MIB,
        "RLIMIT_CPU": max(1, round(seconds)),
        "RLIMIT_FSIZE": MIB,
        "RLIMIT_NOFILE": 32,
        "RLIMIT_CORE": 0,
    }
    given = {
        "secret": secret,
        "program": program,
        "tests": [str(test) for test in wanted],
        "entry_point": entry_point or "",
        "seconds": seconds,
        "limits": limits,
    }
    return float(_reported(given, seconds) == secret.encode())


def _reported(given: dict[str, Any], seconds: float) -> bytes:
    """What the process wrote to its pipe."""
    reads, writes = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", RUNNER],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={"PYTHONHASHSEED": "0"},
            pass_fds=(writes,),
            start_new_session=True,
        )
        os.close(writes)
        try:
            process.communicate(json.dumps({**given, "out": writes}).encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    with os.fdopen(reads, "rb") as stream:
        os.set_blocking(reads, False)
        return stream.read(64) or b""
