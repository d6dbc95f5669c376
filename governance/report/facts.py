"""The facts of a report: one version's registration and the evidence it rests on.

1. Only verified evidence is read.
2. Policies come from the log: those in force where an alias is governed, else the last recorded
   ones. Local policies are read only where the log has no text of them and the digests agree.
3. A file is read only where its digest is the recorded one. Otherwise the report says why not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

from governance.attest.digests import sha256_file
from governance.attest.envelope import unverified
from governance.attest.predicates import (
    CANDIDATE,
    Artifact,
    Finding,
    Predicate,
    Promotion,
    Registration,
    Run,
)
from governance.attest.requests import ModelRef, ReleaseDecision, ReleaseRequest
from governance.base.errors import ConfigError, CountersignError, InputError
from governance.base.time import instant, instant_of
from governance.gates.checks.context import ModelFacts
from governance.gates.decisions import decide_release
from governance.history.chain import Chain, Suite
from governance.history.lineage import ModelNode, model_node
from governance.history.state import LogState
from governance.log.evidence import Evidence, parse_statement
from governance.policy.policies import Policies
from governance.report.reading import Everything
from governance.report.standing import Standing

RegistryState = Literal["agrees", "differs", "not compared"]
PREFIX = 12
"""Characters of a digest or key id that are shown."""


@dataclass(frozen=True)
class Facts(Chain):
    """One version and the evidence it rests on."""

    project: str
    root: Path
    everything: Sequence[Evidence]
    """All evidence that counts, in the order of the log."""
    registration_statement: Evidence
    """The version's registration."""
    policies: Policies | None
    """The policies that judge the version; None where they are not available."""
    policies_note: str
    """Why no policies are available; empty where they are."""
    policies_are: str = "the policies last recorded in the log; nobody signed them"
    """The origin of the policies, as text."""
    now: LogState | None = None
    """The log as it was read; None where people take no part in decisions."""
    time: datetime | None = None
    """The time of the report; None for the time of the last entry."""
    standing: Standing | None = None
    """The version's state with people; None where the log has no governed alias."""
    standing_note: str = "this project has not set up human approval"
    """Why there is no `standing`."""
    undecidable: str | None = None
    """Why a version of a governed model cannot be decided again."""
    registry: tuple[Finding, ...] = field(default=())
    """Findings about this model where the registry differs from the log."""
    registry_state: RegistryState = "not compared"
    registry_note: str = "not compared: no registry available"
    """Whether the registry was compared, and the result."""

    @property
    def registration(self) -> Registration:
        """The predicate of the version's registration."""
        return registered(self.registration_statement)

    @cached_property
    def as_of(self) -> str:
        """The time of the report: the time of the last entry, or of a later deadline that has
        passed.
        """
        return instant(self.time) if self.time else at(self.everything[-1])

    @property
    def as_of_time(self) -> datetime:
        """`as_of` as a time. Decisions are repeated at this time."""
        return instant_of(self.as_of)

    @cached_property
    def reference(self) -> ModelRef | None:
        """The version as a reference for decisions; None where the gate's request is not
        recorded.
        """
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
    def model_facts(self) -> ModelFacts | None:
        """The input for judging the version's evaluation; None without policies or without the
        request.
        """
        if self.policies is None or self.reference is None:
            return None
        champion = self.standing.request.champion if self.standing else None
        other_champion = champion if champion != self.digest else None
        return ModelFacts(
            self.reference,
            self.view.signed_under(self.policies),
            self.policies,
            other_champion,
            True,
        )

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
        return decide_release(request, self.policies, self.view, self.as_of_time)

    @cached_property
    def registrations(self) -> list[Evidence]:
        """Every registration under this model's name, in the order of the log."""
        return [
            statement
            for statement in self.view.all(Registration)
            if registered(statement).model == self.registration.model
        ]

    @property
    def previous(self) -> Evidence | None:
        """The registration of the version approved last before this one; else of the version
        registered before it.
        """
        return self.approved_before or self._registered_before

    @cached_property
    def approved_before(self) -> Evidence | None:
        """The registration of the version that held a governed alias before this one."""
        if self.standing is None or self.now is None:
            return None
        end = self.standing.released.index if self.standing.released else self.now.size
        moves = [
            statement
            for statement in self.now.moves(self.registration.model)
            if statement.index < end
        ]
        other_versions = [
            promoted(statement).version
            for statement in moves
            if promoted(statement).action == "promote"
            and promoted(statement).alias != CANDIDATE
            and promoted(statement).model_digest != self.digest
        ]
        registrations = [
            statement
            for statement in self.registrations
            if other_versions and registered(statement).version == other_versions[-1]
        ]
        return registrations[-1] if registrations else None

    @property
    def _registered_before(self) -> Evidence | None:
        earlier = [
            statement
            for statement in self.registrations
            if statement.index < self.registration_statement.index
        ]
        return next(
            (
                statement
                for statement in reversed(earlier)
                if registered(statement).model_digest != self.digest
            ),
            None,
        )

    @cached_property
    def champion(self) -> ModelNode | None:
        """The champion that this version is compared with; None for the first version."""
        if self.standing is None:
            return None
        digest, main = self.standing.request.champion, self.standing.policies.main_alias
        if digest is None and self.standing.alias != main:
            digest = self._holder(main)
        if digest in (None, self.digest):
            return None
        digest = str(digest)
        version = next(
            (
                registered(statement).version
                for statement in self.registrations
                if registered(statement).model_digest == digest
            ),
            "",
        )
        node = model_node(self.view, digest)
        return replace(node, name=f"{self.registration.model}/{version}" if version else node.name)

    @property
    def champion_is(self) -> str:
        """The alias that `champion` holds now; else the alias it held before this version."""
        if self.standing is None or self.champion is None:
            return "none"
        aliases = (self.standing.policies.main_alias, self.standing.alias)
        held = [alias for alias in aliases if self._holder(alias) == self.champion.sha256]
        return held[0] if held else f"{self.standing.alias} before it"

    def _holder(self, alias: str) -> str | None:
        held = self.now.holder(self.registration.model, alias) if self.now else None
        return held.model_digest if held else None

    @cached_property
    def promotions(self) -> list[Evidence]:
        """Every alias decision about this version's bytes, in order."""
        of_model = [
            statement
            for statement in self.view.all(Promotion)
            if promoted(statement).model == self.registration.model
        ]
        return [
            statement for statement in of_model if promoted(statement).model_digest == self.digest
        ]

    def file(self, statement: Evidence, role: str) -> Path | str:
        """The path of a file that a statement made, if its digest fits; else the reason it is
        not used.
        """
        made = next((artifact for artifact in statement.subjects if artifact.role == role), None)
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
        return (
            self.root / relative
            if same
            else f"not used: {made.name} at hand has other bytes than recorded"
        )

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
        """The first entry that recorded these policies."""
        kinds = ("origin", "policy")
        return next(
            (
                statement.index
                for statement in self.of(*kinds)
                if statement.subjects[0].sha256 == digest
            ),
            0,
        )

    def of(self, *kinds: str) -> list[Evidence]:
        """All evidence of these kinds, in order."""
        if self.now is None:
            return [statement for statement in self.everything if statement.kind in kinds]
        statements = (statement for kind in kinds for statement in self.now.evidence.all(kind))
        return sorted(statements, key=lambda statement: statement.index)

    def evaluation(self, node: ModelNode, suite: Suite) -> Evidence | None:
        """The evaluation of a model on a suite, cached."""
        key = (node.sha256, suite)
        if key not in self._evaluations:
            self._evaluations[key] = super().evaluation(node, suite)
        return self._evaluations[key]

    @cached_property
    def _evaluations(self) -> dict[tuple[str, Suite], Evidence | None]:
        return {}


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
    registrations = list(now.evidence.all(Registration))
    of_version = [
        statement
        for statement in registrations
        if (registered(statement).model, registered(statement).version) == (model, version)
    ]
    if not of_version:
        names = sorted(
            {
                f"{registered(statement).model}/{registered(statement).version}"
                for statement in registrations
            }
        )
        raise InputError(
            f"the log has no version {model}/{version}",
            expected=(
                f"one of: {', '.join(names[-SHOWN:])}"
                if names
                else "a registered version; there is none yet"
            ),
            fix=(
                "run `countersign repro`, which registers one"
                if not names
                else "countersign status lists them"
            ),
        )
    registration, usable = registered(of_version[-1]), _choose_policies(now, policies)
    rights = now.authority if usable.governed else usable.policies
    counted = now.evidence.signed_under(rights) if rights else now.evidence
    reference = time or last_time(now)
    standing, undecidable = (
        _standing(now, registration, reference) if usable.governed else (None, None)
    )
    note = f"it cannot be decided again: {undecidable}" if undecidable else Facts.standing_note
    return Facts(
        counted,
        registration.model_digest,
        registration.stage,
        project,
        root,
        Everything(now.evidence),
        of_version[-1],
        usable.policies,
        usable.note,
        usable.which,
        now,
        reference,
        standing,
        note,
        undecidable,
    )


