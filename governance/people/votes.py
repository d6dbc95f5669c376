"""Approvals, rejections and waivers: built, held against the rules that will judge them, and only then signed.

Nothing is signed that would not count: the statement is judged by `governance.checks.people` as if it stood in the
log already, and the reason it would be set aside is the refusal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from pydantic import ValidationError

from governance import packet, promotion
from governance.checks.context import Context, ReleaseContext
from governance.checks.votes import agreed, packet_votes
from governance.checks.waivers import waiver_problem
from governance.decisions import decide_automatic
from governance.digests import sha256_bytes
from governance.errors import ConfigError, InputError, RefusedError, meant
from governance.evidence import Evidence
from governance.findings import CODES, NEVER_WAIVED
from governance.instants import exact_instant, instant_of
from governance.keys import Signer, public_key
from governance.lineage import data_chain
from governance.log.port import Log
from governance.people.assumed import NOT_YET, Assumed, assumed
from governance.people.authorizing import speaking_for_themselves
from governance.people.enrolment import known_person
from governance.people.speaking import Said, Speaker, roles_of, say, speaker
from governance.policy import Principal
from governance.predicates import TEXTS, Approval, Artifact, Finding, PromotionRequest, Waiver
from governance.promotion import State
from governance.report.text import number
from governance.requests import GateRequest

About = Literal["packet", "data", "objective", "reward", "promotion"]
BEFORE_TRAINING: tuple[About, ...] = ("data", "objective", "reward")
SHORTEST = 8


@dataclass(frozen=True)
class Subject:
    """What somebody approves or rejects."""

    about: About
    sha256: str
    name: str
    """For people: MODEL/VERSION, a dataset, a stage, a reward function, a request."""
    model: str
    fitting: tuple[str, ...]
    """The roles in which it is approved."""
    shown: tuple[str, ...] = ()
    """What a person reads, where there is no page."""
    packet: Evidence | None = None
    alias: str | None = None

    @property
    def artifact(self) -> Artifact:
        """As the statement names it."""
        return Artifact(role=self.about, name=self.name, sha256=self.sha256)

    @property
    def text(self) -> bytes:
        """What is shown, where there is no page."""
        return "\n".join(self.shown).encode()


@dataclass(frozen=True)
class Vote:
    """What somebody says of a subject."""

    decision: Literal["approve", "reject"]
    reason: str
    page: str | None
    alias: str | None = None
    expires: datetime | None = None


@dataclass(frozen=True)
class Acceptance:
    """What somebody accepts for a while."""

    finding: str
    about: str | None
    """The finding's subject; None where only one such finding stands."""
    owner: str
    control: str
    days: int
    reason: str


@dataclass(frozen=True)
class Target:
    """What a waiver is about: a registered version, or a stage that a gate refused."""

    name: str
    model: str
    sha256: str
    findings: tuple[Finding, ...] = field(default=())


# -- What is meant -----------------------------------------------------------------------------------
def find(now: State, words: Sequence[str]) -> Subject:
    """MODEL/VERSION, a digest, or `data|objective|reward|promotion NAME_OR_DIGEST`. Raises `InputError`."""
    if len(words) == 2 and words[0] in (*BEFORE_TRAINING, "promotion", "packet"):
        about, name = words
        if about == "packet":
            return _packet_by_digest(now, name) or _unknown(now, name)
        found = _request(now, name) if about == "promotion" else _before(now, about, name)
        return found or _unknown(now, name)
    if len(words) != 1:
        raise ConfigError(
            f"{' '.join(words)[:120]!r} names nothing to approve",
            expected="MODEL/VERSION, a digest, or data, objective, reward or promotion with a name or digest",
        )
    (name,) = words
    model, slash, version = name.partition("/")
    if slash:
        return of_version(now, model, version)
    found = _packet_by_digest(now, name) or _request(now, name)
    found = found or next((one for about in BEFORE_TRAINING if (one := _before(now, about, name))), None)
    return found or _unknown(now, name)


