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
from governance.release import promotion
from governance.release.retrospect import made_again


def substance(
    report: BundleReport, now: LogState, items: Sequence[Evidence], bundle: Bundle
) -> BundleReport:
    """Steps 5 to 7, from entries that are proven to be in the log. Raises `VerificationError`."""
    at = instant_of(report.as_of)
    item = now.registration(report.model, report.version)
    registered: Registration = item.predicate
    if manifest_digest(registered.files) != registered.model_digest:
        raise VerificationError(
            "the files it lists do not add up to its digest", where=f"entry {item.index}"
        )
    left_out = {one.entry for one in report.aside}
    here = {(one.kind, one.digest) for one in items if one.index not in left_out}
    named = {(link.role, link.sha256) for link in registered.chain}
    _require(named, here, item)
    frozen = packet.latest(now.evidence, report.model, report.version, registered.model_digest)
    if frozen is not None:
        said: Packet = frozen.predicate
        stages = {(step.kind, step.statement) for step in said.stages}
        _require(stages | {("waiver", digest) for digest in said.waivers}, here, frozen)
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
        files=tuple(_files(bundle, items, now)),
        pages_missing=_pages_missing(bundle, items, report.packet),
    )


def _require(named: set[tuple[str, str]], here: set[tuple[str, str]], item: Evidence) -> None:
    missing = sorted(named - here)
    if missing:
        kind, digest = missing[0]
        raise VerificationError(
            f"it rests on a statement that is missing or does not count: {kind} {digest}",
            where=f"entry {item.index}, {item.kind}",
        )


def _with_packet(
    report: BundleReport, now: LogState, frozen: Evidence, at: datetime
) -> BundleReport:
    """The packet today, and people's votes on it."""
    report = replace(report, packet=lineage.subject(frozen, "packet"), packet_entry=frozen.index)
    if now.authority.in_force.policies is None:
        return replace(report, not_counted=("the log does not carry the policies in force",))
    asked = promotion.ask(
        now, "promote", report.model, report.version, now.authority.policies.main_alias
    )
    context = ReleaseContext.of(asked, now.authority, now.evidence, at)
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
            Vote(item.index, name, role, item.predicate.decision) for name, role, item in votes
        ),
        not_counted=tuple(dict.fromkeys(one.text for one in not_counted)),
    )


def _moves(now: LogState, model: str, version: str) -> Iterator[Move]:
    """(6) Every decision about an alias of this model whose signer had the right to make it."""
    for item in now.view.all(Promotion):
        said = item.predicate
        if said.model == model:
            again = made_again(now, item) if said.version == version else ELSEWHERE
            yield Move(item.index, said.action, said.version, said.alias, said.allowed, again)


def _files(bundle: Bundle, items: Sequence[Evidence], now: LogState) -> Iterator[BundledFile]:
    """(7)"""
    for file in bundle.files:
        shown = {item.predicate.principal: None for item in items if _page(item) == file.sha256}
        signed = {_whose(now, item): None for item in items if file.sha256 in _reports(item)}
        yield BundledFile(file.name, file.sha256, tuple(shown), tuple(signed))


def _reports(item: Evidence) -> tuple[str, ...]:
    return (
        (item.predicate.page, item.predicate.twin)
        if isinstance(item.predicate, SignedReport)
        else ()
    )


def _whose(now: LogState, item: Evidence) -> str:
    who = now.authority.principal(item.keyid, item.index)
    return (
        who.name if who else "a development key" if item.development else f"key {item.keyid[:12]}"
    )


def _pages_missing(
    bundle: Bundle, items: Sequence[Evidence], frozen: str | None
) -> tuple[str, ...]:
    carried = {file.sha256 for file in bundle.files}
    of_packet = (item for item in items if lineage.subject(item, "packet") == frozen)
    return tuple(
        dict.fromkeys(page for item in of_packet if (page := _page(item)) and page not in carried)
    )


def _page(item: Evidence) -> str | None:
    return item.predicate.page if isinstance(item.predicate, Approval) else None
