"""Finds what a person approves or rejects: a packet, an input of training, or the request of
another person.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from governance.attest.digests import SHORTEST as SHORTEST
from governance.attest.digests import sha256_bytes
from governance.attest.predicates import TEXTS, Artifact, Finding, PromotionRequest
from governance.attest.requests import GateRequest
from governance.base.errors import ConfigError, InputError
from governance.base.text import number
from governance.history import packet
from governance.history.lineage import data_chain
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.people.speaking import roles_of

About = Literal["packet", "data", "objective", "reward", "promotion"]
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
    shown: tuple[str, ...] = ()
    """The lines that a person reads if there is no page."""
    packet: Evidence | None = None
    alias: str | None = None

    @property
    def artifact(self) -> Artifact:
        """The subject of the statement."""
        return Artifact(role=self.about, name=self.name, sha256=self.sha256)

    @property
    def text(self) -> bytes:
        """The text that a person reads if there is no page."""
        return "\n".join(self.shown).encode()


def find(now: LogState, words: Sequence[str]) -> Subject:
    """MODEL/VERSION, a digest, or `data|objective|reward|promotion NAME_OR_DIGEST`. Raises
    `InputError`.
    """
    if len(words) == 2 and words[0] in (*BEFORE_TRAINING, "promotion", "packet"):
        about, name = words
        if about == "packet":
            return _packet_by_digest(now, name) or _unknown(now, name)
        subject = _request(now, name) if about == "promotion" else _before(now, about, name)
        return subject or _unknown(now, name)
    if len(words) != 1:
        raise ConfigError(
            f"{' '.join(words)[:120]!r} names nothing to approve",
            expected=(
                "MODEL/VERSION, a digest, or data, objective, reward or promotion with a name or"
                " digest"
            ),
        )
    (name,) = words
    model, slash, version = name.partition("/")
    if slash:
        return of_version(now, model, version)
    subject = _packet_by_digest(now, name) or _request(now, name)
    for about in BEFORE_TRAINING:
        subject = subject or _before(now, about, name)
    return subject or _unknown(now, name)


def of_version(now: LogState, model: str, version: str) -> Subject:
    """The latest packet of a version. Raises `InputError` where it has none."""
    registered = now.registration(model, version).predicate
    latest = packet.latest(now.evidence, model, version, registered.model_digest)
    if latest is None:
        raise InputError(
            f"{model}/{version} has no packet yet", fix=f"countersign freeze {model}/{version}"
        )
    return _of_packet(now, latest)


def _unknown(now: LogState, name: str) -> Subject:
    names = sorted({f"{subject.about} {subject.name}" for subject in waiting_before_training(now)})
    raise InputError(
        f"the log knows nothing {name[:80]!r} that could be approved",
        expected=(
            "MODEL/VERSION, a digest, or one of:"
            f" {', '.join(names) or 'nothing that a gate asked about'}"
        ),
        fix="countersign pending shows what waits",
    )


def _of_packet(now: LogState, frozen: Evidence) -> Subject:
    predicate = frozen.predicate
    name = f"{predicate.model}/{predicate.version}"
    return Subject(
        "packet",
        packet.digest_of(predicate),
        name,
        predicate.model,
        _approvers(now, predicate.model),
        packet=frozen,
    )


def _packet_by_digest(now: LogState, text: str) -> Subject | None:
    digests = {packet.digest_of(frozen.predicate): frozen for frozen in now.evidence.all("packet")}
    matching = [sha256 for sha256 in digests if _begins(sha256, text)]
    _check_unambiguous(matching, text)
    return _of_packet(now, digests[matching[-1]]) if matching else None


def _request(now: LogState, text: str) -> Subject | None:
    """A request for a move, for the signature of a second person."""
    requests = [request for request in now.evidence.all("request") if _begins(request.digest, text)]
    _check_unambiguous([request.digest for request in requests], text)
    if not requests:
        return None
    request: PromotionRequest = requests[-1].predicate
    alone = "alone, breaking the glass; " if request.break_glass else ""
    shown = (
        (
            f"{request.action} of {request.model}/{request.version}"
            f" ({request.model_digest[:12]}), alias {request.alias}"
        ),
        f"asked for by {request.principal} as {request.role} at {request.at}: {request.reason}",
        f"{alone}open until {request.expires}",
    )
    policies = now.authority.policies
    fitting = tuple(policies.rules.seconded_by or roles_of(policies))
    return Subject(
        "promotion",
        requests[-1].digest,
        f"{request.action} {request.model}/{request.version}",
        request.model,
        fitting,
        shown,
        alias=request.alias,
    )


def requests_of_gates(now: LogState) -> dict[str, tuple[Evidence, GateRequest]]:
    """Stage to the latest statement of its gate, and the request that the gate answered."""
    latest: dict[str, tuple[Evidence, GateRequest]] = {}
    for gate in now.view.all("gate"):
        try:
            request = GateRequest.model_validate(gate.predicate.parameters)
        except ValidationError:
            continue
        latest[request.stage] = (gate, request)
    return latest


def waiting_before_training(now: LogState) -> Iterator[Subject]:
    """The inputs of all gates that a tier may want approved before training."""
    for gate, request in requests_of_gates(now).values():
        yield _data(now, gate, request)
        if request.objective is not None:
            yield _of_gate(now, gate, request, "objective", request.stage, request.objective)
        for name, sha256 in sorted(request.rewards.items()):
            if sha256 is not None:
                yield _of_gate(now, gate, request, "reward", name, sha256)


def _before(now: LogState, about: str, name: str) -> Subject | None:
    matching = [
        subject
        for subject in waiting_before_training(now)
        if subject.about == about and (subject.name == name or _begins(subject.sha256, name))
    ]
    return matching[-1] if matching else None


def _of_gate(
    now: LogState, gate: Evidence, request: GateRequest, about: About, name: str, sha256: str
) -> Subject:
    code = gate.predicate.code
    dirty = ", with changes that are not committed" if code.dirty else ""
    commit = f"{code.commit or 'no commit'}{dirty}"
    shown = [
        f"{about} {name}: sha256 {sha256}",
        (
            f"used by {request.stage} ({request.method}) of {request.model}, parent"
            f" {request.parent.name}"
        ),
        f"in the project at {commit}",
    ]
    text = _text(gate, sha256)
    if text is not None:
        shown += ["", *text.splitlines()]
    elif about != "data":
        shown.append(
            "its text is not in the log: read it in the project before you approve its digest"
        )
    return Subject(about, sha256, name, request.model, _approvers(now, request.model), tuple(shown))


def _text(gate: Evidence, sha256: str) -> str | None:
    """The text with this digest, if the gate's statement contains it."""
    texts = gate.predicate.run.detail.get(TEXTS)
    text = texts.get(sha256) if isinstance(texts, dict) else None
    if not isinstance(text, str) or sha256_bytes(text.encode()) != sha256:
        return None
    try:
        return json.dumps(json.loads(text), indent=1)
    except ValueError:
        return text


