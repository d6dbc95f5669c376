"""A governed log with two witnesses in threads, and a history that its operator forged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from governance.attest.keys import public_key
from governance.history.verify import LogReport, TrustAnchors, verify_log
from governance.log.checkpoint import parse_checkpoint
from governance.log.copies import extend
from governance.log.notes import LOG_KEY, VerifierKey
from governance.log.sqlite import SqliteLog
from governance.machine.machine import checkpoint_keys
from governance.policy.witnesses import Requirement
from governance.witness import client
from governance.witness.book import vkey
from governance.witness.service import WitnessServer
from tests.governance.governed import RULES, Governed, begun
from tests.governance.keys import stranger
from tests.governance.story import MODEL
from tests.governance.witness.served import in_thread
from tests.ports import free_port

ONE, TWO = stranger(71), stranger(72)
NAMES = ("audit.example/w1", "partner.example/w1")


@dataclass
class Witnessed:
    """A governed log, and two witnesses of which its policy wants `quorum`."""

    scene: Governed
    servers: list[WitnessServer]
    offset: list[float]
    """Seconds by which the witnesses' clocks are off."""

    @property
    def log(self) -> SqliteLog:
        log = self.scene.story.log
        assert isinstance(log, SqliteLog)
        return log

    @property
    def rules(self) -> Any:
        return self.scene.story.policies.rules

    def ask(self, *which: int) -> list[client.Cosigned]:
        witnesses = [self.rules.witnesses[number] for number in which or (0, 1)]
        return [client.request(self.log, one, lambda: self.scene.now) for one in witnesses]

    def know(self, log: SqliteLog | None = None) -> None:
        """Both witnesses know the log."""
        there = log or self.log
        origin = parse_checkpoint(there.checkpoint())[0].origin
        for server in self.servers:
            for _, pem in checkpoint_keys(there):
                server.book.add_log(origin, VerifierKey(origin, public_key(pem), LOG_KEY))

    def verify(
        self,
        log: SqliteLog | None = None,
        trusted: Requirement | None = None,
        later: timedelta = timedelta(),
    ) -> LogReport:
        there = log or self.log
        pin = there.entry(0).leaf_hash.hex()
        anchors = TrustAnchors(pin, witnesses=trusted, at=self.scene.now + later)
        return verify_log(there, MODEL, self.scene.story.policies.keys, anchors)

    def pass_hours(self, hours: int) -> None:
        real = self.scene.story.now
        self.scene.story.now = lambda: real() + timedelta(hours=hours)  # type: ignore[method-assign]


def policy(urls: list[str], keys: list[str], extra: str = "") -> str:
    rows = "".join(
        f"  - {{name: {name}, key: '{key}', url: '{url}'}}\n"
        for name, key, url in zip(NAMES, keys, urls, strict=True)
    )
    return f"{RULES}\nwitnesses:\n{rows}{extra}"


@dataclass(frozen=True)
class Begun:
    """A log at its beginning, and the ports at which its policy names the witnesses."""

    scene: Governed
    ports: tuple[int, int]

    @classmethod
    def at(cls, folder: Path, quorum: int = 2) -> Begun:
        ports = free_port(), free_port()
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        keys = [str(vkey(name, key)) for name, key in zip(NAMES, (ONE, TWO), strict=True)]
        tier = f"    witnesses: {quorum}\n"
        return cls(begun(folder, policy(urls, keys), tier=tier), ports)


@contextmanager
def world(folder: Path, quorum: int = 2, start: Begun | None = None) -> Iterator[Witnessed]:
    """From a copy of `start`, of which one world at a time can serve, or from a log of its own."""
    here: list[Governed] = []
    offset = [0.0]

    def clock() -> int:
        return int(here[0].now.timestamp() + offset[0]) if here else 0

    own = start or Begun.at(folder / "log", quorum)
    here.append(own.scene.copy(folder / "log") if start else own.scene)
    with (
        in_thread(folder / "one", NAMES[0], ONE, clock, own.ports[0]) as one,
        in_thread(folder / "two", NAMES[1], TWO, clock, own.ports[1]) as two,
    ):
        made = Witnessed(here[0], [one, two], offset)
        made.know()
        yield made


def forged(here: Witnessed, folder: Path, size: int) -> SqliteLog:
    """The same log up to `size`, then other entries, signed with the operator's own keys."""
    story = here.scene.story
    real = here.log
    log = SqliteLog(folder / "forged.db", MODEL, real.signer)
    entries, derived = real.page(0, size)
    extend(log, ((entry, sorted(derived[entry.index].subjects)) for entry in entries))
    other = replace(story, log=log)
    other.train("forged", "sft", "conversation", "desk_sft", "base", accuracy=0.99)
    return log
