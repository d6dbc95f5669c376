"""Which move ends which tenure: a move of the same model, and of the same alias or version."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from governance.attest.predicates import Promotion
from governance.base.time import instant_of
from governance.history.state import state
from governance.history.timeline import Tenure, Timeline, _ends
from tests.governance.governed import Governed
from tests.governance.story import MODEL

ROWS = [
    # tenure of desk: alias, version; move: action, model, version, alias; whether it ends it
    ("champion", "1", "promote", "desk", "2", "champion", True),
    ("champion", "1", "rollback", "desk", "2", "champion", True),
    ("champion", "1", "promote", "desk", "2", "challenger", False),
    ("champion", "1", "promote", "other", "2", "champion", False),
    ("champion", "1", "retire", "desk", "1", "champion", True),
    ("challenger", "1", "retire", "desk", "1", "champion", True),
    ("candidate", "1", "retire", "desk", "1", "champion", False),
    ("champion", "1", "retire", "desk", "2", "champion", False),
    ("champion", "1", "retire", "other", "1", "champion", False),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(map(str, row)))
def test_a_move_ends_a_tenure(row: tuple[str, str, str, str, str, str, bool]) -> None:
    held, version, action, model, moved, alias, ends = row
    tenure = Tenure("desk", held, version, cast(Any, SimpleNamespace()))
    move = Promotion.model_construct(
        model=model, version=moved, alias=alias, action=cast(Any, action)
    )
    assert _ends(tenure, move) is ends


def test_a_version_holds_its_aliases_from_one_move_to_the_next(scene: Governed) -> None:
    scene.released()
    scene.request("1", action="retire", alias="champion", from_version="1")
    (asked,) = [
        statement.digest
        for statement in state(scene.story.log).evidence.all("request")
        if statement.predicate.action == "retire"
    ]
    scene.approve("ben", "risk", asked, "promotion")
    scene.consume("1", action="retire")
    timeline = state(scene.story.log).timeline
    candidate, champion, retired = (instant_of(move.predicate.at) for move in timeline.moves)
    micro = timedelta(microseconds=1)
    held = [
        (candidate - micro, []),
        (candidate, ["candidate"]),
        (champion - micro, ["candidate"]),
        (champion, ["candidate", "champion"]),
        (retired - micro, ["candidate", "champion"]),
        (retired, ["candidate"]),
    ]
    for at, aliases in held:
        assert [tenure.alias for tenure in timeline.held(MODEL, at)] == aliases
        assert timeline.held("another-model", at) == []
    assert timeline.retirements.keys() == {(MODEL, "1")}
    assert timeline.released_before(MODEL, "champion", None) == []


def test_a_request_waits_from_its_date_until_its_expiry(scene: Governed) -> None:
    scene.freeze()
    scene.request()
    timeline = state(scene.story.log).timeline
    (request,) = timeline.open_requests(MODEL)
    begins, ends = (instant_of(getattr(request.predicate, name)) for name in ("at", "expires"))
    micro = timedelta(microseconds=1)
    for at, count in ((begins - micro, 0), (begins, 1), (ends - micro, 1), (ends, 0)):
        assert len(timeline.pending_requests(at)) == count
    assert timeline.open_requests("another-model") == []


TARGETS = [
    # moves of desk's champion, or others where they say so; who holds it; the targets of a rollback
    ("", None, ""),
    ("promote:1", "1", ""),
    ("promote:1 promote:2", "2", "1"),
    ("promote:1 promote:2 promote:3", "3", "2 1"),
    ("promote:1 promote:2 promote:1", "1", "2"),
    ("promote:1 promote:2 promote:3 rollback:2", "2", "1"),
    ("promote:1 promote:2 promote:3 rollback:1", "1", ""),
    ("promote:1 promote:2 rollback:1 promote:3", "3", "1"),
    ("promote:1 promote:2 promote:3 retire:2", "3", "1"),
    ("promote:1 promote:2 retire:2", None, "1"),
    ("promote:1 promote:2:challenger promote:3", "3", "1"),
    ("promote:1 promote:2:champion:other promote:3", "3", "1"),
    ("promote:1 retire:1:champion:other promote:3", "3", "1"),
]


@pytest.mark.parametrize(("text", "holder", "targets"), TARGETS)
def test_a_rollback_goes_to_the_version_before(text: str, holder: str | None, targets: str) -> None:
    timeline = Timeline(cast(Any, None), cast(Any, None))
    moves = []
    for index, word in enumerate(text.split()):
        parts = word.split(":")
        action, version = parts[:2]
        alias, model = [*parts[2:], *["champion", "desk"][len(parts) - 2 :]]
        move = Promotion.model_construct(
            model=model, version=version, alias=alias, action=cast(Any, action)
        )
        moves.append(SimpleNamespace(index=index, predicate=move))
    vars(timeline)["moves"] = moves
    found = timeline.released_before("desk", "champion", holder)
    assert [move.predicate.version for move in found] == targets.split()
