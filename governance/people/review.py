"""The review page: what a person reads before they approve a packet.

1. It is rendered from the packet and the entries before it, and nothing else: whoever has the log
   renders the same bytes, at any time, and what people say afterwards does not change what the
   others were shown.
2. Exceptions come before any good news; what was not run, not shown or rejected before is said.
3. Its digest is part of the approval. A client shows what it renders itself, never what a server
   sends as a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Approval, Finding, Packet, PacketStage, Promotion, Run
from governance.attest.requests import ReleaseDecision
from governance.base.errors import InputError
from governance.base.model import Model
from governance.base.text import number, short, size
from governance.base.time import instant_of
from governance.history import packet
from governance.history.lineage import ModelNode, model_node
from governance.log import evidence, merkle
from governance.log.evidence import Evidence
from governance.log.port import Log
from governance.release import promotion
from governance.release.promotion import State
from governance.report import exceptions, gates, history, scores
from governance.report.facts import PREFIX, Facts, registered
from governance.report.model import Change, Gate, Metric, Notice

FORMAT = "https://countersign.dev/review/v1"
NOWHERE = Path("/nonexistent")
"""A review uses no file at hand."""
NOT_SHOWN = (
    (
        "Whether the evidence is true: each statement is what its signer attests, and says by which"
        " key."
    ),
    (
        "What happens after this packet: an approval holds for exactly these bytes under exactly"
        " these policies."
    ),
    (
        "Hidden backdoors and semantic poisoning are not shown absent; nor what a base model was"
        " trained on."
    ),
    "Whether a declared licence or lawful basis holds: that is a judgement.",
)


FAILS = {"Evaluation": frozenset(["THRESHOLD_NOT_MET"]), "Safety": frozenset(["THRESHOLD_NOT_MET"])}
"""Codes by which a row fails without being overruled."""
Verdict = Literal["NOTHING STANDS AGAINST IT", "EXCEPTIONS STAND", "FINDINGS STAND AGAINST IT"]
"""So far: people have not spoken on this packet when its page is made."""


class Accepted(Model):
    """A finding that a waiver passes."""

    finding: Finding
    owner: str
    accepted_by: str
    control: str
    reason: str
    expires: str
    entry: int


class Data(Model):
    """One dataset, in a line."""

    name: str
    used_by: list[str]
    kind: str
    records: str
    source: str
    licence: str
    found: int
    """Occurrences of personal data before treatment."""
    remaining: int
    gap: str


class Hand(Model):
    """Who did something, by key and by the person who asked."""

    did: str
    key: str
    asked: str
    at: str
    entry: int


class Review(Model):
    """All that the page says; the same entries and packet give the same bytes."""

    format: str
    project: str
    model: str
    version: str
    model_digest: str
    packet: str
    entry: int
    """Of the packet; the page rests on the entries before it."""
    origin: str
    """Hash of entry 0."""
    as_of: str
    verdict: Verdict
    reason: str
    tier: str
    purpose: str
    demands: list[str]
    policy: str
    policy_signed: str
    accepted: list[Accepted]
    notices: list[Notice]
    findings: list[Finding]
    gates: list[Gate]
    metrics: list[Metric]
    confidence: float
    thresholds: str
    since: str
    changes: list[Change]
    hands: list[Hand]
    earlier: list[str]
    """What people said of these bytes before this packet, rejections and their reasons included."""
    datasets: list[Data]
    stages: list[PacketStage]
    files: list[str]
    commits: list[str]
    environments: list[str]
    not_shown: list[str]


@dataclass(frozen=True)
class ReviewFacts(Facts):
    """A version as of its packet, judged by the authority of the log."""

    decision: ReleaseDecision | None = None
    released_before: Evidence | None = field(default=None)
    """Registration of the version that people approved last."""
    serving: str | None = None
    """Digest of the model that served users when the packet was put together."""

    @property
    def again(self) -> ReleaseDecision | None:
        """What stood against the release when the packet was put together."""
        return self.decision

    @property
    def champion(self) -> ModelNode | None:
        """The model that served users then, by the name it was released under."""
        if self.serving is None or self.serving == self.digest:
            return None
        mine = [one for one in self.registrations if registered(one).model_digest == self.serving]
        node = model_node(self.view, self.serving)
        return (
            replace(node, name=f"{registered(mine[-1]).model}/{registered(mine[-1]).version}")
            if mine
            else node
        )

    @property
    def previous(self) -> Evidence | None:
        """The version approved last; else the one registered before."""
        return self.released_before or super().previous


def current(
    now: State, model: str, version: str, at: datetime
) -> tuple[Evidence | None, list[str]]:
    """The latest packet of a version, and what of it no longer is so."""
    said = now.registration(model, version).predicate
    item = packet.latest(now.evidence, model, version, said.model_digest)
    if item is None:
        return None, []
    return item, promotion.changed(now, item, at)


def by_digest(now: State, digest: str) -> Evidence:
    """The packet whose digest begins like this. Raises `InputError`."""
    found = {packet.digest_of(item.predicate): item for item in now.evidence.all("packet")}
    mine = [
        item for sha256, item in found.items() if len(digest) >= 8 and sha256.startswith(digest)
    ]
    if len(mine) != 1:
        known = ", ".join(sha256[:12] for sha256 in list(found)[-5:])
        raise InputError(
            f"the log has no packet {digest[:80]!r}",
            expected="MODEL/VERSION, e.g. support-desk/1"
            + (f", or one of: {known}" if known else ""),
        )
    return mine[0]


def frozen(now: State, model: str, version: str, at: datetime, run: Run) -> Evidence:
    """The packet as it would be recorded now."""
    made = promotion.freeze(now, model, version, at, run)
    return Evidence(now.size, "packet", tuple(packet.subjects(made)), made, "", False, "")


def review(log: Log, item: Evidence) -> Review:
    """(1) What the page of a packet says."""
    before = promotion.state(log, item.index)
    said = promotion.in_our_words(before, item)
    facts = _facts(log, before, said)
    accepted, policies = list(_accepted(before, said)), before.authority.policies
    known = policies.rules.models.get(said.model)
    verdict, reason = _verdict(said, accepted)
    since, changes = _changes(before, facts, said)
    return Review(
        format=FORMAT,
        project=facts.project,
        model=said.model,
        version=said.version,
        model_digest=said.model_digest,
        packet=packet.digest_of(item.predicate),
        entry=item.index,
        origin=merkle.leaf_hash(log.entry(0).envelope).hex(),
        as_of=said.run.finished,
        verdict=verdict,
        reason=reason,
        tier=said.tier,
        purpose=(
            f"{known.purpose}, in {known.region}"
            if known
            else "none: policy does not name this model"
        ),
        demands=_demands(before, said),
        policy=said.policy,
        policy_signed=_signed(before),
        accepted=accepted,
        notices=exceptions.exceptions(facts, [], "the log"),
        findings=said.findings,
        gates=[_waived(row, said) for row in gates.gates(facts)],
        metrics=scores.metrics(facts),
        confidence=scores.confidence(facts),
        thresholds=scores.thresholds_fixed(facts),
        since=since,
        changes=changes,
        hands=_hands(before, facts),
        earlier=list(_earlier(before, said)),
        datasets=_datasets(facts),
        stages=said.stages,
        files=[
            f"{file.path} ({size(file.size)}, sha256 {short(file.sha256)})" for file in said.files
        ],
        commits=said.commits,
        environments=said.environments,
        not_shown=list(NOT_SHOWN),
    )


def twin(made: Review) -> bytes:
    """The page's content as canonical JSON."""
    return canonical.dumps(made.model_dump())


