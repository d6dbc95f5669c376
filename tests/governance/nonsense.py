"""Statements that are almost those of a log, signed by somebody whom it knows; and what nobody may
state there.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from governance.attest import canonical
from governance.attest.envelope import sign_payload, unverified
from governance.attest.keys import Signer
from governance.base.errors import CountersignError
from governance.base.time import exact_instant
from governance.machine.machine import signer
from governance.policy.policies import files_digest
from tests.fuzzing import other_text, other_value
from tests.governance.governed import KINDS, PEOPLE, Governed, person

SERVER_ONLY = {"origin", "refusal", "call", "rules"}
OPEN = {"policy", "packet", "report"}
"""Kinds that give no right, which a key without any may sign at most."""


def nonsense(
    scene: Governed, chance: Random, others: tuple[Signer, ...] = ()
) -> tuple[dict[str, Any], Signer]:
    """A statement of the log with some changes, and who signs it: mostly its author, otherwise any
    person or one of `others`.
    """
    log = scene.story.log
    statement, keyid = unverified(log.entry(chance.randrange(1, log.size())).envelope)
    statement = json.loads(json.dumps(statement))
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        statement["predicate"] = other_value(statement["predicate"], chance)
    predicate = statement["predicate"]
    if isinstance(predicate, dict) and "at" in predicate and chance.random() < 0.3:
        predicate["at"] = exact_instant(scene.now)  # otherwise a server refuses it for its date
    files = predicate.get("files") if isinstance(predicate, dict) else None
    if isinstance(files, dict) and files and all(isinstance(text, str) for text in files.values()):
        path = chance.choice(sorted(files))
        files[path] = other_text(files[path], chance) if files[path] else "x"
        statement["subject"][0]["digest"]["sha256"] = files_digest(files)
    elif chance.random() < 0.2:
        statement["subject"] = other_value(statement["subject"], chance)
    if chance.random() < 0.05:
        statement = other_value(statement, chance)
    people = {person(name).keyid: person(name) for name in PEOPLE}
    author = people.get(keyid, signer(scene.story.machine))
    return statement, author if chance.random() < 0.7 else chance.choice(
        [*people.values(), *others]
    )


def signed(statement: dict[str, Any], author: Signer) -> bytes:
    """Its envelope, in canonical form where it has one."""
    try:
        payload = canonical.dumps(statement)
    except CountersignError:
        payload = json.dumps(statement).encode()
    return sign_payload(payload, author)


def is_nobodys(scene: Governed, envelope: bytes) -> str:
    """Why nobody may state this in the log of the scene, by rules that are written here anew; empty
    where somebody may.
    """
    statement, keyid = unverified(envelope)
    predicate = statement["predicate"]
    kind = statement["predicateType"].split("/")[-2]
    names = {person(name).keyid: name for name in PEOPLE}
    service = signer(scene.story.machine).keyid
    if kind in SERVER_ONLY:
        return "only the server states this"
    if kind == "promotion" and predicate["alias"] != "candidate":
        return "a governed alias"
    if predicate.get("log") not in (None, scene.story.log.entry(0).leaf_hash.hex()):
        return "another log"
    if "principal" in predicate:
        name = predicate["principal"]
        is_theirs = names.get(keyid) == name and predicate["role"] in PEOPLE[name]
        return "" if is_theirs else "in another's name or role"
    if keyid == service:
        return "" if kind in {*KINDS, *OPEN} else "a kind that the service may not sign"
    return "" if keyid in names and kind in OPEN else "a key without this right"
