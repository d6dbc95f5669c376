"""A log from before rules 2 keeps its keys and signatures; nothing new is accepted by them."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from governance.attest.envelope import sign_statement
from governance.attest.keys import Signer, earlier_key
from governance.attest.predicates import Approval, Artifact, PolicyChange
from governance.base.errors import CountersignError, RefusedError, VerificationError
from governance.bundle import standalone_verifier, verify_bundle
from governance.history.verify import LogReport, TrustAnchors, verify_log
from governance.log import api, evidence
from governance.machine import machine
from governance.machine.signers import private_signer
from governance.policy.authority import read_authority
from governance.policy.policies import files_digest, load_policies
from governance.release import promotion
from governance.server.append import verifier
from tests.governance import governed
from tests.governance.bundles import made, pin
from tests.governance.examples import A, artifact, ingest
from tests.governance.governed import Governed, begun, principals
from tests.governance.keys import EARLIER, P256, pem, text_of, twin, with_other_signature
from tests.governance.story import MODEL

RSA = text_of(EARLIER["RSA"])


class Earlier:
    """An RSA key, as earlier versions signed with it."""

    keyid = earlier_key(RSA).keyid
    public_pem = earlier_key(RSA).pem

    def sign(self, payload: bytes) -> bytes:
        return bytes.fromhex(CryptoSigner(EARLIER["RSA"]).sign(payload).signature)


KMS = private_signer(pem(P256), "kms")


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Governed:
    """A log that follows rules 1. Its policies name an RSA key, and a P-256 key whose statement
    stands there twice: as it was signed, and with the other signature.
    """
    monkeypatch.setattr(machine, "CURRENT", 1)
    monkeypatch.setattr(governed, "load_policies", functools.partial(load_policies, strict=False))
    rows = [
        {"name": name, "kind": "service", "signs": ["ingest"], "keys": [text]}
        for name, text in (("kms", text_of(P256)), ("old", RSA))
    ]
    people = principals() + "".join(f"  - {json.dumps(row)}\n" for row in rows)
    scene = begun(tmp_path, people=people)
    states(scene, KMS, "ingest@kms")
    states(scene, Earlier(), "ingest@old")
    signed = scene.story.log.entry(scene.story.log.size() - 2).envelope
    put(scene, with_other_signature(signed, twin))
    return scene


def states(scene: Governed, author: Signer, stage: str) -> int:
    return evidence.record(
        scene.story.log, author, "ingest", [artifact("records", A)], ingest(stage)
    ).index


def put(scene: Governed, envelope: bytes) -> int:
    """Somebody who can write the database."""
    filing = evidence.filed_under(envelope)
    return scene.story.log.append(envelope, filing, also=lambda _: None).index


def upgraded(scene: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CURRENT", 2)
    author = machine.signer(scene.story.machine)
    machine.follow_current_rules(scene.story.log, author, scene.story.run())


def report(scene: Governed) -> LogReport:
    log = scene.story.log
    anchors = TrustAnchors(origin=log.entry(0).leaf_hash.hex())
    return verify_log(log, MODEL, {}, anchors)


def both_accept(scene: Governed) -> bool:
    data, origin = made(scene.story.log), pin(scene.story.log)
    ours = verify_bundle(data, TrustAnchors(origin)).broken is None
    try:
        standalone_verifier.verify(data, origin)
    except standalone_verifier.Refused:
        assert not ours
        return False
    assert ours
    return True


def ingested(scene: Governed) -> list[str]:
    statements = promotion.state(scene.story.log).evidence.by_subject(A, "ingest")
    return [statement.predicate.stage for statement in statements]


def test_a_log_of_before_verifies_and_is_read_as_before(
    old: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert report(old).ok and both_accept(old)
    assert ingested(old) == ["ingest@kms", "ingest@old", "ingest@kms"]
    upgraded(old, monkeypatch)
    assert report(old).ok and both_accept(old)
    assert ingested(old) == ["ingest@kms", "ingest@old", "ingest@kms"]
    assert earlier_key(RSA).keyid in read_authority(old.story.log).policies.keys


NEW: dict[str, Any] = {
    "an RSA signature": lambda scene: signed_by(scene, Earlier()),
    "the twin of an ECDSA signature": lambda scene: with_other_signature(
        signed_by(scene, KMS), twin
    ),
}


def signed_by(scene: Governed, author: Signer) -> bytes:
    log = scene.story.log.entry(0).leaf_hash.hex()
    predicate = ingest("ingest@new").model_copy(update={"log": log})
    statement = evidence.build_statement("ingest", [artifact("records", A)], predicate)
    return sign_statement(statement, author)


@pytest.mark.parametrize("row", NEW)
def test_nothing_new_is_accepted_by_earlier_rules(
    row: str, old: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgraded(old, monkeypatch)
    envelope = NEW[row](old)
    with pytest.raises(VerificationError, match="does not verify"):
        api.append(old.story.log, verifier(old.story.log, old.story.now), envelope)
    put(old, envelope)
    assert not report(old).ok
    with pytest.raises(CountersignError):
        ingested(old)


def test_policies_with_an_earlier_key_are_never_in_force_again(
    old: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgraded(old, monkeypatch)
    files = dict(old.story.policies.files)
    files["policy.yaml"] += "# changed\n"
    digest = files_digest(files)
    change = PolicyChange(previous=old.story.policies.digest, run=old.story.run(), files=files)
    subject = Artifact(role="policy", name="policies", sha256=digest)
    author = machine.signer(old.story.machine)
    evidence.record(old.story.log, author, "policy", [subject], change)
    for who in ("ada", "ben"):
        old.approve(who, "policy-owner", digest, "policy")
    assert read_authority(old.story.log).in_force.digest == old.story.policies.digest
    assert both_accept(old)


def test_an_approval_counts_once(scene: Governed) -> None:
    """Whoever writes the database and signs its checkpoints logs an approval again that its author
    took back.
    """
    frozen = scene.freeze()
    scene.approve("ada", "ml-lead", frozen)
    approved = scene.story.log.entry(scene.approve("ben", "risk", frozen)).envelope
    scene.approve("ben", "risk", frozen, decision="reject", reason="I was wrong")
    scene.request()
    put(scene, approved)
    with pytest.raises(RefusedError, match="REJECTED"):
        scene.consume()
    approvals = promotion.state(scene.story.log).evidence.by_subject(frozen, Approval)
    assert [each.predicate.decision for each in approvals] == ["approve", "approve", "reject"]


def test_a_signature_of_policies_counts_once(scene: Governed) -> None:
    files = dict(scene.story.policies.files)
    files["policy.yaml"] += "# changed\n"
    digest = files_digest(files)
    change = PolicyChange(previous=scene.story.policies.digest, run=scene.story.run(), files=files)
    subject = Artifact(role="policy", name="policies", sha256=digest)
    evidence.record(
        scene.story.log, machine.signer(scene.story.machine), "policy", [subject], change
    )
    signed = scene.story.log.entry(scene.approve("ada", "policy-owner", digest, "policy")).envelope
    scene.approve("ada", "policy-owner", digest, "policy", decision="reject", reason="wrong")
    put(scene, signed)
    scene.approve("ben", "policy-owner", digest, "policy")
    assert read_authority(scene.story.log).in_force.digest == scene.story.policies.digest
    assert both_accept(scene)
