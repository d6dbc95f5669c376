"""Which statements about a rollout are accepted, and which count: a table that reads as a
specification. One rule answers both, so each row asks both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from governance.base.time import exact_instant
from governance.log.evidence import Evidence
from tests.governance.rollout.rolling import ERRORS, Told

Row = tuple[Callable[[Told], object], Callable[[Told], Evidence], set[str]]
"""What was told before, the next statement, and what is found against it."""
GOOD, BAD, OLD = (0.02, 1000), (0.3, 1000), (0.02, 9000)


def _hours(tale: Told, hours: float) -> Told:
    tale.at += timedelta(hours=hours)
    return tale


def _nothing(tale: Told) -> None:
    """Nothing was told before."""


def _guardrail(**changes: Any) -> dict[str, Any]:
    return {"guardrails": [{**ERRORS, **changes}]}


REQUESTS: dict[str, Row] = {
    "a request within the limits of policy": (_nothing, lambda it: it.request(), set()),
    "a smaller margin, a second guardrail, a shadow": (
        _nothing,
        lambda it: it.request(
            mode="shadow",
            guardrails=[{**ERRORS, "margin": 0.01}, {**ERRORS, "metric": "refusals"}],
        ),
        set(),
    ),
    "by somebody who may only widen": (
        _nothing,
        lambda it: it.request("ben", "risk"),
        {"role"},
    ),
    "in the name of another": (
        _nothing,
        lambda it: it.request("eve", "release-manager"),
        {"not_theirs"},
    ),
    "for longer than policy permits": (
        _nothing,
        lambda it: it.request(expires=exact_instant(it.at + timedelta(hours=97))),
        {"ROLLOUT_NOT_PERMITTED"},
    ),
    "that ends before it begins": (
        _nothing,
        lambda it: it.request(expires=exact_instant(it.at)),
        {"ROLLOUT_NOT_PERMITTED"},
    ),
    "with a larger alpha": (_nothing, lambda it: it.request(alpha=0.06), {"ROLLOUT_NOT_PERMITTED"}),
    "with a smaller sample": (
        _nothing,
        lambda it: it.request(minimum_sample=49),
        {"ROLLOUT_NOT_PERMITTED"},
    ),
    "with a larger margin": (
        _nothing,
        lambda it: it.request(**_guardrail(margin=0.06)),
        {"ROLLOUT_NOT_PERMITTED"},
    ),
    "that calls more errors better": (
        _nothing,
        lambda it: it.request(**_guardrail(worse="lower")),
        {"ROLLOUT_NOT_PERMITTED"},
    ),
    "with another range": (
        _nothing,
        lambda it: it.request(**_guardrail(high=2)),
        {"ROLLOUT_NOT_PERMITTED"},
    ),
    "without the guardrail of policy": (
        _nothing,
        lambda it: it.request(**_guardrail(metric="refusals")),
        {"ROLLOUT_NOT_PERMITTED"},
    ),
    "widened by a role that policy does not name": (
        _nothing,
        lambda it: it.request(widened_by=["risk", "visitor"]),
        {"ROLLOUT_NOT_PERMITTED"},
    ),
    "for an alias that is not governed": (
        _nothing,
        lambda it: it.request(alias="challenger"),
        {"ROLLOUT_NOT_PERMITTED", "ROLLOUT_VERSION"},
    ),
    "from a version that does not hold the alias": (
        _nothing,
        lambda it: it.request(from_version="7"),
        {"ROLLOUT_VERSION"},
    ),
    "to other bytes than were registered": (
        _nothing,
        lambda it: it.request(to_digest="0" * 64),
        {"ROLLOUT_VERSION"},
    ),
    "about another model": (
        _nothing,
        lambda it: replace(it.request(), subjects=it.window_subjects("1")),
        {"ROLLOUT_VERSION"},
    ),
    "to a version that is not registered": (
        _nothing,
        lambda it: it.request(to_version="3"),
        {"ROLLOUT_VERSION"},
    ),
    "to a version with an open incident": (
        lambda it: it.tell(it.incident()),
        lambda it: it.request(),
        {"ROLLOUT_INCIDENT"},
    ),
    "to a version whose incident was closed": (
        lambda it: [it.tell(it.incident()), it.tell(it.incident("closed"))],
        lambda it: it.request(),
        set(),
    ),
}

STEPS: dict[str, Row] = {
    "another person starts it": (lambda it: it.asks(), lambda it: it.step("start"), set()),
    "the one who asked starts a live rollout": (
        lambda it: it.asks(widened_by=["ml-lead"], who="ada", role="ml-lead"),
        lambda it: it.step("start", who="ada", role="ml-lead"),
        {"ROLLOUT_SAME_PERSON"},
    ),
    "the one who asked starts a shadow": (
        lambda it: it.asks(widened_by=["ml-lead"], who="ada", role="ml-lead", mode="shadow"),
        lambda it: it.step("start", who="ada", role="ml-lead"),
        set(),
    ),
    "a role that the request does not name starts it": (
        lambda it: it.asks(),
        lambda it: it.step("start", who="ada", role="ml-lead"),
        {"ROLLOUT_ROLE"},
    ),
    "a role that policy does not name starts it": (
        lambda it: it.asks(),
        lambda it: it.step("start", who="cleo", role="release-manager"),
        {"role", "ROLLOUT_ROLE", "ROLLOUT_SAME_PERSON"},
    ),
    "it starts at another share": (
        lambda it: it.asks(),
        lambda it: it.step("start", 5_000),
        {"ROLLOUT_OUT_OF_TURN"},
    ),
    "it starts twice": (
        lambda it: it.started(),
        lambda it: it.step("start"),
        {"ROLLOUT_NOT_OPEN"},
    ),
    "it is widened before it starts": (
        lambda it: it.asks(),
        lambda it: it.step("widen"),
        {"ROLLOUT_NOT_OPEN"},
    ),
    "its version is under an incident": (
        lambda it: [it.asks(), it.tell(it.incident())],
        lambda it: it.step("start"),
        {"ROLLOUT_INCIDENT", "ROLLOUT_NOT_DECIDED"},
    ),
    "another rollout of the alias is open": (
        lambda it: it.started().asks(),
        lambda it: it.step("start"),
        {"ROLLOUT_OTHER_OPEN"},
    ),
    "another rollout of the alias was aborted": (
        lambda it: it.started().steps("abort").asks(),
        lambda it: it.step("start"),
        set(),
    ),
    "a number is used again": (
        lambda it: it.started().observes(GOOD, GOOD),
        lambda it: it.step("widen", number=1),
        {"ROLLOUT_OUT_OF_TURN"},
    ),
    "widened after enough was observed": (
        lambda it: it.started().observes(GOOD, GOOD),
        lambda it: it.step("widen"),
        set(),
    ),
    "widened too early": (
        lambda it: it.started().observes(GOOD, (0.02, 49)),
        lambda it: it.step("widen"),
        {"ROLLOUT_SAMPLE"},
    ),
    "widened past the next share": (
        lambda it: it.started(weights=[100, 1_000, 5_000]).observes(GOOD, GOOD),
        lambda it: it.step("widen", 5_000),
        {"ROLLOUT_OUT_OF_TURN"},
    ),
    "widened past the last share": (
        lambda it: it.started().observes(GOOD, GOOD).steps("widen").observes(GOOD, GOOD),
        lambda it: it.step("widen", 6_000),
        {"ROLLOUT_OUT_OF_TURN"},
    ),
    "widened although a guardrail is harmful": (
        lambda it: it.started().observes(GOOD, BAD),
        lambda it: it.step("widen"),
        {"ROLLOUT_HARMFUL"},
    ),
    "the sample of the share before does not count": (
        lambda it: it.started(weights=[100, 1_000, 5_000]).observes(GOOD, GOOD).steps("widen"),
        lambda it: it.step("widen"),
        {"ROLLOUT_SAMPLE"},
    ),
    "a person narrows it": (
        lambda it: it.started().observes(GOOD, GOOD).steps("widen"),
        lambda it: it.step("narrow"),
        set(),
    ),
    "the one who asked narrows it": (
        lambda it: it.started().observes(GOOD, GOOD).steps("widen"),
        lambda it: it.step("narrow", who="cleo", role="release-manager"),
        set(),
    ),
    "narrowed below the first share": (
        lambda it: it.started(),
        lambda it: it.step("narrow"),
        {"ROLLOUT_OUT_OF_TURN"},
    ),
    "a narrowing that widens": (
        lambda it: it.started(),
        lambda it: it.step("narrow", 5_000),
        {"ROLLOUT_OUT_OF_TURN"},
    ),
    "a person aborts it": (lambda it: it.started(), lambda it: it.step("abort"), set()),
    "a person withdraws it before it starts": (
        lambda it: it.asks(),
        lambda it: it.step("abort"),
        set(),
    ),
    "somebody without a part in it aborts it": (
        lambda it: it.started(),
        lambda it: it.step("abort", who="eve", role="visitor"),
        {"role"},
    ),
    "widened after an abort": (
        lambda it: it.started().observes(GOOD, GOOD).steps("abort"),
        lambda it: it.step("widen", 5_000),
        {"ROLLOUT_NOT_OPEN"},
    ),
    "widened after its time is over": (
        lambda it: _hours(it.started().observes(GOOD, GOOD), 72),
        lambda it: it.step("widen"),
        {"ROLLOUT_NOT_OPEN"},
    ),
    "started after its time is over": (
        lambda it: _hours(it.asks(), 72),
        lambda it: it.step("start"),
        {"ROLLOUT_NOT_OPEN"},
    ),
    "the alias moved": (
        lambda it: [it.started().observes(GOOD, GOOD), it.tell(it.move("2"))],
        lambda it: it.step("widen"),
        {"ROLLOUT_NOT_OPEN"},
    ),
}

WINDOWS: dict[str, Row] = {
    "the first window": (lambda it: it.started(), lambda it: it.window(), set()),
    "before the start": (
        lambda it: it.asks(),
        lambda it: it.window(weight=1_000),
        {"ROLLOUT_NOT_OPEN", "ROLLOUT_WINDOW"},
    ),
    "after an abort": (
        lambda it: it.started().steps("abort"),
        lambda it: it.window(weight=1_000),
        {"ROLLOUT_NOT_OPEN"},
    ),
    "by a key that may not observe": (
        lambda it: it.started(),
        lambda it: it.window(who="ci"),
        {"no_right"},
    ),
    "by a person": (lambda it: it.started(), lambda it: it.window(who="ben"), {"no_right"}),
    "the same window again, after a restart": (
        lambda it: it.started().observes(),
        lambda it: it.window(number=1, started=exact_instant(it.at - timedelta(minutes=5))),
        {"ROLLOUT_OUT_OF_TURN", "ROLLOUT_WINDOW"},
    ),
    "a window that was left out": (
        lambda it: it.started().observes(),
        lambda it: it.window(number=3),
        {"ROLLOUT_OUT_OF_TURN"},
    ),
    "one that overlaps the window before it": (
        lambda it: it.started().observes(),
        lambda it: it.window(started=exact_instant(it.at - timedelta(seconds=1))),
        {"ROLLOUT_WINDOW"},
    ),
    "after a gap that it explains": (
        lambda it: _hours(it.started().observes(), 1),
        lambda it: it.window(gap="the proxy was stopped"),
        set(),
    ),
    "after a gap that it does not explain": (
        lambda it: _hours(it.started().observes(), 1),
        lambda it: it.window(gap=""),
        {"ROLLOUT_WINDOW"},
    ),
    "of another share": (
        lambda it: it.started(),
        lambda it: it.window(weight=5_000),
        {"ROLLOUT_WINDOW"},
    ),
    "of the share before, open when it changed": (
        lambda it: it.started().observes(GOOD, GOOD).steps("widen"),
        lambda it: it.window(weight=1_000),
        set(),
    ),
    "of the share before, after a window of the new one": (
        lambda it: it.started().observes(GOOD, GOOD).steps("widen").observes(),
        lambda it: it.window(weight=1_000),
        {"ROLLOUT_WINDOW"},
    ),
    "about another model": (
        lambda it: it.started(),
        lambda it: replace(it.window(), subjects=it.window_subjects("1")),
        {"ROLLOUT_UNKNOWN"},
    ),
    "without a guardrail": (
        lambda it: it.started(guardrails=[ERRORS, {**ERRORS, "metric": "refusals"}]),
        lambda it: it.window(metrics={"errors": it.window().predicate.metrics["errors"]}),
        {"ROLLOUT_WINDOW"},
    ),
    "with more errors than requests": (
        lambda it: it.started(),
        lambda it: it.window(GOOD, (1.5, 100)),
        {"ROLLOUT_WINDOW"},
    ),
    "with squares that no such values have": (
        lambda it: it.started(),
        lambda it: it.window(
            metrics={
                "errors": {
                    "old": {"count": 10, "total": 1, "squares": 1},
                    "new": {"count": 10, "total": 5, "squares": 2},
                }
            }
        ),
        {"ROLLOUT_WINDOW"},
    ),
    "that nobody asked anything": (
        lambda it: it.started(),
        lambda it: it.window((0, 0), (0, 0)),
        set(),
    ),
    "that ends after the rollout": (
        lambda it: it.started(),
        lambda it: it.window(finished=exact_instant(it.at + timedelta(hours=72))),
        {"ROLLOUT_NOT_OPEN", "ROLLOUT_WINDOW"},  # and it lies ahead
    ),
    "after a pass, while its share stays": (
        lambda it: it.started(weights=[1_000]).observes(OLD, GOOD).tell(it.reaction("pass")),
        lambda it: it.window(),
        set(),
    ),
}

REACTIONS: dict[str, Row] = {
    "it aborts": (lambda it: it.started(), lambda it: it.reaction("abort"), set()),
    "it narrows": (
        lambda it: it.started().observes(GOOD, GOOD).steps("widen"),
        lambda it: it.reaction("narrow"),
        set(),
    ),
    "it narrows to a larger share": (
        lambda it: it.started().observes(GOOD, GOOD),
        lambda it: it.reaction("narrow", weight=5_000),
        {"ROLLOUT_OUT_OF_TURN"},
    ),
    "it passes with a larger share": (
        lambda it: it.started(weights=[1_000]).observes(OLD, GOOD),
        lambda it: it.reaction("pass", weight=5_000),
        {"ROLLOUT_OUT_OF_TURN"},
    ),
    "it passes at the last share, every guardrail safe": (
        lambda it: it.started(weights=[1_000]).observes(OLD, GOOD),
        lambda it: it.reaction("pass"),
        set(),
    ),
    "it passes before the last share": (
        lambda it: it.started().observes(GOOD, GOOD),
        lambda it: it.reaction("pass"),
        {"ROLLOUT_NOT_PROVEN"},
    ),
    "it passes where nothing is shown yet": (
        lambda it: it.started(weights=[1_000]).observes((0.02, 60), (0.02, 60)),
        lambda it: it.reaction("pass"),
        {"ROLLOUT_NOT_PROVEN"},
    ),
    "it passes although a guardrail is harmful": (
        lambda it: it.started(weights=[1_000]).observes(GOOD, BAD),
        lambda it: it.reaction("pass"),
        {"ROLLOUT_NOT_PROVEN"},
    ),
    "it passes with too small a sample": (
        lambda it: it.started(weights=[1_000], minimum_sample=5_000).observes(OLD, GOOD),
        lambda it: it.reaction("pass"),
        {"ROLLOUT_SAMPLE"},
    ),
    "it passes twice": (
        lambda it: it.started(weights=[1_000]).observes(OLD, GOOD).tell(it.reaction("pass")),
        lambda it: it.reaction("pass"),
        {"ROLLOUT_NOT_OPEN"},
    ),
    "it has not seen the last window": (
        lambda it: it.started().observes().observes(),
        lambda it: it.reaction("abort", windows=1),
        {"ROLLOUT_OUT_OF_TURN"},
    ),
    "by a key that may not react": (
        lambda it: it.started(),
        lambda it: it.reaction("abort", who="ci"),
        {"no_right"},
    ),
    "dated ahead": (
        lambda it: it.started(),
        lambda it: it.reaction("abort", at=exact_instant(it.at + timedelta(hours=1))),
        {"ROLLOUT_WINDOW"},
    ),
}
ROWS = {
    f"{table}: {name}": row
    for table, rows in (
        ("request", REQUESTS),
        ("step", STEPS),
        ("window", WINDOWS),
        ("reaction", REACTIONS),
    )
    for name, row in rows.items()
}


@pytest.mark.parametrize("name", ROWS)
def test_a_statement_is_accepted_and_counts_by_one_rule(name: str, tale: Told) -> None:
    before, statement, expected = ROWS[name]
    before(tale)
    standing = {one.request.digest: one for one in tale.now.timeline.rollouts.values()}
    following = statement(tale)
    assert tale.against(following) == expected
    tale.tell(following)
    after = {one.request.digest: one for one in tale.now.timeline.rollouts.values()}
    is_accepted = not expected
    if name == "reaction: dated ahead":
        return  # only a clock can see it
    if name.startswith("request: ") and expected <= {"ROLLOUT_VERSION", "ROLLOUT_INCIDENT"}:
        return  # asked for in vain: a start is refused for the same reason
    assert (after != standing) is is_accepted


@pytest.mark.parametrize(
    "name", [name for name in REQUESTS if "version" in name or "bytes" in name]
)
def test_what_was_asked_for_in_vain_cannot_start(name: str, tale: Told) -> None:
    before, statement, expected = REQUESTS[name]
    if expected and expected <= {"ROLLOUT_VERSION", "ROLLOUT_INCIDENT"}:
        before(tale)
        tale.tell(statement(tale))
        assert expected & tale.against(tale.step("start"))
