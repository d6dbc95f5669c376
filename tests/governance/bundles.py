"""Bundles to verify: good ones, and logs in which somebody who holds the service's key lied."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import rfc8785

from governance.attest.envelope import sign_statement
from governance.attest.keys import Signer
from governance.attest.predicates import Approval, Artifact, Incident, Promotion, Registration
from governance.base.time import exact_instant
from governance.bundle import bundle_of, verify_bundle, write
from governance.bundle import standalone_verifier as verifier
from governance.history.model_entries import ModelEntries
from governance.history.verify import TrustAnchors
from governance.log import evidence, merkle
from governance.log.port import Log
from governance.log.sql import SqlLog
from governance.machine.machine import signer
from governance.release import promotion
from tests.governance.governed import Governed, person
from tests.governance.story import MODEL, digest

Json = dict[str, Any]


def made(log: Log, version: str = "1", **how: Any) -> bytes:
    signed = {} if how.get("whole") else {"index": index_of(log)}
    return write(bundle_of(log, MODEL, version, **{**signed, **how}))


def index_of(log: Log, model: str = MODEL) -> str:
    """The model's index, signed by the key of a log that is open for writing."""
    assert isinstance(log, SqlLog) and log.signer is not None
    return ModelEntries().signed(log, model, log.signer)


def pin(log: Log) -> str:
    """The leaf hash of entry 0."""
    return merkle.leaf_hash(log.entry(0).envelope).hex()


def both_accept(scene: Governed, version: str = "1") -> bool:
    """Whether both verifiers accept the bundle of a version; they agree."""
    data, origin = made(scene.story.log, version), pin(scene.story.log)
    ours = verify_bundle(data, TrustAnchors(origin)).ok
    try:
        verifier.verify(data, origin)
    except verifier.Refused:
        assert not ours
        return False
    assert ours
    return True


def opened(data: bytes) -> Json:
    value: Json = json.loads(data)
    return value


def sealed(bundle: Json) -> bytes:
    """The bundle sealed again, as whoever alters one would."""
    body = {name: value for name, value in bundle.items() if name != "seal"}
    return rfc8785.dumps({**body, "seal": hashlib.sha256(rfc8785.dumps(body)).hexdigest()})


def kind_of(item: Json) -> str:
    uri: str = said(item)["predicateType"]
    return uri.split("/")[-2]


def said(item: Json) -> Json:
    value: Json = json.loads(base64.b64decode(item["envelope"]["payload"]))
    return value


def forged(scene: Governed, key: str = "", by: Signer | None = None, **fields: Any) -> None:
    """A promotion that nothing decided, in the log: whoever holds the service's key can write
    one.
    """
    now = promotion.state(scene.story.log)
    version = fields.get("version", "1")
    asked = promotion.ask(now, "promote", MODEL, version, "champion")
    at = exact_instant(scene.now)
    known = {
        "model": MODEL,
        "version": "1",
        "alias": "champion",
        "model_digest": asked.released.sha256,
        "allowed": True,
        "findings": [],
        "policy": now.authority.in_force.digest,
        "at": at,
        "run": scene.story.run(),
        "action": "promote",
        "request": asked.request,
        "packet": asked.packet,
        "from_version": asked.from_version,
        "caller": "ci",
        "asked": asked.model_dump(mode="json"),
        "waived": [],
        "second_signature_by": None,
    }
    predicate = Promotion.model_validate({**known, **fields})
    subjects = [Artifact(role="model", name=MODEL, sha256=predicate.model_digest)]
    if predicate.request:
        subjects.append(Artifact(role="request", name="promote", sha256=predicate.request))
    by = by or (person(key) if key else signer(scene.story.machine))
    evidence.record(scene.story.log, by, "promotion", subjects, predicate, also=lambda _: None)


def _approved(scene: Governed, *voices: tuple[str, str], **fields: Any) -> None:
    frozen = scene.freeze()
    for who, role in voices:
        scene.approve(who, role, frozen, **fields)


def _self_approval(scene: Governed) -> None:
    """cleo asks for the move, and approves it."""
    _approved(scene, ("ada", "ml-lead"), ("cleo", "product"))
    scene.request()


def _by_who_asked_for_the_runs(scene: Governed) -> None:
    _approved(scene, ("ada", "ml-lead"), ("dora", "engineer"))
    scene.request()


def _twice(scene: Governed) -> None:
    _approved(scene, ("ada", "ml-lead"), ("ada", "ml-lead"))
    scene.request()


def _rejected(scene: Governed) -> None:
    frozen = scene.freeze()
    scene.approve("ada", "ml-lead", frozen)
    scene.approve("ben", "risk", frozen)
    scene.approve("cleo", "product", frozen, decision="reject")
    scene.request()


def _revoked(scene: Governed) -> None:
    """ada's key is revoked, and approves with yesterday's date."""
    frozen = scene.freeze()
    scene.revoke("ada", "ada", "ben", "policy-owner")
    scene.approve("ada", "ml-lead", frozen, at="2026-11-19T12:00:00.000000Z")
    scene.approve("ben", "risk", frozen)
    scene.request()


def _in_anothers_name(scene: Governed) -> None:
    frozen = scene.freeze()
    scene.approve("ada", "ml-lead", frozen, key="eve")
    scene.approve("ben", "risk", frozen)
    scene.request()


