"""The lineage drawing as nodes and edges."""

from __future__ import annotations

from governance.history.lineage import DataChain, ModelNode
from governance.log.evidence import Evidence
from governance.report import assurance
from governance.report.facts import Facts
from governance.report.model import Edge, Node

MODELS, DATASETS, SOURCES = 0, 1, 2


def lineage(facts: Facts) -> tuple[list[Node], list[Edge]]:
    """Nodes and edges. Models have one row each, in the order of the chain. A dataset has the row
    of the stage that uses it, or the nearest free one; so has its source.
    """
    last = len(facts.chain)
    nodes = [
        *(_model(facts, node, row) for row, node in enumerate(facts.chain)),
        _release(facts, last),
    ]
    edges = [*_model_edges(facts), Edge(start=facts.digest, end="release", role="registered as")]
    slots = _slots(facts)
    for (chain, uses), slot in zip(facts.datasets, slots, strict=True):
        nodes.append(_dataset(chain, uses, slot))
        trains = [use for use in uses if use.startswith("train@")]
        edges += [_use(facts, nodes[-1].id, use) for use in trains or uses[-1:]]
        if chain.source and chain.ingest:
            nodes.append(_source(chain, chain.ingest, slot))
            edges.append(
                Edge(start=nodes[-1].id, end=nodes[-2].id, role="ingested, scanned, checked")
            )
    return nodes, edges


def _slots(facts: Facts) -> list[int]:
    """A row for each dataset: that of its first trainer, else of the model it scores."""
    rows = {node.name: row for row, node in enumerate(facts.chain)}
    slots: list[int] = []
    for _, uses in facts.datasets:
        trains = [use for use in uses if use.startswith("train@")]
        stage = (trains or uses[-1:])[0].partition("@")[2]
        wanted = rows.get(stage, len(rows))
        free = (row for row in range(len(rows) + len(facts.datasets) + 1) if row not in slots)
        slots.append(min(free, key=lambda row: (abs(row - wanted), row)))
    return slots


def _dataset(chain: DataChain, uses: list[str], row: int) -> Node:
    return Node(
        id=f"data:{chain.dataset}:{chain.sha256}",
        kind="dataset",
        label=chain.dataset,
        note="trains" if any(use.startswith("train@") for use in uses) else "evaluates only",
        digest=chain.sha256,
        lane=DATASETS,
        row=row,
        evidence=[
            statement.index for statement in (chain.quality, chain.scan, chain.ingest) if statement
        ],
    )


def _source(chain: DataChain, ingest: Evidence, row: int) -> Node:
    return Node(
        id=f"source:{chain.dataset}:{chain.source}",
        kind="source",
        label=chain.dataset,
        note=f"source, {ingest.predicate.counts.records_in:,} records",
        digest=chain.source or "",
        lane=SOURCES,
        row=row,
        evidence=[ingest.index],
    )


def _model(facts: Facts, node: ModelNode, row: int) -> Node:
    refs = [statement.index for statement in (node.train, node.gate, node.base) if statement]
    refs += assurance.entries(facts, node)
    return Node(
        id=node.sha256,
        kind="stage" if node.train else "base",
        label=node.name,
        note=node.method if node.known else "NO EVIDENCE",
        digest=node.sha256,
        lane=MODELS,
        row=row,
        evidence=refs,
    )


def _model_edges(facts: Facts) -> list[Edge]:
    digests = {node.sha256 for node in facts.chain}
    edges = []
    for node in facts.chain:
        for before, role in ((node.parent, "parent"), (node.scorer, "scorer")):
            if before in digests:
                edges.append(Edge(start=str(before), end=node.sha256, role=role))
    return edges


def _release(facts: Facts, row: int) -> Node:
    registration = facts.registration
    return Node(
        id="release",
        kind="release",
        label=f"{registration.model}/{registration.version}",
        note="registered version",
        digest=facts.digest,
        lane=MODELS,
        row=row,
        evidence=[facts.registration_statement.index],
    )


def _use(facts: Facts, data: str, use: str) -> Edge:
    what, _, stage = use.partition("@")
    digest = next((node.sha256 for node in facts.chain if node.name == stage), facts.digest)
    return Edge(start=data, end=digest, role="trained on" if what == "train" else "evaluation")
