"""Starts an inference server of another project on a private copy, and stops it.

1. A server is a command with the places `{model}`, `{folder}` and `{port}`. Its working folder has
   one entry, named like the model, that leads to the private copy. So the server knows the model by
   this name, and its answers name no path of this machine.
2. It listens on this machine only, on a free port.
3. It gets the variables that are listed here, and those of COUNTERSIGN_ENVIRONMENT: no key or
   password of this process. Libraries of Hugging Face load nothing from the network.
4. It is a process group of its own. A keeper ends the group when the proxy is gone, however it
   ended.
"""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from governance.base.distribution import pip_install
from governance.base.errors import ConfigError, StorageError

LISTEN = "127.0.0.1"
STOP_SECONDS = 20.0
"""After SIGTERM, until SIGKILL."""
MORE = "COUNTERSIGN_ENVIRONMENT"
"""Variable: names of further variables for the server, separated by commas."""
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
_PASSED = re.compile(
    r"PATH|HOME|USER|LOGNAME|TMPDIR|TZ|LANG|LANGUAGE|LC_\w+|VIRTUAL_ENV|PYTHONPATH|XDG_CACHE_HOME"
    r"|HF_HOME|HF_HUB_CACHE|LD_LIBRARY_PATH|(CUDA|NVIDIA|NCCL|HIP|ROCR|ROCM|HSA|OMP|MKL|OPENBLAS"
    r"|TORCH|TORCHINDUCTOR|PYTORCH|TRITON|VLLM)_\w+"
)
_KEEPER = """
import os, signal, subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
def end(number, frame):
    os.killpg(server.pid, signal.SIGKILL if number == signal.SIGALRM else signal.SIGTERM)
def ended(number, frame):
    if server.poll() is not None:
        os._exit(server.returncode if server.returncode >= 0 else 128 - server.returncode)
signal.signal(signal.SIGCHLD, ended)
signal.signal(signal.SIGALRM, end)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
ended(0, None)
sys.stdin.buffer.read()
with __import__("contextlib").suppress(ProcessLookupError):
    end(signal.SIGTERM, None)
signal.alarm({patience})
sys.exit(server.wait())
"""
"""(4) A process of the standard library only. Its input ends when the proxy ends, or stops it."""


@dataclass(frozen=True)
class Server:
    """How an inference server is started."""

    name: str
    command: tuple[str, ...]

    def arguments(self, model: str, folder: Path, port: int) -> list[str]:
        """(1) The command with its places filled in."""
        places = {"{model}": model, "{folder}": str(folder), "{port}": str(port)}
        return [_filled(word, places) for word in self.command]


def _filled(word: str, places: Mapping[str, str]) -> str:
    for place, value in places.items():
        word = word.replace(place, value)
    return word


def server_of(text: str) -> Server:
    """The server that `--server` names. Raises `ConfigError` where it is not installed."""
    if text == "transformers":
        return _transformers()
    if text == "vllm":
        return _vllm()
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    if not words or "{port}" not in text or not ("{folder}" in text or "{model}" in text):
        found = f"{text[:120]!r} is no server"
        expected = "transformers, vllm, or a command with {port} and {folder} or {model}"
        raise ConfigError(found, where="--server", expected=expected)
    if shutil.which(words[0]) is None:
        raise ConfigError(f"no such program: {words[0]}", where="--server")
    return Server(Path(words[0]).name, tuple(words))


def _transformers() -> Server:
    missing = [name for name in ("transformers", "fastapi", "openai") if find_spec(name) is None]
    if missing:
        found = f"`transformers serve` needs {', '.join(missing)}, which is not installed"
        raise ConfigError(found, where="--server", fix=f"{pip_install('serve')}; or --backend URL")
    run = (sys.executable, "-P", "-m", "transformers.cli.transformers", "serve", "{model}")
    return Server("transformers", (*run, "--host", LISTEN, "--port", "{port}"))


def _vllm() -> Server:
    program = shutil.which("vllm")
    if program is None:
        fix = "install vLLM, or name another --server or --backend"
        raise ConfigError("vLLM is not installed", where="--server", fix=fix)
    named = ("serve", "{model}", "--served-model-name", "{model}")
    return Server("vllm", (program, *named, "--host", LISTEN, "--port", "{port}"))


@dataclass
class Process:
    """A server that was started."""

    keeper: subprocess.Popen[bytes]
    url: str

    @property
    def ended(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.keeper.poll()

    def stop(self) -> None:
        """(4) Ends it, and waits for its end."""
        if self.keeper.stdin is not None:
            with suppress(OSError):
                self.keeper.stdin.close()
        try:
            self.keeper.wait(STOP_SECONDS + 5)
        except subprocess.TimeoutExpired:
            self.keeper.send_signal(signal.SIGKILL)
            self.keeper.wait()


def start(server: Server, model: str, folder: Path, environ: Mapping[str, str]) -> Process:
    """Starts a server on a private copy. Raises `StorageError` where that is not possible."""
    place = folder.parent / "served"
    with suppress(FileExistsError):
        place.mkdir(mode=0o700)
    with suppress(FileExistsError):
        (place / model).symlink_to(folder, target_is_directory=True)
    port = _free_port()
    script = _KEEPER.replace("{patience}", str(int(STOP_SECONDS)))
    keeper = [sys.executable, "-I", "-S", "-c", script]
    try:
        process = subprocess.Popen(
            [*keeper, *server.arguments(model, folder, port)],
            cwd=place,
            env=environment(environ),
            stdin=subprocess.PIPE,
            stdout=2,  # what it says is no result of the command
            start_new_session=True,
        )
    except OSError as error:
        found = f"the inference server cannot be started: {error.strerror}"
        raise StorageError(found, where=server.name) from None
    return Process(process, f"http://{LISTEN}:{port}")


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """(3) The variables of the server."""
    more = {name.strip() for name in environ.get(MORE, "").split(",")}
    passed = {
        name: value
        for name, value in environ.items()
        if _PASSED.fullmatch(name) or (name in more and not name.startswith("COUNTERSIGN_"))
    }
    return {**passed, **OFFLINE}


def _free_port() -> int:
    with socket.create_server((LISTEN, 0)) as probe:
        return int(probe.getsockname()[1])
