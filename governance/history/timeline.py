"""The one history of a log: who held which alias, what was asked, what is open, retired or due.

Everything that reads a log asks here and derives none of this itself.
1. A move counts where the log's authority lets its signer make it: of a governed alias no
   development key does, of `candidate` any pipeline's.
2. A move gives its alias to one version and takes it from the one before. A retirement takes every
   governed alias from its version; `candidate` serves nobody and stays.
3. A request is consumed by the move that carried it out, and overtaken when its alias has moved
   since it was made.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from governance.attest.predicates import (
    CANDIDATE,
    Finding,
    Incident,
    Promotion,
    PromotionRequest,
    Registration,
    Waiver,
)
from governance.base.time import instant_of
from governance.history import incidents
from governance.history.votes import seconded_by_another

if TYPE_CHECKING:
    from governance.log.evidence import Evidence, EvidenceView
    from governance.policy.authority import Authority

Key = tuple[str, str]
"""Model and version, or model and alias."""
End = Literal["superseded", "rolled_back", "retired"]


@dataclass(frozen=True)
class Tenure:
    """One alias that one version held, and how that ended."""

    model: str
    alias: str
    version: str
    given: Evidence[Promotion]
    ended: Evidence[Promotion] | None = None
    """The move that gave it to another version, or took it away."""

    @property
    def how_ended(self) -> End | None:
        """None while the version holds it."""
        if self.ended is None:
            return None
        endings: dict[str, End] = {"rollback": "rolled_back", "retire": "retired"}
        return endings.get(self.ended.predicate.action, "superseded")

    @property
    def rolled_back(self) -> bool:
        """Whether somebody went back from it to an earlier version."""
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
        """The last registration of each version, in the order of first registration."""
        return {_version(item): item for item in self.view.all(Registration)}

    @property
    def models(self) -> list[str]:
        """Every model of which the log has a version, sorted."""
        return sorted({model for model, _ in self.registrations})

    # -- Moves -------------------------------------------------------------------------------------
    @cached_property
    def decisions(self) -> list[Evidence[Promotion]]:
        """(1) What was decided about governed aliases, refusals included."""
        return [item for item in self.view.all(Promotion) if _is_governed(item)]

    @cached_property
    def moves(self) -> list[Evidence[Promotion]]:
        """(1) Every move of an alias that was allowed, `candidate` included."""
        return [
            item
            for item in self.view.all(Promotion)
            if item.predicate.allowed and (_is_governed(item) or item.predicate.alias == CANDIDATE)
        ]

    def governed_moves_of(self, digest: str) -> list[Evidence[Promotion]]:
        """The moves of governed aliases that gave or took a model's bytes."""
        found = self.view.by_subject(digest, Promotion)
        return [item for item in found if item.predicate.allowed and _is_governed(item)]

    @cached_property
    def tenures(self) -> list[Tenure]:
        """(2) Every alias that any version held, by the entry that gave it."""
        holds: dict[Key, Tenure] = {}
        over: list[Tenure] = []
        for item in self.moves:
            move = item.predicate
            for key in [key for key, tenure in holds.items() if _ends(tenure, move)]:
                over.append(replace(holds.pop(key), ended=item))
            if move.action != "retire":
                tenure = Tenure(move.model, move.alias, move.version, item)
                holds[move.model, move.alias] = tenure
        return sorted([*over, *holds.values()], key=lambda one: one.given.index)

    @cached_property
    def holders(self) -> dict[Key, Tenure]:
        """Model and alias to who holds it."""
        return {(one.model, one.alias): one for one in self.tenures if one.ended is None}

    def held_by(self, model: str, version: str) -> list[Tenure]:
        """The aliases that a version holds, by name."""
        found = (one for one in self.holders.values() if one.model == model)
        return sorted((one for one in found if one.version == version), key=lambda one: one.alias)

    def held(self, model: str, at: datetime) -> list[Tenure]:
        """The aliases of a model that versions held at a moment, by alias."""
        found = [
            one
            for one in self.tenures
            if one.model == model and _moved(one.given) <= at and not _over(one, at)
        ]
        return sorted(found, key=lambda one: one.alias)

    @cached_property
    def retirements(self) -> dict[Key, Evidence[Promotion]]:
        """The versions that were taken out of service, and by which move."""
        return {_version(item): item for item in self.moves if item.predicate.action == "retire"}

    def released_before(self, model: str, alias: str, but: str | None) -> list[Evidence[Promotion]]:
        """The moves that gave the alias to other versions than `but`, nearest first: what a
        rollback goes back through.
        """
        stack: list[Evidence[Promotion]] = []
        for item in self.moves:
            move = item.predicate
            if move.model != model:
                continue
            if move.action == "retire":
                stack = [one for one in stack if one.predicate.version != move.version]
            elif move.alias == alias and move.action == "promote":
                stack.append(item)
            elif move.alias == alias:
                while stack and stack[-1].predicate.version != move.version:
                    stack.pop()
        found: dict[str, Evidence[Promotion]] = {}
        for item in reversed(stack):
            if item.predicate.version != but:
                found.setdefault(item.predicate.version, item)
        return list(found.values())

    # -- Requests ----------------------------------------------------------------------------------
    @cached_property
    def requests(self) -> dict[str, Evidence[PromotionRequest]]:
        """Digest of the statement to request."""
        return {item.digest: item for item in self.evidence.all(PromotionRequest)}

    @cached_property
    def consumed_requests(self) -> frozenset[str]:
        """(3) The requests that a move has carried out."""
        moved = (item.predicate for item in self.decisions if item.predicate.allowed)
        return frozenset(move.request for move in moved if move.request is not None)

    def open_requests(self, model: str | None = None) -> list[Evidence[PromotionRequest]]:
        """Requests that no move has consumed, in order, whether or not they are still in time."""
        return [
            item
            for digest, item in self.requests.items()
            if digest not in self.consumed_requests and model in (None, item.predicate.model)
        ]

    def is_overtaken(self, request: PromotionRequest) -> bool:
        """(3) Whether the alias has moved since, so that nothing can carry the request out."""
        holder = self.holders.get((request.model, request.alias))
        held_by = holder.version if holder else None
        return request.action != "retire" and request.from_version != held_by

    def pending_requests(self, at: datetime) -> list[Evidence[PromotionRequest]]:
        """Open requests that can still be carried out: in time, not overtaken, by somebody who may
        speak.
        """
        return [
            item
            for item in self.open_requests()
            if instant_of(item.predicate.at) <= at < instant_of(item.predicate.expires)
            and not self.is_overtaken(item.predicate)
            and self.authority.speaker(item) is not None
        ]

    def request_of(self, move: Promotion) -> Evidence[PromotionRequest] | None:
        """The signed request that a decision was made on."""
        return self.requests.get(move.request or "")

    def requested_by(self, move: Promotion) -> str:
        """Who signed the request of a move; the account's name where nobody signed one."""
        request = self.request_of(move)
        return request.predicate.principal if request else move.run.requested_by.name

    # -- Second signatures -------------------------------------------------------------------------
    @cached_property
    def lacking_second_signature(self) -> list[Evidence[Promotion]]:
        """Moves made by one person alone that nobody else has signed since."""
        return [
            item
            for item in self.moves
            if item.predicate.second_signature_by is not None
            and not self.has_second_signature(item.predicate)
        ]

    def has_second_signature(self, move: Promotion) -> bool:
        """Whether somebody other than its author signed the request of a move, too."""
        return seconded_by_another(self.authority, self.evidence, self.request_of(move))

    def overdue(self, at: datetime) -> list[Evidence[Promotion]]:
        """Moves made by one person alone whose second signature is due and not there."""
        return [
            item
            for item in self.lacking_second_signature
            if instant_of(item.predicate.second_signature_by or "") <= at
        ]

    # -- Incidents ---------------------------------------------------------------------------------
    @cached_property
    def _incidents(self) -> dict[str, list[Evidence[Incident]]]:
        found: dict[str, list[Evidence[Incident]]] = defaultdict(list)
        for item in self.evidence.all(Incident):
            for digest in {subject.sha256 for subject in item.subjects}:
                found[digest].append(item)
        return found

    def incidents(self, digest: str) -> list[Evidence[Incident]]:
        """What people who may say it said was wrong with these bytes, in order."""
        return incidents.counted(self.authority, self._incidents.get(digest, []))

    def open_incidents(self, digest: str) -> list[Evidence[Incident]]:
        """The statements that opened the incidents that are open on these bytes."""
        return incidents.still_open(self.authority, self._incidents.get(digest, []))

    @property
    def all_open_incidents(self) -> list[Evidence[Incident]]:
        """The statements that opened the incidents that are open on any bytes, each once."""
        found = {
            item.index: item for digest in self._incidents for item in self.open_incidents(digest)
        }
        return [item for _, item in sorted(found.items())]

    # -- Waivers -----------------------------------------------------------------------------------
    @cached_property
    def waivers(self) -> dict[tuple[str, str, str], list[Evidence[Waiver]]]:
        """Model, code and subject of a finding to the waivers of it, by people who may speak."""
        found: dict[tuple[str, str, str], list[Evidence[Waiver]]] = defaultdict(list)
        for item in self.evidence.all(Waiver):
            said = item.predicate
            if self.authority.speaker(item) is not None:
                found[said.model, said.finding, said.about].append(item)
        return found

    def waived_until(self, model: str, waived: Finding, at: datetime) -> datetime | None:
        """When the last of the waivers of a finding ends that were accepted by `at`; None without
        one.
        """
        mine = (one.predicate for one in self.waivers.get((model, waived.code, waived.subject), []))
        ends = [instant_of(one.expires) for one in mine if instant_of(one.at) <= at]
        return max(ends, default=None)


def _is_governed(item: Evidence[Promotion]) -> bool:
    """Whether a decision is about a governed alias, and not by a development key."""
    return item.predicate.alias != CANDIDATE and not item.development


def _ends(tenure: Tenure, move: Promotion) -> bool:
    if tenure.model != move.model:
        return False
    if move.action == "retire":
        return tenure.version == move.version and tenure.alias != CANDIDATE
    return tenure.alias == move.alias


def _over(tenure: Tenure, at: datetime) -> bool:
    return tenure.ended is not None and _moved(tenure.ended) <= at


def _moved(item: Evidence[Promotion]) -> datetime:
    return instant_of(item.predicate.at)


def _version(item: Evidence[Registration] | Evidence[Promotion]) -> Key:
    return item.predicate.model, item.predicate.version