def of_version(now: State, model: str, version: str) -> Subject:
    """The latest packet of a version. Raises `InputError` where it has none."""
    registered = now.registration(model, version).predicate
    item = packet.latest(now.evidence, model, version, registered.model_digest)
    if item is None:
        raise InputError(f"{model}/{version} has no packet yet", fix=f"countersign review {model}/{version}")
    return _of_packet(now, item)


def _unknown(now: State, name: str) -> Subject:
    known = sorted({f"{one.about} {one.name}" for one in waiting_before_training(now)})
    raise InputError(
        f"the log knows nothing {name[:80]!r} that could be approved",
        expected=f"MODEL/VERSION, a digest, or one of: {', '.join(known) or 'nothing that a gate asked about'}",
        fix="countersign pending shows what waits",
    )


def _of_packet(now: State, item: Evidence) -> Subject:
    said = item.predicate
    tier = now.authority.policies.tier_of(said.model)
    fitting = tuple(tier.approvers) if tier else ()
    name = f"{said.model}/{said.version}"
    return Subject("packet", packet.digest_of(said), name, said.model, fitting, packet=item)


def _packet_by_digest(now: State, text: str) -> Subject | None:
    found = [item for item in now.evidence.all("packet") if _begins(packet.digest_of(item.predicate), text)]
    _check_one([packet.digest_of(item.predicate) for item in found], text)
    return _of_packet(now, found[-1]) if found else None


def _request(now: State, text: str) -> Subject | None:
    """A request for a move, to be signed by somebody else too."""
    found = [item for item in now.evidence.all("request") if _begins(item.digest, text)]
    _check_one([item.digest for item in found], text)
    if not found:
        return None
    said: PromotionRequest = found[-1].predicate
    shown = (
        f"{said.action} of {said.model}/{said.version} ({said.model_digest[:12]}), alias {said.alias}",
        f"asked for by {said.principal} as {said.role} at {said.at}: {said.reason}",
        f"{'alone, breaking the glass; ' if said.break_glass else ''}open until {said.expires}",
    )
    fitting = tuple(roles_of(now.authority.policies))
    return Subject(
        "promotion", found[-1].digest, f"{said.action} {said.model}/{said.version}", said.model, fitting, shown,
        alias=said.alias,
    )  # fmt: skip


def requests_of_gates(now: State) -> dict[str, tuple[Evidence, GateRequest]]:
    """Stage to the latest statement of its gate, and what it was asked."""
    found: dict[str, tuple[Evidence, GateRequest]] = {}
    for item in now.view.all("gate"):
        try:
            request = GateRequest.model_validate(item.predicate.parameters)
        except ValidationError:
            continue
        found[request.stage] = (item, request)
    return found


def waiting_before_training(now: State) -> Iterator[Subject]:
    """Everything the gates asked about, that a tier may want approved before training."""
    for item, request in requests_of_gates(now).values():
        yield _data(now, item, request)
        if request.objective is not None:
            yield _of_gate(now, item, request, "objective", request.stage, request.objective)
        for name, sha256 in sorted(request.rewards.items()):
            if sha256 is not None:
                yield _of_gate(now, item, request, "reward", name, sha256)


def _before(now: State, about: str, name: str) -> Subject | None:
    found = [
        one
        for one in waiting_before_training(now)
        if one.about == about and (one.name == name or _begins(one.sha256, name))
    ]
    return found[-1] if found else None


def _of_gate(now: State, item: Evidence, request: GateRequest, about: About, name: str, sha256: str) -> Subject:
    code = item.predicate.code
    commit = f"{code.commit or 'no commit'}{', with changes that are not committed' if code.dirty else ''}"
    shown = [
        f"{about} {name}: sha256 {sha256}",
        f"used by {request.stage} ({request.method}) of {request.model}, parent {request.parent.name}",
        f"in the project at {commit}",
    ]
    text = _text(item, sha256)
    if text is not None:
        shown += ["", *text.splitlines()]
    elif about != "data":
        shown.append("its text is not in the log: read it in the project before you approve its digest")
    return Subject(about, sha256, name, request.model, _approvers(now, request.model), tuple(shown))


