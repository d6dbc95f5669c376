"""What was made of datasets, by digest: generated datasets, trainings, versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from governance.attest.predicates import Generation, Registration, Train
from governance.history.chain import Chain
from governance.history.lineage import MAKERS, inputs, subject
from governance.history.state import LogState
from governance.log.evidence import Evidence
from pipelines.trace.steps import steps


@dataclass(frozen=True)
class Touched:
    """A model or version that was made from a dataset with the record, or scored on it."""

    what: str
    entry: int
    digest: str
    how: str


def made_from(now: LogState, digests: set[str]) -> Iterator[Touched]:
    """The datasets generated from these, the trainings on any of them, the models trained from
    theirs, and the versions made of them.
    """
    trainings = list(now.evidence.all(Train))
    known = -1
    while len(digests) > known:  # again: a model may generate what the next one is trained on
        known = len(digests)
        users = trained(trainings, digests)
        derived = list(generated(now, digests, {user.digest for user in users}))
        digests = digests.union(*(_made_of(now, each.digest) for each in derived))
    yield from (*derived, *users)
    for registration in now.evidence.all(Registration):
        version = registration.predicate
        chain = Chain.registered(now.evidence, version)
        uses = {use for data, uses in chain.datasets for use in uses if data.sha256 in digests}
        if uses:
            name = f"{version.model}/{version.version}"
            how = f"built from {', '.join(sorted(uses))}"
            yield Touched(name, registration.index, version.model_digest, how)


def generated(now: LogState, digests: set[str], models: set[str]) -> Iterator[Touched]:
    """The datasets that were generated from these records, or by these models."""
    for made in now.evidence.all(Generation):
        source, used = subject(made, "source"), inputs(made)
        roles = [role for role in MAKERS if used.get(role) in models]
        how = f"its {roles[0]} has seen it" if roles else ""
        how = "generated from it" if used.get("prompts") in digests else how
        if source and how:
            yield Touched(made.predicate.stage, made.index, source, how)


def _made_of(now: LogState, source: str) -> set[str]:
    """The records that ingest, scan and quality made of a source."""
    found, before = {source}, 0
    while len(found) > before:
        before = len(found)
        found |= {
            step.digest
            for step in steps(now)
            if step.role == "records"
            and not found.isdisjoint(
                inputs(step.statement).get(role) for role in ("source", "records")
            )
        }
    return found


def trained(trainings: list[Evidence], digests: set[str]) -> list[Touched]:
    """The trainings on these datasets, and those with a resulting model as parent or scorer."""
    touched: dict[int, Touched] = {}
    models: set[str] = set()
    before = -1
    while len(touched) > before:  # again: the log may have a child before its parent
        before = len(touched)
        for training in trainings:
            how = _how(inputs(training), digests, models)
            if how and training.index not in touched:
                model, stage = subject(training, "model"), training.predicate.stage
                models |= {model} if model else set()
                touched[training.index] = Touched(
                    stage, training.index, model or "not recorded", how
                )
    return [touched[index] for index in sorted(touched)]


def _how(used: dict[str, str], digests: set[str], models: set[str]) -> str:
    if used.get("data") in digests:
        return "trained on it"
    roles = [role for role in ("parent", "scorer") if used.get(role) in models]
    return f"its {roles[0]} has seen it" if roles else ""
