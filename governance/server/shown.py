"""What MLflow's pages show of a version: for people who live there. Written by the server, never
read back.

Everything follows from the log. A reader who wants to be sure asks `countersign verify` and
`countersign history`.
"""

from __future__ import annotations

from governance.attest.predicates import Approval, Promotion, Registration
from governance.history import packet
from governance.history.lineage import subject
from governance.log.evidence import Evidence
from governance.registry.governed.governor import Shown
from governance.release.promotion import State

PREFIX = "governance."
NOTE = (
    "Written by Countersign's server for people. What counts stands in the log: `countersign"
    " verify`."
)
RECENT = 4
"""Decisions whose versions are written anew."""
LENGTH = 4900
"""MLflow's bound on a tag or description, with room to spare."""


def shown(now: State, model: str) -> dict[str, Shown]:
    """Version to what its page shows: of those whose status the latest decisions can have
    changed.
    """
    registrations: dict[str, Registration] = {
        item.predicate.version: item.predicate
        for item in now.view.all("registration")
        if item.predicate.model == model
    }
    decided = [item for item in now.view.all("promotion") if item.predicate.model == model]
    holders = _holders(now, model)
    touched = {*holders.values(), *(item.predicate.version for item in decided[-RECENT:])}
    touched |= {item.predicate.from_version for item in decided[-RECENT:]}
    return {
        version: _of(
            now, registration, [one for one in decided if one.predicate.version == version], holders
        )
        for version, registration in registrations.items()
        if version in touched
    }


def _of(
    now: State, registration: Registration, decided: list[Evidence], holders: dict[str, str]
) -> Shown:
    version = registration.version
    moves: list[Promotion] = [item.predicate for item in decided]
    held = {alias: _since(moves, alias) for alias, holder in holders.items() if holder == version}
    last = moves[-1] if moves else None
    serving = (
        ""
        if _is_retired(moves)
        else "; ".join(f"{alias} since {at}" for alias, at in sorted(held.items()))
    )
    status = serving or _status(moves)
    findings = [f"{one.code} {one.subject}" for one in (last.findings if last else [])]
    tags = {
        "status": status,
        "approved_by": ", ".join(_approvers(now, registration)) or "nobody",
        "findings": "; ".join(findings) or "none",
        "digest": registration.model_digest,
        "tier": registration.tier,
    }
    if last is not None and _is_retired(moves):
        tags["retired"] = last.at
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


def _holders(now: State, model: str) -> dict[str, str]:
    """Alias to the version that holds it, as the log says."""
    aliases = {item.predicate.alias for item in now.moves(model)}
    found = {alias: now.holder(model, alias) for alias in aliases}
    return {alias: held.version for alias, held in found.items() if held is not None}


def _since(moves: list[Promotion], alias: str) -> str:
    given = [
        one.at for one in moves if one.allowed and one.alias == alias and one.action != "retire"
    ]
    return given[-1] if given else "unknown"


def _is_retired(moves: list[Promotion]) -> bool:
    return bool(moves) and moves[-1].action == "retire" and moves[-1].allowed


def _status(moves: list[Promotion]) -> str:
    """Of a version that holds no alias."""
    if not moves:
        return "registered"
    last = moves[-1]
    if _is_retired(moves):
        return f"retired {last.at}"
    return "no alias" if last.allowed else f"{last.action} to {last.alias} refused {last.at}"


def _approvers(now: State, registration: Registration) -> list[str]:
    """Who approved the version's latest packet, by name and role, whose signatures count."""
    known = packet.latest(
        now.evidence, registration.model, registration.version, registration.model_digest
    )
    if known is None:
        return []
    names: dict[str, str] = {}
    for item in now.evidence.by_subject(subject(known, "packet") or "", "approval"):
        said: Approval = item.predicate
        if now.authority.speaker(item) is None:
            continue
        names[said.principal] = (
            f"{said.principal} ({said.role})" if said.decision == "approve" else ""
        )
    return sorted(name for name in names.values() if name)
