"""The drawing of where a version comes from, as nodes and edges; the same as a table."""

from __future__ import annotations

from governance.lineage import ModelNode
from governance.predicates import Ingest
from governance.report.facts import Facts
from governance.report.model import Edge, Node

MODELS, DATASETS, SOURCES = 0, 1, 2


def lineage(facts: Facts) -> tuple[list[Node], list[Edge]]:
    """Models by how many trainings they rest on; below each stage its datasets, below those their sources."""
    columns = _columns(facts.chain)
    nodes = [_model(node, columns[node.sha256]) for node in facts.chain]
    edges = _model_edges(facts)
    last = max(columns.values()) + 1
    nodes.append(_release(facts, last))
    edges.append(Edge(start=facts.digest, end="release", role="registered as"))
    for chain, uses in facts.datasets:
        stage = uses[0].partition("@")[2]
        consumer = next((node for node in facts.chain if node.name == stage), facts.released)
        column = columns[consumer.sha256]
        data = f"data:{chain.dataset}:{chain.sha256}"
        ingest = chain.ingest.predicate if chain.ingest and isinstance(chain.ingest.predicate, Ingest) else None
        refs = [item.index for item in (chain.quality, chain.scan, chain.ingest) if item]
        trains = [use for use in uses if use.startswith("train@")]
        nodes.append(
            Node(
                id=data,
                kind="dataset",
                label=chain.dataset,
                note="trains" if trains else "evaluates only",
                digest=chain.sha256,
                lane=DATASETS,
                column=column,
                evidence=refs,
            )
        )
        edges += [_use(facts, data, use) for use in (trains or uses[:1])]
        if chain.source and chain.ingest and ingest:
            source = f"source:{chain.dataset}:{chain.source}"
            node = Node(
                id=source,
                kind="source",
                label=f"{chain.dataset} source",
                note=f"{ingest.counts.records_in:,} records",
                digest=chain.source,
                lane=SOURCES,
                column=column,
                evidence=[chain.ingest.index],
            )
            nodes.append(node)
            edges.append(Edge(start=source, end=data, role="ingested, scanned, checked"))
    return nodes, edges


def _columns(chain: list[ModelNode]) -> dict[str, int]:
    """Model digest to the length of the longest way from a model made of nothing here."""
    columns: dict[str, int] = {}
    for node in chain:
        before = [columns[digest] for digest in (node.parent, node.scorer) if digest in columns]
        columns[node.sha256] = max(before) + 1 if before else 0
    return columns


def _model(node: ModelNode, column: int) -> Node:
    refs = [item.index for item in (node.train, node.gate, node.base) if item]
    return Node(
        id=node.sha256,
        kind="stage" if node.train else "base",
        label=node.name,
        note=node.method if node.known else "NO EVIDENCE",
        digest=node.sha256,
        lane=MODELS,
        column=column,
        evidence=refs,
    )


def _model_edges(facts: Facts) -> list[Edge]:
    known = {node.sha256 for node in facts.chain}
    edges = []
    for node in facts.chain:
        for before, role in ((node.parent, "parent"), (node.scorer, "scorer")):
            if before in known:
                edges.append(Edge(start=str(before), end=node.sha256, role=role))
    return edges


def _release(facts: Facts, column: int) -> Node:
    registration = facts.registration
    return Node(
        id="release",
        kind="release",
        label=f"{registration.model}/{registration.version}",
        note="registered version",
        digest=facts.digest,
        lane=MODELS,
        column=column,
        evidence=[facts.item.index],
    )


def _use(facts: Facts, data: str, use: str) -> Edge:
    what, _, stage = use.partition("@")
    digest = next((node.sha256 for node in facts.chain if node.name == stage), facts.digest)
    return Edge(start=data, end=digest, role="trained on" if what == "train" else "evaluation")
