"""Finds what a person approves or rejects: a packet, an input of training, or the request of
another person.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from governance.attest.digests import SHORTEST
from governance.attest.predicates import (
    Artifact,
    GateDecision,
    Generation,
    Packet,
    PromotionRequest,
)
from governance.attest.requests import (
    GateRequest,
    GenerationRequest,
    asked_of_gate,
    asked_of_generation,
    text_of,
)
from governance.base.errors import ConfigError, InputError, VerificationError
from governance.history import packet
from governance.history.lineage import data_chain
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.release.promotion import latest_packet
from governance.report.html import lines

About = Literal["packet", "data", "objective", "reward", "promotion", "registration"]
BEFORE_TRAINING: tuple[About, ...] = ("data", "objective", "reward")


@dataclass(frozen=True)
class Subject:
    """A thing that a person approves or rejects."""

    about: About
    sha256: str
    name: str
    """The name for people: MODEL/VERSION, a dataset, a stage, a reward function, a request."""
    model: str
    fitting: tuple[str, ...]
    """The roles that may approve it."""
    statement: Evidence
    """The packet, the request, or the statement of the gate that asked about it."""
    text: str = ""
    """What a person reads if there is no page."""
    alias: str | None = None
    stage: str = ""
    """Before training: the DVC stage that asked."""

    @property
    def packet(self) -> Evidence | None:
        """The packet, if it is one."""
        return self.statement if self.about == "packet" else None

    @property
    def artifact(self) -> Artifact:
        """The subject of the statement."""
        return Artifact(role=self.about, name=self.name, sha256=self.sha256)


def find(now: LogState, words: Sequence[str]) -> Subject:
    """MODEL/VERSION, a digest, or `data|objective|reward|promotion|registration NAME_OR_DIGEST`.
    Raises `ConfigError`, `InputError`.
    """
    about, name = (words[0], words[1]) if len(words) == 2 else (None, words[-1])
    named = (None, *BEFORE_TRAINING, "promotion", "registration", "packet")
    if len(words) > 2 or about not in named:
        raise ConfigError(
            f"{' '.join(words)[:120]!r} names nothing to approve",
            expected="MODEL/VERSION, a digest, or"
            " data|objective|reward|promotion|registration NAME_OR_DIGEST",
        )
    model, slash, version = name.partition("/")
    if slash and about is None:
        return of_version(now, model, version)
    inputs = [subject for subject in waiting_before_training(now) if about in (None, subject.about)]
    others = [subject for subject in _others(now) if about in (None, subject.about)]
    long_enough = len(name) >= SHORTEST
    matching = [
        subject for subject in (*others, *inputs) if long_enough and subject.sha256.startswith(name)
    ]
    if len({subject.sha256 for subject in matching}) > 1:
        raise InputError(f"several digests begin with {name}", fix="give more of it")
    matching = matching or [subject for subject in inputs if subject.name == name]
    if matching:
        return matching[-1]
    names = ", ".join(sorted({f"{subject.about} {subject.name}" for subject in inputs}))
    found = f"the log knows nothing {name[:80]!r} that could be approved"
    expected = f"MODEL/VERSION, a digest, or one of: {names or 'no gate asks for any'}"
    raise InputError(found, expected=expected, fix="countersign pending shows what waits")


def of_version(now: LogState, model: str, version: str) -> Subject:
    """The latest packet of a version. Raises `InputError` where it has none."""
    latest = latest_packet(now, model, version)
    if latest is None:
        name = f"{model}/{version}"
        raise InputError(f"{name} has no packet yet", fix=f"countersign freeze {name}")
    return _of_packet(now, latest)


def _of_packet(now: LogState, frozen: Evidence[Packet]) -> Subject:
    model, name = frozen.predicate.model, f"{frozen.predicate.model}/{frozen.predicate.version}"
    sha256 = packet.digest_of(frozen.predicate)
    return Subject("packet", sha256, name, model, _approvers(now, model), frozen)


def _others(now: LogState) -> Iterator[Subject]:
    """The packets; the requests for moves, for the signature of a second person; and the
    registrations of versions that have several digests.
    """
    for frozen in now.evidence.all(Packet):
        yield _of_packet(now, frozen)
    policies = now.authority.policies
    fitting = tuple(policies.rules.second_roles)
    for statement in now.evidence.all(PromotionRequest):
        request = statement.predicate
        name = f"{request.action} {request.model}/{request.version}"
        yield Subject(
            "promotion", statement.digest, name, request.model, fitting, statement,
            _drawn(request=request), alias=request.alias,
        )  # fmt: skip
    owners = tuple(policies.rules.owners.roles) if policies.rules.owners else ()
    for (model, version), registrations in now.timeline.registered_twice.items():
        for registration in registrations:
            name, shown = f"{model}/{version}", _drawn(registration=registration)
            sha256 = registration.digest
            yield Subject("registration", sha256, name, model, owners, registration, shown)


# -- Before training -------------------------------------------------------------------------------
def requests_of_gates(now: LogState) -> dict[str, tuple[Evidence, GateRequest]]:
    """Stage to the latest statement of its gate, and the request that the gate answered."""
    latest: dict[str, tuple[Evidence, GateRequest]] = {}
    for gate in now.view.all(GateDecision):
        with suppress(VerificationError):
            request = asked_of_gate(gate.predicate)
            latest[request.stage] = (gate, request)
    return latest


def requests_of_generations(
    now: LogState,
) -> dict[str, tuple[Evidence[Generation], GenerationRequest]]:
    """Row of `generate` to the latest statement of it, and the request that was decided on."""
    latest: dict[str, tuple[Evidence[Generation], GenerationRequest]] = {}
    for made in now.view.all(Generation):
        with suppress(VerificationError):
            request = asked_of_generation(made.predicate)
            latest[request.stage] = (made, request)
    return latest


def waiting_before_training(now: LogState) -> Iterator[Subject]:
    """The inputs of all gates that a tier may want approved before training."""
    for stage, (gate, request) in sorted(requests_of_gates(now).items()):
        inputs: list[tuple[About, str, str | None]] = [
            ("data", request.data.dataset, request.data.sha256),
            ("objective", stage, request.objective),
            *(("reward", name, sha256) for name, sha256 in sorted(request.rewards.items())),
        ]
        fitting = tuple(
            dict.fromkeys(role for model in request.models for role in _approvers(now, model))
        )
        for about, name, sha256 in inputs:
            if sha256 is None:
                continue
            shown = _input(now, gate, request, about, name, sha256)
            for model in request.models:
                yield Subject(
                    about, sha256, name, model, fitting, gate, shown, stage=f"gate@{stage}"
                )
    yield from _of_generations(now)


def _of_generations(now: LogState) -> Iterator[Subject]:
    """The prompts and constitutions of the datasets that are to be generated."""
    for made, request in requests_of_generations(now).values():
        for name, sha256, shown in _inputs_of(now, made, request):
            for model in request.models:
                yield Subject(
                    "data", sha256, name, model, _approvers(now, model), made, shown,
                    stage=made.predicate.stage,
                )  # fmt: skip


def _inputs_of(
    now: LogState, made: Evidence[Generation], request: GenerationRequest
) -> Iterator[tuple[str, str, str]]:
    """Name, digest and text of the prompts, and of the constitution if it is that in force."""
    policies, code = now.authority.policies, made.predicate.code
    facts = {"about": "data", "generation": request, "code": code}
    name, sha256 = request.data.dataset, request.data.sha256
    chain, card = data_chain(now.view, name, sha256), policies.datacards.get(name)
    yield name, sha256, _drawn(name=name, sha256=sha256, chain=chain, card=card, **facts)
    name = request.constitution
    if request.constitution_digest is not None:
        sha256 = request.constitution_digest
        in_force = policies.constitution_digest(name) == sha256
        text = policies.files.get(f"constitutions/{name}.yaml") if in_force else None
        drawn = _drawn(name=name, sha256=sha256, text=text, **facts)
        yield name, sha256, "\n".join([drawn, "", *(text or "").splitlines()])


def _input(
    now: LogState, gate: Evidence, request: GateRequest, about: About, name: str, sha256: str
) -> str:
    """A dataset with its records in the log; else a text, if the log has it."""
    facts = {"about": about, "name": name, "sha256": sha256, "code": gate.predicate.code}
    if about == "data":
        chain, card = data_chain(now.view, name, sha256), now.authority.policies.datacards.get(name)
        return _drawn(gate=request, chain=chain, card=card, **facts)
    text = _text(gate, sha256)
    drawn = _drawn(gate=request, text=text, **facts)
    return "\n".join([drawn, "", *text.splitlines()]) if text else drawn


def _drawn(**facts: Any) -> str:
    absent = dict.fromkeys(("request", "registration", "generation", "chain"))
    fields = {**absent, "text": "", **facts}
    return "\n".join(lines("subject.txt.j2", **fields))


def _text(gate: Evidence[GateDecision], sha256: str) -> str | None:
    """The text with this digest, if the gate's statement contains it. JSON is indented."""
    text = text_of(gate.predicate, sha256)
    if text is None:
        return None
    with suppress(ValueError):
        text = json.dumps(json.loads(text), indent=1)
    return text


def _approvers(now: LogState, model: str) -> tuple[str, ...]:
    tier = now.authority.policies.tier_of(model)
    return tuple(tier.approvers) if tier else ()
