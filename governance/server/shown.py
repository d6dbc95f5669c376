"""What MLflow's pages show of a version. The server writes it and never reads it back.

Everything follows from the log. `countersign verify` and `countersign history` check it.
"""

from __future__ import annotations

from governance.attest.predicates import Approval, Promotion, Registration
from governance.history import packet
from governance.history.lineage import subject
from governance.history.state import LogState
from governance.registry.governed.governor import Shown

PREFIX = "governance."
NOTE = (
    "Written by Countersign's server for people. What counts stands in the log: `countersign"
    " verify`."
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
        promotion for promotion in now.view.all(Promotion) if promotion.predicate.model == model
    ]
    recent = [promotion.predicate for promotion in decisions[-RECENT:]]
    touched = {
        tenure.version
        for tenure in now.timeline.tenures
        if tenure.model == model and not tenure.ended
    }
    touched |= {move.version for move in recent} | {move.from_version or "" for move in recent}
    return {
        version: _of(
            now,
            registration.predicate,
            [
                promotion.predicate
                for promotion in decisions
                if promotion.predicate.version == version
            ],
        )
        for (name, version), registration in now.timeline.registrations.items()
        if name == model and version in touched
    }


def _of(now: LogState, registration: Registration, moves: list[Promotion]) -> Shown:
    last = moves[-1] if moves else None
    status = _status(now, registration, last)
    findings = [f"{finding.code} {finding.subject}" for finding in (last.findings if last else [])]
    tags = {
        "status": status,
        "approved_by": ", ".join(_approvers(now, registration)) or "nobody",
        "findings": "; ".join(findings) or "none",
        "digest": registration.model_digest,
        "tier": registration.tier,
    }
    retirement = now.timeline.retirements.get((registration.model, registration.version))
    if retirement is not None:
        tags["retired"] = retirement.predicate.at
    lines = [
        f"**{status}**",
        (
            f"Stage `{registration.stage}`, tier {registration.tier}; model sha256"
            f" `{registration.model_digest}`."
        ),
        f"Approved by: {tags['approved_by']}.",
        f"Findings of the last decision: {tags['findings']}.",
        NOTE,
    ]
    return Shown(
        "\n\n".join(lines)[:LENGTH],
        {f"{PREFIX}{key}": value[:LENGTH] for key, value in tags.items()},
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
    packet_evidence = packet.latest(
        now.evidence, registration.model, registration.version, registration.model_digest
    )
    if packet_evidence is None:
        return []
    names: dict[str, str] = {}
    for vote in now.evidence.by_subject(subject(packet_evidence, "packet") or "", Approval):
        approval = vote.predicate
        if now.authority.speaker(vote) is None:
            continue
        names[approval.principal] = (
            f"{approval.principal} ({approval.role})" if approval.decision == "approve" else ""
        )
    return sorted(name for name in names.values() if name)
