"""Statements by people without a right: random ones, and authorizations."""

from __future__ import annotations

import random
from datetime import timedelta

from governance.attest.envelope import sign_statement
from governance.attest.predicates import Artifact, Authorization
from governance.base.time import exact_instant
from governance.log import evidence
from governance.log.port import Entry
from tests.governance.governed import Governed, person
from tests.governance.story import digest


def hostile_statement(scene: Governed, rng: random.Random, honest: list[Entry]) -> bytes:
    """An envelope: another's as it is, or what it says with changes, signed by another key."""
    entry = rng.choice(honest)
    if rng.random() < 0.3:
        return entry.envelope
    statement, _ = evidence.unverified(entry.envelope)
    who = rng.choice(["eve", "eve", "stranger"])
    predicate = statement["predicate"]
    if "principal" in predicate:
        predicate |= {"principal": rng.choice([who, "ada", "ben"]), "at": exact_instant(scene.now)}
        predicate["role"] = rng.choice(["visitor", "risk", "policy-owner", "ml-lead"])
    if predicate.get("expires"):
        predicate["expires"] = exact_instant(scene.now + timedelta(hours=rng.randint(1, 48)))
    for name, choices in {
        "decision": ["approve", "reject"],
        "state": ["open", "closed"],
        "about": ["packet", "policy", "data", "checkpoint_key", "promotion"],
        "version": ["1", "2"],
        "alias": ["champion", "candidate"],
        "reason": ["x", "y" * 3000, "\u202e"],
    }.items():
        if isinstance(predicate.get(name), str) and entry.kind != "waiver":
            predicate[name] = rng.choice(choices)
    if rng.random() < 0.2:
        statement["subject"][0]["digest"]["sha256"] = rng.choice(
            [digest("x"), person("ada").keyid, scene.story.models["sft"]]
        )
    if entry.kind == "authorization" and rng.random() < 0.7:
        statement["subject"][0]["digest"]["sha256"] = person(who).keyid
        predicate |= {"principal": who, "role": "visitor"}
    return sign_statement(statement, person(who))


def authorization(
    scene: Governed, hours: int, who: str = "eve", role: str = "visitor", key: str = ""
) -> bytes:
    """A person lets services run in their name. `key`: whose key the statement is about."""
    until = exact_instant(scene.now + timedelta(hours=hours))
    predicate = Authorization.model_validate(scene.signed(who, role, expires=until))
    subject = Artifact(role="key", name=key or who, sha256=person(key or who).keyid)
    return sign_statement(
        evidence.build_statement("authorization", [subject], predicate), person(who)
    )