def _expired(scene: Governed) -> None:
    _approved(scene, ("ada", "ml-lead"), ("ben", "risk"), expires="2026-11-20T09:00:01.000000Z")
    scene.request()


def _no_page(scene: Governed) -> None:
    _approved(scene, ("ada", "ml-lead"), ("ben", "risk"), page=None)
    scene.request()


def _both(scene: Governed) -> None:
    _approved(scene, ("ada", "ml-lead"), ("ben", "risk"))


def _of_another_log(scene: Governed) -> None:
    """ben's approval names another log, and stands in this one all the same."""
    _approved(scene, ("ada", "ml-lead"))
    _approved(scene, ("ben", "risk"), log=digest("another log"))
    scene.request()


def _of_no_log(scene: Governed) -> None:
    """ben's approval names no log, as older programs wrote it."""
    frozen = scene.freeze()
    scene.approve("ada", "ml-lead", frozen)
    fields = {"decision": "approve", "about": "packet", "model": MODEL, "page": digest("page")}
    vote = Approval.model_validate(scene.signed("ben", "risk", **fields, log=None))
    subject = Artifact(role="packet", name="x", sha256=frozen)
    envelope = sign_statement(evidence.build_statement("approval", [subject], vote), person("ben"))
    scene.story.log.append(envelope, evidence.filed_under(envelope))
    scene.request()


def _before_the_packet(scene: Governed) -> None:
    _both(scene)
    scene.story.evaluate("sft", 0.96, 0.01)
    scene.freeze()
    scene.request()


def _not_entitled(scene: Governed) -> None:
    _both(scene)
    scene.request(who="ada", role="ml-lead")


def _late(scene: Governed) -> None:
    _both(scene)
    scene.request(expires=exact_instant(scene.now + timedelta(minutes=1)))
    scene.story.minutes += 60


def _incident(scene: Governed) -> None:
    _both(scene)
    scene.incident("1", "open")
    scene.request()


def _incident_after_its_waiver(scene: Governed) -> None:
    """Somebody accepted one incident; the next is another, whoever asks for the move says that it
    is over.
    """
    scene.incident("1", "open")
    scene.waive("INCIDENT_OPEN", f"model {MODEL}")
    _both(scene)
    scene.incident("1", "open", "ada", "ml-lead")
    scene.incident("1", "closed", "cleo", "release-manager")
    scene.request()


def _incident_beside_its_waiver(scene: Governed) -> None:
    """The waiver accepts an incident, and names another entry."""
    opened = scene.incident("1", "open")
    scene.waive("INCIDENT_OPEN", f"model {MODEL}", accepts=[{"figures": [str(opened - 1)]}])
    _both(scene)
    scene.request()


def requested(scene: Governed) -> None:
    """All that a promotion needs."""
    _both(scene)
    scene.request()


def _incident_of_another(scene: Governed) -> None:
    """Another model has the same bytes, and the same number; what is open there is closed here."""
    _both(scene)
    log = scene.story.log
    first = next(iter(promotion.state(log).evidence.all(Registration)))
    other = first.predicate.model_copy(update={"model": "help-desk"})
    evidence.record(log, signer(scene.story.machine), "registration", first.subjects, other)
    model = [Artifact(role="model", name="sft", sha256=scene.story.models["sft"])]
    said = Incident.model_validate(
        scene.signed("ben", "risk", model="help-desk", version="1", state="open")
    )
    scene.say("ben", "incident", model, said)
    scene.incident("1", "closed", who="ada", role="ml-lead")
    scene.request()


LIES: dict[str, tuple[Callable[[Governed], None], Json]] = {
    "nobody approved": (lambda scene: (_approved(scene), scene.request(), None)[-1], {}),
    "one approved": (
        lambda scene: (_approved(scene, ("ada", "ml-lead")), scene.request(), None)[-1],
        {},
    ),
    "one approved twice": (_twice, {}),
    "approved by who asks for the move": (_self_approval, {}),
    "approved by who asked for the runs": (_by_who_asked_for_the_runs, {}),
    "approved by a key that was revoked": (_revoked, {}),
    "approved in another's name": (_in_anothers_name, {}),
    "approvals that had ended": (_expired, {}),
    "approvals of no page": (_no_page, {}),
    "approvals of an earlier packet": (_before_the_packet, {}),
    "an approval of another log": (_of_another_log, {}),
    "an approval that names no log": (_of_no_log, {}),
    "somebody rejects it": (_rejected, {}),
    "asked for by who may not": (_not_entitled, {}),
    "the request had ended": (_late, {}),
    "an incident is open": (_incident, {}),
    "an incident is open that was opened after its waiver": (_incident_after_its_waiver, {}),
    "an incident is open that its waiver does not name": (_incident_beside_its_waiver, {}),
    "an incident of another model with these bytes is open": (_incident_of_another, {}),
    "nobody asked": (_both, {}),
    "another request": (requested, {"request": "0" * 64}),
    "another packet": (requested, {"packet": "0" * 64}),
    "another version before it": (requested, {"from_version": "7"}),
    "other policies": (requested, {"policy": "0" * 64}),
    "another model": (requested, {"model_digest": "0" * 64}),
}
"""What stood in the log when the service wrote that a promotion was allowed; fields of it that lie
besides.
"""
