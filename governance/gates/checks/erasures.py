"""Checks of erasures: what was erased is in no data that is used, and a version that has seen it
gets no alias after the deadline.
"""

from __future__ import annotations

import sys

from governance.base.text import moment
from governance.gates.checks.context import DataContext, Findings, GateContext, ReleaseContext
from governance.history.chain import Chain
from governance.history.erasures import counted, has_seen, is_over, unapplied
from governance.history.lineage import DataChain


def erased_data(context: DataContext) -> Findings:
    """The ingest of the data applied the exclusions of every erasure before it is used."""
    yield from _unapplied(context, context.chain)


def erased_suite(context: GateContext) -> Findings:
    """The same of the dataset that the result is evaluated on."""
    yield from _unapplied(context, context.held_out_chain)


def erasure_overdue(context: ReleaseContext) -> Findings:
    """No erasure whose deadline is over is about records that the version has seen."""
    over = [
        erasure
        for erasure in counted(context.evidence, context.rights)
        if is_over(erasure, context.at)
    ]
    if not over:
        return
    released = context.request.released
    chain = Chain(context.view, released.sha256, released.name)
    for erasure in over:
        if has_seen(chain, erasure):
            asked = erasure.predicate
            yield context.finding(
                "ERASURE_OVERDUE",
                expected=f"retrained or retired by {moment(asked.deadline)}",
                found=f"it has seen records of case {asked.reference} (entry {erasure.index})",
                figures=[str(erasure.index), asked.reference],
            )


def _unapplied(context: DataContext, chain: DataChain) -> Findings:
    if chain.ingest is None:
        return
    erasures = counted(context.evidence, context.authority)
    before = context.before.index if context.before else sys.maxsize
    left_out = unapplied(erasures, chain.ingest.predicate, before)
    if left_out:
        applied = chain.ingest.predicate.exclusions
        yield context.finding(
            "ERASED_DATA_USED",
            f"dataset {chain.dataset}",
            expected="the exclusions of every erasure that the log has",
            found=f"{len(applied.roots) if applied else 0} lists applied, not those of entries "
            + ", ".join(str(erasure.index) for erasure in left_out),
            figures=[str(erasure.index) for erasure in left_out],
        )
