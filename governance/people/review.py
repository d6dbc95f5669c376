"""The review page: what a person reads before they approve a packet.

1. The evidence on it comes from the packet and the entries before it. The report's own sections
   judge and draw it (`governance.report.build`).
2. What the log has against the version since the packet was frozen stands above everything else:
   open incidents, rejections, new findings, and what of the packet changed. So the page becomes
   another page, and who approves has to open it again. What speaks for the version changes nothing.
3. The digest of the page is part of the approval. A client shows what it renders itself, never a
   page that a server sends. The page has no script, no assets, and no time but the log's. Its
   sentences are in `review.html.j2` of the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Approval, Finding, Incident, Packet, Promotion, Waiver
from governance.attest.requests import ReleaseDecision
from governance.base.model import Model
from governance.base.time import instant_of
from governance.gates.checks.votes import packet_votes
from governance.gates.decisions import decide_automatic
from governance.history import packet
from governance.history.incidents import INCIDENT, still_open, unaccepted
from governance.history.lineage import ModelNode
from governance.history.state import LogState
from governance.history.waivers import is_of, other_figures
from governance.log import evidence
from governance.log.evidence import Evidence
from governance.people.votes import release_context
from governance.policy.rules import Tier
from governance.release import promotion
from governance.report import exceptions, people
from governance.report.build import evidence_sections, references
from governance.report.facts import Facts
from governance.report.html import environment, style
from governance.report.model.front import Notice, Person
from governance.report.model.report import EvidenceSections
from governance.report.terminal import section

FORMAT = "https://countersign.dev/review/v2"
NOWHERE = Path("/nonexistent")
"""A review reads no file of this machine."""
Verdict = Literal[
    "incident_open", "outdated", "open_findings", "rejected", "exceptions", "no_objection"
]
"""The first verdict that applies."""


class Statement(Model):
    """A statement in the log."""

    entry: int
    signed: Incident | Approval | Promotion


class Against(Model):
    """(2) Objections in the log since the packet was frozen."""

    incidents: list[Statement]
    """All open incidents, also those from before the packet."""
    blocking: list[int]
    """The entries of those that the packet carries no waiver of: nobody can approve it."""
    changed: list[str]
    """Parts of the packet that changed."""
    findings: list[Finding]
    """Findings of a present check that the packet does not have."""
    rejections: list[Statement]
    """Rejections of this packet that still count."""


class WaivedFinding(Model):
    """A finding that a waiver passes."""

    finding: Finding
    entry: int
    waiver: Waiver


class NamedEntry(Model):
    """An entry of the log that the page names."""

    entry: int
    kind: str
    digest: str


class Review(Model):
    """All content of the page. The same packet, entries and time give the same bytes."""

    format: str
    project: str
    model: str
    version: str
    packet: str
    """Its digest."""
    entry: int
    """Of the packet; the evidence on the page comes from the entries before it."""
    origin: str
    """Hash of entry 0."""
    frozen: Packet
    verdict: Verdict
    against: Against
    purpose: str
    region: str
    limits: list[str]
    review_every: int | None
    """Months between reviews, as policy has it."""
    tier: Tier | None
    """What policy demands. None where policy does not name this model."""
    requesters: dict[str, list[str]]
    """Alias to the roles that may request it."""
    policy_signed_by: list[str]
    """Empty where its owners have not signed it."""
    waived: list[WaivedFinding]
    notices: list[Notice]
    sections: EvidenceSections
    people: list[Person]
    """Who trained, evaluated and validated."""
    earlier: list[Statement]
    """Votes on other packets of these bytes, and refused promotions."""
    entries: list[NamedEntry]


@dataclass(frozen=True)
class ReviewFacts(Facts):
    """A version as of its packet, judged by the authority of the log."""

    decision: ReleaseDecision | None = None
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
        return self.named_node(self.serving)


def review(now: LogState, recorded: Evidence[Packet], at: datetime) -> Review:
    """The content of the page for a packet, with the objections in the log `now`, at a time."""
    before = now.before(recorded.index)
    frozen = promotion.in_our_words(before, recorded)
    facts = _facts(before, frozen)
    policies, period = before.authority.policies, before.authority.in_force
    rules = policies.rules.models.get(frozen.model)
    against = _against(now, recorded, at)
    content = Review(
        format=FORMAT,
        project=facts.project,
        model=frozen.model,
        version=frozen.version,
        packet=packet.digest_of(recorded.predicate),
        entry=recorded.index,
        origin=now.authority.origin,
        frozen=frozen,
        verdict=_verdict(frozen, against),
        against=against,
        purpose=rules.purpose if rules else "",
        region=rules.region if rules else "",
        limits=policies.limits_of(frozen.model),
        review_every=policies.review_every(frozen.model),
        tier=policies.tier_of(frozen.model),
        requesters={alias: rule.requesters for alias, rule in policies.rules.aliases.items()},
        policy_signed_by=list(period.signers) if period.signed_at is not None else [],
        waived=_waived(before, frozen),
        notices=exceptions.exceptions(facts, [], "the log"),
        sections=evidence_sections(facts),
        people=people.people(facts)[:3],
        earlier=_earlier(before, frozen),
        entries=[],
    )
    return content.model_copy(update={"entries": _named_entries(now, content)})


def html(content: Review) -> bytes:
    """One self-contained page. Its sha256 is what an approval names."""
    pages, twin = environment(), canonical.dumps(content.model_dump())
    template = pages.get_template("review.html.j2")
    page = template.render(review=content, twin=sha256_bytes(twin), style=style(pages))
    return page.encode("utf-8")


def text(content: Review) -> list[str]:
    """The page for a terminal. Objections come first."""
    return section(html(content).decode(), "review")


# -- What the log has against it -------------------------------------------------------------------
def _against(now: LogState, recorded: Evidence[Packet], at: datetime) -> Against:
    frozen = recorded.predicate
    about = now.evidence.by_subject(frozen.model_digest, Incident)
    votes, _ = packet_votes(release_context(now, recorded, at))
    rejections = [vote for _, _, vote in votes if vote.predicate.decision == "reject"]
    return Against(
        incidents=[
            Statement(entry=incident.index, signed=incident.predicate)
            for incident in still_open(now.authority, about)
        ],
        blocking=[incident.index for incident in unaccepted(now.authority, about, recorded)],
        changed=promotion.changed(now, recorded, at) if recorded.index < now.size else [],
        findings=_new_findings(now, frozen, at),
        rejections=[Statement(entry=vote.index, signed=vote.predicate) for vote in rejections],
    )


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


def _verdict(frozen: Packet, against: Against) -> Verdict:
    reasons: dict[Verdict, Sequence[object]] = {
        "incident_open": against.blocking,
        "outdated": against.changed,
        "open_findings": (*frozen.findings, *against.findings),
        "rejected": against.rejections,
        "exceptions": frozen.waived,
    }
    return next((word for word, rows in reasons.items() if rows), "no_objection")


# -- The version as of its packet ------------------------------------------------------------------
def _facts(before: LogState, frozen: Packet) -> ReviewFacts:
    registration = before.registration(frozen.model, frozen.version)
    return ReviewFacts(
        view=before.view,
        digest=frozen.model_digest,
        stage=frozen.stage,
        suite=registration.predicate.suite,
        further=registration.predicate.further,
        project=evidence.origin(before.log).project,
        root=NOWHERE,
        now=before,
        time=instant_of(frozen.run.finished),
        registration_statement=registration,
        policies=before.authority.policies,
        policies_are="the policies in force",
        decision=ReleaseDecision(
            allowed=not frozen.findings,
            tier=frozen.tier,
            decided_on={"model": frozen.model_digest},
            findings=tuple(frozen.findings),
            at=instant_of(frozen.run.finished),
            waived=tuple(frozen.waived),
        ),
        serving=frozen.champion,
    )


def _waived(before: LogState, frozen: Packet) -> list[WaivedFinding]:
    waivers = [each for each in before.evidence.all(Waiver) if each.digest in frozen.waivers]
    rows = []
    for finding in frozen.waived:
        covering = [
            waiver
            for waiver in waivers
            if is_of(waiver, finding, frozen.model)
            and other_figures(waiver, finding, before.authority) is None
        ]
        rows += [
            WaivedFinding(finding=finding, entry=waiver.index, waiver=waiver.predicate)
            for waiver in covering[-1:]
        ]
    return rows


def _earlier(before: LogState, frozen: Packet) -> list[Statement]:
    """The votes that count on other packets of these bytes, and refused promotions, as logged."""
    packets = before.evidence.by_subject(frozen.model_digest, Packet)
    digests = {packet.digest_of(other.predicate) for other in packets}
    votes = [vote for sha256 in digests for vote in before.evidence.by_subject(sha256, Approval)]
    statements = [
        *(vote for vote in votes if before.authority.speaker(vote) is not None),
        *(
            move
            for move in before.evidence.by_subject(frozen.model_digest, Promotion)
            if not move.predicate.allowed and move.predicate.model == frozen.model
        ),
    ]
    ordered = sorted(statements, key=lambda statement: statement.index)
    return [Statement(entry=row.index, signed=row.predicate) for row in ordered]


def _named_entries(now: LogState, content: Review) -> list[NamedEntry]:
    """Every entry that the page names, with the digest by which it is found elsewhere."""
    against = content.against
    rows = [*against.incidents, *against.rejections, *content.earlier]
    named = {row.entry for row in rows} | {row.entry for row in content.waived}
    numbers = {content.entry, *named, *references(content)}
    return [
        NamedEntry(
            entry=number,
            kind=evidence.filed_under(envelope, f"entry {number}").kind,
            digest=sha256_bytes(envelope),
        )
        for number in sorted(numbers)
        if number < now.size and (envelope := now.log.entry(number).envelope)
    ]
