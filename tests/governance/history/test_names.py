"""A name is only displayed: people and reasons called like our own words change nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from governance.history.state import state
from governance.history.verify import LogReport
from governance.people.pending import pending
from governance.release import retrospect
from governance.release.shown import shown
from governance.report.index import index
from governance.report.standing import Standing
from governance.report.status import status
from tests.governance import governed as world
from tests.governance.story import MODEL

SEEDS = ["ada", "ben", "cleo", "dora", "eve"]
ODD = ["brokenshire", "e1", "failed", "none", "waived"]
PLAIN = ["bqada", "eqben", "fqcleo", "nqdora", "wqeve"]
"""In the order of the odd ones, and in no word of ours."""
REASONS = ["none", "waived", "failed", "E1", "broken"]


def _scene(folder: Path, names: list[str], monkeypatch: pytest.MonkeyPatch) -> world.Governed:
    """The same life, of people with these names and the same keys."""
    roles = dict(zip(names, world.PEOPLE.values(), strict=True))
    keys = dict(zip(names, SEEDS, strict=True))
    monkeypatch.setattr(world, "PEOPLE", roles)
    listed = world.principals({name: [key] for name, key in keys.items()})
    signers = {name: world.person(key) for name, key in keys.items()}
    monkeypatch.setattr(world, "person", signers.__getitem__)
    monkeypatch.setattr(world, "secrets", _Nonces())
    monkeypatch.setattr(world.Governed, "approve", _renamed(world.Governed.approve, names))
    scene = world.empty(folder, people=listed)
    world.authorize(scene, names[3])
    return scene


def _renamed(approve: Any, names: list[str]) -> Any:
    """`empty` has ada and ben sign the first policies."""
    known = dict(zip(SEEDS, names, strict=True))
    return lambda scene, who, *rest, **more: approve(scene, known.get(who, who), *rest, **more)


class _Nonces:
    def token_hex(self, size: int) -> str:
        return "0" * 2 * size


def _life(scene: world.Governed, names: list[str], reasons: list[str]) -> None:
    """Every kind of statement by people, each with a reason."""
    ada, ben, cleo, _, eve = names
    world.tell(scene.story)
    frozen = scene.freeze()
    scene.approve(ada, "ml-lead", frozen, reason=reasons[0])
    scene.approve(eve, "visitor", frozen, reason=reasons[1])
    scene.approve(ben, "risk", frozen, reason=reasons[2])
    scene.request("1", cleo, reason=reasons[3])
    scene.consume("1")
    scene.incident("1", "open", ben, reason=reasons[4])
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.905)
    scene.story.register("sft", "2")
    scene.waive("THRESHOLD_NOT_MET", "model sft", who=ben, reason=reasons[1], owner=reasons[0])
    later = scene.freeze("2")
    scene.approve(ben, "risk", later, decision="reject", reason=reasons[2])
    scene.approve(ada, "ml-lead", later, reason=reasons[3])
    scene.request("2", cleo, reason=reasons[0])


def _views(scene: world.Governed) -> str:
    now, at = state(scene.story.log), scene.now
    standings = [Standing(now, item.predicate, at) for item in now.timeline.registrations.values()]
    told = {
        "live": [one.model_dump() for one in retrospect.live(now, MODEL, at)],
        "history": [one.model_dump() for one in retrospect.history(now, MODEL)],
        "status": status(scene.story.root, scene.story.machine, at).model_dump(),
        "index": index(now, LogReport(project="x", entries=now.size), at).model_dump(),
        "pages": {name: (one.description, one.tags) for name, one in shown(now, MODEL, at).items()},
        "pending": [one.model_dump() for one in pending(now, at)],
        "standing": [
            {
                "votes": [vote[:2] for vote in one.votes[0]],
                "aside": [(aside.person, aside.reason, aside.detail) for aside in one.votes[1]],
                "codes": [finding.code for finding in one.against],
                "open": len(one.open_incidents),
                "waits": [finding.code for finding in one.waits_for],
            }
            for one in standings
        ],
    }
    text = json.dumps(told, indent=1, default=str)
    return re.sub(r"[0-9a-f]{12,64}", "DIGEST", text.replace(str(scene.story.root.parent), ""))


@pytest.mark.slow
def test_names_and_reasons_change_nothing_but_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for names, reasons in ((PLAIN, [f"zqreason{n}zq" for n in range(5)]), (ODD, REASONS)):
        with monkeypatch.context() as patch:
            scene = _scene(tmp_path / names[0], names, patch)
            _life(scene, names, reasons)
            told.append(_views(scene))
    plain, odd = told
    for name, other in zip(PLAIN, ODD, strict=True):
        plain = plain.replace(name, other)
    for number, reason in enumerate(REASONS):
        plain = plain.replace(f"zqreason{number}zq", reason)
    assert plain.splitlines() == odd.splitlines()
