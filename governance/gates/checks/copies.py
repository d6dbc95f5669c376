"""The same records under two names: a dataset that a model was trained on twice, or that is also
the suite of an evaluation.

1. Record ids are HMACs of the content, whatever the dataset is called. So two datasets hold the
   same records where a record root in the statements of the one (ingest, scan, quality) is also in
   those of the other.
2. What counts as trained on: the data of the stage, that of every model behind it, and the prompts
   that such data was generated from. What counts as a suite: that of the stage, and every suite of
   the gates behind it.
3. A gate reports a pair of training datasets only where its own data is one of them. The gates
   behind it report the others, and a release decides all of them again.
4. A name may be dataset and suite at once: `held_out` judges its splits.
5. From version 3 of the rules on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from governance.attest.predicates import Finding
from governance.gates.checks.context import Context, Findings, GateContext
from governance.history.chain import Chain, prompts_of
from governance.history.lineage import DataChain, data_chain
from governance.log.rules import COMPARES_RECORDS

GENERATED = ("train@", "generate@")
"""Beginnings of the uses by which records reach a model."""


def trained_twice(context: GateContext) -> Findings:
    """No other dataset behind the stage holds the records of its data."""
    if not _judged(context):
        return
    own = context.chain
    trained, _ = _behind(context)
    for other in _named_once(trained):
        for root in _shared(own, other):
            yield _finding(context, "RECORDS_TWICE", own, other, root)


def suite_trained_on(context: GateContext) -> Findings:
    """No suite holds the records of a dataset that was trained on under another name."""
    if _judged(context):
        trained, suites = _behind(context)
        pairs = ([*trained, *_own(context)], [*suites, context.held_out_chain])
        yield from _suites_trained_on(context, *pairs)


def released_suite_trained_on(context: Context) -> Findings:
    """The same of a release, whose model may have suites that no gate named."""
    if _judged(context):
        yield from _suites_trained_on(context, *_behind(context))


def roots(chain: DataChain) -> frozenset[str]:
    """(1) The record roots of a dataset at each of its steps; none where no record was kept."""
    steps = (chain.ingest, chain.scan, chain.quality)
    counts = [step.predicate.counts for step in steps if step is not None]
    return frozenset(each.records_root for each in counts if each.records_out)


def _judged(context: Context) -> bool:
    return context.authority is not None and context.authority.rules >= COMPARES_RECORDS


def _behind(context: Context) -> tuple[list[DataChain], list[DataChain]]:
    """(2) The datasets that the models of the request were trained on, and their suites."""
    trained, suites = list[DataChain](), list[DataChain]()
    for ref in context.refs:
        for data, uses in Chain(context.view, ref.sha256, ref.name, further=ref.further).datasets:
            by_training = [use for use in uses if use.startswith(GENERATED)]
            trained += [data] if by_training else []
            suites += [data] if len(by_training) < len(uses) else []
    return trained, suites


def _own(context: GateContext) -> list[DataChain]:
    """(2) The data of the stage, and the prompts that it was generated from, and so on."""
    chains, ahead = list[DataChain](), [context.chain]
    while ahead:
        chains += ahead
        made = ahead.pop().generation
        named = prompts_of(made) if made else None
        if named and named not in [(chain.dataset, chain.sha256) for chain in chains]:
            ahead = [data_chain(context.view, *named)]
    return chains


def _suites_trained_on(
    context: Context, trained: Iterable[DataChain], suites: Iterable[DataChain]
) -> Iterator[Finding]:
    tested = _named_once(suites)
    for data in _named_once(trained):
        for suite in tested:
            for root in _shared(data, suite):
                yield _finding(context, "SUITE_TRAINED_ON", data, suite, root)


def _named_once(chains: Iterable[DataChain]) -> list[DataChain]:
    return list({(chain.dataset, chain.sha256): chain for chain in chains}.values())


def _shared(one: DataChain, other: DataChain) -> list[str]:
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
