"""What a report rests on: one version's registration and, from its digest, everything the log says behind it.

Only verified evidence gets in. Policies and files at hand are used where their digest is the one that evidence
names; otherwise the report says why they were not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from governance.chain import Chain
from governance.checks.context import ModelFacts
from governance.decisions import decide_release
from governance.digests import sha256_file
from governance.errors import CountersignError, InputError
from governance.evidence import Evidence, EvidenceView
from governance.lineage import (
    Admissible,
)
from governance.policy import Policies
from governance.predicates import Artifact, Predicate, Promotion, Registration, Run
from governance.requests import ModelRef, ReleaseDecision, ReleaseRequest

PREFIX = 12
"""Characters of a digest or key id that are shown."""


@dataclass(frozen=True)
class Facts(Chain):
    """One version, and what stands behind it."""

    project: str
    root: Path
    everything: Sequence[Evidence]
    """All evidence of the log that counts, in order."""
    item: Evidence
    """The version's registration."""
    policies: Policies | None
    """Those in force, where the folder at hand has their digest."""
    policies_note: str
    """Why there are none; empty where there are."""

    @property
    def registration(self) -> Registration:
        """The predicate of the version's registration."""
        return registered(self.item)

    @cached_property
    def as_of(self) -> str:
        """When the last entry of the log was made."""
        return at(self.everything[-1])

    @property
    def as_of_time(self) -> datetime:
        """`as_of` as a time, for deciding again."""
        return datetime.fromisoformat(self.as_of.replace("Z", "+00:00")).astimezone(UTC)

    @cached_property
    def reference(self) -> ModelRef | None:
        """The version as decisions name a model; None where its gate's request is not recorded."""
        request = self.requests.get(self.released.name)
        if request is None:
            return None
        files = [file.path for file in self.registration.files]
        return ModelRef(
            name=self.registration.stage,
            outside=False,
            sha256=self.digest,
            files=files,
            suite=request.suite.name,
            suite_digest=request.suite.digest,
        )

    @cached_property
    def held_against_policy(self) -> ModelFacts | None:
        """The version's evaluation as decisions see it; None where policies or the request are not at hand."""
        if self.policies is None or self.reference is None:
            return None
        return ModelFacts(self.reference, Admissible(self.view, self.policies), self.policies, None, True)

    @cached_property
    def again(self) -> ReleaseDecision | None:
        """The release decided anew, as of the log's last entry, under the policies in force."""
        if self.policies is None or self.reference is None:
            return None
        request = ReleaseRequest(model=self.registration.model, released=self.reference)
        return decide_release(request, self.policies, self.view, self.as_of_time)

    @cached_property
    def registrations(self) -> list[Evidence]:
        """Every registration under this model's name, in the order of the log."""
        return [item for item in self.view.all("registration") if registered(item).model == self.registration.model]

    @property
    def previous(self) -> Evidence | None:
        """The latest registration of other bytes before this one."""
        earlier = [item for item in self.registrations if item.index < self.item.index]
        return next((item for item in reversed(earlier) if registered(item).model_digest != self.digest), None)

    @cached_property
    def promotions(self) -> list[Evidence]:
        """Every decision about an alias for this version's bytes, in order."""
        found = [item for item in self.view.all("promotion") if promoted(item).model == self.registration.model]
        return [item for item in found if promoted(item).model_digest == self.digest]

    def file(self, item: Evidence, role: str) -> Path | str:
        """The file a statement made, where it is at hand with the same bytes; else why it is not used."""
        made = next((artifact for artifact in item.subjects if artifact.role == role), None)
        if made is None:
            return "not recorded: the statement names no such file"
        return self._at_hand(made)

    def _at_hand(self, made: Artifact) -> Path | str:
        relative = Path(made.name)
        if relative.is_absolute() or ".." in relative.parts:
            return "not recorded: its place is not inside the project"
        try:
            same = sha256_file(self.root / relative) == made.sha256
        except InputError:
            return f"not at hand ({made.name}); its sha256 is {made.sha256[:PREFIX]}"
        return self.root / relative if same else f"not used: {made.name} at hand has other bytes than recorded"

    def rows(self, item: Evidence, role: str) -> tuple[list[dict[str, object]], str]:
        """A JSON Lines file a statement made, and why it is not used where it is not."""
        path = self.file(item, role)
        if isinstance(path, str):
            return [], path
        with path.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines if line.strip()], ""

    def policy_entry(self, before: int) -> int:
        """The entry that put the policies in force at entry `before`."""
        changes = [item.index for item in self.everything if item.kind in ("origin", "policy") and item.index <= before]
        return changes[-1] if changes else 0


def gather(
    view: EvidenceView, project: str, root: Path, policies: Policies | CountersignError, model: str, version: str
) -> Facts:
    """The facts of MODEL/VERSION. Raises `InputError` where the log has no such version, naming those it has."""
    everything = list(view.all())
    found = [item for item in everything if item.kind == "registration"]
    mine = [item for item in found if registered(item).model == model and registered(item).version == version]
    if not mine:
        known = sorted({f"{registered(item).model}/{registered(item).version}" for item in found})
        raise InputError(
            f"the log has no version {model}/{version}",
            expected=f"one of: {', '.join(known)}" if known else "a registered version; there is none yet",
            fix="run `countersign repro`, which registers one" if not known else "",
        )
    in_force = _policy_in_force(everything)
    usable, note = _usable(policies, in_force)
    counted = Admissible(view, usable) if usable else view
    said = registered(mine[-1])
    return Facts(counted, said.model_digest, said.stage, project, root, everything, mine[-1], usable, note)


def _policy_in_force(everything: Sequence[Evidence]) -> str:
    said = [item for item in everything if item.kind in ("origin", "policy")]
    return said[-1].subjects[0].sha256 if said else ""


def _usable(policies: Policies | CountersignError, in_force: str) -> tuple[Policies | None, str]:
    if isinstance(policies, CountersignError):
        return None, "not recorded here: the policies at hand cannot be read"
    if policies.digest != in_force:
        return None, (
            f"not recorded here: the policies at hand ({policies.digest[:PREFIX]}) are not those in force in the log "
            f"({in_force[:PREFIX]})"
        )
    return policies, ""


def registered(item: Evidence) -> Registration:
    """The predicate of a `registration` statement."""
    if not isinstance(item.predicate, Registration):
        raise TypeError(item.kind)
    return item.predicate


def promoted(item: Evidence) -> Promotion:
    """The predicate of a `promotion` statement."""
    if not isinstance(item.predicate, Promotion):
        raise TypeError(item.kind)
    return item.predicate


def at(item: Evidence) -> str:
    """When a statement was made."""
    return str(item.predicate.run.finished)


def about(item: Evidence) -> str:
    """What a statement is about, in a few words."""
    predicate = item.predicate
    if isinstance(predicate, Predicate):
        return predicate.stage
    if isinstance(predicate, Registration | Promotion):
        return f"{predicate.model}/{predicate.version}"
    return item.kind


def of_chain(facts: Facts) -> Iterator[Evidence]:
    """Every statement the version rests on, its registration and the decisions about it."""
    yield from facts.statements()
    yield facts.item
    yield from facts.promotions


def run_of(item: Evidence) -> Run | None:
    """When and for whom a statement was made."""
    run = getattr(item.predicate, "run", None)
    return run if isinstance(run, Run) else None
