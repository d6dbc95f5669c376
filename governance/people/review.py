"""The review page: what a person reads before they approve a packet.

1. The evidence on it comes from the packet and the entries before it. The report's own sections
   judge and draw it (`governance.report.parts`).
2. What the log has against the version since the packet was frozen stands above everything else:
   open incidents, rejections, new findings, and what of the packet changed. So the page becomes
   another page, and who approves has to open it again. What speaks for the version changes nothing.
3. The digest of the page is part of the approval. A client shows what it renders itself, never a
   page that a server sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Approval, Finding, Packet, Promotion
from governance.attest.requests import ReleaseDecision
from governance.base.errors import InputError
from governance.base.model import Model
from governance.base.text import short, size
from governance.base.time import instant_of
from governance.gates.checks.votes import packet_votes
from governance.gates.decisions import decide_automatic
from governance.history import packet
from governance.history.incidents import INCIDENT, still_open, unaccepted
from governance.history.lineage import ModelNode, model_node
from governance.history.state import LogState
from governance.history.votes import Vote
from governance.log import evidence, merkle
from governance.log.evidence import Evidence
from governance.people.packets import release_context
from governance.release import promotion
from governance.report import exceptions
from governance.report.facts import PREFIX, Facts, registered
from governance.report.model import EvidenceSections, Notice
from governance.report.parts import evidence_sections

FORMAT = "https://countersign.dev/review/v2"
NOWHERE = Path("/nonexistent")
"""A review reads no file of this machine."""
NOT_SHOWN = (
    "Whether the evidence is true. Each statement is what its signer attests.",
    "Hidden backdoors, poisoned data, and what a base model was trained on.",
    "Whether a declared licence or lawful basis is valid. That is a judgement.",
)
Verdict = Literal[
    "incident_open", "outdated", "open_findings", "rejected", "exceptions", "no_objection"
]
"""The first verdict that applies."""


class OpenIncident(Model):
    """An open incident on these bytes."""

    version: str
    opened_by: str
    role: str
    at: str
    reason: str
    entry: int
    waived: bool
    """Whether the packet carries the waiver of it; otherwise nobody can approve the packet."""


class Rejection(Model):
    """A rejection of this packet that still counts."""

    person: str
    role: str
    at: str
    reason: str
    entry: int


class Against(Model):
    """(2) Objections in the log since the packet was frozen."""

    incidents: list[OpenIncident]
    """All open incidents, also those from before the packet."""
    changed: list[str]
    """Parts of the packet that changed."""
    findings: list[Finding]
    """Findings of a present check that the packet does not have."""
    rejections: list[Rejection]


class WaivedFinding(Model):
    """A finding that a waiver passes."""

    finding: Finding
    owner: str
    accepted_by: str
    role: str
    control: str
    reason: str
    expires: str
    entry: int


class Runner(Model):
    """Who trained, evaluated or imported: the key that signed, and the person who asked."""

    did: Literal["trained", "evaluated", "imported"]
    stage: str
    signed_by: str
    """Principal that owns the key; empty for a development key or an unknown one."""
    key: str
    development: bool
    asked_by: str
    authenticated: bool
    at: str
    entry: int


class EarlierDecision(Model):
    """An approval or rejection of an earlier packet of these bytes, or a refused promotion."""

    did: Literal["approved", "rejected", "refused"]
    person: str
    role: str
    reason: str
    codes: list[str]
    alias: str
    counted: bool
    entry: int


class NamedEntry(Model):
    """An entry of the log that the page names."""

    entry: int
    kind: str
    digest: str


class Demands(Model):
    """What policy requires before this model can be promoted."""

    approvals: int
    approvers: list[str]
    requesters: dict[str, list[str]]
    """Alias to the roles that may request it."""
    promotable: bool
    separate_evaluator: bool
    approved_before_training: list[str]


class Review(Model):
    """All content of the page. The same packet, entries and time give the same bytes."""

    format: str
    project: str
    model: str
    version: str
    model_digest: str
    packet: str
    entry: int
    """Of the packet; the evidence on the page comes from the entries before it."""
    origin: str
    """Hash of entry 0."""
    as_of: str
    verdict: Verdict
    against: Against
    tier: str
    purpose: str
    region: str
    limits: list[str]
    review_every: int | None
    """Months between reviews, as policy has it."""
    demands: Demands | None
    """None where policy does not name this model."""
    policy: str
    policy_signed_by: list[str]
    """Empty where its owners have not signed it."""
    waived: list[WaivedFinding]
    notices: list[Notice]
    findings: list[Finding]
    sections: EvidenceSections
    runners: list[Runner]
    earlier: list[EarlierDecision]
    files: list[str]
    commits: list[str]
    environments: list[str]
    entries: list[NamedEntry]
    not_shown: list[str]


@dataclass(frozen=True)
class ReviewFacts(Facts):
    """A version as of its packet, judged by the authority of the log."""

    decision: ReleaseDecision | None = None
    released_before: Evidence | None = field(default=None)
    """Registration of the version that people approved last."""
    serving: str | None = None
    """Digest of the model that served users when the packet was frozen."""

    @cached_property
    def again(self) -> ReleaseDecision | None:
        """The decision that the packet holds."""
        return self.decision

    @cached_property
    def champion(self) -> ModelNode | None:
        """The model that served users then, by the name it was released under."""
        if self.serving is None or self.serving == self.digest:
            return None
        node = model_node(self.view, self.serving)
        registrations = [
            registration
            for registration in self.registrations
            if registered(registration).model_digest == self.serving
        ]
        if not registrations:
            return node
        last = registered(registrations[-1])
        return replace(node, name=f"{last.model}/{last.version}")

    @cached_property
    def approved_before(self) -> Evidence | None:
        """The version that people approved last, before the packet."""
        return self.released_before


def review(now: LogState, recorded: Evidence, at: datetime) -> Review:
    """The content of the page for a packet, with the objections in the log `now`, at a time."""
    before = now.before(recorded.index)
    frozen = promotion.in_our_words(before, recorded)
    facts = _facts(before, frozen)
    rules = before.authority.policies.rules.models.get(frozen.model)
    waived = list(_waived(before, frozen))
    against = _against(now, recorded, at)
    sections = evidence_sections(facts)
    period = before.authority.in_force
    content = Review(
        format=FORMAT,
        project=facts.project,
        model=frozen.model,
        version=frozen.version,
        model_digest=frozen.model_digest,
        packet=packet.digest_of(recorded.predicate),
        entry=recorded.index,
        origin=merkle.leaf_hash(now.log.entry(0).envelope).hex(),
        as_of=frozen.run.finished,
        verdict=_verdict(frozen, against),
        against=against,
        tier=frozen.tier,
        purpose=rules.purpose if rules else "",
        region=rules.region if rules else "",
        limits=before.authority.policies.limits_of(frozen.model),
        review_every=before.authority.policies.review_every(frozen.model),
        demands=_demands(before, frozen.model),
        policy=frozen.policy,
        policy_signed_by=list(period.signers) if period.signed_at is not None else [],
        waived=waived,
        notices=exceptions.exceptions(facts, [], "the log"),
        findings=frozen.findings,
        sections=sections,
        runners=_runners(before, facts),
        earlier=list(_earlier(before, frozen)),
        files=[
            f"{file.path} ({size(file.size)}, sha256 {short(file.sha256)})" for file in frozen.files
        ],
        commits=frozen.commits,
        environments=frozen.environments,
        entries=[],
        not_shown=list(NOT_SHOWN),
    )
    return content.model_copy(update={"entries": _named_entries(now, content)})


def twin(content: Review) -> bytes:
    """The page's content as canonical JSON."""
    return canonical.dumps(content.model_dump())


