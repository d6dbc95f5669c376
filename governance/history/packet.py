"""The packet: the evidence of a release, frozen under one digest before anybody approves it.

1. It is made from the log and the policies in force alone, so anyone can make it again.
2. It holds only what stands before it in the log. New evidence about the same bytes, other policies
   or another waiver make it out of date. Approvals of it then no longer hold.
3. Its digest does not cover `run`, which says when and by whom it was recorded. So the same content
   gives the same packet.
4. Anybody enrolled may record one, so none of it is trusted. `differing` compares it with the log.
   A decision compares its waived findings with those that are waived then.
   `governance.people.review` checks the rest before it shows the packet to people.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
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
from governance.history import lineage, rollouts
from governance.history.chain import Chain
from governance.history.timeline import Timeline
from governance.log.rules import NAMES_ITS_LOG, STEPS_BY_DIGEST

if TYPE_CHECKING:
    from governance.log.evidence import Evidence
    from governance.log.views import EvidenceView
    from governance.policy.authority import Authority


class Part(StrEnum):
    """A part of a packet that can differ from the log, as people call it."""

    CODE = "the code or the environment"
    REGISTRATION = "the registration"
    POLICIES = "the policies"
    WAIVERS = "the waivers (one was added)"
    TIER = "the tier"
    CANARY = "the canary rollout"
    DIGEST = "its own digest"
    FINDINGS = "its findings, which are not those of the log"


def digest_of(packet: Packet) -> str:
    """sha256 over the canonical form of everything but `run`."""
    return sha256_bytes(canonical.dumps(packet.model_dump(exclude={"run"})))


def same_content(packet: Packet, other: Packet) -> bool:
    """Whether two packets have the same content. The wording of their findings may differ."""
    worded = {"run", "findings", "waived"}
    return (
        packet.model_dump(exclude=worded) == other.model_dump(exclude=worded)
        and same_reasons(packet.findings, other.findings)
        and _same_exceptions(packet.waived, other.waived)
        and _same_exceptions(other.waived, packet.waived)
    )


def _same_exceptions(findings: Sequence[Finding], others: Sequence[Finding]) -> bool:
    return all(any(same_exception(finding, other) for other in others) for finding in findings)


def subjects(packet: Packet) -> list[Artifact]:
    """The subjects of the packet's statement: the packet and the model."""
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
    """The packet of a registered version, from the log at this size."""
    chain = Chain.registered(view, registered)
    chain_statements = statements(chain)
    commits, environments = _made_by(chain_statements)
    return Packet(
        model=registered.model,
        version=registered.version,
        model_digest=registered.model_digest,
        files=registered.files,
        stage=registered.stage,
        tier=_tier(authority, registered.model),
        policy=authority.in_force.digest,
        stages=steps(chain_statements),
        waivers=_waivers(evidence, chain, authority, at),
        findings=list(findings),
        waived=list(waived),
        champion=champion,
        commits=commits,
        environments=environments,
        run=run,
        log=authority.origin if authority.rules >= NAMES_ITS_LOG else None,
        declaration=_declaration(authority, chain),
        canary=_canary(evidence, authority, registered.model, registered.model_digest),
    )


def latest(
    evidence: EvidenceView, rights: Authority, model: str, version: str, digest: str
) -> Evidence[Packet] | None:
    """The last packet of a version in the log that counts and whose digest is right; None where
    there is none.
    """
    packets = [
        statement
        for statement in evidence.by_subject(digest, Packet)
        if _of(statement, model, version) and rights.admits(statement)
    ]
    sound = [
        statement
        for statement in packets
        if lineage.subject(statement, "packet") == digest_of(statement.predicate)
    ]
    return sound[-1] if sound else None


def differing(
    statement: Evidence,
    view: EvidenceView,
    authority: Authority,
    *,
    evidence: EvidenceView,
    at: datetime,
) -> list[str]:
    """What changed since a packet was made: names of stages, and parts of the packet; empty if
    nothing did. An expired waiver is no difference; the waiver checks judge it.
    """
    packet = statement.predicate
    registration = _registration(view, packet)
    suite = registration.suite if registration else None
    further = registration.further if registration else ()
    chain = Chain(view, packet.model_digest, packet.stage, suite=suite, further=further)
    chain_statements = statements(chain)
    steps_now = _named(steps(chain_statements), authority)
    steps_then = _named(packet.stages, authority)
    names = sorted(steps_now.keys() | steps_then.keys())
    changed: list[str] = [name for name in names if steps_now.get(name) != steps_then.get(name)]
    if _made_by(chain_statements) != (packet.commits, packet.environments):
        changed.append(Part.CODE)
    expected = (packet.model_digest, packet.files, packet.stage)
    if registration is None or expected != (
        registration.model_digest, registration.files, registration.stage
    ):  # fmt: skip
        changed.append(Part.REGISTRATION)
    declaration = _declaration(authority, chain)
    if (packet.policy, packet.declaration) != (authority.in_force.digest, declaration):
        changed.append(Part.POLICIES)
    if set(_waivers(evidence, chain, authority, at)) - set(packet.waivers):
        changed.append(Part.WAIVERS)
    if packet.tier != _tier(authority, packet.model):
        changed.append(Part.TIER)
    if packet.canary != _canary(evidence, authority, packet.model, packet.model_digest):
        changed.append(Part.CANARY)
    if lineage.subject(statement, "packet") != digest_of(packet):
        changed.append(Part.DIGEST)
    return changed


