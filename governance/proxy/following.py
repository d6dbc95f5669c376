"""Reads the log again and again, so that the proxy follows it (`permission.Knowledge`).

1. The first reading verifies everything, as the verifying loader does, and raises.
2. Later, a log with the same head says the same. A log that grew continues the last head. All of
   its entries are verified again, unless that took more than `PATIENCE` last time: then they are
   verified every `VERIFY_EVERY`, and in between only the head, and each entry that is read.
3. A server that cannot be reached, or whose certificate does not verify, was not read. Every other
   log that does not verify is broken.
4. Without fresh cosignatures of enough witnesses, what the log says counts, but it may be old.
5. What a log says can change with time alone: a review lapses. So it is asked again with everything
   else, every `VERIFY_EVERY`. A rollout ends by the steady clock in between (`permission.Canary`).

It reads in a thread of its own. It keeps times, the last head and the log's first entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from governance.attest.findings import finding
from governance.attest.predicates import Finding
from governance.base.errors import CountersignError, StorageError, VerificationError
from governance.history.state import LogState, state
from governance.log.http_client import CertificateError
from governance.log.port import Log
from governance.machine import trust
from governance.machine.machine import Machine, check_pin, log_of, read_log
from governance.policy.policies import Policies
from governance.proxy import permission
from governance.proxy.canary import Moment
from governance.proxy.facts import said_of
from governance.proxy.permission import Knowledge, Said
from governance.release.reconcile import differing
from governance.release.serving import check_registry, resolve, serving_log

PATIENCE = 2.0
"""Seconds that verifying everything may take at each change."""
VERIFY_EVERY = 600.0
WITNESSES_EVERY = 60.0
"""Seconds after which cosignatures are looked at again, also where the log did not grow."""
ATTEMPTS = 3
"""How often log and registry are compared while both change."""
Seconds = Callable[[], float]


@dataclass
class Follower:
    """Follows one alias of one model."""

    machine: Machine
    model: str
    alias: str
    policies: Policies | None
    """The client's own, which name witnesses."""
    pin: str | None
    """What establishes the log: its entry 0, or the id of its checkpoint key."""
    clock: Callable[[], datetime]
    seconds: Seconds
    """A steady clock."""
    _head: tuple[int, str] | None = None
    """The head that was read; None where the next attempt reads everything."""
    _took: float = 0.0
    """Seconds that the last verification of everything took."""
    _verified: float = 0.0
    _witnessed: tuple[float, bool] = field(default=(0.0, False))

    def begin(self) -> tuple[LogState, Knowledge]:
        """(1) The log and what it says. Raises what the loader raises."""
        began = self.seconds()
        log = serving_log(self.machine, self.clock(), self.policies, self.pin)
        self._took, self._verified = self.seconds() - began, began
        self._witnessed = (began, True)
        self._head = log.head()
        self.pin = log.entry(0).leaf_hash.hex()  # from here on, no other log
        now, said = self._said(log)
        check_registry(log, self.machine, resolve(now, f"{self.model}@{self.alias}"))
        return now, permission.begin(said, began)

    def poll(self, known: Knowledge) -> Knowledge:
        """What is known after one more attempt to read the log. Raises nothing."""
        at = self.seconds()
        try:
            return self._poll(known, at)
        except CertificateError as error:
            return permission.missed(known, error.found)  # (3)
        except VerificationError as error:
            self._head = None
            fault = finding("LOG_NOT_VERIFIED", "log", expected=error.expected, found=error.found)
            return permission.broken(known, fault)
        except CountersignError as error:
            return permission.missed(known, error.found)
        except Exception as error:  # noqa: BLE001 - whatever it is, the log was not read
            self._head = None
            return permission.missed(known, f"internal error: {type(error).__name__}")

    def _poll(self, known: Knowledge, at: float) -> Knowledge:
        log = log_of(self.machine)
        _refresh(log)
        head = log.head()
        is_due = at - self._verified >= VERIFY_EVERY
        if head == self._head and not is_due:
            return permission.read(known, known.said, at, complete=self._complete(at))
        _, said = self._said(self._verify(at, is_due))
        self._head = head
        complete = self._complete(at, again=True)
        return permission.read(known, said, at, complete=complete)

    def _verify(self, at: float, is_due: bool) -> Log:
        """(2) The log, of which everything or the head was verified."""
        if self._took > PATIENCE and not is_due:
            log = read_log(self.machine)
            check_pin(log, self.pin)
            return log
        log = serving_log(self.machine, self.clock(), self.policies, self.pin, witnessed=False)
        self._took, self._verified = self.seconds() - at, at
        return log

    def _complete(self, at: float, *, again: bool = False) -> bool:
        """(4) Whether enough witnesses have cosigned the log of late."""
        looked, found = self._witnessed
        if again or at - looked >= WITNESSES_EVERY:
            found = self._is_witnessed()
            self._witnessed = (at, found)
        return found

    def _is_witnessed(self) -> bool:
        log = read_log(self.machine)
        try:
            trust.check_witnessed(self.machine, log, self.policies, self.clock(), self.pin)
        except VerificationError:
            return False
        return True

    def _said(self, log: Log) -> tuple[LogState, Said]:
        """What the log says, compared with the registry while neither changes."""
        for attempt in range(ATTEMPTS):
            now = state(log)
            at = Moment(self.clock(), self.seconds())
            said = said_of(now, self.model, self.alias, at, self._differences(log))
            if not said.findings or log.size() == now.size or attempt + 1 == ATTEMPTS:
                break
        return now, said

    def _differences(self, log: Log) -> list[Finding]:
        try:
            return differing(log, self.machine) or []
        except StorageError:
            return []  # as the loader: the log decides


def _refresh(log: Log) -> None:
    """Asks the log's server, where it is on one. Raises `OfflineError` where that does not answer:
    reading alone would fall back to this machine's copy.
    """
    refresh = getattr(log, "refresh", None)
    if refresh is not None:
        refresh()