def _text(item: Evidence, sha256: str) -> str | None:
    """The text behind a digest, where the gate's statement carries it and it has that digest."""
    texts = item.predicate.run.detail.get(TEXTS)
    text = texts.get(sha256) if isinstance(texts, dict) else None
    if not isinstance(text, str) or sha256_bytes(text.encode()) != sha256:
        return None
    try:
        return json.dumps(json.loads(text), indent=1)
    except ValueError:
        return text


def _data(now: State, item: Evidence, request: GateRequest) -> Subject:
    """A dataset, with what the log says of it."""
    made = _of_gate(now, item, request, "data", request.data.dataset, request.data.sha256)
    chain = data_chain(now.view, request.data.dataset, request.data.sha256)
    card = now.authority.policies.datacards.get(request.data.dataset)
    lines = [*made.shown, f"gap in its evidence: {chain.broken_at or 'none'}"]
    if card is not None:
        lines.append(
            f"datacard: {card.title}; {card.origin}; licence {card.licence}; {card.lawful_basis}; "
            f"{card.classification}; kept until {card.retention.until}"
        )
    for step in (chain.ingest, chain.scan, chain.quality):
        if step is not None:
            counts = step.predicate.counts
            left = ", ".join(f"{number(count)} {reason}" for reason, count in sorted(counts.excluded.items()))
            lines.append(
                f"E{step.index} {step.predicate.stage}: {number(counts.records_in)} records in, "
                f"{number(counts.records_out)} out" + (f"; left out: {left}" if left else "")
            )
    if chain.scan is not None:
        scan = chain.scan.predicate
        lines.append(f"personal data: found {scan.found or 'none'}, remaining {scan.remaining or 'none'}")
        lines.append(f"not looked for or not findable: {'; '.join(scan.cannot_find) or 'nothing named'}")
    return Subject("data", made.sha256, made.name, made.model, made.fitting, tuple(lines))


def _approvers(now: State, model: str) -> tuple[str, ...]:
    tier = now.authority.policies.tier_of(model)
    return tuple(tier.approvers) if tier else ()


# -- Approving and rejecting -------------------------------------------------------------------------
def vote(
    log: Log, now: State, what: Subject, how: Vote, signer: Signer, role: str | None, at: datetime, *, dry_run: bool
) -> tuple[Said | None, Speaker]:
    """Signs an approval or rejection, if it will count. Raises `RefusedError`."""
    who = _voter(now, what, signer, role, at)
    said = Approval(
        **who.signed(how.reason, at, anywhere=what.about in BEFORE_TRAINING),
        decision=how.decision,
        about=what.about,
        model=what.model,
        alias=how.alias or what.alias,
        page=how.page,
        expires=exact_instant(how.expires) if how.expires else None,
    )
    problem = _problem(now, what, said, who, at)
    if problem:
        fix = f"countersign review {what.name}" if what.about == "packet" and _outdated(now, what, at) else ""
        raise RefusedError(f"this would not count: {problem}", where=f"{what.about} {what.name}", fix=fix)
    return None if dry_run else say(log, signer, "approval", [what.artifact], said), who


def _voter(now: State, what: Subject, signer: Signer, role: str | None, at: datetime) -> Speaker:
    """In a role that fits; behind somebody else's request anybody stands as themselves."""
    if what.about == "promotion":
        return speaking_for_themselves(now, signer, role, at)
    return speaker(now.authority, signer, role, what.fitting, at)


def said_already(now: State, what: Subject, how: Vote, who: Speaker) -> int | None:
    """The entry by which somebody said exactly this last, and it still counts; None where they did not."""
    mine = [
        item
        for item in now.evidence.by_subject(what.sha256, "approval")
        if (item.predicate.principal, item.predicate.role, item.predicate.about) == (who.name, who.role, what.about)
        and now.authority.speaker(item) is not None
    ]
    if not mine:
        return None
    last: Approval = mine[-1].predicate
    same = (last.decision, last.page, last.alias) == (how.decision, how.page, how.alias or what.alias)
    return mine[-1].index if same and last.expires is None else None