def last_time(now: LogState) -> datetime:
    """The time of the last entry that counts. A bundle may not hold the very last entry."""
    for end in range(now.size, 0, -PAGE):
        for entry in reversed(now.log.page(max(0, end - PAGE), end)[0]):
            statement, _ = unverified(entry.envelope, where=f"entry {entry.index}")
            _, subjects, _ = parse_statement(statement, f"entry {entry.index}")
            counting = [
                evidence
                for evidence in now.evidence.by_subject(subjects[0].sha256)
                if evidence.index == entry.index
            ]
            if counting:
                return instant_of(at(counting[0]))
    raise InputError("the log has no entry that counts", where=now.log.where)


PAGE = 16
"""Entries read at a time, from the end."""
SHOWN = 20
"""Versions that an error names at most."""


@dataclass(frozen=True)
class _PolicyChoice:
    policies: Policies | None
    note: str
    which: str
    governed: bool = False


def _standing(
    now: LogState, registration: Registration, time: datetime
) -> tuple[Standing | None, str | None]:
    """The version's state with people, or why it cannot be decided again."""
    standing = Standing(now, registration, time)
    try:
        standing.today  # noqa: B018 - everything else rests on it
    except CountersignError as error:
        return None, str(error).splitlines()[0]
    return standing, None


