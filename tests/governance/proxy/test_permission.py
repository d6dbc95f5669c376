"""What may be served now follows from the log, policy and time, whatever happens in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from governance.attest.findings import finding
from governance.policy.serving import SEVERITIES, ServingRules
from governance.proxy import permission
from governance.proxy.permission import (
    CANARY_SECONDS,
    HOUR,
    MINUTE,
    Canary,
    Held,
    Knowledge,
    Said,
    verdict,
)

FAULT = finding("LOG_NOT_VERIFIED", "log")
NOBODY = finding("ALIAS_NOT_HELD", "support-desk@champion")
INCIDENT = finding("INCIDENT_OPEN", "support-desk/1")

helds = st.builds(
    Held,
    model=st.just("support-desk"),
    version=st.sampled_from("123"),
    digest=st.sampled_from("abc"),
    entry=st.integers(1, 5),
    against=st.sampled_from([(), (INCIDENT,)]),
)
rules = st.builds(
    ServingRules,
    stale_hours=st.integers(0, 3),
    when_stale=st.sampled_from(["stop", "continue"]),
    handover_minutes=st.integers(0, 90),
)
canaries = st.builds(
    Canary,
    held=st.builds(
        Held,
        model=st.just("support-desk"),
        version=st.just("4"),
        digest=st.just("d"),
        entry=st.integers(1, 5),
        against=st.sampled_from([(), (), (INCIDENT,)]),
    ),
    rollout=st.sampled_from("xy"),
    weight=st.sampled_from([0, 1, 5_000, 10_000]),
    ends=st.floats(0, 4 * HOUR),
)
saids = st.builds(
    Said,
    size=st.integers(1, 9),
    versions=st.lists(helds, max_size=2, unique_by=lambda held: held.digest).map(tuple),
    former=st.none() | helds,
    findings=st.sampled_from([(), (), (NOBODY,)]),
    rules=rules,
    canary=st.none() | canaries,
)
Step = tuple[Literal["read", "missed", "broken"], Said, bool, float]
steps = st.lists(
    st.tuples(
        st.sampled_from(["read", "read", "missed", "broken"]),
        saids,
        st.booleans(),
        st.floats(0, 2 * HOUR),
    ),
    max_size=6,
)


def lived(first: Said, happened: list[Step]) -> tuple[Knowledge, float, float]:
    """What is known after these steps, the time, and when the log was last read completely."""
    known, at, complete_at = permission.begin(first, 0.0), 0.0, 0.0
    for what, said, complete, passed in happened:
        at += passed
        if what == "read":
            known = permission.read(known, said, at, complete=complete)
            complete_at = at if complete else complete_at
        elif what == "missed":
            known = permission.missed(known, "no answer")
        else:
            known = permission.broken(known, FAULT)
    return known, at, complete_at


@given(saids, steps, st.floats(0, 5 * HOUR))
def test_only_what_the_log_last_said_is_served(
    first: Said, happened: list[Step], later: float
) -> None:
    known, at, complete_at = lived(first, happened)
    now = verdict(known, at + later)
    reads = [said for what, said, _, _ in happened if what == "read"]
    last = reads[-1] if reads else first
    holders = [held for held in last.versions if not held.against]
    faults = [what for what, *_ in happened if what in ("read", "broken")]
    is_broken = faults[-1:] == ["broken"]
    too_old = at + later - complete_at > last.rules.stale_hours * HOUR
    stops = is_broken or bool(last.findings) or (too_old and last.rules.when_stale == "stop")
    added = [now.canary.held] if now.canary else []
    assert list(now.allowed) == ([] if stops else [*holders, *added])
    assert bool(now.findings) != bool(now.allowed)
    assert (now.log == "broken") == is_broken
    if not is_broken:
        assert (now.log == "stale") == too_old
    if now.meanwhile is not None:
        assert now.allowed and now.meanwhile == last.former and not now.meanwhile.against


@given(saids, steps, st.floats(0, 5 * HOUR))
def test_a_rollout_adds_its_version_only_while_it_is_open_and_an_abort_would_be_heard(
    first: Said, happened: list[Step], later: float
) -> None:
    known, at, complete_at = lived(first, happened)
    at += later
    now = verdict(known, at)
    reads = [said for what, said, _, _ in happened if what == "read"]
    last = (reads or [first])[-1]
    canary, is_heard = last.canary, at - complete_at <= CANARY_SECONDS
    is_open = (
        canary is not None
        and canary.weight > 0
        and at < canary.ends
        and not canary.held.against
        and is_heard
        and now.log != "stale"
        and any(now.allowed)
    )
    assert now.canary == (canary if is_open else None)
    if canary is not None:
        assert now.permits(canary.held.digest) == is_open
    if now.allowed:
        assert now.allowed[0] in last.versions, "the holder, never the new version, is first"
    # what is against a rollout changes nothing for the holder
    without = verdict(replace(known, said=replace(known.said, canary=None)), at)
    assert without.allowed == now.allowed[: len(without.allowed)]
    assert (without.meanwhile, without.findings) == (now.meanwhile, now.findings)


@given(saids, steps, st.floats(0, 5 * HOUR), st.floats(0, 5 * HOUR))
def test_time_alone_permits_nothing_more(
    first: Said, happened: list[Step], later: float, longer: float
) -> None:
    known, at, _ = lived(first, happened)
    before, after = verdict(known, at + later), verdict(known, at + later + longer)
    assert set(after.allowed) <= set(before.allowed)
    assert after.meanwhile in (None, before.meanwhile)


@given(saids, steps, st.integers(1, 9))
def test_reading_the_same_again_hands_over_no_longer(
    first: Said, happened: list[Step], times: int
) -> None:
    """Otherwise each reading would begin the time anew."""
    known, at, _ = lived(first, happened)
    for _ in range(times):
        at += 20 * MINUTE
        known = permission.read(known, known.said, at)
    limit = known.said.rules.handover_minutes * MINUTE
    if times * 20 * MINUTE >= limit:
        assert verdict(known, at).meanwhile is None


@given(saids, st.floats(0, 9 * HOUR), st.lists(st.booleans(), max_size=9))
def test_attempts_that_read_nothing_do_not_make_the_log_younger(
    said: Said, passed: float, attempts: list[bool]
) -> None:
    known = permission.begin(said, 0.0)
    for has_answer in attempts:
        if has_answer:
            known = permission.read(known, said, passed, complete=False)
        else:
            known = permission.missed(known, "no answer")
    assert verdict(known, passed).age == passed


def test_the_version_before_answers_only_while_it_is_handed_over() -> None:
    old, new = Held("m", "1", "a", 1), Held("m", "2", "b", 2)
    said = Said(3, (new,), old, (), ServingRules(handover_minutes=10))
    known = permission.begin(replace(said, versions=(old,), former=None), 0.0)
    known = permission.read(known, said, 100.0)
    assert verdict(known, 100.0 + 10 * MINUTE - 1).meanwhile == old
    assert verdict(known, 100.0 + 10 * MINUTE).meanwhile is None
    assert verdict(permission.begin(said, 0.0), 0.0).meanwhile is None  # nothing ran before


@given(st.sampled_from([*SEVERITIES, "never"]), st.sampled_from([None, *SEVERITIES]))
def test_an_incident_ends_serving_from_a_severity_on(stop_at: str, severity: str | None) -> None:
    order = [*SEVERITIES, "never"]
    stated = order.index(severity or "critical")
    stops = ServingRules.model_validate({"stop_at_incident": stop_at}).stops_at(severity)  # type: ignore[arg-type]
    assert stops == (stated >= order.index(stop_at))
