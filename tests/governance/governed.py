"""The story told with real people: service keys, a first policy that its owners signed, approvals,
requests.

ada  policy-owner, ml-lead        ben  policy-owner, risk        cleo  release-manager, product
dora asks for the runs            eve  is nobody in particular (a role that may do nothing)
ci   the service that signs evidence, registrations and promotions
"""

from __future__ import annotations

import atexit
import functools
import json
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.attest.keys import Signer
from governance.attest.predicates import (
    Approval,
    Artifact,
    Authorization,
    Incident,
    Intervention,
    Packet,
    PeriodicReview,
    PolicyChange,
    Promotion,
    PromotionRequest,
    Registration,
    Requester,
    Revocation,
    Waiver,
)
from governance.base.time import exact_instant
from governance.gates.decisions import decide_automatic
from governance.history import packet
from governance.log import evidence
from governance.log.port import Execute
from governance.machine.machine import machine, open_log, policy_subject, signer
from governance.machine.signers import private_signer
from governance.policy.policies import Policies, load_policies
from governance.release import promotion
from tests.governance.story import MODEL, START, Story, begin, digest, tell

PEOPLE = {
    "ada": ["policy-owner", "ml-lead"],
    "ben": ["policy-owner", "risk"],
    "cleo": ["release-manager", "product"],
    "dora": ["engineer"],
    "eve": ["visitor"],
}
KINDS = [
    "ingest",
    "scan",
    "quality",
    "base",
    "gate",
    "train",
    "evaluate",
    "registration",
    "promotion",
    "drill",
]
RULES = """
owners: {people: 2, roles: [policy-owner]}
aliases:
  champion: {requesters: [release-manager], request_hours: 24, rollback_people: 2, break_glass: [release-manager]}
waivers: {max_days: 30, accepted_by: [risk]}
"""
TABLES = """
CREATE TABLE registered_model_aliases (
  workspace TEXT, name TEXT, alias TEXT, version INTEGER, PRIMARY KEY (workspace, name, alias));
CREATE TABLE model_versions (workspace TEXT, name TEXT, version INTEGER, current_stage TEXT);
INSERT INTO model_versions VALUES ('default', 'support-desk', 1, 'None'), ('default', 'support-desk', 2, 'None');
"""
"""As much of MLflow's tables as an alias needs."""


def with_check(said: dict[str, Any]) -> dict[str, Any]:
    """What is said of an incident; a closing with a check that the actions were effective."""
    if said["state"] != "closed":
        return said
    return {"effective": "300 answers: none", "effective_at": said["at"], **said}


def keypair(seed: str) -> tuple[bytes, str]:
    """A private key in PEM that follows from `seed`, and its public key as an OpenSSH line."""
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(digest(seed)))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return private, public.decode()


def person(name: str) -> Signer:
    """Who signs as `name`; `ada2` is ada's second key."""
    return private_signer(keypair(name)[0], name)


def principals(
    keys: dict[str, list[str]] | None = None, services: Mapping[str, list[str]] | None = None
) -> str:
    """The principals of policy.yaml: the people, and the services with what they sign."""
    named = keys or {name: [name] for name in PEOPLE}
    rows = [
        {
            "name": name,
            "kind": "person",
            "roles": PEOPLE[name],
            "keys": [keypair(key)[1] for key in mine],
        }
        for name, mine in named.items()
    ]
    rows += [
        {"name": name, "kind": "service", "signs": signs, "keys": [keypair(name)[1]]}
        for name, signs in (services or {"ci": KINDS}).items()
    ]
    return "principals:\n" + "".join(f"  - {json.dumps(row)}\n" for row in rows)