def digest_of(page: bytes) -> str:
    """What an approval names."""
    return sha256_bytes(page)


def _facts(log: Log, before: State, said: Packet) -> ReviewFacts:
    registration = before.registration(said.model, said.version)
    held = [
        item
        for item in _released(before, said.model)
        if item.predicate.model_digest != said.model_digest
    ]
    changes = [item for kind in ("origin", "policy") for item in before.evidence.all(kind)]
    return ReviewFacts(
        view=before.view,
        digest=said.model_digest,
        stage=said.stage,
        project=evidence.origin(log).project,
        root=NOWHERE,
        everything=[*changes, registration],
        item=registration,
        policies=before.authority.policies,
        policies_note="",
        decision=ReleaseDecision(
            allowed=not said.findings,
            tier=said.tier,
            decided_on={"model": said.model_digest},
            findings=tuple(said.findings),
            at=instant_of(said.run.finished),
            waived=tuple(said.waived),
        ),
        released_before=_registered(before, held[-1].predicate) if held else None,
        serving=said.champion,
    )


def _released(before: State, model: str) -> list[Evidence]:
    """Moves of the aliases that people decide on."""
    governed = before.authority.policies.rules.aliases
    return [item for item in before.moves(model) if item.predicate.alias in governed]


def _registered(before: State, move: Promotion) -> Evidence | None:
    try:
        return before.registration(move.model, move.version)
    except InputError:
        return None