def _problem(now: State, what: Subject, said: Approval, who: Speaker, at: datetime) -> str:
    """Why a vote would be set aside; empty where it would count."""
    if what.about == "packet":
        return _packet_problem(now, what, said, who, at)
    if what.about == "promotion":
        request = next(item for item in now.evidence.all("request") if item.digest == what.sha256)
        return "it is your own request" if request.predicate.principal == who.name else ""
    return ""


def _packet_problem(now: State, what: Subject, said: Approval, who: Speaker, at: datetime) -> str:
    if what.packet is None:
        return "there is no packet"
    changed = _outdated(now, what, at) if said.decision == "approve" else []
    if changed:
        return f"what it rests on changed since the packet was put together: {', '.join(changed)}"
    context = context_of(now, what, [assumed(now, who.signer, "approval", what.artifact, said)], at, said.alias)
    votes, aside = packet_votes(context)
    if any(name == who.name and item.index == now.size for name, _, item in votes):
        return ""
    mine = [one for one in aside if one.startswith(f"{who.name} ")]
    return (mine or aside or ["nobody may vote on it"])[-1].removeprefix(f"{who.name} does not count: ")


def _outdated(now: State, what: Subject, at: datetime) -> list[str]:
    """What a packet rests on and is no longer so."""
    return promotion.changed(now, what.packet, at) if what.packet else []


def barred(now: State, what: Subject, person: Principal, at: datetime) -> bool:
    """Whether nothing this person could say for the packet would count: it is their own work."""
    key = public_key(person.keys[-1])
    roles = [role for role in person.roles if role in what.fitting]
    said = Approval(
        principal=person.name, role=(roles or [""])[0], reason="", at=exact_instant(at), decision="approve",
        about="packet", model=what.model, page="0" * 64,
    )  # fmt: skip
    item = Evidence(now.size, "approval", (what.artifact,), said, key.keyid, False, NOT_YET)
    votes, _ = packet_votes(context_of(now, what, [item], at))
    return not any(name == person.name and one.index == now.size for name, _, one in votes)


def wanted_by(finding: Finding, stage: str, subjects: Mapping[tuple[str, str], Subject]) -> Subject | None:
    """What a gate wants approved, from the subject its finding names (`governance.checks.people.approved_before`)."""
    what, _, name = finding.subject.partition(" ")
    if what == "objective":
        return subjects.get(("objective", stage))
    return subjects.get(({"dataset": "data", "reward": "reward"}.get(what, ""), name))


def approved(now: State, what: Subject, at: datetime) -> bool:
    """Whether it is approved, as the gate will judge it."""
    return agreed(now.authority, now.evidence.by_subject(what.sha256, "approval"), what.about, what.fitting, at)


def context_of(
    now: State, what: Subject, more: Sequence[Evidence], at: datetime, alias: str | None = None
) -> ReleaseContext:
    """What the decision on a packet's release looks at, with statements that nobody has made yet."""
    said = what.packet.predicate if what.packet else None
    version = said.version if said else ""
    to = alias or now.authority.policies.main_alias
    asked = promotion.ask(now, "promote", what.model, version, to).model_copy(update={"packet": what.sha256})
    return ReleaseContext(
        asked.model, (asked.released,), now.authority.policies, Assumed(now.evidence, more), at, asked.champion,
        asked.alias, authority=now.authority, governed=True, asked=asked, rights=now.authority,
    )  # fmt: skip


