"""What a decision on a governed alias is asked, and the decision itself, from the log alone.

What is asked is put together from the version's registration, who holds the alias, the latest
packet and the open request that fits. The registry's tables, tags and names are never believed.
`governance.release.promoter` carries out what is allowed.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import ValidationError

from governance.attest.digests import manifest_digest
from governance.attest.predicates import (
    Packet,
    Promotion,
    PromotionRequest,
    Registration,
    Run,
)
from governance.attest.requests import (
    Action,
    GateRequest,
    ModelRef,
    ReleaseDecision,
    ReleaseRequest,
)
from governance.base.errors import InputError
from governance.base.time import instant_of
from governance.gates.decisions import decide_automatic, decide_release
from governance.history import packet
from governance.history.lineage import decided, model_node, subject
from governance.history.state import LogState, state
from governance.log.evidence import Evidence

__all__ = [
    "ask", "changed", "decide", "decide_again", "freeze", "in_our_words",
    "is_true", "is_verbatim", "may_ask", "state", "to_retire",
]  # fmt: skip


def ask(now: LogState, action: Action, model: str, version: str, alias: str) -> ReleaseRequest:
    """What the decision is asked, from the log alone. Raises `InputError` for a version that is not
    registered.
    """
    registered = now.registration(model, version).predicate
    held = now.holder(model, alias)
    known = packet.latest(now.evidence, model, version, registered.model_digest)
    frozen = subject(known, "packet") if known else None
    asked = ReleaseRequest(
        model=model,
        released=_reference(now, registered),
        champion=held.model_digest if held else None,
        alias=alias,
        action=action,
        version=version,
        from_version=held.version if held else None,
        packet=frozen,
    )
    request = _open_request(now, asked)
    return asked.model_copy(update={"request": request.digest if request else None})


def decide(now: LogState, asked: ReleaseRequest, at: datetime) -> ReleaseDecision:
    """The decision, on the log as it stands."""
    if now.authority.in_force.policies is None:
        now.authority.policies  # noqa: B018 - raises, with the next step
    return decide_release(asked, now.authority.policies, now.evidence, at, now.authority)


def decide_again(before: LogState, said: Promotion) -> ReleaseDecision | None:
    """A logged decision on a governed alias made again, from what stood before it. None where it
    was none of these.
    """
    if said.asked is None:
        return None
    return decide(before, ReleaseRequest.model_validate(said.asked), instant_of(said.at))


def freeze(now: LogState, model: str, version: str, at: datetime, run: Run) -> Packet:
    """The packet of a version as the log has it now, with what stands against it before anybody
    says a word.
    """
    registered = now.registration(model, version).predicate
    alias = now.authority.policies.main_alias
    asked = ask(now, "promote", model, version, alias)
    decision = decide_automatic(asked, now.evidence, at, now.authority)
    return packet.build(
        registered,
        now.view,
        now.authority,
        evidence=now.evidence,
        findings=decision.findings,
        waived=decision.waived,
        champion=asked.champion,
        at=at,
        run=run,
    )


def changed(now: LogState, item: Evidence[Packet], at: datetime) -> list[str]:
    """Why a packet is not to be approved: what of it is no longer so, or never was; empty where it
    stands.
    """
    found = packet.differing(item, now.view, now.authority, evidence=now.evidence, at=at)
    return found or ([] if is_true(now, item) else ["its findings, which are not those of the log"])


def is_true(now: LogState, item: Evidence[Packet]) -> bool:
    """Whether a packet, which anybody enrolled may record, is the one that the log gave when it was
    put together.
    """
    return packet.same_content(_made_again(now, item), item.predicate)


def is_verbatim(now: LogState, item: Evidence[Packet]) -> bool:
    """As `is_true`, down to the words of each finding: what this version may write to the log."""
    return packet.digest_of(_made_again(now, item)) == packet.digest_of(item.predicate)


def in_our_words(now: LogState, item: Evidence[Packet]) -> Packet:
    """A packet whose findings read as this version words them. People read these and not what
    stands in the packet: whoever recorded it chose those words.
    """
    said = item.predicate
    made = _made_again(now, item)
    if not packet.same_content(made, said):
        return said
    return said.model_copy(update={"findings": made.findings, "waived": made.waived})


def _made_again(now: LogState, item: Evidence[Packet]) -> Packet:
    """The packet that the log gave just before this one was recorded, at its time."""
    said = item.predicate
    before, then = now.before(item.index), instant_of(said.run.finished)
    return freeze(before, said.model, said.version, then, said.run)


def _reference(now: LogState, registered: Registration) -> ModelRef:
    """The released model, its files as registered, and the suite that its gate was decided with."""
    node = model_node(now.view, registered.model_digest, registered.stage)
    asked = _gate_request(node.gate) if node.gate else None
    if manifest_digest(registered.files) != registered.model_digest:
        raise InputError(
            f"the files of {registered.model}/{registered.version} do not add up to its digest"
        )
    return ModelRef(
        name=registered.stage,
        outside=False,
        sha256=registered.model_digest,
        files=sorted(file.path for file in registered.files),
        suite=asked.suite.name if asked else "none",
        suite_digest=asked.suite.digest if asked else "0" * 64,
    )


def _gate_request(gate: Evidence) -> GateRequest:
    try:
        return GateRequest.model_validate(decided(gate).parameters)
    except ValidationError:
        raise InputError("its gate's request cannot be read", where=f"entry {gate.index}") from None


def _open_request(now: LogState, asked: ReleaseRequest) -> Evidence[PromotionRequest] | None:
    """The latest open request by somebody who may ask; else the latest for this alias, so that the
    decision can say what is wrong: nobody stands in the way of a request by making another that
    they may not make.
    """
    mine = [
        item
        for item in now.evidence.by_subject(asked.released.sha256, PromotionRequest)
        if (item.predicate.model, item.predicate.alias, item.predicate.action)
        == (asked.model, asked.alias, asked.action)
    ]
    consumed = now.timeline.consumed_requests
    fresh = [item for item in mine if item.digest not in consumed]
    theirs = [item for item in fresh if may_ask(now, item)]
    return next(reversed(theirs or fresh or mine), None)


def to_retire(now: LogState, model: str, alias: str) -> str | None:
    """The version that the latest open request to retire names, by somebody who may ask; else by
    anybody.
    """
    found = [
        one
        for one in now.timeline.open_requests(model)
        if (one.predicate.action, one.predicate.alias) == ("retire", alias)
    ]
    mine = [one for one in found if may_ask(now, one)] or found
    return mine[-1].predicate.version if mine else None


def may_ask(now: LogState, item: Evidence[PromotionRequest]) -> bool:
    """Whether a request is by a person in a role that may ask for its alias."""
    rule = now.authority.policies.rules.aliases.get(item.predicate.alias)
    return (
        rule is not None
        and item.predicate.role in rule.requesters
        and now.authority.speaker(item) is not None
    )
