"""What MLflow's pages show of a version. The server writes it and never reads it back.

Everything follows from the log. `countersign verify` and `countersign history` check it.
"""

from __future__ import annotations

from governance.attest.predicates import Approval, Promotion, Registration
from governance.history.lineage import subject
from governance.history.state import LogState
from governance.registry.governed.governor import Shown
from governance.release.promotion import latest_packet

PREFIX = "governance."
NOTE = (
    "Countersign's server writes this for people. Only the log counts: `countersign verify`.\n\n"
    "MLflow verifies nothing when it loads. Load it with `pipelines.loader.load`, which does."
)
RECENT = 4
"""Decisions whose versions are written anew."""
LENGTH = 4900
"""MLflow's bound on a tag or description, with room to spare."""


def shown(now: LogState, model: str) -> dict[str, Shown]:
    """What the pages show, by version, for versions whose status the latest decisions can have
    changed.
    """
    decisions = [
        promotion.predicate
        for promotion in now.view.all(Promotion)
        if promotion.predicate.model == model
    ]
    touched = {
        tenure.version
        for tenure in now.timeline.tenures
        if tenure.model == model and not tenure.ended
    }
    for move in decisions[-RECENT:]:
        touched |= {move.version, move.from_version or ""}
    pages = {}
    for (name, version), registration in now.timeline.registrations.items():
        if name == model and version in touched:
            moves = [move for move in decisions if move.version == version]
            pages[version] = _page(now, registration.predicate, moves[-1] if moves else None)
    return pages


def _page(now: LogState, registration: Registration, last: Promotion | None) -> Shown:
    findings = [f"{finding.code} {finding.subject}" for finding in (last.findings if last else [])]
    tags = {
        "status": _status(now, registration, last),
        "approved_by": ", ".join(_approvers(now, registration)) or "nobody",
        "findings": "; ".join(findings) or "none",
        "digest": registration.model_digest,
        "tier": registration.tier,
    }
    retirement = now.timeline.retirements.get((registration.model, registration.version))
    if retirement is not None:
        tags["retired"] = retirement.predicate.at
    description = (
        f"**{tags['status']}**\n\n"
        f"Stage `{registration.stage}`, tier {registration.tier}; model sha256"
        f" `{registration.model_digest}`.\n\n"
        f"Approved by: {tags['approved_by']}.\n\n"
        f"Findings of the last decision: {tags['findings']}.\n\n{NOTE}"
    )
    return Shown(
        description[:LENGTH], {f"{PREFIX}{key}": value[:LENGTH] for key, value in tags.items()}
    )


def _status(now: LogState, registration: Registration, last: Promotion | None) -> str:
    """Retired, or the aliases that it holds, or the result of the last decision."""
    version = registration.model, registration.version
    retirement = now.timeline.retirements.get(version)
    if retirement is not None:
        return f"retired {retirement.predicate.at}"
    held = now.timeline.held_by(*version)
    if held:
        return "; ".join(f"{tenure.alias} since {tenure.given.predicate.at}" for tenure in held)
    if last is None:
        return "registered"
    return "no alias" if last.allowed else f"{last.action} to {last.alias} refused {last.at}"


def _approvers(now: LogState, registration: Registration) -> list[str]:
    """The people who approved the version's latest packet, with roles. Only signatures that
    count.
    """
    packet = latest_packet(now, registration.model, registration.version)
    if packet is None:
        return []
    votes = now.evidence.by_subject(subject(packet, "packet") or "", Approval)
    counted = [vote.predicate for vote in votes if now.authority.speaker(vote)]
    last = {approval.principal: approval for approval in counted}
    return sorted(
        f"{approval.principal} ({approval.role})"
        for approval in last.values()
        if approval.decision == "approve"
    )
