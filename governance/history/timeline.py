"""The one history of a log: who held which alias, which requests are open, what is retired or due.

Every reader of a log takes these facts from here and derives none of them itself.
1. A move counts if the log's authority lets its signer make it. A development key moves no governed
   alias; any pipeline's key moves `candidate`.
2. A move gives its alias to one version and takes it from the holder before. A retirement takes
   every governed alias from its version; `candidate` serves nobody and stays.
3. The move that carries out a request consumes it. A request is overtaken when its alias moved
   after it was made.
4. A version has the bytes of its first registration. Where an older log has several with different
   bytes, nothing moves to the version until policy owners approve one of them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from governance.attest.predicates import (
    CANDIDATE,
    Approval,
    Finding,
    Incident,
    Intervention,
    Promotion,
    PromotionRequest,
    Registration,
    Waiver,
)
from governance.base.time import instant_of
from governance.history import cases, clocks, incidents, reviews, rollout_rules
from governance.history.votes import owners_agreed, seconded_by_another
from governance.history.waivers import other_figures
from governance.log.rules import ONE_DIGEST

if TYPE_CHECKING:
    from governance.history.cases import Case
    from governance.history.clocks import Running
    from governance.history.reviews import Review
    from governance.history.rollouts import Rollout
    from governance.log.evidence import Evidence
    from governance.log.views import EvidenceView
    from governance.policy.authority import Authority

Key = tuple[str, str]
"""Model and version, or model and alias."""
End = Literal["superseded", "rolled_back", "retired"]


@dataclass(frozen=True)
class Tenure:
    """The time during which one version held one alias."""

    model: str
    alias: str
    version: str
    given: Evidence[Promotion]
    ended: Evidence[Promotion] | None = None
    """The move that gave it to another version, or took it away."""

    @property
    def how_ended(self) -> End | None:
        """How the tenure ended; None while the version holds the alias."""
        if self.ended is None:
            return None
        endings: dict[str, End] = {"rollback": "rolled_back", "retire": "retired"}
        return endings.get(self.ended.predicate.action, "superseded")

    @property
    def rolled_back(self) -> bool:
        """Whether a rollback to an earlier version ended it."""
        return self.how_ended == "rolled_back"


@dataclass(frozen=True)
class Timeline:
    """The history of a log at one size. Each fact is derived once."""

    evidence: EvidenceView
    authority: Authority

    @cached_property
    def view(self) -> EvidenceView:
        """The statements of services whose signers may sign them."""
        return self.evidence.signed_under(self.authority)

    # -- Versions ----------------------------------------------------------------------------------
    @cached_property
    def registrations(self) -> dict[Key, Evidence[Registration]]:
        """(4) The registration of each version that stands, in the order of first registration."""
        return {version: self._standing(all_) for version, all_ in self._all_registrations.items()}

    @cached_property
    def registered_twice(self) -> dict[Key, list[Evidence[Registration]]]:
        """(4) The registrations of each version that has several digests, of which policy owners
        have settled none.
        """
        return {
            version: registrations
            for version, registrations in self._all_registrations.items()
            if self.authority.rules >= ONE_DIGEST
            and len(_digests(registrations)) > 1
            and self._settled(registrations) is None
        }

    def contradicts(self, registration: Registration) -> bool:
        """(4) Whether the version is registered already, with another digest."""
        standing = self.registrations.get((registration.model, registration.version))
        other = standing and standing.predicate.model_digest != registration.model_digest
        return bool(other) and self.authority.rules >= ONE_DIGEST

    def settled_otherwise(self, move: Promotion) -> Evidence[Registration] | None:
        """(4) The registration that policy owners approved for a version, where a move gave an
        alias to other bytes of this version; else None.
        """
        version = (move.model, move.version)
        standing = self.registrations.get(version)
        if standing is None or self.authority.rules < ONE_DIGEST:
            return None
        is_settled = self._settled(self._all_registrations[version]) is not None
        is_other = standing.predicate.model_digest != move.model_digest
        return standing if is_settled and is_other else None

    @cached_property
    def _all_registrations(self) -> dict[Key, list[Evidence[Registration]]]:
        by_version: dict[Key, list[Evidence[Registration]]] = defaultdict(list)
        for statement in self.view.all(Registration):
            by_version[_version(statement)].append(statement)
        return by_version

    def _standing(self, registrations: list[Evidence[Registration]]) -> Evidence[Registration]:
        if self.authority.rules < ONE_DIGEST:
            return registrations[-1]
        digest = (self._settled(registrations) or registrations[0]).predicate.model_digest
        same = [each for each in registrations if each.predicate.model_digest == digest]
        return same[-1]

    def _settled(
        self, registrations: list[Evidence[Registration]]
    ) -> Evidence[Registration] | None:
        """The one that policy owners approved, if they approved one only."""
        if len(_digests(registrations)) == 1:
            return None
        settled = [each for each in registrations if self._is_settled(each)]
        return settled[-1] if len(_digests(settled)) == 1 else None

    def _is_settled(self, registration: Evidence[Registration]) -> bool:
        votes = self.evidence.by_subject(registration.digest, Approval)
        return owners_agreed(self.authority, votes, "registration")

    @property
    def models(self) -> list[str]:
        """Every model of which the log has a version, sorted."""
        return sorted({model for model, _ in self.registrations})

    # -- Moves -------------------------------------------------------------------------------------
    @cached_property
    def decisions(self) -> list[Evidence[Promotion]]:
        """(1) The decisions on governed aliases, refusals included."""
        return [statement for statement in self.view.all(Promotion) if _is_governed(statement)]

    @cached_property
    def moves(self) -> list[Evidence[Promotion]]:
        """(1) Every allowed move of an alias, `candidate` included."""
        return [
            statement
            for statement in self.view.all(Promotion)
            if statement.predicate.allowed
            and (_is_governed(statement) or statement.predicate.alias == CANDIDATE)
        ]

    def governed_moves_of(self, digest: str) -> list[Evidence[Promotion]]:
        """The allowed moves of governed aliases that concern a model's bytes."""
        statements = self.view.by_subject(digest, Promotion)
        return [
            statement
            for statement in statements
            if statement.predicate.allowed and _is_governed(statement)
        ]

    @cached_property
    def tenures(self) -> list[Tenure]:
        """(2) All tenures, in the order of the moves that began them."""
        holds: dict[Key, Tenure] = {}
        ended: list[Tenure] = []
        for statement in self.moves:
            move = statement.predicate
            for key in [key for key, tenure in holds.items() if _ends(tenure, move)]:
                ended.append(replace(holds.pop(key), ended=statement))
            if move.action != "retire":
                tenure = Tenure(move.model, move.alias, move.version, statement)
                holds[move.model, move.alias] = tenure
        return sorted([*ended, *holds.values()], key=lambda tenure: tenure.given.index)

    @cached_property
    def holders(self) -> dict[Key, Tenure]:
        """Maps model and alias to the tenure of the present holder."""
        return {
            (tenure.model, tenure.alias): tenure for tenure in self.tenures if tenure.ended is None
        }

    def held_by(self, model: str, version: str) -> list[Tenure]:
        """The present tenures of a version, by alias."""
        tenures = (tenure for tenure in self.holders.values() if tenure.model == model)
        return sorted(
            (tenure for tenure in tenures if tenure.version == version),
            key=lambda tenure: tenure.alias,
        )

    def held(self, model: str, at: datetime) -> list[Tenure]:
        """The tenures of a model's versions at a moment, by alias."""
        tenures = [
            tenure
            for tenure in self.tenures
            if tenure.model == model
            and _moved(tenure.given) <= at
            and (tenure.ended is None or _moved(tenure.ended) > at)
        ]
        return sorted(tenures, key=lambda tenure: tenure.alias)

    @cached_property
    def retirements(self) -> dict[Key, Evidence[Promotion]]:
        """Maps each retired version to the move that retired it."""
        return {
            _version(statement): statement
            for statement in self.moves
            if statement.predicate.action == "retire"
        }

    def released_before(self, model: str, alias: str, but: str | None) -> list[Evidence[Promotion]]:
        """The moves that gave the alias to versions other than `but`, nearest first: the targets of
        a rollback.
        """
        stack: list[Evidence[Promotion]] = []
        for statement in self.moves:
            move = statement.predicate
            if move.model != model:
                continue
            if move.action == "retire":
                stack = [earlier for earlier in stack if earlier.predicate.version != move.version]
            elif move.alias == alias and move.action == "promote":
                stack.append(statement)
            elif move.alias == alias:
                while stack and stack[-1].predicate.version != move.version:
                    stack.pop()
        latest: dict[str, Evidence[Promotion]] = {}
        for statement in reversed(stack):
            if statement.predicate.version != but:
                latest.setdefault(statement.predicate.version, statement)
        return list(latest.values())

    # -- Requests ----------------------------------------------------------------------------------
    @cached_property
    def requests(self) -> dict[str, Evidence[PromotionRequest]]:
        """Maps the digest of each request's statement to the statement."""
        return {statement.digest: statement for statement in self.evidence.all(PromotionRequest)}

    @cached_property
    def consumed_requests(self) -> frozenset[str]:
        """(3) The requests that a move has carried out."""
        moved = (statement.predicate for statement in self.decisions if statement.predicate.allowed)
        return frozenset(move.request for move in moved if move.request is not None)

    def open_requests(self, model: str | None = None) -> list[Evidence[PromotionRequest]]:
        """Requests that no move has consumed, in log order, expired ones included."""
        return [
            statement
            for digest, statement in self.requests.items()
            if digest not in self.consumed_requests and model in (None, statement.predicate.model)
        ]

    def is_overtaken(self, request: PromotionRequest) -> bool:
        """(3) Whether the alias moved after the request, so that it cannot be carried out."""
        holder = self.holders.get((request.model, request.alias))
        held_by = holder.version if holder else None
        return request.action != "retire" and request.from_version != held_by

    def pending_requests(self, at: datetime) -> list[Evidence[PromotionRequest]]:
        """Open requests that can be carried out: not expired, not overtaken, by a person whose
        signature counts.
        """
        return [
            statement
            for statement in self.open_requests()
            if instant_of(statement.predicate.at) <= at < instant_of(statement.predicate.expires)
            and not self.is_overtaken(statement.predicate)
            and self.authority.speaker(statement) is not None
        ]

    def request_of(self, move: Promotion) -> Evidence[PromotionRequest] | None:
        """The signed request of a move; None where nobody signed one."""
        return self.requests.get(move.request or "")

    def requested_by(self, statement: Evidence[Promotion]) -> str:
        """Who signed the request of a move. Where nobody signed one: the account, as the server
        authenticated it, else who signed the move.
        """
        move = statement.predicate
        request = self.request_of(move)
        if move.alias != CANDIDATE and request is not None:
            return request.predicate.principal
        if move.alias != CANDIDATE and move.caller:
            return f"account {move.caller}"
        return self.authority.signer(statement)

    # -- Second signatures -------------------------------------------------------------------------
    @cached_property
    def lacking_second_signature(self) -> list[Evidence[Promotion]]:
        """Moves that one person made alone and that no second person has signed."""
        return [
            statement
            for statement in self.moves
            if statement.predicate.second_signature_by is not None
            and not self.has_second_signature(statement.predicate)
        ]

    def has_second_signature(self, move: Promotion) -> bool:
        """Whether a second person signed the request of a move."""
        return seconded_by_another(self.authority, self.evidence, self.request_of(move))

    def overdue(self, at: datetime) -> list[Evidence[Promotion]]:
        """Moves that one person made alone and whose second signature is due and missing."""
        return [
            statement
            for statement in self.lacking_second_signature
            if instant_of(statement.predicate.second_signature_by or "") <= at
        ]

    # -- Incidents ---------------------------------------------------------------------------------
    @cached_property
    def _incidents(self) -> dict[str, list[Evidence[Incident]]]:
        """Maps each digest that an incident is about to its incident statements."""
        subjects = (subject for each in self.evidence.all(Incident) for subject in each.subjects)
        digests = dict.fromkeys(subject.sha256 for subject in subjects)
        return {
            digest: incidents.about(self.evidence, self.authority, digest) for digest in digests
        }

    def incidents(self, digest: str) -> list[Evidence[Incident]]:
        """The incident statements about these bytes that count, in log order."""
        return incidents.counted(self.authority, self._incidents.get(digest, []))

    def open_incidents(self, digest: str) -> list[Evidence[Incident]]:
        """The opening statements of the open incidents on these bytes."""
        return incidents.still_open(self.authority, self._incidents.get(digest, []))

    @property
    def all_open_incidents(self) -> list[Evidence[Incident]]:
        """The opening statements of all open incidents, each once."""
        by_entry = {
            statement.index: statement
            for digest in self._incidents
            for statement in self.open_incidents(digest)
        }
        return [statement for _, statement in sorted(by_entry.items())]

    @cached_property
    def all_incidents(self) -> list[Evidence[Incident]]:
        """The incident statements about all bytes that count, each once, in log order."""
        by_entry = {
            statement.index: statement
            for digest in self._incidents
            for statement in self.incidents(digest)
        }
        return [statement for _, statement in sorted(by_entry.items())]

    @cached_property
    def cases(self) -> list[Case]:
        """All incidents from opening to closing, in log order."""
        return cases.cases(self.all_incidents, self.interventions)

    @cached_property
    def interventions(self) -> list[Evidence[Intervention]]:
        """What people overrode or excepted in operation, by people whose signature counts."""
        return [
            statement
            for statement in self.evidence.all(Intervention)
            if self.authority.speaker(statement) is not None
        ]

    def clocks(self, at: datetime) -> list[Running]:
        """The legal clocks of all incidents, under the policies in force; see `clocks.running`."""
        policies = self.authority.in_force.policies
        if policies is None:  # the log does not carry them: nobody can say which clocks run
            return []
        return clocks.running(self.cases, policies.clocks, at)

    # -- Reviews -----------------------------------------------------------------------------------
    def reviews(self, at: datetime) -> list[Review]:
        """The next periodic review of each version in use, under the policies in force; see
        `reviews.next_reviews`.
        """
        policies = self.authority.in_force.policies
        if policies is None:
            return []
        return reviews.next_reviews(self, policies, at)

    # -- Rollouts ----------------------------------------------------------------------------------
    @cached_property
    def rollouts(self) -> dict[str, Rollout]:
        """The canary rollouts, by the statement of their requests, in log order."""
        return rollout_rules.fold(self)

    # -- Waivers -----------------------------------------------------------------------------------
    @cached_property
    def waivers(self) -> dict[tuple[str, str, str], list[Evidence[Waiver]]]:
        """Maps model, code and subject of a finding to its waivers. Only waivers by people whose
        signature counts.
        """
        by_finding: dict[tuple[str, str, str], list[Evidence[Waiver]]] = defaultdict(list)
        for statement in self.evidence.all(Waiver):
            waiver = statement.predicate
            if self.authority.speaker(statement) is not None:
                by_finding[waiver.model, waiver.finding, waiver.about].append(statement)
        return by_finding

    def waived_until(self, model: str, finding: Finding, at: datetime) -> datetime | None:
        """The latest end of the waivers of a finding that were accepted by `at`; None without
        one.
        """
        statements = self.waivers.get((model, finding.code, finding.subject), [])
        waivers = (
            statement.predicate
            for statement in statements
            if other_figures(statement, finding, self.authority) is None
        )
        ends = [instant_of(waiver.expires) for waiver in waivers if instant_of(waiver.at) <= at]
        return max(ends, default=None)


def _digests(registrations: list[Evidence[Registration]]) -> set[str]:
    return {registration.predicate.model_digest for registration in registrations}


def _is_governed(statement: Evidence[Promotion]) -> bool:
    """Whether a decision is about a governed alias and not signed by a development key."""
    return statement.predicate.alias != CANDIDATE and not statement.development


def _ends(tenure: Tenure, move: Promotion) -> bool:
    if tenure.model != move.model:
        return False
    if move.action == "retire":
        return tenure.version == move.version and tenure.alias != CANDIDATE
    return tenure.alias == move.alias


def _moved(statement: Evidence[Promotion]) -> datetime:
    return instant_of(statement.predicate.at)


def _version(statement: Evidence[Registration] | Evidence[Promotion]) -> Key:
    return statement.predicate.model, statement.predicate.version
