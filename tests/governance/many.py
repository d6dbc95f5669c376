"""A log of many versions: one story, and then for each version its training, scores, approvals and
release.

Written with the same statements and keys as the story, without asking for a decision each time: for
measuring.
"""

from __future__ import annotations

from pathlib import Path

from governance.attest.predicates import (
    Approval,
    Artifact,
    Packet,
    Promotion,
    PromotionRequest,
    Registration,
)
from governance.attest.requests import ReleaseRequest
from governance.base.time import exact_instant
from governance.history import packet
from governance.history.state import state
from governance.log import evidence
from governance.machine.machine import signer
from governance.release import promotion
from tests.governance.governed import Governed, governed, person
from tests.governance.story import MODEL, digest


def many(folder: Path, versions: int) -> Governed:
    """A governed log in which `versions` versions were approved and made champion, one after the
    other.
    """
    scene = governed(folder)
    now = state(scene.story.log)
    made = promotion.freeze(now, MODEL, "1", scene.now, scene.story.run())
    asked = promotion.ask(now, "promote", MODEL, "1", "champion")
    for number in range(2, versions + 1):
        asked = _version(scene, str(number), made, asked)
    return scene


def _version(scene: Governed, version: str, like: Packet, before: ReleaseRequest) -> ReleaseRequest:
    story = scene.story
    story.models["sft"] = digest(f"model {version}")
    story.evaluate("sft", 0.95 + 0.04 * (int(version) % 7) / 7)
    model = [Artifact(role="model", name="models/sft/model", sha256=story.models["sft"])]
    common = {"model": MODEL, "version": version, "model_digest": story.models["sft"]}
    registered = Registration(
        **common,
        stage="sft",
        tier="limited",
        files=like.files,
        chain=[],
        policy=story.policies.digest,
        run=story.run(),
    )
    evidence.record(story.log, signer(story.machine), "registration", model, registered)
    frozen = like.model_copy(update={**common, "run": story.run()})
    evidence.record(story.log, signer(story.machine), "packet", packet.subjects(frozen), frozen)
    for who, role in (("ada", "ml-lead"), ("ben", "risk")):
        said = {"decision": "approve", "about": "packet", "model": MODEL, "page": digest("page")}
        approval = Approval.model_validate(scene.signed(who, role, **said))
        subject = Artifact(role="packet", name="x", sha256=packet.digest_of(frozen))
        evidence.record(story.log, person(who), "approval", [subject], approval)
    asked = {
        **common, "action": "promote", "alias": "champion", "packet": packet.digest_of(frozen),
        "from_version": str(int(version) - 1) if version != "2" else None, "nonce": version,
        "expires": "2099-01-01T00:00:00Z",
    }  # fmt: skip
    request = PromotionRequest.model_validate(scene.signed("cleo", "release-manager", **asked))
    entry = evidence.record(story.log, person("cleo"), "request", model, request)
    holds = before.request is not None
    question = before.model_copy(
        update={
            "released": before.released.model_copy(update={"sha256": story.models["sft"]}),
            "champion": before.released.sha256 if holds else None,
            "from_version": before.version if holds else None,
            "version": version, "packet": asked["packet"], "request": _digest(entry.envelope),
        }
    )  # fmt: skip
    moved = Promotion(
        **common,
        alias="champion",
        allowed=True,
        findings=[],
        policy=story.policies.digest,
        at=exact_instant(scene.now),
        run=story.run(),
        request=_digest(entry.envelope),
        packet=asked["packet"],
        from_version=asked["from_version"],
        caller="cleo@server",
        asked=question.model_dump(mode="json"),
    )
    evidence.record(story.log, signer(story.machine), "promotion", model, moved)
    return question


def _digest(envelope: bytes) -> str:
    import base64
    import json

    from governance.attest.digests import sha256_bytes

    return sha256_bytes(base64.b64decode(json.loads(envelope)["payload"]))
