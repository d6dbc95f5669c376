"""The facts of a report: one version's registration and the evidence it rests on.

1. Only verified evidence is read.
2. Policies come from the log: those in force where an alias is governed, else the last recorded
   ones. Local policies are read only where the log has no text of them and the digests agree.
3. A file is read only where its digest is the recorded one. Otherwise the report says why not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

from governance.attest.digests import sha256_file
from governance.attest.envelope import unverified
from governance.attest.predicates import (
    CANDIDATE,
    Drill,
    Evaluate,
    Finding,
    Ingest,
    Predicate,
    Promotion,
    Quality,
    Registration,
    Run,
    Scan,
    Train,
)
from governance.attest.requests import ModelRef, ReleaseDecision, ReleaseRequest
from governance.base.errors import ConfigError, CountersignError, InputError
from governance.base.time import instant, instant_of
from governance.gates.checks.context import ModelFacts
from governance.history.chain import Chain, Suite
from governance.history.lineage import DataChain, ModelNode, model_node
from governance.history.rollouts import Rollout, latest
from governance.history.state import LogState, no_version
from governance.log.evidence import Evidence, parse_statement
from governance.policy.declarations import Declaration
from governance.policy.policies import Policies
from governance.policy.rules import Datacard, ModelPolicy, Tier
from governance.release import drills
from governance.release.promotion import decide, model_reference
from governance.report.standing import Standing

PREFIX = 12
"""Characters of a digest or key id that are shown."""
PAGE = 16
"""Entries read at a time, from the end."""


@dataclass(frozen=True)
class Facts(Chain):
    """One version and the evidence it rests on."""

    project: str
    root: Path
    now: LogState
    """The log as it was read."""
    time: datetime
    """The time of the report. Decisions are repeated at this time."""
    registration_statement: Evidence[Registration]
    """The version's registration."""
    policies: Policies | None
    """The policies that judge the version."""
    policies_are: str
    """Their origin, or why there are none."""
    standing: Standing | None = None
    """The version's state with people; None where the log has no governed alias."""
    undecidable: str | None = None
    """Why a version of a governed model cannot be decided again."""
    registry: tuple[Finding, ...] | None = None
    """Findings about this model where the registry differs from the log; None if not compared."""
    complete: bool = True
    """Whether no entry about the model can be missing; False for some bundles."""

    @property
    def registration(self) -> Registration:
        """The predicate of the version's registration."""
        return self.registration_statement.predicate

    @property
    def name(self) -> str:
        """MODEL/VERSION"""
        return f"{self.registration.model}/{self.registration.version}"

    @property
    def policies_note(self) -> str:
        """Why no policies are available; empty where they are."""
        return "" if self.policies else self.policies_are

    @property
    def rules(self) -> ModelPolicy | None:
        """What policy says of the model."""
        return self.policies.rules.models.get(self.registration.model) if self.policies else None

    @property
    def tier(self) -> Tier | None:
        """The risk tier that policy sets for the model."""
        return self.policies.tier_of(self.registration.model) if self.policies else None

    @property
    def declaration(self) -> Declaration | None:
        """What is declared of a version that was trained elsewhere; None for one trained here."""
        if self.policies is None or not self.released.imported:
            return None
        declared = self.policies.declaration_of(self.digest)
        return declared[1] if declared else None

    @property
    def cards(self) -> Mapping[str, Datacard]:
        """The datacards of the policies."""
        return self.policies.datacards if self.policies else {}

    @property
    def as_of(self) -> str:
        """The time of the report as text."""
        return instant(self.time)

    @property
    def chains(self) -> list[DataChain]:
        """The datasets that the version was trained or evaluated on."""
        return [chain for chain, _ in self.datasets]

    @property
    def trained_on(self) -> list[DataChain]:
        """The datasets that a stage of the version was trained on."""
        return [c for c, uses in self.datasets if any(use.startswith("train@") for use in uses)]

    @property
    def ingests(self) -> list[Evidence[Ingest]]:
        """The recorded ingestions of the datasets."""
        return [chain.ingest for chain in self.chains if chain.ingest]

    @property
    def scans(self) -> list[Evidence[Scan]]:
        """The recorded scans of the datasets for personal data."""
        return [chain.scan for chain in self.chains if chain.scan]

    @property
    def qualities(self) -> list[Evidence[Quality]]:
        """The recorded quality results of the datasets."""
        return [chain.quality for chain in self.chains if chain.quality]

    @property
    def trainings(self) -> list[Evidence[Train]]:
        """The trainings behind the version."""
        return [node.train for node in self.chain if node.train]

    @cached_property
    def own_evaluation(self) -> Evidence[Evaluate] | None:
        """The version's evaluation on its own suite."""
        return self.evaluation(self.released, self.suites[0]) if self.suites else None

    @property
    def own_evaluations(self) -> list[Evidence[Evaluate]]:
        """The version's evaluations on each suite that decides on it; that on its own first."""
        found = (self.evaluation(self.released, suite) for suite in self.own_suites)
        return [evaluation for evaluation in found if evaluation]

    @property
    def drill(self) -> Evidence[Drill] | None:
        """The last rollback drill of the model."""
        standing = self.standing
        return drills.last(self.now, self.registration.model, standing.alias) if standing else None

    @cached_property
    def rollout(self) -> Rollout | None:
        """The last canary rollout to the version's bytes, for the alias that it was decided for."""
        standing = self.standing
        if standing is None:
            return None
        of_log = self.now.timeline.rollouts.values()
        return latest(of_log, self.registration.model, standing.alias, self.digest)

    @cached_property
    def reference(self) -> ModelRef | None:
        """The version as a reference for decisions; None where its suite is not known."""
        suite = self.own_suite
        return model_reference(self.registration, suite) if suite else None

    @cached_property
    def model_facts(self) -> ModelFacts | None:
        """The input for judging the version's evaluation; None without policies or request."""
        if self.policies is None or self.reference is None:
            return None
        champion = self.standing.request.champion if self.standing else None
        other = champion if champion != self.digest else None
        view = self.view.signed_under(self.policies)
        return ModelFacts(self.reference, view, self.policies, other, self.registration.model)

    @cached_property
    def judged_on(self) -> list[ModelFacts]:
        """The input for judging the version on each suite that decides; its own first."""
        own = self.model_facts
        if own is None or self.policies is None:
            return []
        required = self.policies.evaluation.required_of(self.registration.model)
        return [own, *own.further(required)]

    @cached_property
    def scored(self) -> Mapping[str, int]:
        """Digest of a suite to how many models the log has scores of on it."""
        models: dict[str, set[str]] = {}
        for statement in self.view.all(Evaluate):
            if statement.predicate.not_run is None:
                models.setdefault(statement.predicate.suite, set()).add(statement.predicate.model)
        return {suite: len(scored) for suite, scored in models.items()}

    @cached_property
    def again(self) -> ReleaseDecision | None:
        """The release decided again at the report's time: on a governed alias if there is one,
        else on `candidate`.
        """
        if self.standing is not None:
            return self.standing.today
        if self.policies is None or self.reference is None:
            return None
        request = ReleaseRequest(model=self.registration.model, released=self.reference)
        return decide(self.now, request, self.time, policies=self.policies)

    @cached_property
    def registrations(self) -> list[Evidence[Registration]]:
        """Every registration under this model's name, in the order of the log."""
        name = self.registration.model
        return [entry for entry in self.view.all(Registration) if entry.predicate.model == name]

    @property
    def previous(self) -> Evidence[Registration] | None:
        """The registration of the version approved last before this one; else of the version
        registered before it.
        """
        earlier = [
            entry
            for entry in self.registrations
            if entry.index < self.registration_statement.index
            and entry.predicate.model_digest != self.digest
        ]
        return self.approved_before or (earlier[-1] if earlier else None)

    @cached_property
    def approved_before(self) -> Evidence[Registration] | None:
        """The registration of the version that was promoted before this one."""
        released = self.standing.released if self.standing else None
        end = released.index if released else self.now.size
        others = [
            move.predicate
            for move in self.now.moves(self.registration.model)
            if move.index < end
            and move.predicate.action == "promote"
            and move.predicate.alias != CANDIDATE
            and move.predicate.model_digest != self.digest
        ]
        registrations = self.now.timeline.registrations
        return registrations.get((others[-1].model, others[-1].version)) if others else None

    @cached_property
    def champion(self) -> ModelNode | None:
        """The champion that this version is compared with; None for the first version."""
        if self.standing is None:
            return None
        digest, main = self.standing.request.champion, self.standing.policies.main_alias
        if digest is None and self.standing.alias != main:
            digest = self._holder(main)
        return None if digest in (None, self.digest) else self.named_node(str(digest))

    def named_node(self, digest: str) -> ModelNode:
        """A model by the name under which it was first registered; else by that of its stage."""
        node = model_node(self.view, digest)
        for entry in self.registrations:
            if entry.predicate.model_digest == digest:
                return replace(node, name=f"{entry.predicate.model}/{entry.predicate.version}")
        return node

    @property
    def champion_is(self) -> str:
        """The alias that `champion` holds now; else the alias it held before this version."""
        if self.standing is None or self.champion is None:
            return "none"
        aliases = (self.standing.policies.main_alias, self.standing.alias)
        held = [alias for alias in aliases if self._holder(alias) == self.champion.sha256]
        return held[0] if held else f"{self.standing.alias} before it"

    def _holder(self, alias: str) -> str | None:
        held = self.now.holder(self.registration.model, alias)
        return held.model_digest if held else None

    @cached_property
    def promotions(self) -> list[Evidence[Promotion]]:
        """Every alias decision about this version's bytes, in order."""
        name = self.registration.model
        moves = self.view.by_subject(self.digest, Promotion)
        return [move for move in moves if move.predicate.model == name]

    def file(self, statement: Evidence, role: str) -> Path | str:
        """The path of a file that a statement made, if its digest fits; else the reason it is
        not used.
        """
        made = next((artifact for artifact in statement.subjects if artifact.role == role), None)
        if made is None:
            return "not recorded: the statement names no such file"
        path = Path(made.name)
        if path.is_absolute() or ".." in path.parts:
            return "not recorded: its place is not inside the project"
        try:
            same = sha256_file(self.root / path) == made.sha256
        except InputError:
            return f"not at hand ({path}); its sha256 is {made.sha256[:PREFIX]}"
        return self.root / path if same else f"not used: {path} has other bytes than recorded"

    def rows(self, statement: Evidence, role: str) -> tuple[list[dict[str, object]], str]:
        """The rows of a JSON Lines file that a statement made, and the reason where it is not
        used.
        """
        path = self.file(statement, role)
        if isinstance(path, str):
            return [], path
        with path.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines if line.strip()], ""

    def policy_entry(self, digest: str) -> int:
        """The first entry that recorded these policies; 0 where none did."""
        recorded = self.of("origin", "policy")
        return next((s.index for s in recorded if s.subjects[0].sha256 == digest), 0)

    def of(self, *kinds: str) -> list[Evidence]:
        """All evidence of these kinds, in order."""
        statements = (statement for kind in kinds for statement in self.now.evidence.all(kind))
        return sorted(statements, key=lambda statement: statement.index)

    def evaluation(self, node: ModelNode, suite: Suite) -> Evidence[Evaluate] | None:
        """The evaluation of a model on a suite, cached."""
        key = (node.sha256, suite)
        if key not in self._evaluations:
            self._evaluations[key] = super().evaluation(node, suite)
        return self._evaluations[key]

    @cached_property
    def _evaluations(self) -> dict[tuple[str, Suite], Evidence[Evaluate] | None]:
        return {}

    def rests_on(self) -> list[Evidence]:
        """Each statement that the version rests on, its registration and the decisions about it;
        each once.
        """
        statements = (*self.statements(), self.registration_statement, *self.promotions)
        return list({statement.index: statement for statement in statements}.values())


