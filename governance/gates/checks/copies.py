"""The same records under two names: a dataset that a model was trained on twice, or that is also
the suite of an evaluation.

1. Record ids are HMACs of the content, whatever the dataset is called. So two datasets hold the
   same records where a record root in the statements of the one (ingest, scan, quality) is also in
   those of the other.
2. A model was trained on the data of its stage, and on that of its parents. Its suites are those of
   these stages, and those beside. Reward models, and models that make data, may have the same
   records under another name; their own gates judge them.
3. A gate reports a pair of training datasets where its own data is one of them. The gates of the
   parents report the others, and a release decides all of them again.
4. A name may be dataset and suite at once: `held_out` judges its splits.
5. From version 3 of the rules on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from governance.attest.predicates import Finding, FurtherSuite
from governance.attest.requests import GateRequest, ModelRef
from governance.gates.checks.context import Context, Findings, GateContext
from governance.history.chain import Chain
from governance.history.lineage import DataChain, data_chain
from governance.log.rules import COMPARES_RECORDS


def trained_twice(context: GateContext) -> Findings:
    """No dataset of the parents holds the records of the stage's data."""
    if _judged(context):
        for request in line_of(context, context.request.parent):
            other = _trained(context, request)
            for root in _shared(context.chain, other):
                yield _finding(context, "RECORDS_TWICE", context.chain, other, root)


def suite_trained_on(context: GateContext) -> Findings:
    """No suite holds the records of a dataset that was trained on under another name."""
    if _judged(context):
        parent = context.request.parent
        line = [context.request, *line_of(context, parent)]
        yield from _suites_trained_on(context, line, parent.further)


def released_suite_trained_on(context: Context) -> Findings:
    """The same of a release, whose model may have suites that no gate named."""
    if _judged(context):
        for ref in context.refs:
            yield from _suites_trained_on(context, line_of(context, ref), ref.further)


def roots(chain: DataChain) -> frozenset[str]:
    """(1) The record roots of a dataset at each of its steps; none where no record was kept."""
    steps = (chain.ingest, chain.scan, chain.quality)
    counts = [step.predicate.counts for step in steps if step is not None]
    return frozenset(each.records_root for each in counts if each.records_out)


def _judged(context: Context) -> bool:
    return context.authority is not None and context.authority.rules >= COMPARES_RECORDS


def line_of(context: Context, ref: ModelRef) -> list[GateRequest]:
    """(2) The requests of the gates of a model and its parents, the model's own first."""
    chain = Chain(context.view, ref.sha256, ref.name)
    nodes = {node.sha256: node for node in chain.chain}
    node, requests = nodes.pop(ref.sha256, None), list[GateRequest]()
    while node is not None:
        request = chain.requests.get(node.sha256)
        requests += [request] if request else []
        node = nodes.pop(node.parent or "", None)
    return requests


def _suites_trained_on(
    context: Context, line: Sequence[GateRequest], further: Sequence[FurtherSuite]
) -> Iterator[Finding]:
    beside = [*further, *(suite for request in line for suite in request.parent.further)]
    tested = {(request.suite.name, request.suite.records) for request in line}
    tested |= {(each.dataset, each.records) for each in beside if each.dataset}
    chains = [data_chain(context.view, *named) for named in sorted(tested)]
    for request in line:
        data = _trained(context, request)
        for suite in chains:
            for root in _shared(data, suite):
                yield _finding(context, "SUITE_TRAINED_ON", data, suite, root)


def _trained(context: Context, request: GateRequest) -> DataChain:
    return data_chain(context.view, request.data.dataset, request.data.sha256)


def _shared(one: DataChain, other: DataChain) -> Iterable[str]:
    """A record root that datasets of different names share; none where they share none."""
    return sorted(roots(one) & roots(other))[:1] if one.dataset != other.dataset else []  # (4)


def _finding(context: Context, code: str, data: DataChain, other: DataChain, root: str) -> Finding:
    return context.finding(
        code,
        f"dataset {data.dataset}",
        expected=f"other records than those of {other.dataset}",
        found=f"the record root {root[:12]} of both",
        figures=[other.dataset, root],
        other=other.dataset,
    )