def digest_of(page: bytes) -> str:
    """The digest that an approval names."""
    return sha256_bytes(page)


# -- What the log has against it -------------------------------------------------------------------
def _against(now: LogState, recorded: Evidence, at: datetime) -> Against:
    frozen = recorded.predicate
    return Against(
        incidents=_incidents(now, recorded),
        changed=promotion.changed(now, recorded, at) if recorded.index < now.size else [],
        findings=_new_findings(now, frozen, at),
        rejections=[
            Rejection(
                person=name,
                role=role,
                at=vote.predicate.at,
                reason=vote.predicate.reason,
                entry=vote.index,
            )
            for name, role, vote in _rejections(now, recorded, at)
        ],
    )


def _incidents(now: LogState, recorded: Evidence) -> list[OpenIncident]:
    about = now.evidence.by_subject(recorded.predicate.model_digest, "incident")
    blocking = {incident.index for incident in unaccepted(now.authority, about, recorded)}
    return [
        OpenIncident(
            version=f"{incident.predicate.model}/{incident.predicate.version}",
            opened_by=incident.predicate.principal,
            role=incident.predicate.role,
            at=incident.predicate.at,
            reason=incident.predicate.reason,
            entry=incident.index,
            waived=incident.index not in blocking,
        )
        for incident in still_open(now.authority, about)
    ]