def _data(now: LogState, gate: Evidence, request: GateRequest) -> Subject:
    """A dataset, with its records in the log."""
    dataset = _of_gate(now, gate, request, "data", request.data.dataset, request.data.sha256)
    chain = data_chain(now.view, request.data.dataset, request.data.sha256)
    card = now.authority.policies.datacards.get(request.data.dataset)
    lines = [*dataset.shown, f"gap in its evidence: {chain.broken_at or 'none'}"]
    if card is not None:
        lines.append(
            f"datacard: {card.title}; {card.origin}; licence {card.licence}; {card.lawful_basis}; "
            f"{card.classification}; kept until {card.retention.until}"
        )
    for step in (chain.ingest, chain.scan, chain.quality):
        if step is not None:
            counts = step.predicate.counts
            left = ", ".join(
                f"{number(count)} {reason}" for reason, count in sorted(counts.excluded.items())
            )
            lines.append(
                f"E{step.index} {step.predicate.stage}: {number(counts.records_in)} records in, "
                f"{number(counts.records_out)} out" + (f"; left out: {left}" if left else "")
            )
    if chain.scan is not None:
        scan = chain.scan.predicate
        lines.append(
            f"personal data: found {scan.found or 'none'}, remaining {scan.remaining or 'none'}"
        )
        lines.append(
            f"not looked for or not findable: {'; '.join(scan.cannot_find) or 'nothing named'}"
        )
    return Subject(
        "data", dataset.sha256, dataset.name, dataset.model, dataset.fitting, tuple(lines)
    )


def _approvers(now: LogState, model: str) -> tuple[str, ...]:
    tier = now.authority.policies.tier_of(model)
    return tuple(tier.approvers) if tier else ()


def subject_of_finding(
    finding: Finding, stage: str, subjects: Mapping[tuple[str, str], Subject]
) -> Subject | None:
    """The subject named by a finding (`governance.gates.checks.people.approved_before`)."""
    kind, _, name = finding.subject.partition(" ")
    if kind == "objective":
        return subjects.get(("objective", stage))
    return subjects.get(({"dataset": "data", "reward": "reward"}.get(kind, ""), name))


def _check_unambiguous(digests: Sequence[str], text: str) -> None:
    """Refuses a prefix of several digests, so that nobody signs another thing than they mean.
    Raises `InputError`.
    """
    if len(set(digests)) > 1:
        raise InputError(
            f"{len(set(digests))} digests begin with {text}", expected="one", fix="give more of it"
        )


def _begins(sha256: str, text: str) -> bool:
    return len(text) >= SHORTEST and sha256.startswith(text)
