"""One model and all that verified evidence says behind it: models, gates, datasets, evaluations.

What a registration uploads and what a report shows is the same, so it is gathered here, once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from pydantic import ValidationError

from governance.attest.requests import GateRequest
from governance.history.lineage import (
    DataChain,
    ModelNode,
    data_chain,
    decided,
    evaluated,
    evaluations,
    model_chain,
    pick,
)
from governance.log.evidence import Evidence, EvidenceView


@dataclass(frozen=True)
class Suite:
    """An evaluation suite of the chain."""

    name: str
    digest: str


@dataclass(frozen=True)
class Chain:
    """A model by its digest, followed back through the log."""

    view: EvidenceView
    """Where policies are at hand, only what signers who may sign it said."""
    digest: str
    """The model's: what it is."""
    stage: str
    """The training stage that made it, by name."""

    @cached_property
    def chain(self) -> list[ModelNode]:
        """The model and all it rests on, each after what it was made from."""
        return model_chain(self.view, self.digest, self.stage)

    @property
    def released(self) -> ModelNode:
        """The model's own node."""
        return self.chain[-1]

    @property
    def trained(self) -> list[ModelNode]:
        """The nodes that were trained here."""
        return [node for node in self.chain if node.train is not None]

    @cached_property
    def requests(self) -> dict[str, GateRequest]:
        """Stage to what its gate was asked, as its logged decision holds it."""
        found: dict[str, GateRequest] = {}
        for node in self.chain:
            if node.gate is None:
                continue
            try:
                found[node.name] = GateRequest.model_validate(decided(node.gate).parameters)
            except ValidationError:
                continue
        return found

    @cached_property
    def datasets(self) -> list[tuple[DataChain, list[str]]]:
        """Each dataset that trained or scored something of the chain, with what it was used for."""
        uses: dict[tuple[str, str], list[str]] = {}
        for stage, request in self.requests.items():
            uses.setdefault((request.data.dataset, request.data.sha256), []).append(
                f"train@{stage}"
            )
        for stage, request in self.requests.items():
            uses.setdefault((request.suite.name, request.suite.records), []).append(
                f"evaluate@{stage}"
            )
        return [(data_chain(self.view, name, sha256), use) for (name, sha256), use in uses.items()]

    @cached_property
    def suites(self) -> list[Suite]:
        """The suites the chain's models were evaluated on; the version's own first."""
        found = [
            Suite(request.suite.name, request.suite.digest)
            for request in reversed(self.requests.values())
        ]
        return list(dict.fromkeys(found))

    def evaluation(self, node: ModelNode, suite: Suite) -> Evidence | None:
        """A model's evaluation on a suite at this digest: the latest that has scores, else the
        latest.
        """
        items = [
            item
            for item in evaluations(self.view, node.sha256, suite.name)
            if evaluated(item).suite == suite.digest
        ]
        return pick(items, lambda item: evaluated(item).not_run is None)

    def statements(self) -> Iterator[Evidence]:
        """Every statement the model rests on: models, gates, evaluations, datasets."""
        for node in self.chain:
            yield from (item for item in (node.base, node.gate, node.train) if item)
            yield from (item for suite in self.suites if (item := self.evaluation(node, suite)))
        for chain, _ in self.datasets:
            yield from (item for item in (chain.ingest, chain.scan, chain.quality) if item)