def _new_findings(now: LogState, frozen: Packet, at: datetime) -> list[Finding]:
    """Findings of a present check that the packet does not have. Incidents have their own list."""
    alias = now.authority.policies.main_alias
    request = promotion.ask(now, "promote", frozen.model, frozen.version, alias)
    decision = decide_automatic(request, now.evidence, at, now.authority)
    frozen_findings = {
        (finding.code, finding.subject) for finding in (*frozen.findings, *frozen.waived)
    }
    return [
        finding
        for finding in decision.findings
        if finding.code != INCIDENT and (finding.code, finding.subject) not in frozen_findings
    ]


def _rejections(now: LogState, recorded: Evidence, at: datetime) -> Iterable[Vote]:
    votes, _ = packet_votes(release_context(now, recorded, at))
    return [vote for vote in votes if vote[2].predicate.decision == "reject"]


def _verdict(frozen: Packet, against: Against) -> Verdict:
    answers: list[tuple[Verdict, bool]] = [
        ("incident_open", any(not incident.waived for incident in against.incidents)),
        ("outdated", bool(against.changed)),
        ("open_findings", bool(frozen.findings or against.findings)),
        ("rejected", bool(against.rejections)),
        ("exceptions", bool(frozen.waived)),
    ]
    return next((word for word, applies in answers if applies), "no_objection")


# -- The version as of its packet ------------------------------------------------------------------
def _facts(before: LogState, frozen: Packet) -> ReviewFacts:
    registration = before.registration(frozen.model, frozen.version)
    governed = before.authority.policies.rules.aliases
    earlier = [
        move.predicate
        for move in before.moves(frozen.model)
        if move.predicate.alias in governed and move.predicate.model_digest != frozen.model_digest
    ]
    changes = [entry for kind in ("origin", "policy") for entry in before.evidence.all(kind)]
    return ReviewFacts(
        view=before.view,
        digest=frozen.model_digest,
        stage=frozen.stage,
        project=evidence.origin(before.log).project,
        root=NOWHERE,
        everything=[*changes, registration],
        registration_statement=registration,
        policies=before.authority.policies,
        policies_note="",
        decision=ReleaseDecision(
            allowed=not frozen.findings,
            tier=frozen.tier,
            decided_on={"model": frozen.model_digest},
            findings=tuple(frozen.findings),
            at=instant_of(frozen.run.finished),
            waived=tuple(frozen.waived),
        ),
        released_before=_registration_of(before, earlier[-1]) if earlier else None,
        serving=frozen.champion,
    )


def _registration_of(before: LogState, move: Promotion) -> Evidence | None:
    try:
        return before.registration(move.model, move.version)
    except InputError:
        return None


def _waived(before: LogState, frozen: Packet) -> Iterator[WaivedFinding]:
    waivers = [
        waiver for waiver in before.evidence.all("waiver") if waiver.digest in set(frozen.waivers)
    ]
    for finding in frozen.waived:
        matching = [
            candidate
            for candidate in waivers
            if (candidate.predicate.finding, candidate.predicate.about)
            == (finding.code, finding.subject)
        ]
        if not matching:
            continue
        waiver = matching[-1].predicate
        yield WaivedFinding(
            finding=finding,
            owner=waiver.owner,
            accepted_by=waiver.principal,
            role=waiver.role,
            control=waiver.control,
            reason=waiver.reason,
            expires=waiver.expires,
            entry=matching[-1].index,
        )


