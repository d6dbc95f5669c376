"""Moves that the log does not give: somebody with the service's key records them past the server."""

from __future__ import annotations

from typing import Any

from governance.attest.predicates import Artifact, Promotion
from governance.base.time import exact_instant
from governance.history.state import state
from governance.log import evidence
from governance.machine.machine import signer
from governance.release import promotion
from tests.governance.governed import Governed
from tests.governance.story import MODEL


def forge(scene: Governed, of: str, **fields: Any) -> int:
    """Somebody with the service's key records a move past the server, exactly as the server would
    have asked for it; its entry.
    """
    now, alias = state(scene.story.log), fields.get("alias", "champion")
    asked = promotion.ask(now, fields.get("action", "promote"), MODEL, of, alias)
    moment = exact_instant(scene.now)
    move = Promotion(
        **{
            "model": MODEL,
            "version": of,
            "alias": alias,
            "model_digest": asked.released.sha256,
            "allowed": True,
            "findings": [],
            "policy": now.authority.in_force.digest,
            "at": moment,
            "run": scene.story.run(),
            "request": asked.request,
            "packet": asked.packet,
            "from_version": asked.from_version,
            "caller": "cleo@server",
            "asked": asked.model_dump(mode="json"),
            **fields,
        }
    )
    subject = Artifact(role="model", name=MODEL, sha256=move.model_digest)
    key = signer(scene.story.machine)
    return evidence.record(scene.story.log, key, "promotion", [subject], move).index


def second(scene: Governed, version: str = "2") -> None:
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98)
    scene.story.register("sft", version)