def gather(
    now: LogState,
    project: str,
    root: Path,
    policies: Policies | CountersignError,
    model: str,
    version: str,
    time: datetime | None = None,
) -> Facts:
    """The facts of MODEL/VERSION. Raises `InputError` where the log has no such version."""
    name, found = (model, version), now.evidence.all(Registration)
    named = [entry for entry in found if (entry.predicate.model, entry.predicate.version) == name]
    statement = now.timeline.registrations.get(name) or (named[-1] if named else None)
    if statement is None:
        raise no_version(now, model, version)
    in_force = now.authority.in_force.policies
    is_governed = in_force is not None and bool(in_force.rules.aliases)
    chosen, origin = _choose_policies(now, policies)
    rights = now.authority if is_governed else chosen
    facts = Facts(
        view=now.evidence.signed_under(rights) if rights else now.evidence,
        digest=statement.predicate.model_digest,
        stage=statement.predicate.stage,
        suite=statement.predicate.suite,
        further=statement.predicate.further,
        project=project,
        root=root,
        now=now,
        time=time or last_time(now),
        registration_statement=statement,
        policies=chosen,
        policies_are=origin,
    )
    if not is_governed:
        return facts
    standing = Standing(now, statement.predicate, facts.time)
    try:
        standing.today  # noqa: B018 - everything else rests on it
    except CountersignError as error:
        return replace(facts, undecidable=str(error).splitlines()[0])
    return replace(facts, standing=standing)


