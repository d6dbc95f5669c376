"""What the proxy of `countersign serve` adds to an inference server that takes 200 ms per answer.

    python -m benchmarks.serving        by itself, in a minute

Server, proxy and callers are processes of their own. The callers ask the server directly and
through the proxy, in turns, 50 at once. The proxy follows its log as it does in use.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.ports import free_port

SECONDS = 0.2
"""Of the server, for an answer."""
AT_ONCE = 50
REQUESTS = 2000
ROUNDS = 3
CHAT = "/v1/chat/completions"

Row = tuple[str, str, str, str]


def rows(say: Callable[[str], None]) -> list[Row]:
    """Lines of the benchmark's table."""
    say(f"the proxy: {2 * ROUNDS} times {REQUESTS:,} requests, {AT_ONCE} at once")
    with (
        TemporaryDirectory(prefix="countersign-bench-") as name,
        served(Path(name)) as (ports, proxy),
    ):
        alone = [[asyncio.run(traffic(port, at_once=1, requests=50)) for port in ports]]
        before = _cpu_seconds(proxy)
        found = [[asyncio.run(traffic(port)) for port in ports] for _ in range(ROUNDS)]
        spent = (_cpu_seconds(proxy) - before) / (ROUNDS * REQUESTS)
    plain, ours = (_medians(one) for one in zip(*found, strict=True))
    (plain_alone, _), (ours_alone, _) = (_medians(one) for one in zip(*alone, strict=True))
    return [
        _times("an answer through the proxy, 1 at a time, median", ours_alone, plain_alone),
        _times(f"an answer through the proxy, {AT_ONCE} at once, median", ours[0], plain[0]),
        (
            f"answers through the proxy, {AT_ONCE} at once",
            f"{ours[1]:.0f} per second",
            f"the server alone: {plain[1]:.0f} per second",
            f"{100 * (ours[1] / plain[1] - 1):+.1f} %",
        ),
        ("CPU time of the proxy for an answer", f"{1000 * spent:.2f} ms", "-", ""),
    ]


def _cpu_seconds(process: int) -> float:
    """CPU time of a process so far (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _times(what: str, ours: float, plain: float) -> Row:
    return (
        what,
        f"{1000 * ours:.1f} ms",
        f"the server alone: {1000 * plain:.1f} ms",
        f"{1000 * (ours - plain):+.1f} ms",
    )


def _medians(found: tuple[tuple[float, float], ...]) -> tuple[float, float]:
    seconds, rate = zip(*found, strict=True)
    return statistics.median(seconds), statistics.median(rate)


async def traffic(
    port: int, at_once: int = AT_ONCE, requests: int = REQUESTS
) -> tuple[float, float]:
    """Median seconds of an answer, and answers per second."""
    left, seconds = iter(range(requests)), list[float]()

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            began = time.perf_counter()
            await _ask(reader, writer)
            seconds.append(time.perf_counter() - began)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    return statistics.median(seconds), requests / (time.perf_counter() - began)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request over a connection that is kept: a client of a library would cost more than the
    proxy.
    """
    body = json.dumps({"model": "support-desk", "delay": SECONDS}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: bench\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    if not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"bench: {answer.decode()}")
    fields = dict(line.lower().split(b": ", 1) for line in answer.split(b"\r\n")[1:] if line)
    await reader.readexactly(int(fields[b"content-length"]))


@contextmanager
def served(folder: Path) -> Iterator[tuple[tuple[int, int], int]]:
    """A server and a proxy before it: their ports, and the proxy's process."""
    from tests.governance.governed import governed

    scene = governed(folder / "scene")
    scene.released()
    environ = {**os.environ, **scene.story.machine.environ, "COUNTERSIGN_PROJECT": "support-desk"}
    environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
    server, proxy = free_port(), free_port()
    model = str(scene.story.root / "models/sft/model")
    scripted = [sys.executable, "-m", "tests.governance.proxy.scripted", model, str(server)]
    command = [sys.executable, "-m", "pipelines.cli", "serve", "support-desk@champion"]
    command += ["--backend", f"http://127.0.0.1:{server}", "--port", str(proxy)]
    processes = [
        subprocess.Popen(one, cwd=scene.story.root, env=environ, stderr=subprocess.DEVNULL)
        for one in (scripted, command)
    ]
    try:
        for port in (server, proxy):
            _wait(port)
        yield (server, proxy), processes[1].pid
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def _wait(port: int) -> None:
    """Until it answers a request."""
    for _ in range(1200):
        try:
            asyncio.run(traffic(port, at_once=1, requests=1))
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"bench: nothing answers on port {port}")


def main() -> None:
    """Prints the rows."""
    for cells in rows(lambda text: sys.stderr.write(f"bench: {text}\n") and None):
        sys.stdout.write(f"| {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
