"""What a bundle's statements show: the version, its packet, people's votes and the decisions.

The numbers are those of `governance.bundle.check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from governance.attest.digests import manifest_digest
from governance.attest.predicates import Approval, Packet, Promotion, Registration, SignedReport
from governance.base.errors import VerificationError
from governance.base.time import instant_of
from governance.bundle.form import Bundle
from governance.bundle.result import ELSEWHERE, BundledFile, BundleReport, Move, Vote
from governance.gates.checks.context import ReleaseContext
from governance.gates.checks.votes import packet_votes
from governance.history import lineage, packet
from governance.history.state import LogState
from governance.history.votes import distinct
from governance.log.evidence import Evidence
from governance.policy.authority import Authority
from governance.release import promotion
from governance.release.retrospect import made_again


def substance(
    report: BundleReport, now: LogState, statements: Sequence[Evidence], bundle: Bundle
) -> BundleReport:
    """Steps 5 to 7, from entries that are proven to be in the log. Raises `VerificationError`."""
    at = instant_of(report.as_of)
    registration = now.registration(report.model, report.version)
    registered: Registration = registration.predicate
    if manifest_digest(registered.files) != registered.model_digest:
        raise VerificationError(
            "the files it lists do not add up to its digest", where=f"entry {registration.index}"
        )
    left_out = {statement.entry for statement in report.aside}
    carried = {
        (statement.kind, statement.digest)
        for statement in statements
        if statement.index not in left_out
    }
    named = {(link.role, link.sha256) for link in registered.chain}
    _require(named, carried, registration)
    frozen = packet.latest(now.evidence, report.model, report.version, registered.model_digest)
    if frozen is not None:
        content: Packet = frozen.predicate
        stages = {(step.kind, step.statement) for step in content.stages}
        _require(stages | {("waiver", digest) for digest in content.waivers}, carried, frozen)
        named |= stages
        report = _with_packet(report, now, frozen, at)
    try:
        moves = tuple(_moves(now, report.model, report.version))
    except VerificationError as error:
        if not report.not_counted:
            raise
        why = f"{error.found}; {'; '.join(report.not_counted)}"
        raise VerificationError(why, expected=error.expected, where=error.where) from None
    return replace(
        report,
        model_digest=registered.model_digest,
        statements=len(named),
        moves=moves,
        files=tuple(_files(bundle, statements, now)),
        pages_missing=_pages_missing(bundle, statements, report.packet),
    )


def _require(
    named: set[tuple[str, str]], carried: set[tuple[str, str]], statement: Evidence
) -> None:
    missing = sorted(named - carried)
    if missing:
        kind, digest = missing[0]
        raise VerificationError(
            f"it rests on a statement that is missing or does not count: {kind} {digest}",
            where=f"entry {statement.index}, {statement.kind}",
        )


def _with_packet(
    report: BundleReport, now: LogState, frozen: Evidence, at: datetime
) -> BundleReport:
    """The packet today, and people's votes on it."""
    report = replace(report, packet=lineage.subject(frozen, "packet"), packet_entry=frozen.index)
    if now.authority.in_force.policies is None:
        return replace(report, not_counted=("the log does not carry the policies in force",))
    request = promotion.ask(
        now, "promote", report.model, report.version, now.authority.policies.main_alias
    )
    context = ReleaseContext.of(request, now.authority, now.evidence, at)
    votes, not_counted = packet_votes(context)
    changed = packet.differing(frozen, now.view, now.authority, evidence=now.evidence, at=at)
    return replace(
        report,
        packet_changed=tuple(changed),
        approvals_wanted=context.tier.approvals if context.tier else 0,
        counted=tuple(
            distinct([vote for vote in votes if vote[2].predicate.decision == "approve"])
        ),
        votes=tuple(
            Vote(ballot.index, name, role, ballot.predicate.decision)
            for name, role, ballot in votes
        ),
        not_counted=tuple(dict.fromkeys(set_aside.text for set_aside in not_counted)),
    )


def _moves(now: LogState, model: str, version: str) -> Iterator[Move]:
    """(6) Every decision about an alias of this model whose signer had the right to make it."""
    for decision in now.view.all(Promotion):
        move = decision.predicate
        if move.model == model:
            again = made_again(now, decision) if move.version == version else ELSEWHERE
            what = (move.action, move.version, move.alias, move.allowed)
            yield Move(decision.index, *what, again)


def _files(bundle: Bundle, statements: Sequence[Evidence], now: LogState) -> Iterator[BundledFile]:
    """(7) Each file with the people who approved with it and those who signed it as a report."""
    for file in bundle.files:
        approvals = [vote for vote in statements if _page(vote) == file.sha256]
        reports = [report for report in statements if file.sha256 in _reports(report)]
        shown = dict.fromkeys(vote.predicate.principal for vote in approvals)
        signed = dict.fromkeys(signer_name(report, now.authority) for report in reports)
        yield BundledFile(file.name, file.sha256, tuple(shown), tuple(signed))


def _reports(statement: Evidence) -> tuple[str, ...]:
    """The digests of the page and the JSON twin that a signed report names."""
    predicate = statement.predicate
    return (predicate.page, predicate.twin) if isinstance(predicate, SignedReport) else ()


def signer_name(statement: Evidence, authority: Authority) -> str:
    """The principal whose key signed a statement; else a name for the key."""
    person = authority.principal(statement.keyid, statement.index)
    if person is not None:
        return person.name
    return "a development key" if statement.development else f"key {statement.keyid[:12]}"


def _pages_missing(
    bundle: Bundle, statements: Sequence[Evidence], frozen: str | None
) -> tuple[str, ...]:
    carried = {file.sha256 for file in bundle.files}
    votes = [vote for vote in statements if lineage.subject(vote, "packet") == frozen]
    pages = dict.fromkeys(page for vote in votes if (page := _page(vote)))
    return tuple(page for page in pages if page not in carried)


def _page(statement: Evidence) -> str | None:
    return statement.predicate.page if isinstance(statement.predicate, Approval) else None
