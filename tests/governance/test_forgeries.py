"""What somebody sends to a server's log so that others' words count where they were not meant: replays and forgeries.

Whoever sends it has an account, can read the whole log, and has at most a key of their own. Each row says what it
tries; none of it moves an alias, and the log verifies afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from governance import canonical, promotion
from governance.errors import CountersignError, RefusedError
from governance.log import api
from governance.server.append import verifier
from governance.verify import Pins, verify_log
from tests.governance.governed import Governed, governed
from tests.governance.story import MODEL


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Governed]:
    folder = tmp_path_factory.mktemp("forgeries")
    return folder, governed(folder)


@pytest.fixture
def scene(told: tuple[Path, Governed], tmp_path: Path) -> Governed:
    """A copy of a log with one registered version, to go on with."""
    return told[1].copy(told[0], tmp_path)


def send(scene: Governed, envelope: bytes) -> int:
    """As the server takes it; the entry."""
    return api.append(scene.story.log, verifier(scene.story.log), envelope).index


def said(scene: Governed, index: int) -> bytes:
    return scene.story.log.entry(index).envelope


def beside(envelope: bytes, *, first: bool, keyid: str = "ab" * 32) -> bytes:
    """The same statement with a second signature, by nobody."""
    data = json.loads(envelope)
    data["signatures"].insert(0 if first else 1, {"keyid": keyid, "sig": data["signatures"][0]["sig"]})
    return canonical.dumps(data)


def verifies(scene: Governed) -> None:
    log = scene.story.log
    report = verify_log(log, MODEL, scene.story.policies.keys, Pins(origin=log.entry(0).leaf_hash.hex()))
    assert report.ok, report.broken


Again = Callable[[bytes], bytes]
AGAIN: dict[str, Again] = {
    "the same bytes": lambda envelope: envelope,
    "a signature by nobody before it": lambda envelope: beside(envelope, first=True),
    "a signature by nobody after it": lambda envelope: beside(envelope, first=False),
    "a signature that claims a person": lambda envelope: beside(
        envelope, first=True, keyid=json.loads(envelope)["signatures"][0]["keyid"]
    ),
}


@pytest.mark.parametrize("row", AGAIN)
def test_an_approval_taken_back_is_not_said_again_by_others(row: str, scene: Governed) -> None:
    packet = scene.freeze()
    scene.approve("ada", "ml-lead", packet)
    taken_back = said(scene, scene.approve("ben", "risk", packet))
    scene.approve("ben", "risk", packet, decision="reject", reason="I was wrong")
    scene.request()
    size = scene.story.log.size()
    try:
        send(scene, AGAIN[row](taken_back))
    except CountersignError as error:
        assert "2 signatures" in str(error)
    assert scene.story.log.size() == size
    with pytest.raises(RefusedError, match="REJECTED"):
        scene.consume()
    verifies(scene)


@pytest.mark.parametrize("kind", ["gate", "registration", "promotion"])
def test_what_may_be_said_twice_is_not_said_twice_by_others(kind: str, scene: Governed) -> None:
    """An older decision of a service, sent again after a later one, would be the latest word."""
    first = next(iter(promotion.state(scene.story.log).evidence.all(kind)))
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.99)
    scene.story.register("sft", "2")
    size = scene.story.log.size()
    assert send(scene, said(scene, first.index)) == first.index
    assert scene.story.log.size() == size
    verifies(scene)
