"""The packet: everything a release rests on, frozen under one digest before anybody approves it.

1. It is put together from the log and the policies in force alone, so anyone can put it together
   again.
2. It holds only what came before it. What comes after (new evidence about the same bytes, other
   policies, another waiver) makes it out of date, and approvals of it no longer hold.
3. Its digest leaves out when and by whom it was recorded: the same substance is the same packet.
4. Anybody enrolled may record one, so nothing in it is believed: what follows from the log is held
   against the log (`differing`), what it says was waived against what is waived when it is decided
   on, and the rest, which people only read, by whoever shows it to them
   (`governance.people.review`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.findings import same_exception, same_reasons
from governance.attest.predicates import (
    Artifact,
    Finding,
    Packet,
    PacketStage,
    Predicate,
    Registration,
    Run,
    Waiver,
)
from governance.base.time import instant_of
from governance.history import lineage
from governance.history.chain import Chain

if TYPE_CHECKING:
    from governance.log.evidence import Evidence, EvidenceView
    from governance.policy.authority import Authority


def digest_of(packet: Packet) -> str:
    """sha256 over the canonical form of everything but `run`."""
    return sha256_bytes(canonical.dumps(packet.model_dump(exclude={"run"})))


def same_content(one: Packet, other: Packet) -> bool:
    """Whether two packets hold the same, whatever words their findings use."""
    worded = {"run", "findings", "waived"}
    return (
        one.model_dump(exclude=worded) == other.model_dump(exclude=worded)
        and same_reasons(one.findings, other.findings)
        and _same_exceptions(one.waived, other.waived)
        and _same_exceptions(other.waived, one.waived)
    )


def _same_exceptions(these: Sequence[Finding], others: Sequence[Finding]) -> bool:
    return all(any(same_exception(one, other) for other in others) for one in these)


def subjects(packet: Packet) -> list[Artifact]:
    """What the packet's statement is about: itself, and the model."""
    return [
        Artifact(role="packet", name=f"{packet.model}/{packet.version}", sha256=digest_of(packet)),
        Artifact(role="model", name=packet.stage, sha256=packet.model_digest),
    ]


def build(
    registered: Registration,
    view: EvidenceView,
    authority: Authority,
    *,
    evidence: EvidenceView,
    findings: Sequence[Finding],
    waived: Sequence[Finding],
    champion: str | None,
    at: datetime,
    run: Run,
) -> Packet:
    """The packet of a registered version as the log has it now."""
    chain = Chain(view, registered.model_digest, registered.stage)
    items = statements(chain)
    commits, environments = _made_by(items)
    return Packet(
        model=registered.model,
        version=registered.version,
        model_digest=registered.model_digest,
        files=registered.files,
        stage=registered.stage,
        tier=_tier(authority, registered.model),
        policy=authority.in_force.digest,
        stages=steps(items),
        waivers=_waivers(evidence, chain, authority, at),
        findings=list(findings),
        waived=list(waived),
        champion=champion,
        commits=commits,
        environments=environments,
        run=run,
    )


def latest(
    evidence: EvidenceView, model: str, version: str, digest: str
) -> Evidence[Packet] | None:
    """The last packet of a version that the log has."""
    found = [item for item in evidence.by_subject(digest, Packet) if _of(item, model, version)]
    sound = [item for item in found if lineage.subject(item, "packet") == digest_of(item.predicate)]
    return sound[-1] if sound else None


def differing(
    item: Evidence,
    view: EvidenceView,
    authority: Authority,
    *,
    evidence: EvidenceView,
    at: datetime,
) -> list[str]:
    """What of a packet no longer is so, in words; empty where it stands. A waiver that ended is
    judged elsewhere.
    """
    packet, policy = item.predicate, authority.in_force.digest
    chain = Chain(view, packet.model_digest, packet.stage)
    items = statements(chain)
    now = {step.name: step for step in steps(items)}
    then = {step.name: step for step in packet.stages}
    changed = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
    if _made_by(items) != (packet.commits, packet.environments):
        changed.append("the code or the environment")
    if not _is_registered(view, packet):
        changed.append("the registration")
    if packet.policy != policy:
        changed.append(f"the policies (from {packet.policy[:12]} to {policy[:12]})")
    if set(_waivers(evidence, chain, authority, at)) - set(packet.waivers):
        changed.append("the waivers (one was added)")
    if packet.tier != _tier(authority, packet.model):
        changed.append("the tier")
    if lineage.subject(item, "packet") != digest_of(packet):
        changed.append("its own digest")
    return changed


def statements(chain: Chain) -> list[Evidence]:
    """Every statement the model rests on, each once, in the order of the log."""
    return [item for _, item in sorted({item.index: item for item in chain.statements()}.items())]


def steps(items: Sequence[Evidence]) -> list[PacketStage]:
    """Each statement as one step, the latest of each DVC stage last."""
    return [
        PacketStage(
            name=item.predicate.stage if isinstance(item.predicate, Predicate) else item.kind,
            kind=item.kind,
            statement=item.digest,
            digest=item.subjects[0].sha256,
        )
        for item in items
    ]


def _made_by(items: Sequence[Evidence]) -> tuple[list[str], list[str]]:
    """Commits and environments of the stages among them."""
    stages = [item.predicate for item in items if isinstance(item.predicate, Predicate)]
    commits = {said.code.commit or "none" for said in stages}
    return sorted(commits), sorted({said.environment.distributions for said in stages})


def _is_registered(view: EvidenceView, packet: Packet) -> bool:
    """Whether the version's last registration is of these bytes, files and stage."""
    found = [
        item
        for item in view.by_subject(packet.model_digest, Registration)
        if _of(item, packet.model, packet.version)
    ]
    said: Registration | None = found[-1].predicate if found else None
    of = (packet.model_digest, packet.files, packet.stage)
    return said is not None and (said.model_digest, said.files, said.stage) == of


def _tier(authority: Authority, model: str) -> str:
    known = authority.policies.rules.models.get(model)
    return known.tier if known else "unknown"


def _of(item: Evidence, model: str, version: str) -> bool:
    return (item.predicate.model, item.predicate.version) == (model, version)


def _waivers(evidence: EvidenceView, chain: Chain, authority: Authority, at: datetime) -> list[str]:
    """Waivers of the model, or of what a gate of its chain decided on, that have not expired, by
    who may accept any: others change nothing, and make no packet out of date.
    """
    accepted_by = authority.policies.rules.waivers.accepted_by
    digests = {chain.digest}.union(
        *(request.decided_on.values() for request in chain.requests.values())
    )
    items = (item for digest in digests for item in evidence.by_subject(digest, Waiver))
    mine = (
        item
        for item in items
        if item.predicate.role in accepted_by and authority.speaker(item) is not None
    )
    return sorted({item.digest for item in mine if at < instant_of(item.predicate.expires)})