def _choose_policies(now: LogState, policies: Policies | CountersignError) -> _PolicyChoice:
    """Chooses the policies that judge a version: those in force, the last recorded, or the local
    ones.
    """
    period = now.authority.in_force
    if period.policies is not None and period.policies.rules.aliases:
        signed = (
            f"signed by {', '.join(period.signers)}"
            if period.signed_at is not None
            else "NOT SIGNED by their owners"
        )
        return _PolicyChoice(
            period.policies, "", f"the policies in force for governed aliases, {signed}", True
        )
    try:
        return _PolicyChoice(now.authority.recorded_at(now.size), "", Facts.policies_are)
    except ConfigError:
        usable, note = _usable(policies, _policy_recorded(now))
        return _PolicyChoice(
            usable,
            note,
            "the policies at hand, whose digest the log has; it does not carry their text",
        )


def _policy_recorded(now: LogState) -> str:
    statements = [
        statement for kind in ("origin", "policy") for statement in now.evidence.all(kind)
    ]
    return statements[-1].subjects[0].sha256 if statements else ""


def _usable(policies: Policies | CountersignError, in_force: str) -> tuple[Policies | None, str]:
    if isinstance(policies, CountersignError):
        return (
            None,
            "not recorded here: the log carries no policies, and those at hand cannot be read",
        )
    if policies.digest != in_force:
        return (
            None,
            (
                "not recorded here: the log carries no policies, and those at hand"
                f" ({policies.digest[:PREFIX]}) are not those it names ({in_force[:PREFIX]})"
            ),
        )
    return policies, ""


def registered(statement: Evidence) -> Registration:
    """The predicate of a `registration` statement."""
    if not isinstance(statement.predicate, Registration):
        raise TypeError(statement.kind)
    return statement.predicate


def promoted(statement: Evidence) -> Promotion:
    """The predicate of a `promotion` statement."""
    if not isinstance(statement.predicate, Promotion):
        raise TypeError(statement.kind)
    return statement.predicate


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
    return (
        f"{statement.kind} of {predicate.about}"
        if statement.kind in ("approval", "waiver")
        else statement.kind
    )


def of_chain(facts: Facts) -> Iterator[Evidence]:
    """Every statement that the version rests on, its registration and the decisions about it."""
    yield from facts.statements()
    yield facts.registration_statement
    yield from facts.promotions


def run_of(statement: Evidence) -> Run | None:
    """The run that made a statement; None for a person's statement."""
    run = getattr(statement.predicate, "run", None)
    return run if isinstance(run, Run) else None
