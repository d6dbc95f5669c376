"""A version's state with people: its aliases, requests, approvals, waivers and incidents.

It is computed from the log alone, and each answer names its entries. A version has no standing
where the log has no governed alias.
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
    from governance.policy.policies import Policies
    from governance.policy.rules import AliasRule

WAITS = frozenset({"APPROVAL_MISSING", "PACKET_MISSING", "PACKET_OUT_OF_DATE", "POLICY_NOT_SIGNED"})
"""Findings that people resolve by signing, in addition to those of the request."""
ONCE = frozenset({"PACKET_OUT_OF_DATE"})
"""Findings about a new move. They do not revoke an earlier decision: approvals stay valid for
what was moved then.
"""


Held = Tenure


@dataclass(frozen=True)
class Standing:
    """One registered version in one state of the log, at one time."""

    now: LogState
    registration: Registration
    at: datetime

    @property
    def policies(self) -> Policies:
        """The policies in force for governed aliases."""
        return self.now.authority.policies

    @property
    def name(self) -> str:
        """MODEL/VERSION"""
        return f"{self.registration.model}/{self.registration.version}"

    @cached_property
    def held(self) -> list[Held]:
        """Every governed alias that the version held, in order."""
        return [
            tenure
            for tenure in self.now.timeline.tenures
            if tenure.alias != CANDIDATE and self._concerns(tenure.given)
        ]

    @property
    def live(self) -> list[Held]:
        """The governed aliases that it holds now."""
        return [tenure for tenure in self.held if tenure.ended is None]

    @cached_property
    def decisions(self) -> list[Evidence[Promotion]]:
        """Every decision on a governed alias for this version, including refusals."""
        promotions = self.now.view.by_subject(self.registration.model_digest, Promotion)
        return [
            promotion
            for promotion in promotions
            if self._concerns(promotion) and promotion.predicate.alias != CANDIDATE
        ]

    @cached_property
    def released(self) -> Evidence[Promotion] | None:
        """The last promotion to a governed alias that was allowed."""
        given = [
            decision
            for decision in self.decisions
            if decision.predicate.allowed and decision.predicate.action == "promote"
        ]
        return given[-1] if given else None

    @property
    def retired(self) -> Evidence[Promotion] | None:
        """The decision that retired it."""
        return self.now.timeline.retirements.get(self._key)

    @cached_property
    def request(self) -> ReleaseRequest:
        """The request to decide again: that of the release, else the one that a promotion today
        would make.
        """
        promotion = self.released.predicate if self.released else None
        if promotion is not None and promotion.asked is not None:
            return ReleaseRequest.model_validate(promotion.asked)
        return ask(
            self.now, "promote", self.registration.model, self.registration.version, self.alias
        )

    @cached_property
    def alias(self) -> str:
        """The governed alias of this report: the last one it was given or requested for, else
        policy's first.
        """
        released = [self.released] if self.released is not None else []
        statements: list[Evidence] = [*(released or (*self.decisions, *self.requests))]
        predicates = [predicate.predicate for predicate in statements]
        aliases: list[str] = [
            predicate.alias for predicate in predicates if predicate.action == "promote"
        ]
        return aliases[-1] if aliases else self.policies.main_alias

    @cached_property
    def requests(self) -> list[Evidence[PromotionRequest]]:
        """The requests for this version by people who had the right to make them."""
        requests = self.now.evidence.by_subject(self.registration.model_digest, PromotionRequest)
        return [
            request
            for request in requests
            if self._concerns(request) and self.now.authority.speaker(request) is not None
        ]

    @property
    def rule(self) -> AliasRule | None:
        """Policy's rule for that alias."""
        return self.policies.rules.aliases.get(self.alias)

    @cached_property
    def today(self) -> ReleaseDecision:
        """The release decided again on the log as it was read, at the report's time."""
        return decide(self.now, self.request, self.at)

    @property
    def against(self) -> list[Finding]:
        """Open findings, without those about the request and, once released, about the packet."""
        once = ONCE if self.released else frozenset[str]()
        findings = [
            finding for finding in self.today.findings if not finding.code.startswith("REQUEST_")
        ]
        return [finding for finding in findings if finding.code not in once]

    @property
    def waits_for(self) -> list[Finding]:
        """Findings that people resolve by signing."""
        return [finding for finding in self.today.findings if self._waits(finding)]

    @property
    def moved_on(self) -> Finding | None:
        """The finding that the evidence changed since approval, if there is one."""
        return (
            next((finding for finding in self.today.findings if finding.code in ONCE), None)
            if self.released
            else None
        )

    @cached_property
    def unreproduced(self) -> list[tuple[Evidence[Promotion], str]]:
        """Logged decisions that repeating gives another result, each with the difference."""
        return [
            (decision, why) for decision in self.decisions if (why := self._difference(decision))
        ]

    @cached_property
    def context(self) -> ReleaseContext:
        """The input of the checks on people's statements."""
        return ReleaseContext.of(self.request, self.now.authority, self.now.evidence, self.at)

    @cached_property
    def votes(self) -> tuple[list[Vote], list[SetAside]]:
        """The votes that count, the last of each person, and the votes that do not count."""
        return packet_votes(self.context)

    @property
    def approvers(self) -> list[Vote]:
        """The approvals that count, one for each person and role."""
        counted = set(distinct(self._approvals))
        return [vote for vote in self._approvals if vote[:2] in counted]

    @property
    def rejections(self) -> list[Vote]:
        """The rejections that are not withdrawn."""
        return [vote for vote in self.votes[0] if vote[2].predicate.decision == "reject"]

    @cached_property
    def waivers(self) -> list[tuple[Evidence[Waiver], NotInForce | None]]:
        """Waivers of findings on the model or on what its chain was decided on, and why each is
        not in force.
        """
        digests = {self.registration.model_digest}
        digests |= {
            sha256 for gate in self.today.gates.values() for sha256 in gate.decided_on.values()
        }
        by_index = {
            waiver.index: waiver
            for digest in digests
            for waiver in self.now.evidence.by_subject(digest, Waiver)
        }
        of_model = [
            waiver
            for _, waiver in sorted(by_index.items())
            if waiver.predicate.model == self.registration.model
        ]
        return [
            (waiver, waiver_problem(self.context, self.now.authority, waiver))
            for waiver in of_model
        ]

    def lapsed(self, waived: Finding) -> NotInForce | None:
        """Why no waiver covers a finding any more that the release needed waived; None if one
        does.
        """
        about = (waived.code, waived.subject)
        problems = [why for waiver, why in self.waivers if _about(waiver) == about]
        if None in problems:
            return None
        return problems[-1] if problems else NotInForce("not_recorded")

    @cached_property
    def incidents(self) -> list[Evidence[Incident]]:
        """The incident statements about this version's bytes, in order."""
        return self.now.timeline.incidents(self.registration.model_digest)

    @property
    def open_incidents(self) -> list[Evidence[Incident]]:
        """The incidents that are still open."""
        return self.now.timeline.open_incidents(self.registration.model_digest)

    @property
    def alone(self) -> list[Evidence[Promotion]]:
        """Emergency rollbacks to this version that still lack their second signature."""
        return [
            rollback
            for rollback in self.now.timeline.lacking_second_signature
            if self._concerns(rollback)
        ]

    @property
    def overdue(self) -> list[Evidence[Promotion]]:
        """Emergency rollbacks whose second signature is late."""
        return [
            rollback for rollback in self.now.timeline.overdue(self.at) if self._concerns(rollback)
        ]

    @cached_property
    def packet(self) -> Evidence[Packet] | None:
        """The packet of the release, else the latest packet."""
        if self.request.packet is None:
            return None
        packets = self.now.evidence.by_subject(self.request.packet, Packet)
        return next(
            (packet_ for packet_ in packets if subject(packet_, "packet") == self.request.packet),
            None,
        )

    @cached_property
    def packets(self) -> list[Evidence[Packet]]:
        """Every packet of the version, in order."""
        packets = self.now.evidence.by_subject(self.registration.model_digest, Packet)
        of_version = [
            statement
            for statement in packets
            if (statement.predicate.model, statement.predicate.version) == self._key
        ]
        return [
            statement
            for statement in of_version
            if subject(statement, "packet") == packet.digest_of(statement.predicate)
        ]

    def request_of(self, decision: Evidence[Promotion]) -> Evidence[PromotionRequest] | None:
        """The signed request of a decision."""
        return self.now.timeline.request_of(decision.predicate)

    def seconded(self, decision: Evidence[Promotion]) -> bool:
        """Whether a second person signed the request of a decision."""
        return self.now.timeline.has_second_signature(decision.predicate)

    def below(self) -> list[Evidence[Promotion]]:
        """The decisions that gave the alias to other versions before, the latest first. A
        rollback returns to these.
        """
        return self.now.timeline.released_before(
            self.registration.model, self.alias, self.registration.version
        )

    @property
    def _key(self) -> tuple[str, str]:
        return self.registration.model, self.registration.version

    @property
    def _approvals(self) -> list[Vote]:
        return [vote for vote in self.votes[0] if vote[2].predicate.decision == "approve"]

    def _concerns(self, statement: Evidence[Promotion] | Evidence[PromotionRequest]) -> bool:
        predicate = statement.predicate
        return (predicate.model, predicate.version, predicate.model_digest) == (
            *self._key,
            self.registration.model_digest,
        )

    def _waits(self, finding: Finding) -> bool:
        if finding.code.startswith("REQUEST_"):
            return True
        # What should have been approved before training cannot be approved any more.
        return finding.code in WAITS and (
            finding.code != "APPROVAL_MISSING"
            or finding.subject == f"model {self.registration.model}"
        )

    def _difference(self, decision: Evidence[Promotion]) -> str:
        """How a repeated decision differs from the logged one; empty if it does not.

        A decision without a recorded request cannot be repeated. That is a difference only if it
        allowed.
        """
        promotion = decision.predicate
        if promotion.asked is None:
            return (
                "it does not say what was asked, so it cannot be made again"
                if promotion.allowed
                else ""
            )
        before = self.now.cut(decision.index)
        try:
            repeated = decide(
                before, ReleaseRequest.model_validate(promotion.asked), instant_of(promotion.at)
            )
        except (CountersignError, ValueError) as error:
            return f"it cannot be made again: {str(error).splitlines()[0]}"
        codes = (
            ", ".join(dict.fromkeys(finding.code for finding in repeated.findings)) or "no finding"
        )
        if repeated.allowed != promotion.allowed:
            word, comes = ("allowed", "refused") if promotion.allowed else ("refused", "allowed")
            return f"logged as {word}, it comes out {comes}: {codes}"
        unchanged = same_reasons(repeated.findings, promotion.findings) and same_reasons(
            repeated.waived, promotion.waived
        )
        return "" if unchanged else f"its findings come out otherwise: {codes}"


def approvals_of(now: LogState, standing: Standing) -> Iterator[Evidence[Approval]]:
    """Approvals of the version's packets, of its requests and of what its chain was decided on;
    each once.
    """
    subjects = {packet.digest_of(statement.predicate) for statement in standing.packets}
    subjects |= {
        statement.digest
        for statement in now.evidence.by_subject(
            standing.registration.model_digest, PromotionRequest
        )
    }
    subjects |= {
        sha256 for gate in standing.today.gates.values() for sha256 in gate.decided_on.values()
    }
    approvals = {
        statement.index: statement
        for digest in subjects
        for statement in now.evidence.by_subject(digest, Approval)
    }
    yield from (statement for _, statement in sorted(approvals.items()))


def approval(statement: Evidence) -> Approval:
    """The predicate of an `approval` statement."""
    predicate: Approval = statement.predicate
    return predicate


def _about(waiver: Evidence[Waiver]) -> tuple[str, str]:
    predicate = waiver.predicate
    return predicate.finding, predicate.about
