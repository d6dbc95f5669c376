"""The check of witnesses: what is promoted stands in a log that others have seen."""

from __future__ import annotations

from governance.attest.predicates import Cosigned
from governance.gates.checks.context import Findings, ReleaseContext
from governance.policy.witnesses import Cosignature, cosignatures, fresh, requirement


def witnessed(context: ReleaseContext) -> Findings:
    """As many witnesses as the tier asks for have cosigned the log within the grace period, as the
    log records it. That the cosigned checkpoints are of this log is verified where they are
    recorded, and by whoever verifies the log.
    """
    needed = requirement(context.policies.rules, context.tier)
    if not needed.quorum:
        return
    made = [
        cosignature
        for statement in context.evidence.all(Cosigned)
        for cosignature in cosignatures(
            statement.predicate.notes,
            needed.witnesses,
            context.rights.log_name,
            [pem for _, pem in context.rights.checkpoint_keys],
        )
        if cosignature.size <= statement.index
    ]
    counted = {one.keyid: one for one in fresh(made, context.at, needed.grace)}
    if len(counted) < needed.quorum:
        found = "; ".join(_words(one) for one in counted.values()) or "none"
        yield context.finding("WITNESSES_MISSING", expected=needed.words, found=found)


def _words(made: Cosignature) -> str:
    return f"{made.witness}, {made.size} entries, {made.at:%Y-%m-%dT%H:%MZ}"
