"""Cosignatures that a decision rests on become an entry of the log, so that it can be repeated.

An entry is written only where the entries there are do not suffice: otherwise the log would grow
with every cosignature, and every entry would want another one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from governance.attest.keys import Signer
from governance.attest.predicates import Artifact, Cosigned, Requester, Run
from governance.base.time import exact_instant
from governance.history.state import LogState
from governance.history.witnesses import contains
from governance.log import evidence
from governance.log.evidence import Evidence
from governance.log.port import Log
from governance.policy.witnesses import Cosignature, cosignatures, fresh, requirement


def kept(now: LogState, at: datetime) -> list[Cosignature]:
    """The cosignatures beside the log that count at a time, under the policies in force."""
    policies = now.authority.in_force.policies
    if policies is None:
        return []
    needed = requirement(policies.rules, None)
    own = [pem for _, pem in now.authority.checkpoint_keys]
    made = cosignatures(now.log.cosigned(), needed.witnesses, now.authority.log_name, own)
    counted = fresh(made, at, needed.grace)
    return [one for one in counted if one.size <= now.size and contains(now.log, one.note)]


def to_record(now: LogState, model: str, at: datetime) -> list[Cosignature]:
    """What has to be recorded before a model can be promoted; nothing where the log has enough, or
    there is not enough beside it.
    """
    policies = now.authority.in_force.policies
    if policies is None:
        return []
    needed = requirement(policies.rules, policies.tier_of(model))
    if not needed.quorum:
        return []
    own = [pem for _, pem in now.authority.checkpoint_keys]
    notes = [note for entry in now.evidence.all(Cosigned) for note in entry.predicate.notes]
    # recorded ones have to last a little longer, so that a decision after this one finds them
    lasting = needed.grace - min(needed.grace / 2, timedelta(hours=1))
    recorded = fresh(
        cosignatures(notes, needed.witnesses, now.authority.log_name, own), at, lasting
    )
    made = kept(now, at)
    return made if len(recorded) < needed.quorum <= len(made) else []


def statement(made: Sequence[Cosignature], run: Run) -> tuple[list[Artifact], Cosigned]:
    """Subjects and predicate of the entry."""
    notes = list(dict.fromkeys(one.note.text for one in made))
    subjects = {one.note.root.hex(): one.note.origin for one in made}
    artifacts = [
        Artifact(role="checkpoint", name=origin, sha256=root) for root, origin in subjects.items()
    ]
    return artifacts, Cosigned(notes=notes, run=run)


def record(
    log: Log, now: LogState, signer: Signer, model: str, clock: Callable[[], datetime]
) -> bool:
    """Records what a promotion of the model needs. Returns whether the log grew."""
    policies = now.authority.in_force.policies
    tier = policies.tier_of(model) if policies else None
    if tier is None or not tier.witnesses:
        return False
    at = clock()
    made = to_record(now, model, at)
    if made:
        artifacts, cosigned = statement(made, _run(at))
        evidence.record(log, signer, "cosigned", artifacts, cosigned)
    return bool(made)


def assumed(now: LogState, model: str, at: datetime) -> list[Evidence]:
    """The entry that `record` would write, for a plan."""
    made = to_record(now, model, at)
    if not made:
        return []
    artifacts, cosigned = statement(made, _run(at))
    return [Evidence(now.size, "cosigned", tuple(artifacts), cosigned, "", False, "")]


def _run(at: datetime) -> Run:
    moment = exact_instant(at)
    requester = Requester(name="countersign", authenticated=False)
    return Run(started=moment, finished=moment, seconds=0.0, requested_by=requester)
