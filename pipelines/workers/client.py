"""`countersign` as DVC finds it under `countersign repro`: `python -IS client.py SOCKET ARGUMENTS`.

It imports next to nothing, because it starts once for each stage. What only a whole command can do
becomes that command: the next `countersign` on the path.

1. The socket and its folder belong to this account, and no other account can enter the folder. The
   process that listens there runs as this account.
2. A signal is passed on. A worker whose client is gone is killed by the parent.
3. Without an exit status from the parent the stage runs cold, unless a signal has asked it to end.
   Two runs of one stage exclude each other (`pipelines.process`). COUNTERSIGN_DEBUG=1 says so.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum
import _socket
import os
import sys

FORWARDED = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT)
DESCRIPTORS = 3
"""stdin, stdout, stderr."""
SERVED = ("stage", "ready")
"""Commands that workers run."""
COLD = b"no worker for this stage: it starts cold\n"
"""What is said of it with COUNTERSIGN_DEBUG."""


def main() -> None:
    """Runs the command in a worker, or cold."""
    address, *arguments = sys.argv[1:]
    environ = _without_us(os.environ, os.path.dirname(address))  # noqa: PTH120 - no pathlib here
    if arguments and arguments[0] in SERVED:
        run(address, arguments, environ)
    os.execvpe("countersign", ["countersign", *arguments], environ)  # noqa: S606


def run(address: str, arguments: list[str], environ: dict[str, str]) -> None:
    """Runs the command in a worker and ends as the worker ends. Returns if it has to start cold."""
    asked: list[int] = []
    status = _status(address, arguments, environ, asked)
    if status is None and asked:
        status = -asked[0]
    if status is not None:
        _end(status)
    if arguments[0] == "stage" and environ.get("COUNTERSIGN_DEBUG"):
        os.write(2, COLD)


def _without_us(environ: os._Environ[str], folder: str) -> dict[str, str]:
    """The environment without this program on the path."""
    found = dict(environ)
    entries = found.get("PATH", os.defpath).split(os.pathsep)
    return {**found, "PATH": os.pathsep.join(entry for entry in entries if entry != folder)}


def _status(
    address: str, arguments: list[str], environ: dict[str, str], asked: list[int]
) -> int | None:
    """The exit status of the worker; negative after a signal. None if there was none."""
    if not _is_private(address):
        return None
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        server.connect(address)
        _, uid, _ = peer(server)
        if uid != os.geteuid():
            return None

        def forward(number: int, frame: object) -> None:
            asked.append(number)
            try:  # noqa: SIM105 - contextlib is not imported here
                server.send(bytes([number]))
            except OSError:
                pass

        for number in FORWARDED:
            if _signal.getsignal(number) != _signal.SIG_IGN:
                _signal.signal(number, forward)
        rest = message(os.getcwd(), arguments, environ)  # noqa: PTH109
        rights = b"".join(
            number.to_bytes(4, sys.byteorder, signed=True) for number in range(DESCRIPTORS)
        )
        head = len(rest).to_bytes(4, "big")
        server.sendmsg([head], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        server.sendall(rest)
        answer = b""
        while len(answer) < 4:
            part = server.recv(4 - len(answer))
            if not part:
                return None
            answer += part
        return int.from_bytes(answer, "big", signed=True)
    except (OSError, ValueError):
        return None
    finally:
        server.close()


def message(folder: str, arguments: list[str], environ: dict[str, str]) -> bytes:
    """What the parent needs beside the descriptors. None of these texts contains a NUL."""
    variables = [f"{name}={value}" for name, value in environ.items()]
    return "\0".join([folder, str(len(arguments)), *arguments, *variables]).encode(
        "utf-8", "surrogateescape"
    )


def peer(connection: _socket.socket) -> tuple[int, int, int]:
    """Process, user and group at the other end of a socket (`SO_PEERCRED`)."""
    raw = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    pid, uid, gid = (int.from_bytes(raw[at : at + 4], sys.byteorder) for at in (0, 4, 8))
    return pid, uid, gid


def _is_private(address: str) -> bool:
    """(1)"""
    try:
        folder = os.lstat(os.path.dirname(address))  # noqa: PTH120
    except OSError:
        return False
    return folder.st_uid == os.geteuid() and folder.st_mode & 0o170077 == 0o040000


def _end(status: int) -> None:
    """Ends as the worker ended."""
    if status < 0:
        if -status != _signal.SIGKILL:
            _signal.signal(-status, _signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status & 0xFF)


if __name__ == "__main__":
    main()