# -- Waiving -----------------------------------------------------------------------------------------
def target(now: State, name: str, at: datetime) -> Target:
    """`MODEL/VERSION` or `gate@STAGE`, with the findings that stand there now. Raises `InputError`."""
    if name.startswith("gate@"):
        stage = name.removeprefix("gate@")
        known = requests_of_gates(now)
        if stage not in known:
            raise InputError(f"the log has no gate of {stage!r}", expected=f"one of: {', '.join(sorted(known))}")
        item, request = known[stage]
        return Target(name, request.model, request.data.sha256, tuple(item.predicate.findings))
    model, slash, version = name.partition("/")
    if not slash:
        raise ConfigError(f"{name!r} names nothing", expected="MODEL/VERSION, or gate@STAGE before it is trained")
    alias = now.authority.policies.main_alias
    asked = promotion.ask(now, "promote", model, version, alias)
    decision = decide_automatic(asked, now.evidence, at, now.authority)
    return Target(name, model, asked.released.sha256, decision.findings)


def waive(
    log: Log,
    now: State,
    what: Target,
    how: Acceptance,
    signer: Signer,
    role: str | None,
    at: datetime,
    *,
    dry_run: bool,
) -> tuple[Said | None, Speaker, Waiver]:
    """Signs a waiver, if it will count. Raises `RefusedError`."""
    rules = now.authority.policies.rules.waivers
    _may_be_waived(how.finding, rules.never)
    finding = _finding(what, how)
    known_person(now.authority.policies, how.owner)
    who = speaker(now.authority, signer, role, rules.accepted_by, at)
    said = Waiver(
        **who.signed(how.reason, at),
        model=what.model,
        finding=finding.code,
        about=finding.subject,
        owner=how.owner,
        control=how.control,
        expires=exact_instant(at + timedelta(days=how.days)),
    )
    subject = Artifact(role="model" if "/" in what.name else "data", name=what.name, sha256=what.sha256)
    context = Context(what.model, (), now.authority.policies, now.evidence, at, authority=now.authority, governed=True)
    problem = waiver_problem(context, now.authority, assumed(now, signer, "waiver", subject, said))
    if problem:
        raise RefusedError(f"this would not count: {problem}", where=f"waiver of {finding.code}")
    return None if dry_run else say(log, signer, "waiver", [subject], said), who, said


def _may_be_waived(code: str, never: Sequence[str]) -> None:
    if code not in CODES:
        raise ConfigError(f"{code!r} is no finding code", fix=meant(code, CODES) or "docs/findings.md lists them")
    if code in NEVER_WAIVED:
        raise RefusedError(f"{code} is never waived: without it nothing that is decided could be believed")
    if code in never:
        raise RefusedError(f"policy never lets {code} be waived", where="policies/policy.yaml: waivers.never")


def _finding(what: Target, how: Acceptance) -> Finding:
    """The finding that is meant, of those that stand."""
    mine = [one for one in what.findings if one.code == how.finding and how.about in (None, one.subject)]
    if len(mine) == 1:
        return mine[0]
    if mine:
        raise ConfigError(
            f"{how.finding} stands {len(mine)} times",
            expected=f"--about, one of: {', '.join(one.subject for one in mine)}",
        )
    standing = ", ".join(f"{one.code} ({one.subject})" for one in what.findings)
    raise RefusedError(
        f"no {how.finding} stands against {what.name}" + (f" about {how.about}" if how.about else ""),
        expected=f"one of: {standing}" if standing else "a finding that stands; what is accepted already does not",
    )


def ends_soon(item: Evidence, at: datetime, days: int) -> bool:
    """Whether a waiver ends within so many days, or has ended as long ago at most."""
    left = instant_of(item.predicate.expires) - at
    return timedelta(days=-days) <= left <= timedelta(days=days)


def _check_one(digests: Sequence[str], text: str) -> None:
    """Nobody signs another thing than they mean because somebody found one whose digest begins alike."""
    if len(set(digests)) > 1:
        raise InputError(f"{len(set(digests))} digests begin with {text}", expected="one", fix="give more of it")


def _begins(sha256: str, text: str) -> bool:
    return len(text) >= SHORTEST and sha256.startswith(text)
