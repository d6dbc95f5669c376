"""What MLflow's pages show of a version: it is written and never read back.

Everything follows from the log. A server writes it after each move, and after each statement that
can change it (`Refreshing`); without a server, the command that recorded the statement does
(`refresh`). `countersign verify` and `countersign history` check the log itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from governance.attest.predicates import Promotion, Registration
from governance.base.errors import CountersignError, InputError
from governance.gates.checks.context import ReleaseContext
from governance.gates.checks.votes import packet_votes
from governance.history import packet
from governance.history.state import LogState, state
from governance.history.votes import Vote
from governance.log.evidence import Evidence
from governance.log.port import Log
from governance.log.sql import Database, SqlLog
from governance.machine.machine import Machine
from governance.registry.addresses import follow
from governance.registry.governed.governor import Shown
from governance.registry.rows import TABLES, is_shown, show_version
from governance.release.promotion import ask, latest_packet

PREFIX = "governance."
NOTE = (
    "Countersign writes this for people. Only the log counts: `countersign verify`.\n\n"
    "MLflow verifies nothing when it loads. Load it with `pipelines.loader.load`, which does."
)
RECENT = 4
"""Decisions whose versions are written anew."""
LENGTH = 4900
"""MLflow's bound on a tag or description, with room to spare."""


def shown(now: LogState, model: str, at: datetime) -> dict[str, Shown]:
    """What the pages show, by version, for versions whose status the latest decisions can have
    changed.
    """
    decisions = [
        promotion.predicate
        for promotion in now.view.all(Promotion)
        if promotion.predicate.model == model
    ]
    of_model = [version for name, version in now.timeline.registrations if name == model]
    touched = set(of_model[-RECENT:]) | {
        tenure.version
        for tenure in now.timeline.tenures
        if tenure.model == model and not tenure.ended
    }
    for move in decisions[-RECENT:]:
        touched |= {move.version, move.from_version or ""}
    for opened in now.timeline.all_open_incidents:
        touched |= {opened.predicate.version}
    pages = {}
    for (name, version), registration in now.timeline.registrations.items():
        if name == model and version in touched:
            moves = [move for move in decisions if move.version == version]
            pages[version] = _page(now, registration.predicate, moves[-1] if moves else None, at)
    return pages


def _page(now: LogState, registration: Registration, last: Promotion | None, at: datetime) -> Shown:
    votes = _votes(now, registration, at)
    findings = [f"{finding.code} {finding.subject}" for finding in (last.findings if last else [])]
    tags = {
        "status": _status(now, registration, last),
        "approved_by": _voters(votes, "approve"),
        "rejected_by": _voters(votes, "reject"),
        "waivers": "; ".join(_waivers(now, registration)) or "none",
        "incidents": "; ".join(_incidents(now, registration)) or "none",
        "findings": "; ".join(findings) or "none",
        "digest": registration.model_digest,
        "tier": registration.tier,
        "trained": "elsewhere; self-attested" if registration.trained_elsewhere else "here",
    }
    retirement = now.timeline.retirements.get((registration.model, registration.version))
    if retirement is not None:
        tags["retired"] = retirement.predicate.at
    description = (
        f"**{tags['status']}**\n\n"
        f"Stage `{registration.stage}`, tier {registration.tier}; model sha256"
        f" `{registration.model_digest}`.\n\n"
        f"Approved by: {tags['approved_by']}. Rejected by: {tags['rejected_by']}.\n\n"
        f"Waivers: {tags['waivers']}.\n\nOpen incidents: {tags['incidents']}.\n\n"
        f"Findings of the last decision: {tags['findings']}.\n\n{NOTE}"
    )
    return Shown(
        description[:LENGTH], {f"{PREFIX}{key}": value[:LENGTH] for key, value in tags.items()}
    )


def _status(now: LogState, registration: Registration, last: Promotion | None) -> str:
    """Retired, or the aliases that it holds, or the result of the last decision."""
    version = registration.model, registration.version
    retirement = now.timeline.retirements.get(version)
    if retirement is not None:
        return f"retired {retirement.predicate.at}"
    held = now.timeline.held_by(*version)
    if held:
        return "; ".join(f"{tenure.alias} since {tenure.given.predicate.at}" for tenure in held)
    if last is None:
        return "registered"
    return "no alias" if last.allowed else f"{last.action} to {last.alias} refused {last.at}"


