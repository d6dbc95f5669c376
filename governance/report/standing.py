"""A version's state with people: its aliases, requests, approvals, waivers and incidents.

It is computed from the log alone, and each answer names its entries. A version has no standing
where the log has no governed alias.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

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
from governance.attest.requests import ReleaseDecision, ReleaseRequest, asked_of_move
from governance.base.errors import CountersignError, VerificationError
from governance.gates.checks.context import ReleaseContext
from governance.gates.checks.votes import packet_votes
from governance.gates.checks.waivers import waiver_problem
from governance.history import packet
from governance.history.chain import Chain
from governance.history.lineage import subject
from governance.history.state import LogState
from governance.history.timeline import Tenure
from governance.history.votes import SetAside, Vote, distinct
from governance.history.waivers import NotInForce, is_of, other_figures
from governance.log.evidence import Evidence, PredicateT
from governance.release import cosigned, retrospect
from governance.release.promotion import ask, decide

if TYPE_CHECKING:
    from governance.policy.policies import Policies
    from governance.policy.rules import AliasRule

WAITS = frozenset({"APPROVAL_MISSING", "PACKET_MISSING", "PACKET_OUT_OF_DATE", "POLICY_NOT_SIGNED"})
"""Findings that people resolve by signing, in addition to those of the request."""
ONCE = frozenset({"PACKET_OUT_OF_DATE", "WITNESSES_MISSING", "REVIEW_OVERDUE", "REVIEW_LAPSED"})
"""Findings about a new move. They do not revoke an earlier decision: approvals stay valid for
what was moved then. A review that is overdue is an open point of its own.
"""


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

    @cached_property
    def held(self) -> list[Tenure]:
        """Every governed alias that the version held, in order."""
        return [
            tenure
            for tenure in self.now.timeline.tenures
            if tenure.alias != CANDIDATE and self._concerns(tenure.given)
        ]

    @property
    def live(self) -> list[Tenure]:
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
        """The request to decide again: that of the release, if it can be read (otherwise
        `unreproduced` has the release); else the one that a promotion today would make.
        """
        promotion = self.released.predicate if self.released else None
        if promotion is not None and promotion.asked is not None:
            with suppress(VerificationError):
                return asked_of_move(promotion)
        return ask(
            self.now, "promote", self.registration.model, self.registration.version, self.alias
        )

    @cached_property
    def alias(self) -> str:
        """The governed alias of this report: the last one it was given or requested for, else
        policy's first.
        """
        if self.released is not None:
            return self.released.predicate.alias
        statements: list[Evidence] = [*self.decisions, *self.requests]
        predicates = [statement.predicate for statement in statements]
        aliases = [predicate.alias for predicate in predicates if predicate.action == "promote"]
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
        """The release decided again on the log as it was read, at the report's time. Cosignatures
        that are kept beside the log count, as a promotion would record them.
        """
        recorded = cosigned.assumed(self.now, self.registration.model, self.at)
        evidence = self.now.evidence.assuming(recorded) if recorded else self.now.evidence
        return decide(self.now, self.request, self.at, evidence=evidence)

    @property
    def against(self) -> list[Finding]:
        """Open findings, without those about the request and, once released, about the packet."""
        once = ONCE if self.released else frozenset[str]()
        return [
            finding
            for finding in self.today.findings
            if not finding.code.startswith("REQUEST_") and finding.code not in once
        ]

    @property
    def waits_for(self) -> list[Finding]:
        """Findings that people resolve by signing. What should have been approved before training
        cannot be approved any more.
        """
        release = f"model {self.registration.model}"
        return [
            finding
            for finding in self.today.findings
            if (finding.code in WAITS or finding.code.startswith("REQUEST_"))
            and (finding.code != "APPROVAL_MISSING" or finding.subject == release)
        ]

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
        approvals = [vote for vote in self.votes[0] if vote[2].predicate.decision == "approve"]
        counted = set(distinct(approvals))
        return [vote for vote in approvals if vote[:2] in counted]

    @property
    def approvals(self) -> list[Evidence[Approval]]:
        """Approvals of its packets, of its requests and of what its chain was decided on, those
        that do not count included.
        """
        digests = {packet.digest_of(statement.predicate) for statement in self.packets}
        requests = self.now.evidence.by_subject(self.registration.model_digest, PromotionRequest)
        digests |= {request.digest for request in requests} | self._decided_on
        return self._about_any(digests, Approval)

    @property
    def rejections(self) -> list[Vote]:
        """The rejections that are not withdrawn."""
        return [vote for vote in self.votes[0] if vote[2].predicate.decision == "reject"]

    @cached_property
    def waivers(self) -> list[tuple[Evidence[Waiver], NotInForce | None]]:
        """Waivers of findings on the model or on what its chain was decided on, and why each is
        not in force.
        """
        statements = self._about_any({self.registration.model_digest, *self._decided_on}, Waiver)
        return [
            (waiver, waiver_problem(self.context, self.now.authority, waiver))
            for waiver in statements
            if waiver.predicate.model == self.registration.model
        ]

    def lapsed(self, waived: Finding) -> NotInForce | None:
        """Why no waiver covers a finding any more that the release needed waived; None if one
        does.
        """
        problems = [
            why or other_figures(waiver, waived, self.now.authority)
            for waiver, why in self.waivers
            if is_of(waiver, waived, self.registration.model)
        ]
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

    @cached_property
    def packet(self) -> Evidence[Packet] | None:
        """The packet of the release, else the latest packet."""
        if self.request.packet is None:
            return None
        packets = self.now.evidence.by_subject(self.request.packet, Packet)
        fitting = (each for each in packets if subject(each, "packet") == self.request.packet)
        return next(fitting, None)

    @cached_property
    def packets(self) -> list[Evidence[Packet]]:
        """Every packet of the version, in order."""
        return [
            statement
            for statement in self.now.evidence.by_subject(self.registration.model_digest, Packet)
            if (statement.predicate.model, statement.predicate.version) == self._key
            and subject(statement, "packet") == packet.digest_of(statement.predicate)
        ]

    def request_of(self, decision: Evidence[Promotion]) -> Evidence[PromotionRequest] | None:
        """The signed request of a decision."""
        return self.now.timeline.request_of(decision.predicate)

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
    def _decided_on(self) -> set[str]:
        """The digests that the gates of its chain, and generations of its data, were decided on."""
        return Chain.registered(self.now.view, self.registration).decided_on

    def _about_any(self, digests: set[str], kind: type[PredicateT]) -> list[Evidence[PredicateT]]:
        """The statements of a kind about any of these digests, each once, in log order."""
        by_index = {
            statement.index: statement
            for digest in digests
            for statement in self.now.evidence.by_subject(digest, kind)
        }
        return [statement for _, statement in sorted(by_index.items())]

    def _concerns(self, statement: Evidence[Promotion] | Evidence[PromotionRequest]) -> bool:
        predicate, digest = statement.predicate, self.registration.model_digest
        return (predicate.model, predicate.version) == self._key and (
            predicate.model_digest == digest
        )

    def _difference(self, decision: Evidence[Promotion]) -> str:
        """How a repeated decision differs from the logged one; empty if it does not.

        A decision without a recorded request cannot be repeated. That is a difference only if it
        allowed.
        """
        if decision.predicate.asked is None:
            unasked = "it does not say what was asked, so it cannot be made again"
            return unasked if decision.predicate.allowed else ""
        try:
            again = retrospect.decided_again(self.now, decision.index)
        except (CountersignError, ValueError) as error:
            return f"it cannot be made again: {str(error).splitlines()[0]}"
        if again.same:
            return ""
        codes = ", ".join(dict.fromkeys(each.code for each in again.findings)) or "no finding"
        if again.allowed == again.allowed_now:
            return f"its findings come out otherwise: {codes}"
        word, comes = ("allowed", "refused") if again.allowed else ("refused", "allowed")
        return f"logged as {word}, it comes out {comes}: {codes}"
