"""The lineage drawing as nodes and edges."""

from __future__ import annotations

from governance.history.lineage import DataChain, ModelNode
from governance.report import assurance
from governance.report.facts import Facts
from governance.report.model.record import Edge, Node


def lineage(facts: Facts) -> tuple[list[Node], list[Edge]]:
    """Nodes and edges. Models have one row each, in the order of the chain. A dataset has the row
    of the stage that uses it first, or the nearest free one; so has its source.
    """
    nodes = [_model(facts, node, row) for row, node in enumerate(facts.chain)]
    release = Node(
        id="release",
        kind="release",
        label=facts.name,
        note="registered version",
        digest=facts.digest,
        row=len(nodes),
        evidence=[facts.registration_statement.index],
    )
    edges = [*_model_edges(facts), Edge(start=facts.digest, end="release", role="registered as")]
    models = {node.label: node for node in nodes}
    nodes.append(release)
    free = list(range(len(nodes) + len(facts.datasets)))
    for chain, uses in facts.datasets:
        note, role, stages = _use(facts, uses)
        first = models.get(stages[0], release)
        row = min(free, key=lambda row: (abs(row - first.row), row))
        free.remove(row)
        data = _data(chain, row, note)
        ends = [models[stage].id if stage in models else facts.digest for stage in stages]
        edges += [Edge(start=data[0].id, end=end, role=role) for end in ends]
        role = "ingested, scanned, checked"
        edges += [Edge(start=source.id, end=data[0].id, role=role) for source in data[1:]]
        nodes += data
    return nodes, edges


def _use(facts: Facts, uses: list[str]) -> tuple[str, str, list[str]]:
    """What a dataset is for, its part in the model, and the stages that it is for. Prompts of
    generated data are for the stages that train on that.
    """
    trains = _trained(uses)
    if trains:
        return "trains", "trained on", trains
    generated = [
        stage
        for chain, further in facts.datasets
        if chain.generation and chain.generation.predicate.stage in uses
        for stage in _trained(further)
    ]
    if generated:
        return "prompts of generated data", "generated from", generated
    return "evaluates only", "evaluation", [uses[-1].partition("@")[2]]


def _trained(uses: list[str]) -> list[str]:
    return [use.partition("@")[2] for use in uses if use.startswith("train@")]


def _data(chain: DataChain, row: int, use: str) -> list[Node]:
    """A dataset, and its source where that is recorded."""
    steps = (chain.quality, chain.scan, chain.ingest)
    dataset = Node(
        id=f"data:{chain.dataset}:{chain.sha256}",
        kind="dataset",
        label=chain.dataset,
        note=use,
        digest=chain.sha256,
        row=row,
        evidence=[statement.index for statement in steps if statement],
    )
    if not chain.source or not chain.ingest:
        return [dataset]
    source = Node(
        id=f"source:{chain.dataset}:{chain.source}",
        kind="source",
        label=chain.dataset,
        note=f"source, {chain.ingest.predicate.counts.records_in:,} records",
        digest=chain.source,
        row=row,
        evidence=[chain.ingest.index],
    )
    return [dataset, source]


def _model(facts: Facts, node: ModelNode, row: int) -> Node:
    refs = [statement.index for statement in (node.train, node.gate, node.base) if statement]
    return Node(
        id=node.sha256,
        kind="stage" if node.train else "base",
        label=node.name,
        note=node.method if node.known else "NO EVIDENCE",
        digest=node.sha256,
        row=row,
        evidence=[*refs, *assurance.entries(facts, node)],
    )


def _model_edges(facts: Facts) -> list[Edge]:
    digests = {node.sha256 for node in facts.chain}
    return [
        Edge(start=before, end=node.sha256, role=role)
        for node in facts.chain
        for role, before in node.made_from
        if before in digests
    ]
