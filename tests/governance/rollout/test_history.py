"""How a rollout stands, and what a passed one is good for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from governance.attest.predicates import Finding
from governance.gates.decisions import decide_automatic
from governance.policy.authority import Authority
from governance.release import promotion
from tests.governance.governed import Governed
from tests.governance.rollout.rolling import ERRORS, Told, told
from tests.governance.story import MODEL

GOOD, BAD, WORSE, OLD = (0.02, 1000), (0.3, 1000), (0.075, 1200), (0.02, 9000)
DAYS = timedelta(days=4)


def _passed(tale: Told) -> Told:
    tale.started(weights=[1_000]).observes(OLD, GOOD)
    assert tale.reacts() == "pass"
    return tale


def _later(tale: Told) -> None:
    tale.at += DAYS


STANDING: dict[str, tuple[Callable[[Told], object], str, int]] = {
    "asked for": (lambda it: it.asks(), "requested", 0),
    "started": (lambda it: it.started(), "open", 1_000),
    "widened": (lambda it: it.started().observes(OLD, GOOD).steps("widen"), "open", 5_000),
    "narrowed by a person": (
        lambda it: it.started().observes(OLD, GOOD).steps("widen").steps("narrow"),
        "open",
        1_000,
    ),
    "aborted by a person": (lambda it: it.started().steps("abort"), "aborted", 0),
    "withdrawn": (lambda it: it.asks().steps("abort"), "aborted", 0),
    "aborted by a service": (
        lambda it: [it.started().observes(OLD, BAD), it.reacts()],
        "aborted",
        0,
    ),
    "passed": (_passed, "passed", 1_000),
    "passed, and harmful afterwards": (
        lambda it: [_passed(it), it.observes(OLD, (0.9, 3000)), it.reacts()],
        "aborted",
        0,
    ),
    "its time is over": (lambda it: [it.started(), _later(it)], "overdue", 0),
    "its time is over before it started": (lambda it: [it.asks(), _later(it)], "overdue", 0),
    "passed, and its time is over": (lambda it: [_passed(it), _later(it)], "passed", 0),
    "the new version got the alias": (
        lambda it: [_passed(it), it.tell(it.move("2"))],
        "moved",
        0,
    ),
    "the alias was retired": (
        lambda it: [it.started(), it.tell(it.move("1", "retire"))],
        "moved",
        0,
    ),
}


@pytest.mark.parametrize("name", STANDING)
def test_how_a_rollout_stands(name: str, tale: Told) -> None:
    tell, state, weight = STANDING[name]
    tell(tale)
    assert tale.standing() == (state, weight)


REACTIONS: dict[str, tuple[Callable[[Told], object], str | None]] = {
    "nothing was observed": (lambda it: it.started(), None),
    "too little was observed": (lambda it: it.started().observes(OLD, (0.02, 40)), None),
    "as good as the old one, more shares ahead": (lambda it: it.started().observes(OLD, GOOD), None),
    "as good as the old one at the last share": (
        lambda it: it.started(weights=[1_000]).observes(OLD, GOOD),
        "pass",
    ),
    "far worse": (lambda it: it.started().observes(OLD, BAD), "abort"),
    "worse, not yet beyond the margin for sure": (
        lambda it: it.started(weights=[100, 1_000]).observes(OLD, (0.02, 100)).steps("widen")
        .observes(OLD, WORSE).observes(OLD, WORSE),
        "narrow",
    ),
    "the same at the smallest share": (
        lambda it: it.started().observes(OLD, WORSE).observes(OLD, WORSE),
        None,
    ),
    "fewer of what should be many": (
        lambda it: it.started(
            guardrails=[ERRORS, {**ERRORS, "metric": "solved", "worse": "lower", "expected": None}]
        ).observes(
            metrics={
                "errors": it.window(OLD, GOOD).predicate.metrics["errors"],
                "solved": it.window((0.9, 9000), (0.5, 1000)).predicate.metrics["errors"],
            }
        ),
        "abort",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REACTIONS)
def test_what_automation_does(name: str, tale: Told) -> None:
    tell, expected = REACTIONS[name]
    tell(tale)
    assert tale.reacts() == expected


def test_a_narrowing_waits_for_another_window(tale: Told) -> None:
    """The same windows do not narrow step after step."""
    tale.started(weights=[100, 200, 1_000])
    tale.observes(OLD, (0.02, 100)).steps("widen")
    tale.observes(OLD, (0.02, 100)).steps("widen")
    tale.observes(OLD, WORSE).observes(OLD, WORSE)
    assert [tale.reacts(), tale.reacts()] == ["narrow", None]
    tale.observes(OLD, WORSE)
    assert tale.reacts() == "narrow"


def test_a_gap_is_stated(tale: Told) -> None:
    tale.started().observes()
    tale.at += timedelta(hours=2)
    tale.observes(gap="the proxy was stopped")
    assert tale.rollout.gaps == [(2, timedelta(hours=2), "the proxy was stopped")]


def test_a_development_key_moves_no_traffic(tale: Told) -> None:
    tale.started()
    tale.tell(replace(tale.window(), development=True))
    assert not tale.rollout.windows


# -- The gate --------------------------------------------------------------------------------------
def _missing(tale: Told, authority: Authority | None = None) -> list[Finding]:
    now = tale.now
    request = promotion.ask(now, "promote", MODEL, "2", "champion")
    decision = decide_automatic(request, now.evidence, tale.at, authority or now.authority)
    return [one for one in decision.findings if one.code == "CANARY_MISSING"]


CANARIES: dict[str, tuple[Callable[[Told], object], bool]] = {
    "no rollout": (lambda it: None, False),
    "asked for": (lambda it: it.asks(), False),
    "open": (lambda it: it.started().observes(OLD, GOOD), False),
    "passed": (_passed, True),
    "passed as a shadow, which policy does not count": (lambda it: _passed_as_shadow(it), False),
    "passed, then a shadow was aborted": (
        lambda it: [_passed(it), _as_shadow(it), it.steps("abort")],
        False,
    ),
    "passed, then a shadow was asked for": (lambda it: _as_shadow(_passed(it)), True),
    "passed, then aborted": (lambda it: _passed(it).steps("abort"), False),
    "passed, then harmful, and nobody reacted": (
        lambda it: _passed(it).observes(OLD, (0.9, 3000)),
        False,
    ),
    "passed, then another one was aborted": (
        lambda it: [_passed(it), it.asks(expires="2026-11-22T00:00:00Z"), it.steps("abort")],
        False,
    ),
    "passed, then another one was asked for": (lambda it: _passed(it).asks(), True),
    "passed from a version that does not hold the alias now": (
        lambda it: [_passed(it), it.tell(it.move("1", "retire"))],
        False,
    ),
    "its time is over": (lambda it: [it.started().observes(OLD, GOOD), _later(it)], False),
}


@pytest.mark.parametrize("name", CANARIES)
def test_the_gate_demands_a_passed_canary(name: str, canaries: Governed) -> None:
    tell, is_met = CANARIES[name]
    tale = told(canaries)
    tell(tale)
    assert (not _missing(tale)) is is_met


def _as_shadow(tale: Told) -> Told:
    return tale.asks(mode="shadow", expires="2026-11-22T00:00:00Z")


def _passed_as_shadow(tale: Told) -> None:
    tale.started(weights=[1_000], mode="shadow").observes((0.02, 3000), (0.02, 3000))
    tale.reacts()


def test_policy_can_count_a_passed_shadow(canaries: Governed) -> None:
    tale = told(canaries)
    _passed_as_shadow(tale)
    authority, in_force = tale.now.authority, tale.now.authority.in_force
    assert in_force.policies is not None and in_force.policies.rules.rollouts is not None
    rules = in_force.policies.rules
    counted = rules.rollouts.model_copy(update={"shadow_suffices": True})
    policies = replace(in_force.policies, rules=rules.model_copy(update={"rollouts": counted}))
    assert _missing(tale)
    assert not _missing(tale, replace(authority, periods=(replace(in_force, policies=policies),)))


def test_a_waiver_of_an_open_canary_does_not_cover_an_aborted_one(canaries: Governed) -> None:
    tale = told(canaries)
    tale.started()
    (before,) = _missing(tale)
    tale.steps("abort")
    (after,) = _missing(tale)
    assert before.figures != after.figures