def _demands(before: LogState, model: str) -> Demands | None:
    policies = before.authority.policies
    tier = policies.tier_of(model)
    if tier is None:
        return None
    return Demands(
        approvals=tier.approvals,
        approvers=list(tier.approvers),
        requesters={alias: list(rule.requesters) for alias, rule in policies.rules.aliases.items()},
        promotable=tier.promotable,
        separate_evaluator=tier.separate_evaluator,
        approved_before_training=list(tier.approved_before_training),
    )


def _runners(before: LogState, facts: ReviewFacts) -> list[Runner]:
    rows: list[tuple[Literal["trained", "evaluated", "imported"], Evidence]] = []
    rows += [("trained", node.train) for node in facts.trained if node.train]
    rows += [("imported", node.base) for node in facts.chain if node.base]
    for node in facts.chain:
        evaluations = (facts.evaluation(node, suite) for suite in facts.suites)
        rows += [("evaluated", evaluation) for evaluation in evaluations if evaluation]
    return [
        _runner(before, did, statement)
        for did, statement in sorted(rows, key=lambda row: row[1].index)
    ]


def _runner(
    before: LogState, did: Literal["trained", "evaluated", "imported"], statement: Evidence
) -> Runner:
    owner = before.authority.principal(statement.keyid, statement.index)
    requester = statement.predicate.run.requested_by
    return Runner(
        did=did,
        stage=statement.predicate.stage,
        signed_by=owner.name if owner else "",
        key=statement.keyid[:PREFIX],
        development=statement.development,
        asked_by=requester.name,
        authenticated=requester.authenticated,
        at=statement.predicate.run.finished,
        entry=statement.index,
    )


def _earlier(before: LogState, frozen: Packet) -> Iterator[EarlierDecision]:
    """Votes on other packets of these bytes, and refused promotions, in the order of the log."""
    packets = before.evidence.by_subject(frozen.model_digest, "packet")
    digests = {packet.digest_of(other.predicate) for other in packets}
    votes = [
        approval
        for sha256 in digests
        for approval in before.evidence.by_subject(sha256, "approval")
    ]
    for entry in sorted(votes, key=lambda approval: approval.index):
        vote: Approval = entry.predicate
        yield EarlierDecision(
            did="approved" if vote.decision == "approve" else "rejected",
            person=vote.principal,
            role=vote.role,
            reason=vote.reason,
            codes=[],
            alias="",
            counted=before.authority.speaker(entry) is not None,
            entry=entry.index,
        )
    for entry in before.evidence.by_subject(frozen.model_digest, "promotion"):
        move: Promotion = entry.predicate
        if not move.allowed and move.model == frozen.model:
            yield EarlierDecision(
                did="refused",
                person="",
                role="",
                reason="",
                codes=list(dict.fromkeys(finding.code for finding in move.findings)),
                alias=move.alias,
                counted=True,
                entry=entry.index,
            )


def _named_entries(now: LogState, content: Review) -> list[NamedEntry]:
    """Every entry that the page names, with the digest by which it is found elsewhere."""
    numbers = sorted(set(_references(content.model_dump())))
    entries = ((number, now.log.entry(number)) for number in numbers if number < now.size)
    return [
        NamedEntry(
            entry=number,
            kind=evidence.filed_under(entry.envelope, f"entry {number}").kind,
            digest=sha256_bytes(entry.envelope),
        )
        for number, entry in entries
    ]


def _references(value: object) -> Iterator[int]:
    if isinstance(value, dict):
        for name, field in value.items():
            if name == "entry" and isinstance(field, int):
                yield field
            elif name in ("evidence", "quality_evidence") and isinstance(field, list):
                yield from field
            else:
                yield from _references(field)
    elif isinstance(value, list):
        for field in value:
            yield from _references(field)
