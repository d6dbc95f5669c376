"""Who may make which statement, from version 2 of the rules on.

One table, for a server that accepts a statement and for everybody who reads it
(`governance.policy.authority.Authority.problem`). What does not stand here counts for nobody.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from governance.attest.predicates import (
    Approval,
    Authorization,
    CheckpointKey,
    Erased,
    Erasure,
    Incident,
    Intervention,
    PeriodicReview,
    PromotionRequest,
    Read,
    Revocation,
    RolloutRequest,
    RolloutStep,
    Signed,
    Waiver,
)
from governance.base.model import Model
from governance.policy.rules import Principal, Rules

LONGEST_TEXT = 2000
"""Characters of one text in a person's statement: more than a reason needs."""
LISTS = frozenset({"affected"})
"""Fields of digests that the log gives. They are no texts, and have a bound of their own."""
OWN_ACCOUNT = frozenset({"registration", "gate", "promotion"})
"""Kinds whose latest statement decides. A server takes them only from the account that is named
like the service that signed: whoever could replay one would change an answer.
"""
ANSWERS_FOR_RELEASES = frozenset({"registration", "promotion"})
"""A service that signs one of these also makes packets and reports."""


def roles_for(rules: Rules, signed: Signed) -> Collection[str] | None:
    """The roles in which a person may make this statement. None: any role that they have."""
    match signed:
        case Authorization() | Revocation():
            return None  # for oneself; of one's own key, or as a policy owner (`may_revoke`)
        case Approval() | PeriodicReview():
            return _approving(rules, signed)
        case PromotionRequest():
            rule = rules.aliases.get(signed.alias)
            if rule is None and signed.action == "retire":
                return rules.requester_roles  # it takes every alias, whichever it names
            return rule.requesters if rule else ()
        case Incident():
            return rules.incident_roles(signed.state)
    by_kind: dict[type[Signed], Collection[str]] = {
        Waiver: rules.waivers.accepted_by,
        Intervention: rules.incident_roles("open"),
        CheckpointKey: rules.owner_roles,
        Erasure: data_roles(rules),
        Erased: data_roles(rules),
        RolloutRequest: rules.rollouts.requested_by if rules.rollouts else (),
        RolloutStep: _stepping(rules, signed),
    }
    return by_kind.get(type(signed), [])


def _approving(rules: Rules, approval: Approval | PeriodicReview) -> Collection[str]:
    if isinstance(approval, PeriodicReview):
        return _approvers(rules, approval.model)
    match approval.about:
        case "policy" | "checkpoint_key" | "registration":
            return rules.owner_roles
        case "promotion":
            return rules.second_roles
        case "packet":
            return _approvers(rules, approval.model or "")
    return data_roles(rules)


def _approvers(rules: Rules, name: str) -> Collection[str]:
    """The roles that approve packets of a model."""
    model = rules.models.get(name)
    return rules.tiers[model.tier].approvers if model else ()


def _stepping(rules: Rules, signed: Signed) -> Collection[str]:
    """Who may make a step of a rollout."""
    if rules.rollouts is None or not isinstance(signed, RolloutStep):
        return ()
    if signed.action in ("start", "widen"):
        return rules.rollouts.widened_by
    return rules.rollouts.stopping_roles


def data_roles(rules: Rules) -> Collection[str]:
    """The roles that approve data before it is used, and sign that records are erased."""
    return {role for tier in rules.tiers.values() for role in tier.approvers}


def may_revoke(rules: Rules, author: Principal, owner: Principal | None) -> bool:
    """Whether `author` may revoke a key of `owner`. `owner` is None for a key that the policies in
    force do not name.
    """
    is_own = owner is not None and owner.name == author.name
    return is_own or bool(set(rules.owners.roles if rules.owners else ()) & set(author.roles))


def may_make(rules: Rules, kind: str, maker: Principal) -> bool:
    """Whether a principal may make a statement that names no person: a proposal of policies, a
    packet, a report, a judgement or a failure. Who signs the evidence of any stage may say that one
    failed.
    """
    if kind == "policy":
        return maker.kind == "person" and bool(set(maker.roles) & set(rules.owner_roles))
    if kind == "failure":
        return bool(maker.signs)
    if kind not in ("packet", "report", "judgement"):
        return False
    if maker.kind == "service":
        return kind != "judgement" and bool(ANSWERS_FOR_RELEASES & set(maker.signs))
    return bool(set(maker.roles) & set(rules.responsible_roles))


def may_state_read(read: Read, maker: Principal | None, development: bool) -> bool:
    """Whether the signer may say who read: everybody of themselves, and a server of the account
    that it authenticated. `maker` is None for a key that policy does not name.
    """
    if read.account:
        return development or (maker is not None and "promotion" in maker.signs)
    name = maker.name if maker else None
    return read.reader == name and (development or maker is not None)


def long_text(predicate: Model) -> str | None:
    """The field of the first text that is longer than `LONGEST_TEXT`; None where none is."""
    values: dict[str, Any] = {name: value for name, value in predicate if name not in LISTS}
    return next(
        (name for name, value in values.items() if length_of(value) > LONGEST_TEXT),
        None,
    )


def length_of(value: Any) -> int:
    """Characters of a text, or of all texts in a list."""
    if isinstance(value, Model):
        return sum(length_of(part) for _, part in value)
    if isinstance(value, list):
        return sum(length_of(part) for part in value)
    return len(value) if isinstance(value, str) else 0
