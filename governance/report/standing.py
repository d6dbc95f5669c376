"""Where a version stands with people: what it was given, by whose word, what of that still holds.

Drawn once, from the log as it was read and nothing else; each answer names its entries. Of a
version whose log knows no governed alias there is no such thing, and the report says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from governance.attest.findings import same_reasons
from governance.attest.predicates import (
    CANDIDATE,
    Approval,
    Finding,
    Incident,
    Packet,
    Promotion,
    PromotionRequest,
    Registration,
    Waiver,
)
from governance.attest.requests import ReleaseDecision, ReleaseRequest
from governance.base.errors import CountersignError
from governance.base.time import instant_of
from governance.gates.checks.context import ReleaseContext
from governance.gates.checks.votes import packet_votes
from governance.gates.checks.waivers import waiver_problem
from governance.history import packet
from governance.history.lineage import subject
from governance.history.state import LogState
from governance.history.timeline import Tenure
from governance.history.votes import SetAside, Vote, distinct
from governance.history.waivers import NotInForce
from governance.log.evidence import Evidence
from governance.release.promotion import ask, decide

if TYPE_CHECKING:
    from governance.policy.policies import AliasRule, Policies

WAITS = frozenset({"APPROVAL_MISSING", "PACKET_MISSING", "PACKET_OUT_OF_DATE", "POLICY_NOT_SIGNED"})
"""Findings that people settle by speaking; beside those of the request."""
ONCE = frozenset({"PACKET_OUT_OF_DATE"})
"""Findings of a move that do not undo what was decided before: approvals stand for what was moved
then.
"""


Held = Tenure


@dataclass(frozen=True)
class Standing:
    """One registered version in the state of a log, at one time."""

    now: LogState
    said: Registration
    at: datetime

    @property
    def policies(self) -> Policies:
        """Those in force for governed aliases."""
        return self.now.authority.policies

    @property
    def name(self) -> str:
        """MODEL/VERSION"""
        return f"{self.said.model}/{self.said.version}"

    @cached_property
    def held(self) -> list[Held]:
        """Every governed alias the version held, in order."""
        return [
            one
            for one in self.now.timeline.tenures
            if one.alias != CANDIDATE and self._mine(one.given)
        ]

    @property
    def live(self) -> list[Held]:
        """What it holds now."""
        return [one for one in self.held if one.ended is None]

    @cached_property
    def decisions(self) -> list[Evidence[Promotion]]:
        """Every decision on a governed alias for this version, refused ones included."""
        found = self.now.view.by_subject(self.said.model_digest, Promotion)
        return [item for item in found if self._mine(item) and item.predicate.alias != CANDIDATE]

    @cached_property
    def released(self) -> Evidence[Promotion] | None:
        """The last decision that gave it a governed alias by approvals."""
        given = [
            one
            for one in self.decisions
            if one.predicate.allowed and one.predicate.action == "promote"
        ]
        return given[-1] if given else None

    @property
    def retired(self) -> Evidence[Promotion] | None:
        """The move that took it out of service."""
        return self.now.timeline.retirements.get(self._key)

    @cached_property
    def asked(self) -> ReleaseRequest:
        """What is decided again: as it was asked when it was released, else as it would be asked
        now.
        """
        said = self.released.predicate if self.released else None
        if said is not None and said.asked is not None:
            return ReleaseRequest.model_validate(said.asked)
        return ask(self.now, "promote", self.said.model, self.said.version, self.alias)

    @cached_property
    def alias(self) -> str:
        """The governed alias that is meant: the last it was given, or asked for, else the first
        that policy has.
        """
        given = [self.released] if self.released is not None else []
        asked: list[Evidence] = [*(given or (*self.decisions, *self.requests))]
        said = [one.predicate for one in asked]
        named: list[str] = [one.alias for one in said if one.action == "promote"]
        return named[-1] if named else self.policies.main_alias

    @cached_property
    def requests(self) -> list[Evidence[PromotionRequest]]:
        """What people asked for this version, who may speak as they do."""
        found = self.now.evidence.by_subject(self.said.model_digest, PromotionRequest)
        return [
            item
            for item in found
            if self._mine(item) and self.now.authority.speaker(item) is not None
        ]

    @property
    def rule(self) -> AliasRule | None:
        """What policy says of that alias."""
        return self.policies.rules.aliases.get(self.alias)

    @cached_property
    def today(self) -> ReleaseDecision:
        """The release decided on the log as it was read, at the report's time."""
        return decide(self.now, self.asked, self.at)

    @property
    def against(self) -> list[Finding]:
        """What stands against it but what the move itself asks once: its request, and a packet of
        that moment.
        """
        once = ONCE if self.released else frozenset[str]()
        found = [one for one in self.today.findings if not one.code.startswith("REQUEST_")]
        return [one for one in found if one.code not in once]

    @property
    def waits_for(self) -> list[Finding]:
        """What people settle by speaking."""
        return [one for one in self.today.findings if self._waits(one)]

    @property
    def moved_on(self) -> Finding | None:
        """What changed since it was approved, where something did."""
        return (
            next((one for one in self.today.findings if one.code in ONCE), None)
            if self.released
            else None
        )

    @cached_property
    def unreproduced(self) -> list[tuple[Evidence[Promotion], str]]:
        """Logged decisions that do not come out as logged when they are made again, and how."""
        return [(item, why) for item in self.decisions if (why := self._again(item))]

    @cached_property
    def context(self) -> ReleaseContext:
        """What checks of people look at."""
        return ReleaseContext.of(self.asked, self.now.authority, self.now.evidence, self.at)

    @cached_property
    def votes(self) -> tuple[list[Vote], list[SetAside]]:
        """The last word of each person on the packet, and why others do not count."""
        return packet_votes(self.context)

    @property
    def approvers(self) -> list[Vote]:
        """The approvals that count, one for each person and role that does."""
        counted = set(distinct(self._approvals))
        return [vote for vote in self._approvals if vote[:2] in counted]

    @property
    def rejections(self) -> list[Vote]:
        """Who says no, and has not taken it back."""
        return [vote for vote in self.votes[0] if vote[2].predicate.decision == "reject"]

    @cached_property
    def waivers(self) -> list[tuple[Evidence[Waiver], NotInForce | None]]:
        """Waivers of the model or of what its chain was decided on, and why each is not in
        force.
        """
        digests = {self.said.model_digest}
        digests |= {
            sha256 for gate in self.today.gates.values() for sha256 in gate.decided_on.values()
        }
        found = {
            item.index: item
            for one in digests
            for item in self.now.evidence.by_subject(one, Waiver)
        }
        mine = [
            item for _, item in sorted(found.items()) if item.predicate.model == self.said.model
        ]
        return [(item, waiver_problem(self.context, self.now.authority, item)) for item in mine]

    def lapsed(self, waived: Finding) -> str:
        """Why nothing waives any more what a release was allowed in spite of; empty where something
        does.
        """
        about = (waived.code, waived.subject)
        problems = [why for item, why in self.waivers if _about(item) == about]
        if not problems:
            return "the log has no waiver of it"
        last = problems[-1]
        return "" if None in problems or last is None else last.text

    @cached_property
    def incidents(self) -> list[Evidence[Incident]]:
        """What was said to be wrong with these bytes, by people who may say it, in order."""
        return self.now.timeline.incidents(self.said.model_digest)

    @property
    def open_incidents(self) -> list[Evidence[Incident]]:
        """Those whose last word is that they are open."""
        return self.now.timeline.open_incidents(self.said.model_digest)

    @property
    def alone(self) -> list[Evidence[Promotion]]:
        """Rollbacks to this version by one person alone whose second signature is not there."""
        return [item for item in self.now.timeline.lacking_second_signature if self._mine(item)]

    @property
    def overdue(self) -> list[Evidence[Promotion]]:
        """Those of them whose second signature is late."""
        return [item for item in self.now.timeline.overdue(self.at) if self._mine(item)]

    @cached_property
    def packet(self) -> Evidence[Packet] | None:
        """The packet that was moved, else the latest."""
        if self.asked.packet is None:
            return None
        found = self.now.evidence.by_subject(self.asked.packet, Packet)
        return next((item for item in found if subject(item, "packet") == self.asked.packet), None)

    @cached_property
    def packets(self) -> list[Evidence[Packet]]:
        """Every packet of the version, in order."""
        found = self.now.evidence.by_subject(self.said.model_digest, Packet)
        mine = [one for one in found if (one.predicate.model, one.predicate.version) == self._key]
        return [
            item for item in mine if subject(item, "packet") == packet.digest_of(item.predicate)
        ]

    def request_of(self, item: Evidence[Promotion]) -> Evidence[PromotionRequest] | None:
        """The signed request that a decision was made on."""
        return self.now.timeline.request_of(item.predicate)

    def seconded(self, item: Evidence[Promotion]) -> bool:
        """Whether somebody other than its author signed the request that a decision was made on."""
        return self.now.timeline.has_second_signature(item.predicate)

    def below(self) -> list[Evidence[Promotion]]:
        """The moves that gave the alias to other versions before, nearest first: what a rollback
        goes back through.
        """
        return self.now.timeline.released_before(self.said.model, self.alias, self.said.version)

    @property
    def _key(self) -> tuple[str, str]:
        return self.said.model, self.said.version

    @property
    def _approvals(self) -> list[Vote]:
        return [vote for vote in self.votes[0] if vote[2].predicate.decision == "approve"]

    def _mine(self, item: Evidence[Promotion] | Evidence[PromotionRequest]) -> bool:
        said = item.predicate
        return (said.model, said.version, said.model_digest) == (*self._key, self.said.model_digest)

    def _waits(self, one: Finding) -> bool:
        if one.code.startswith("REQUEST_"):
            return True
        # What should have been approved before training cannot be approved any more.
        return one.code in WAITS and (
            one.code != "APPROVAL_MISSING" or one.subject == f"model {self.said.model}"
        )

    def _again(self, item: Evidence[Promotion]) -> str:
        """How a decision comes out otherwise than logged; empty where it does not, or does not say
        what was asked.
        """
        said = item.predicate
        if said.asked is None:
            return (
                "it does not say what was asked, so it cannot be made again" if said.allowed else ""
            )
        before = self.now.cut(item.index)
        try:
            found = decide(before, ReleaseRequest.model_validate(said.asked), instant_of(said.at))
        except (CountersignError, ValueError) as error:
            return f"it cannot be made again: {str(error).splitlines()[0]}"
        codes = ", ".join(dict.fromkeys(one.code for one in found.findings)) or "no finding"
        if found.allowed != said.allowed:
            word, comes = ("allowed", "refused") if said.allowed else ("refused", "allowed")
            return f"logged as {word}, it comes out {comes}: {codes}"
        same = same_reasons(found.findings, said.findings) and same_reasons(
            found.waived, said.waived
        )
        return "" if same else f"its findings come out otherwise: {codes}"


def said_of(now: LogState, standing: Standing) -> Iterator[Evidence[Approval]]:
    """Approvals of the version's packets, its requests, and what its chain was decided on; each
    once.
    """
    subjects = {packet.digest_of(item.predicate) for item in standing.packets}
    subjects |= {
        item.digest
        for item in now.evidence.by_subject(standing.said.model_digest, PromotionRequest)
    }
    subjects |= {
        sha256 for gate in standing.today.gates.values() for sha256 in gate.decided_on.values()
    }
    found = {
        item.index: item for one in subjects for item in now.evidence.by_subject(one, Approval)
    }
    yield from (item for _, item in sorted(found.items()))


def approval(item: Evidence) -> Approval:
    """The predicate of an `approval` statement."""
    said: Approval = item.predicate
    return said


def _about(item: Evidence[Waiver]) -> tuple[str, str]:
    said = item.predicate
    return said.finding, said.about
