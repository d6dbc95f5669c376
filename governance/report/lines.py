"""The lineage drawing as nodes and edges."""

from __future__ import annotations

from governance.history.lineage import DataChain, ModelNode
from governance.log.evidence import Evidence
from governance.report import assurance
from governance.report.facts import Facts
from governance.report.model import Edge, Node

MODELS, DATASETS, SOURCES = 0, 1, 2


def lineage(facts: Facts) -> tuple[list[Node], list[Edge]]:
    """Nodes and edges. A model's column is the number of trainings before it. Datasets are below
    the stage that uses them, and sources below their datasets.
    """
    columns = _columns(facts.chain)
    last = max(columns.values()) + 1
    nodes = [
        *(_model(facts, node, columns[node.sha256]) for node in facts.chain),
        _release(facts, last),
    ]
    edges = [*_model_edges(facts), Edge(start=facts.digest, end="release", role="registered as")]
    slots = _slots(facts, columns, last)
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


def _slots(facts: Facts, columns: dict[str, int], last: int) -> list[int]:
    """A separate column for each dataset: that of its first trainer, else the nearest free one."""
    preferred = []
    for _, uses in facts.datasets:
        trains = next((use for use in uses if use.startswith("train@")), None)
        stage = (trains or uses[-1]).partition("@")[2]
        consumer = next((node for node in facts.chain if node.name == stage), facts.released)
        column = columns[consumer.sha256]
        preferred.append(
            (0, column) if trains else (1, last if consumer == facts.released else column)
        )
    slots: dict[int, int] = {}
    for index in sorted(range(len(preferred)), key=lambda i: preferred[i]):
        free = (slot for slot in range(last + len(preferred) + 1) if slot not in slots.values())
        slots[index] = min(free, key=lambda slot: (abs(slot - preferred[index][1]), slot))
    return [slots[index] for index in range(len(preferred))]


def _dataset(chain: DataChain, uses: list[str], column: int) -> Node:
    return Node(
        id=f"data:{chain.dataset}:{chain.sha256}",
        kind="dataset",
        label=chain.dataset,
        note="trains" if any(use.startswith("train@") for use in uses) else "evaluates only",
        digest=chain.sha256,
        lane=DATASETS,
        column=column,
        evidence=[
            statement.index for statement in (chain.quality, chain.scan, chain.ingest) if statement
        ],
    )


def _source(chain: DataChain, ingest: Evidence, column: int) -> Node:
    return Node(
        id=f"source:{chain.dataset}:{chain.source}",
        kind="source",
        label=chain.dataset,
        note=f"source, {ingest.predicate.counts.records_in:,} records",
        digest=chain.source or "",
        lane=SOURCES,
        column=column,
        evidence=[ingest.index],
    )


def _columns(chain: list[ModelNode]) -> dict[str, int]:
    """Model digest to the length of the longest path from a model without parents."""
    columns: dict[str, int] = {}
    for node in chain:
        before = [columns[digest] for digest in (node.parent, node.scorer) if digest in columns]
        columns[node.sha256] = max(before) + 1 if before else 0
    return columns


def _model(facts: Facts, node: ModelNode, column: int) -> Node:
    refs = [statement.index for statement in (node.train, node.gate, node.base) if statement]
    refs += assurance.entries(facts, node)
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
    digests = {node.sha256 for node in facts.chain}
    edges = []
    for node in facts.chain:
        for before, role in ((node.parent, "parent"), (node.scorer, "scorer")):
            if before in digests:
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
        evidence=[facts.registration_statement.index],
    )


def _use(facts: Facts, data: str, use: str) -> Edge:
    what, _, stage = use.partition("@")
    digest = next((node.sha256 for node in facts.chain if node.name == stage), facts.digest)
    return Edge(start=data, end=digest, role="trained on" if what == "train" else "evaluation")