def statements(chain: Chain) -> list[Evidence]:
    """Every statement behind the model, each once, in log order."""
    by_entry = {statement.index: statement for statement in chain.statements()}
    return [by_entry[index] for index in sorted(by_entry)]


def steps(statements: Sequence[Evidence]) -> list[PacketStage]:
    """Each statement as one step of the packet, in log order."""
    return [
        PacketStage(
            name=statement.predicate.stage
            if isinstance(statement.predicate, Predicate)
            else statement.kind,
            kind=statement.kind,
            statement=statement.digest,
            digest=statement.subjects[0].sha256,
        )
        for statement in statements
    ]


def _named(steps: Sequence[PacketStage], authority: Authority) -> dict[str, list[PacketStage]]:
    """Stage to its steps: versions of several trainings may have used one name. Before version 3 of
    the rules, to its last.
    """
    named: dict[str, list[PacketStage]] = {}
    for step in steps:
        earlier = named.get(step.name, []) if authority.rules >= STEPS_BY_DIGEST else []
        named[step.name] = [*earlier, step]
    return named


def _made_by(statements: Sequence[Evidence]) -> tuple[list[str], list[str]]:
    """The commits and environments of the stages among these statements."""
    stages = [
        statement.predicate
        for statement in statements
        if isinstance(statement.predicate, Predicate)
    ]
    commits = {stage.code.commit or "none" for stage in stages}
    return sorted(commits), sorted({stage.environment.distributions for stage in stages})


def _registration(view: EvidenceView, packet: Packet) -> Registration | None:
    """The last registration of these bytes as the packet's version."""
    registrations = [
        statement
        for statement in view.by_subject(packet.model_digest, Registration)
        if _of(statement, packet.model, packet.version)
    ]
    return registrations[-1].predicate if registrations else None


def _declaration(authority: Authority, chain: Chain) -> str | None:
    """The digest of the file that declares a model which was trained elsewhere."""
    declared = authority.policies.declaration_of(chain.digest)
    if declared is None or not chain.released.imported:
        return None
    return sha256_bytes(authority.policies.files[f"imports/{declared[0]}.yaml"].encode())


def _tier(authority: Authority, model: str) -> str:
    model_policy = authority.policies.rules.models.get(model)
    return model_policy.tier if model_policy else "unknown"


def _canary(evidence: EvidenceView, authority: Authority, model: str, digest: str) -> str | None:
    """The statement that the last rollout to these bytes passed; None without one, or where the
    tier demands none.
    """
    tier = authority.policies.tier_of(model)
    if tier is None or not tier.canary:
        return None
    of_log = Timeline(evidence, authority).rollouts.values()
    rollout = rollouts.latest(of_log, model, authority.policies.main_alias, digest)
    return rollout.passed.digest if rollout and rollout.passed else None


def _of(statement: Evidence, model: str, version: str) -> bool:
    return (statement.predicate.model, statement.predicate.version) == (model, version)


def _waivers(evidence: EvidenceView, chain: Chain, authority: Authority, at: datetime) -> list[str]:
    """Digests of the waivers of the model, or of what a gate of its chain or a generation of its
    data was decided on, that have not expired.

    Only waivers by people with a role that may accept waivers: others change nothing, so they make
    no packet out of date.
    """
    accepted_by = authority.policies.rules.waivers.accepted_by
    digests = {chain.digest} | chain.decided_on
    waivers = (waiver for digest in digests for waiver in evidence.by_subject(digest, Waiver))
    counted = (
        waiver
        for waiver in waivers
        if waiver.predicate.role in accepted_by and authority.speaker(waiver) is not None
    )
    return sorted(
        {waiver.digest for waiver in counted if at < instant_of(waiver.predicate.expires)}
    )