class Table:
    """The registry's aliases, for tests that have no MLflow."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}

    def move(
        self,
        execute: Execute,
        model: str,
        alias: str,
        from_version: str | None,
        to_version: str | None,
    ) -> None:
        assert self.held.get((model, alias)) == from_version
        self.held.pop((model, alias), None)
        if to_version is not None:
            self.held[model, alias] = to_version


@dataclass
class Governed:
    """A story, its people, and the one door to its aliases."""

    story: Story
    table: Table
    main: str = "sft"
    """The stage or base whose version requests, waivers and incidents are about."""

    @property
    def now(self) -> datetime:
        return self.story.now()

    @property
    def promoter(self) -> promotion.Promoter:
        return promotion.Promoter(
            self.story.log,
            signer(self.story.machine),
            self.table.move,
            self.story.asked,
            self.story.now,
        )

    def say(
        self, who: str, kind: str, subjects: Iterable[Artifact], predicate: Any, key: str = ""
    ) -> int:
        """A statement by a person; its entry."""
        return evidence.record(
            self.story.log, person(key or who), kind, list(subjects), predicate
        ).index

    def signed(self, who: str, role: str, **fields: Any) -> dict[str, Any]:
        """What every statement by a person has."""
        return {
            "principal": who,
            "role": role,
            "reason": "because",
            "log": self.story.log.entry(0).leaf_hash.hex(),
            "at": exact_instant(self.now),
            **fields,
        }

    def freeze(self, version: str = "1") -> str:
        """The packet of a version, recorded; its digest."""
        story = self.story
        made = promotion.freeze(promotion.state(story.log), MODEL, version, self.now, story.run())
        evidence.record(story.log, signer(story.machine), "packet", packet.subjects(made), made)
        return packet.digest_of(made)

    def packet(self, sha256: str) -> Packet:
        found: Packet = (
            promotion.state(self.story.log).evidence.by_subject(sha256, "packet")[-1].predicate
        )
        return found

    def approve(
        self, who: str, role: str, subject: str, about: str = "packet", key: str = "", **fields: Any
    ) -> int:
        said = {
            "decision": "approve",
            "about": about,
            "model": MODEL,
            "page": digest("page"),
            **fields,
        }
        predicate = Approval.model_validate(self.signed(who, role, **said))
        return self.say(
            who, "approval", [Artifact(role=about, name="x", sha256=subject)], predicate, key
        )

    def request(
        self, version: str = "1", who: str = "cleo", role: str = "release-manager", **fields: Any
    ) -> str:
        """A signed request; the digest of its statement."""
        stage, named = fields.pop("stage", self.main), fields.pop("names", version)
        frozen = promotion.ask(
            promotion.state(self.story.log), "promote", MODEL, version, "champion"
        ).packet
        now = self.now
        said = {
            "action": "promote",
            "model": MODEL,
            "version": named,
            "alias": "champion",
            "model_digest": self.story.models[stage],
            "packet": frozen,
            "from_version": self.held(),
            "nonce": secrets.token_hex(16),
            "expires": exact_instant(now + timedelta(hours=8)),
            **fields,
        }
        predicate = PromotionRequest.model_validate(self.signed(who, role, **said))
        index = self.say(who, "request", [_model(said["model_digest"])], predicate)
        return next(
            one.digest
            for one in promotion.state(self.story.log).evidence.all("request")
            if one.index == index
        )

    def waive(
        self,
        code: str,
        about: str,
        days: int = 7,
        who: str = "ben",
        role: str = "risk",
        **fields: Any,
    ) -> int:
        now = self.now
        said = {
            "model": MODEL,
            "finding": code,
            "about": about,
            "owner": "risk",
            "control": "somebody looks",
            "expires": exact_instant(now + timedelta(days=days)),
            "accepts": self.found(code, about),
            **fields,
        }
        predicate = Waiver.model_validate(self.signed(who, role, **said))
        return self.say(who, "waiver", [_model(self.story.models[self.main])], predicate)

    def found(self, code: str, about: str) -> list[dict[str, Any]]:
        """What stands against the last version of these bytes now, as a waiver accepts it."""
        now = promotion.state(self.story.log)
        registered = now.evidence.by_subject(self.story.models[self.main], Registration)
        version = registered[-1].predicate.version if registered else ""
        if (MODEL, version) not in now.timeline.registrations:
            return []
        request = promotion.ask(now, "promote", MODEL, version, "champion")
        at = START + timedelta(minutes=self.story.minutes)  # looks at no clock
        decision = decide_automatic(request, now.evidence, at, now.authority)
        return [
            {"measure": each.measure, "figures": each.figures}
            for each in decision.findings
            if (each.code, each.subject) == (code, about) and (each.figures or each.measure)
        ]

    def incident(
        self, version: str, state: str, who: str = "ben", role: str = "risk", **fields: Any
    ) -> int:
        signed = self.signed(who, role, model=MODEL, version=version, state=state)
        predicate = Incident.model_validate({**with_check(signed), **fields})
        return self.say(who, "incident", [_model(self.story.models[self.main])], predicate)

    def review(
        self, version: str = "1", who: str = "ben", role: str = "risk", **fields: Any
    ) -> int:
        """A periodic review of a version; its entry."""
        predicate = PeriodicReview.model_validate(
            self.signed(who, role, model=MODEL, version=version, **fields)
        )
        return self.say(who, "periodic_review", [_model(self.story.models[self.main])], predicate)

    def intervene(
        self, version: str = "1", who: str = "ben", role: str = "risk", **fields: Any
    ) -> int:
        """An override in operation; its entry."""
        signed = self.signed(who, role, model=MODEL, version=version, event="override")
        said = {**signed, "what": "a person answered", "happened_at": signed["at"], **fields}
        predicate = Intervention.model_validate(said)
        return self.say(who, "intervention", [_model(self.story.models[self.main])], predicate)

    def revoke(self, key: str, owner: str, who: str, role: str, by: str = "") -> int:
        predicate = Revocation.model_validate(self.signed(who, role, owner=owner))
        return self.say(
            who,
            "revocation",
            [Artifact(role="key", name=owner, sha256=person(key).keyid)],
            predicate,
            by,
        )

    def propose(self, policies: Policies, who: str = "ada") -> int:
        """Other policies, proposed by one of the owners."""
        change = PolicyChange(
            previous=digest("before"),
            run=self.story.run(),
            files=dict(policies.files),
            log=self.story.log.entry(0).leaf_hash.hex(),
        )
        return self.say(who, "policy", [policy_subject(policies.digest)], change)

    def held(self) -> str | None:
        held = promotion.state(self.story.log).holder(MODEL, "champion")
        return held.version if held else None

    def consume(self, version: str = "1", alias: str = "champion", **how: Any) -> Promotion:
        return self.promoter.consume(MODEL, version, alias, "cleo@server", **how)

    def copy(self, folder: Path) -> Governed:
        """The same below another folder, to go on with."""
        shutil.copytree(self.story.root.parent, folder, dirs_exist_ok=True)
        here = machine(
            MODEL, {**self.story.machine.environ, "COUNTERSIGN_HOME": str(folder / "home")}
        )
        log = open_log(here, self.story.policies, lambda: START)
        story = replace(
            self.story,
            root=folder / "project",
            machine=here,
            log=log,
            models=dict(self.story.models),
            records=dict(self.story.records),
            outside=set(self.story.outside),
            further=dict(self.story.further),
            parents=dict(self.story.parents),
        )
        return Governed(story, Table(), self.main)

    def asked_for(self, version: str = "1") -> None:
        """Packet, two approvals, request."""
        frozen = self.freeze(version)
        self.approve("ada", "ml-lead", frozen)
        self.approve("ben", "risk", frozen)
        self.request(version, stage=self.packet(frozen).stage)

    def released(self, version: str = "1") -> Promotion:
        """The same, and the promotion."""
        self.asked_for(version)
        return self.consume(version)


def empty(
    folder: Path,
    rules: str = RULES,
    people: str = "",
    tier: str = "",
    project: str = MODEL,
    models: str = "",
    edit: Callable[[Path], object] | None = None,
    **more: str,
) -> Governed:
    """A log whose first policy names people and is signed by its owners; nothing has run yet.
    `models`: rows of `models` in the policy. `edit`: changes files below policies/ before they are
    in force. `more`: environment.
    """
    story = begin(folder / "unused")
    root = folder / "project"
    root.parent.mkdir(parents=True, exist_ok=True)
    story.root.rename(root)
    path = root / "policies" / "policy.yaml"
    text = path.read_text(encoding="utf-8").replace("principals: []", people or principals())
    approved = "    approvals: 2\n    approvers: [ml-lead, risk, product]\n"
    text = text.replace("    approvals: 2\n", approved)
    text = text.replace(approved, approved + tier, 1)  # tier `limited`
    text = text.replace("models:\n", f"models:\n{models}", 1)
    path.write_text(text + rules, encoding="utf-8")
    if edit is not None:
        edit(root / "policies")
    environ = {
        "COUNTERSIGN_HOME": str(folder / "home"),
        "COUNTERSIGN_SIGNER": "env:CI_KEY",
        "CI_KEY": keypair("ci")[0].decode(),
        **more,
    }
    here = machine(project, environ)
    policies = load_policies(root / "policies")
    told = Story(root, here, policies, open_log(here, policies, lambda: START))
    scene = Governed(told, Table())
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", policies.digest, "policy")
    return scene


def governed(folder: Path, rules: str = RULES) -> Governed:
    """With one version registered, made by runs that dora authorized. A copy of one that is made
    once for each `rules`, so all have the same origin.
    """
    return _governed(rules).copy(folder)


@functools.cache
def _governed(rules: str) -> Governed:
    folder = Path(tempfile.mkdtemp(prefix="governed-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return begun(folder, rules)


def begun(folder: Path, rules: str = RULES, people: str = "", tier: str = "") -> Governed:
    """The same, made here: a log of its own, with other people or another tier."""
    scene = empty(folder, rules, people, tier)
    authorize(scene)
    tell(scene.story)
    return scene


def authorize(
    scene: Governed,
    who: str = "dora",
    role: str = "engineer",
    hours: int = 24 * 365,
    key: str = "",
    until: str = "",
) -> None:
    """Runs from here on are in this person's name."""
    ends = exact_instant(scene.now + timedelta(hours=hours))
    predicate = Authorization.model_validate(scene.signed(who, role, expires=until or ends))
    subject = Artifact(role="key", name=who, sha256=person(key or who).keyid)
    index = scene.say(who, "authorization", [subject], predicate, key)
    said = [
        one
        for one in promotion.state(scene.story.log).evidence.all("authorization")
        if one.index == index
    ]
    scene.story.asked = Requester(name=who, authenticated=True, authorization=said[0].digest)


def _model(sha256: str) -> Artifact:
    return Artifact(role="model", name="sft", sha256=sha256)