def last_time(now: LogState) -> datetime:
    """The time of the last entry that counts. A bundle may not hold the very last entry."""
    for end in range(now.size, 0, -PAGE):
        for entry in reversed(now.log.page(max(0, end - PAGE), end)[0]):
            statement, _ = unverified(entry.envelope, where=f"entry {entry.index}")
            _, subjects, _ = parse_statement(statement, f"entry {entry.index}")
            for evidence in now.evidence.by_subject(subjects[0].sha256):
                if evidence.index == entry.index:
                    return instant_of(at(evidence))
    raise InputError("the log has no entry that counts", where=now.log.where)


def _choose_policies(
    now: LogState, local: Policies | CountersignError
) -> tuple[Policies | None, str]:
    """(2) The policies that judge a version, with their origin; or why there are none."""
    period = now.authority.in_force
    if period.policies is not None and period.policies.rules.aliases:
        signed = f"signed by {', '.join(period.signers)}"
        if period.signed_at is None:
            signed = "NOT SIGNED by their owners"
        return period.policies, f"the policies in force for governed aliases, {signed}"
    with suppress(ConfigError):
        recorded = now.authority.recorded_at(now.size)
        return recorded, "the policies last recorded in the log; nobody signed them"
    missing = "not recorded here: the log carries no policies, and those at hand"
    if isinstance(local, CountersignError):
        return None, f"{missing} cannot be read"
    named = [
        entry.subjects[0].sha256
        for kind in ("origin", "policy")
        for entry in now.evidence.all(kind)
    ]
    if local.digest not in named[-1:]:
        last = "".join(named[-1:])[:PREFIX]
        return None, f"{missing} ({local.digest[:PREFIX]}) are not those it names ({last})"
    return local, "the policies at hand, whose digest the log has; it does not carry their text"


def at(statement: Evidence) -> str:
    """When a statement was made. A person's statement carries the time of that person's clock."""
    run = run_of(statement)
    return str(run.finished if run else statement.predicate.at)


def about(statement: Evidence) -> str:
    """What a statement is about, in a few words."""
    predicate = statement.predicate
    if isinstance(predicate, Predicate):
        return predicate.stage
    if statement.kind in ("registration", "promotion", "packet", "request", "incident"):
        return f"{predicate.model}/{predicate.version}"
    if statement.kind in ("approval", "waiver"):
        return f"{statement.kind} of {predicate.about}"
    return statement.kind


def run_of(statement: Evidence) -> Run | None:
    """The run that made a statement; None for a person's statement."""
    run = getattr(statement.predicate, "run", None)
    return run if isinstance(run, Run) else None