def _votes(now: LogState, registration: Registration, at: datetime) -> list[Vote]:
    """The votes on the version's latest packet that count under the policies in force."""
    recorded = latest_packet(now, registration.model, registration.version)
    if recorded is None:
        return []
    terms = (registration.model, registration.version, now.authority.policies.main_alias)
    try:
        asked = ask(now, "promote", *terms)
    except InputError:
        return []
    request = asked.model_copy(update={"packet": packet.digest_of(recorded.predicate)})
    return packet_votes(ReleaseContext.of(request, now.authority, now.evidence, at))[0]


def _voters(votes: list[Vote], decision: str) -> str:
    """The people who voted so, with roles."""
    named = {
        f"{name} ({role})" for name, role, vote in votes if vote.predicate.decision == decision
    }
    return ", ".join(sorted(named)) or "nobody"


def _waivers(now: LogState, registration: Registration) -> list[str]:
    """The waivers by people whose signature counts, of findings about this model's bytes or in its
    latest packet, with their last day: whether one has expired is for the reader to see.
    """
    recorded = latest_packet(now, registration.model, registration.version)
    in_packet = set(recorded.predicate.waivers) if recorded else set()
    return sorted(
        f"{code} {about} until {statement.predicate.expires}"
        for (model, code, about), statements in now.timeline.waivers.items()
        for statement in statements
        if model == registration.model
        and (statement.digest in in_packet or _is_about(statement, registration))
    )


def _is_about(statement: Evidence[Any], registration: Registration) -> bool:
    return any(about.sha256 == registration.model_digest for about in statement.subjects)


def _incidents(now: LogState, registration: Registration) -> list[str]:
    """Open incidents by entry and time; what they say stands in the log."""
    opened = now.timeline.open_incidents(registration.model_digest)
    return [f"entry {statement.index}, {statement.predicate.at}" for statement in opened]


# -- Writing it ------------------------------------------------------------------------------------
CHANGES_PAGES = frozenset(
    {
        *("approval", "waiver", "incident", "revocation", "policy", "registration", "packet"),
        *("promotion", "authorization"),
    }
)
"""Kinds of evidence that can change what the pages show."""
PAUSE = 2.0
"""Seconds between two looks at the log."""


def write(database: Database, now: LogState, at: datetime) -> int:
    """Writes what differs into the registry's tables. Returns the number of versions that did.
    Raises `StorageError`.
    """
    pages = {
        (model, version): (page.description, dict(page.tags))
        for model in now.timeline.models
        for version, page in shown(now, model, at).items()
    }
    with database.snapshot() as execute:
        if execute is None or not database.has(execute, *TABLES):
            return 0
        differing = {
            key: page for key, page in pages.items() if is_shown(execute, *key, *page) is False
        }
    if differing:
        with database.transaction() as execute:
            for key, page in differing.items():
                show_version(execute, *key, *page)
    return len(differing)


def refresh(machine: Machine, log: Log, at: datetime) -> None:
    """Writes the pages of this machine's own registry; a server does it for its own. What cannot be
    written is for display only, so it is no error.
    """
    if (
        isinstance(log, SqlLog)
        and machine.registry_uri.removeprefix("governed+") == machine.log_uri
    ):
        with suppress(CountersignError):
            follow(log.database, machine.project, machine.artifact_root)
            write(log.database, state(log), at)


@dataclass
class Refreshing:
    """Keeps the pages of a server's registry as the log says, in the background."""

    log: SqlLog
    now: Callable[[], datetime]
    say: Callable[[str], None]
    stopped: threading.Event = field(default_factory=threading.Event)
    _size: int = 0

    def start(self) -> None:
        """Starts in the background; it ends with the process."""
        threading.Thread(target=self._run, daemon=True, name="pages").start()

    def _run(self) -> None:
        while not self.stopped.wait(PAUSE):
            try:
                self.look()
            except CountersignError as error:  # the database is away for a while
                self.say(f"pages      {error.found}")
                self.stopped.wait(PAUSE * 10)

    def look(self) -> None:
        """Writes the pages where an entry since the last look can have changed them."""
        size = self.log.size()
        if size and self.log.has_kind(CHANGES_PAGES, self._size):
            write(self.log.database, state(self.log, size), self.now())
        self._size = size