def _verdict(said: Packet, accepted: Sequence[Accepted]) -> tuple[Verdict, str]:
    if said.findings:
        codes = ", ".join(dict.fromkeys(one.code for one in said.findings))
        return (
            "FINDINGS STAND AGAINST IT",
            f"No approval passes these: {codes}. A waiver may, or the work is mended.",
        )
    if accepted or said.waived:
        return (
            "EXCEPTIONS STAND",
            "Nothing automatic stands against it but what people accepted for a while; read it.",
        )
    return (
        "NOTHING STANDS AGAINST IT",
        "Nothing automatic stands against it; whether it is released, people say.",
    )


def _accepted(before: State, said: Packet) -> Iterator[Accepted]:
    """The findings that a waiver passes, each with who answers for it."""
    known = {item.digest: item for item in before.evidence.all("waiver")}
    for finding in said.waived:
        about = (finding.code, finding.subject)
        mine = [
            known[one]
            for one in said.waivers
            if one in known and (known[one].predicate.finding, known[one].predicate.about) == about
        ]
        if not mine:
            continue
        waiver = mine[-1].predicate
        yield Accepted(
            finding=finding,
            owner=waiver.owner,
            accepted_by=f"{waiver.principal} as {waiver.role}",
            control=waiver.control,
            reason=waiver.reason,
            expires=waiver.expires,
            entry=mine[-1].index,
        )


def _waived(row: Gate, said: Packet) -> Gate:
    """A row that fails only by what a waiver passes."""
    answers = gates.ANSWERS.get(row.name, frozenset()) | FAILS.get(row.name, frozenset())
    standing = {one.code for one in said.findings} & answers
    waived = {one.code for one in said.waived} & answers
    if row.result != "fail" or standing or not waived:
        return row
    return row.model_copy(
        update={"result": "waived", "value": f"{', '.join(sorted(waived))} waived; {row.value}"}
    )


def _demands(before: State, said: Packet) -> list[str]:
    """What is wanted of people and of the release, in words."""
    policies = before.authority.policies
    tier = policies.tier_of(said.model)
    if tier is None:
        return ["policy does not name this model: nothing can be released"]
    found = [
        f"{tier.approvals} people in different roles approve, of:"
        f" {', '.join(tier.approvers) or 'nobody'}"
    ]
    for alias, rule in policies.rules.aliases.items():
        found.append(f"{alias} is asked for by a person as {', '.join(rule.requesters)}")
    found += ["not promotable"] if not tier.promotable else []
    found += (
        ["evaluation signed by a key other than the trainer's"] if tier.separate_evaluator else []
    )
    found += [f"approved before training: {', '.join(tier.approved_before_training)}"] * bool(
        tier.approved_before_training
    )
    return found


