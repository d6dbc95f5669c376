"""What the log says of the alias that is served."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from governance.attest.findings import finding
from governance.history.state import state
from governance.policy.serving import ServingRules
from governance.proxy import facts
from governance.proxy.canary import Moment
from governance.proxy.facts import said_of
from governance.proxy.permission import Said
from tests.governance.forged import forge, second
from tests.governance.governed import RULES, Governed, begun, governed
from tests.governance.one_connection import one_connection as one_connection  # the fixture
from tests.governance.story import MODEL

MOMENT = Moment(datetime(2027, 1, 1, tzinfo=UTC), 1000.0)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """One version, champion by a decision; read only."""
    found = governed(tmp_path_factory.mktemp("once"))
    found.released()
    return found


@pytest.fixture
def scene(once: Governed, tmp_path: Path) -> Governed:
    """A copy of it, to go on with."""
    copied = once.copy(tmp_path)
    copied.table.held[MODEL, "champion"] = "1"
    return copied


def said(scene: Governed, alias: str = "champion") -> Said:
    return said_of(state(scene.story.log), MODEL, alias, MOMENT)


def codes(found: Said) -> list[str]:
    against = (each for held in found.versions for each in held.against)
    return [each.code for each in (*found.findings, *against)]


def retired(scene: Governed) -> None:
    digest = scene.story.models["sft"]
    request = scene.request("1", action="retire", alias="champion", model_digest=digest)
    scene.approve("ben", "risk", request, "promotion")
    assert scene.promoter.consume(MODEL, "1", "champion", "cleo@server").action == "retire"


def unreleased(scene: Governed) -> None:
    second(scene)
    forge(scene, "2")


def closed(scene: Governed) -> None:
    scene.incident("1", "open")
    scene.incident("1", "closed")


CASES: dict[str, tuple[Callable[[Governed], object], list[str]]] = {
    "as released": (lambda scene: None, []),
    "an open incident": (lambda scene: scene.incident("1", "open"), ["INCIDENT_OPEN"]),
    "an incident that was closed": (closed, []),
    "an incident by somebody who may not": (
        lambda scene: scene.incident("1", "open", who="eve", role="visitor"),
        [],
    ),
    "a retirement": (retired, ["RETIRED"]),
    "a move that the log does not give": (unreleased, ["DECISION_NOT_REPRODUCED"]),
}


@pytest.mark.parametrize("row", CASES)
def test_what_is_against_the_holder(row: str, scene: Governed) -> None:
    happen, expected = CASES[row]
    happen(scene)
    found = said(scene)
    assert codes(found) == expected
    assert found.size == scene.story.log.size()
    if not expected:
        (held,) = found.versions
        assert held.digest == scene.story.models["sft"] and held.name == "support-desk/1"


def test_nobody_holds_an_alias_that_was_never_given(scene: Governed) -> None:
    assert codes(said(scene, "challenger")) == ["ALIAS_NOT_HELD"]
    assert said(scene, "candidate").versions[0].version == "1"


def test_a_row_of_the_registry_counts_against_version_and_alias_only(scene: Governed) -> None:
    now = state(scene.story.log)
    others = [finding("REGISTRY_ALIAS_MOVED", name) for name in ("support-desk/9", "x@champion")]
    assert codes(said_of(now, MODEL, "champion", MOMENT, others)) == []
    own = [finding("REGISTRY_ALIAS_MOVED", f"{MODEL}@champion")]
    assert codes(said_of(now, MODEL, "champion", MOMENT, own)) == ["REGISTRY_ALIAS_MOVED"]


SEVERE: list[tuple[str | None, list[str]]] = [
    ("low", []),
    ("high", ["INCIDENT_OPEN"]),
    (None, ["INCIDENT_OPEN"]),
]


@pytest.mark.parametrize(("severity", "expected"), SEVERE)
def test_policy_says_which_incidents_end_serving(
    severity: str | None, expected: list[str], scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "rules_of", lambda now: ServingRules(stop_at_incident="high"))
    scene.incident("1", "open", severity=severity)
    assert codes(said(scene)) == expected


def test_the_latest_severity_that_people_stated_counts(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "rules_of", lambda now: ServingRules(stop_at_incident="high"))
    scene.incident("1", "open", severity="critical")
    scene.incident("1", "open")  # more of it, without a severity
    assert codes(said(scene)) == ["INCIDENT_OPEN"]
    scene.incident("1", "open", severity="low")
    assert codes(said(scene)) == []


def test_the_rules_are_those_of_the_policies_in_force(tmp_path: Path) -> None:
    assert facts.rules_of(state(governed(tmp_path / "a").story.log)) == ServingRules()
    changed = governed(tmp_path / "b", RULES + "serving: {stale_hours: 3, when_stale: continue}\n")
    found = facts.rules_of(state(changed.story.log))
    assert (found.stale_hours, found.when_stale) == (3, "continue")


def test_only_a_promotion_hands_over(scene: Governed) -> None:
    first = scene.story.models["sft"]
    second(scene)
    scene.released("2")
    found = said(scene)
    assert found.former is not None
    assert (found.versions[0].version, found.former.version) == ("2", "1")
    scene.story.models["sft"], newer = first, scene.story.models["sft"]
    scene.incident("1", "open")
    former = said(scene).former
    assert former is not None and [each.code for each in former.against] == ["INCIDENT_OPEN"]
    scene.incident("1", "closed")
    scene.story.models["sft"] = newer
    scene.table.held[MODEL, "champion"] = "2"
    request = scene.request("1", action="rollback", model_digest=first)
    scene.approve("ben", "risk", request, "promotion")
    assert scene.consume("1").action == "rollback"
    found = said(scene)
    assert (found.versions[0].version, found.former) == ("1", None)


def test_a_version_whose_review_has_lapsed_is_not_served_where_policy_says_so(
    tmp_path: Path,
) -> None:
    """Time passes without an entry of the log. The model is reviewed every six months."""
    tier = "    overdue_review: {grace_days: 10, then: stop_serving}\n"
    scene = begun(tmp_path, tier=tier)
    scene.released()
    now = state(scene.story.log)
    for day, expected in ((29, []), (31, ["REVIEW_STOPS_SERVING"])):
        at = Moment(datetime(2027, 5, day, tzinfo=UTC), 1000.0)
        assert codes(said_of(now, MODEL, "champion", at)) == expected