def _signed(before: State) -> str:
    period = before.authority.in_force
    if period.signed_at is None:
        return "NOT SIGNED by their owners"
    return f"signed by {', '.join(period.signers)}, complete at entry {period.signed_at}"


def _changes(before: State, facts: ReviewFacts, said: Packet) -> tuple[str, list[Change]]:
    """What differs from the version approved last, or registered before."""
    _, lines = history.changes(facts)
    if facts.previous is None:
        return "the beginning: this is the first version under this name", []
    other = registered(facts.previous)
    held = [
        item
        for item in _released(before, said.model)
        if item.predicate.model_digest == other.model_digest
    ]
    word = (
        f"{held[-1].predicate.alias} since entry {held[-1].index}"
        if held
        else "registered, never approved"
    )
    return f"version {other.version} ({other.model_digest[:PREFIX]}; {word})", lines


def _hands(before: State, facts: ReviewFacts) -> list[Hand]:
    """Who trained and evaluated: the service whose key signed, the person who asked."""
    rows = [("trained", node.train) for node in facts.trained if node.train]
    rows += [("imported", node.base) for node in facts.chain if node.base]
    scored = ((node, suite) for node in facts.chain for suite in facts.suites)
    rows += [
        ("evaluated", item) for node, suite in scored if (item := facts.evaluation(node, suite))
    ]
    return [_hand(before, did, item) for did, item in sorted(rows, key=lambda row: row[1].index)]


def _hand(before: State, did: str, item: Evidence) -> Hand:
    owner = before.authority.principal(item.keyid, item.index)
    asked = item.predicate.run.requested_by
    key = (
        f"{owner.name if owner else 'development key' if item.development else 'nobody'}"
        f" ({item.keyid[:PREFIX]})"
    )
    who = asked.name if asked.authenticated else f"{asked.name} (claimed, not authenticated)"
    what = item.predicate.stage
    return Hand(
        did=f"{did} {what}", key=key, asked=who, at=item.predicate.run.finished, entry=item.index
    )


def _earlier(before: State, said: Packet) -> Iterator[str]:
    """What was said of other packets of these bytes, in order; reasons stay visible."""
    packets = {
        packet.digest_of(item.predicate)
        for item in before.evidence.by_subject(said.model_digest, "packet")
    }
    items = [item for sha256 in packets for item in before.evidence.by_subject(sha256, "approval")]
    for item in sorted(items, key=lambda one: one.index):
        vote: Approval = item.predicate
        counted = "" if before.authority.speaker(item) is not None else " (did not count)"
        word = "approved" if vote.decision == "approve" else "REJECTED"
        yield (
            f"E{item.index} {vote.principal} as {vote.role} {word} an earlier packet:"
            f" {vote.reason}{counted}"
        )
    for item in before.evidence.by_subject(said.model_digest, "promotion"):
        move: Promotion = item.predicate
        if not move.allowed and move.model == said.model:
            codes = ", ".join(dict.fromkeys(one.code for one in move.findings))
            yield f"E{item.index} refused as {move.alias}: {codes}"


def _datasets(facts: ReviewFacts) -> list[Data]:
    found = []
    cards = facts.policies.datacards if facts.policies else {}
    for chain, uses in facts.datasets:
        ingest, scan = chain.ingest, chain.scan
        card = cards.get(chain.dataset)
        found.append(
            Data(
                name=chain.dataset,
                used_by=uses,
                kind=ingest.predicate.kind if ingest else "not recorded",
                records=number(
                    chain.quality.predicate.counts.records_out if chain.quality else None
                ),
                source=chain.source or "not recorded",
                licence=(card.licence if card else "") or "not stated",
                found=sum(scan.predicate.found.values()) if scan else 0,
                remaining=sum(scan.predicate.remaining.values()) if scan else 0,
                gap=(
                    f"no evidence of {chain.broken_at} at this digest"
                    if chain.broken_at
                    else "none"
                ),
            )
        )
    return found
