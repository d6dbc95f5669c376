"""What windows add up to, which limits they breach, and what that stops."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from governance.attest.envelope import sign_statement, unverified, verify_envelope
from governance.attest.predicates import Monitoring
from governance.base.errors import CountersignError
from governance.bundle import standalone_verifier, verify_bundle
from governance.gates.decisions import decide_automatic
from governance.history import monitoring
from governance.history.state import LogState, state
from governance.history.verify import TrustAnchors
from governance.machine.machine import log_to_add_to, signer
from governance.people.pending import pending
from governance.policy.monitoring import MonitoringRules
from governance.release import promotion
from governance.report.front import waiting
from tests.governance.bundles import made, pin
from tests.governance.examples import monitoring as example
from tests.governance.governed import Governed, person
from tests.governance.observed import HOUR, failing, observe, observed
from tests.governance.story import MODEL

BREACHED, SPENT = "MONITORING_BREACHED", "ERROR_BUDGET_SPENT"


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """A champion; policy has limits, and ci may sign what it observes. Read only."""
    return observed(tmp_path_factory.mktemp("once"))


@pytest.fixture
def scene(once: Governed, tmp_path: Path) -> Governed:
    return once.copy(tmp_path)


def now(scene: Governed) -> LogState:
    return state(scene.story.log)


def found(scene: Governed, blocking: bool = False) -> list[tuple[str, str, list[str]]]:
    here = now(scene)
    windows = monitoring.windows(here.view, scene.story.models["sft"])
    rules = here.authority.policies.rules.monitoring
    findings = monitoring.findings(windows, rules, MODEL, "1", blocking=blocking)
    return [(each.code, each.measure, each.figures) for each in findings]


LATE = {"latency": [0] * 9 + [115] + [0] * 5}
Row = tuple[list[dict[str, Any]], list[tuple[str, str, list[str]]]]
SCENARIOS: dict[str, Row] = {
    "nothing was observed": ([], []),
    "all is well": ([{}], []),
    "too many errors": ([failing(7)], [(BREACHED, "errors", ["0.0583333", "0.05"])]),
    "as many errors as permitted": ([failing(6)], []),
    "too few requests to judge": (
        [failing(60, requests=60, latency=[0] * 15, read=0, tokens={"answers": 0, "input": 0, "output": 0})],
        [],
    ),
    "a bad window among good ones": ([{"window": 1}, failing(9, window=2), {"window": 3}], []),
    "a bad window a day ago": ([failing(60), {"window": 2, "begins": "2026-09-04T00:00:00Z", "ends": "2026-09-04T01:00:00Z"}], [(SPENT, "objective", ["62", "240"])]),
    "slow": ([LATE], [(BREACHED, "slow", ["5120", "640"])]),
    "slower than any bound": (
        [{"latency": [0] * 14 + [115]}],
        [(BREACHED, "slow", ["beyond the last bound", "640"])],
    ),
    "the other version is preferred": (
        [{"feedback": {"preferred": 4, "not_preferred": 7, "ties": 9}}],
        [(BREACHED, "liked", ["0.363636", "0.5"])],
    ),
    "too few comparisons": ([{"feedback": {"preferred": 0, "not_preferred": 9}}], []),
    "the error budget is spent": (
        [failing(12), failing(13, window=2)],
        [(BREACHED, "errors", ["0.104167", "0.05"]), (SPENT, "objective", ["25", "240"])],
    ),
    "personal data in answers": (
        [{"searched": {"answers": 40, "holding": 3, "entities": {"EMAIL_ADDRESS": 3}}}],
        [(BREACHED, "private", ["0.075", "0.05"])],
    ),
    "too few answers searched": ([{"searched": {"answers": 39, "holding": 39, "left": 9}}], []),
    "a window twice, told otherwise": ([{}, failing(100)], []),
    "of bytes that are not registered": ([failing(60, sha256="1" * 64)], []),
    "of another version": ([failing(60, version="7")], []),
    "signed by somebody without the right": ([failing(60, by=person("cleo"))], []),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_limits(name: str, scene: Governed) -> None:
    windows, expected = SCENARIOS[name]
    for fields in windows:
        observe(scene, **fields)
    assert found(scene) == expected


def decided(scene: Governed) -> list[str]:
    here = now(scene)
    request = promotion.ask(here, "promote", MODEL, "1", "champion")
    decision = decide_automatic(request, here.evidence, scene.now, here.authority)
    return [each.code for each in decision.findings if each.code in (BREACHED, SPENT)]


def test_a_limit_that_blocks_stops_the_next_promotion_and_all_are_open_points(
    scene: Governed,
) -> None:
    observe(scene, **failing(20, latency=[0] * 9 + [100] + [0] * 5))
    assert [measure for _, measure, _ in found(scene)] == ["errors", "slow"]
    assert decided(scene) == [BREACHED], "a limit that does not block stops nothing"
    waits = [each for each in pending(now(scene), scene.now) if each.reason == "monitoring"]
    assert len(waits) == 2 and all(f"{MODEL}/1" in each.what for each in waits)
    assert [each.code for each in waiting(now(scene), scene.now)] == ["MONITORING"] * 2
    observe(
        scene,
        window=2,
        **{"requests": 3000, "latency": [0] * 4 + [2995] + [0] * 10, "request_bytes": []},
    )
    assert decided(scene) == [], "later windows keep the limit"


def test_sums(scene: Governed) -> None:
    observe(scene)
    observe(scene, window=2, gap_ms=500, cost=None)
    sums = monitoring.total(monitoring.windows(now(scene).view, scene.story.models["sft"]))
    assert sums is not None
    assert (sums.windows, sums.requests, sums.gap_ms, sums.costs) == (2, 240, 500, {"EUR": 35_750})
    assert (sums.percentile(0.5), sums.percentile(0.95), sums.percentile(1.0)) == (160, 320, 640)
    assert (sums.searched.answers, sums.searched.left, sums.searched.holding) == (20, 2, 4)
    assert sums.searched.entities == {"EMAIL_ADDRESS": 4, "URL": 8}
    assert sums.searched.languages == {"de": 2, "en": 18}
    assert (sums.begins, sums.ends) == (HOUR.format(0), HOUR.format(2))


# -- The statement ---------------------------------------------------------------------------------
MUTATIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    field: (lambda predicate, field=field, value=value: predicate.update({field: value}))
    for field, value in {
        "version": "3",
        "source": "6" * 32,
        "window": 2,
        "gap_ms": 1,
        "requests": 121,
        "errors": 1,
        "tokens": {"answers": 1, "input": 1, "output": 1},
        "cost": None,
        "feedback": {"up": 99, "down": 0, "preferred": 0, "not_preferred": 0, "ties": 0},
        "ends": "2026-09-02T02:00:00Z",
    }.items()
}


@pytest.mark.parametrize("field", MUTATIONS)
def test_a_changed_field_breaks_the_signature(field: str, scene: Governed) -> None:
    observe(scene)
    entry = scene.story.log.entry(scene.story.log.size() - 1)
    statement, keyid = unverified(entry.envelope)
    key = signer(scene.story.machine)
    MUTATIONS[field](statement["predicate"])
    forged = sign_statement(statement, person("eve")).replace(
        person("eve").keyid.encode(), keyid.encode()
    )
    with pytest.raises(CountersignError):
        verify_envelope(forged, {key.keyid: key.public_pem})


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "more answers than requests": {"requests": 100},
    "a bucket is missing": {"latency": [115]},
    "more refusals than answers": {"refusals": 113},
    "more tokens than answers": {"tokens": {"answers": 113, "input": 0, "output": 0}},
    "it ends before it begins": {"ends": "2026-09-01T00:00:00Z"},
    "a negative count": {"left": -1},
    "lengths of other answers": {"answer_characters": [0] * 12 + [50, 61] + [0] * 14},
    "a bucket of lengths is missing": {"request_bytes": [114]},
    "more answers with personal data than searched": {"searched": {"answers": 1, "holding": 2}},
    "a value in place of a type": {"searched": {"answers": 1, "entities": {"a@b.org": 1}}},
    "more languages than answers": {"searched": {"answers": 1, "languages": {"en": 1, "de": 1}}},
    "no currency": {"cost": {"currency": "euro", "millionths": 1}},
    "a text": {"comment": "hello"},
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_is_no_statement(name: str) -> None:
    with pytest.raises(ValidationError):
        example(**IMPOSSIBLE[name])
    assert isinstance(example(), Monitoring)


RULES_REFUSED: dict[str, dict[str, Any]] = {
    "prices without a currency": {"prices": {"m": {"input": 1, "output": 1}}},
    "a limit of cost without prices": {
        "thresholds": [
            {"name": "c", "metric": "cost_mean", "limit": 1, "direction": "at_most", "minimum": 1}
        ]
    },
    "two limits of one name": {
        "thresholds": [
            {"name": "c", "metric": "error_rate", "limit": 1, "direction": "at_most", "minimum": 1}
        ]
        * 2
    },
    "an unknown metric": {
        "thresholds": [
            {"name": "c", "metric": "x", "limit": 1, "direction": "at_most", "minimum": 1}
        ]
    },
    "a limit of personal data without a search": {
        "thresholds": [
            {
                "name": "p",
                "metric": "personal_data_rate",
                "limit": 0,
                "direction": "at_most",
                "minimum": 1,
            }
        ]
    },
    "drift of language without a search": {
        "drift": [{"name": "l", "metric": "language", "limit": 0, "minimum": 1}]
    },
    "a limit of drift and another of one name": {
        "drift": [
            {"name": "c", "metric": "refused", "limit": 0, "minimum": 1},
            {"name": "c", "metric": "disliked", "limit": 0, "minimum": 1},
        ]
    },
    "a certain false alarm": {
        "drift": [{"name": "c", "metric": "refused", "limit": 0, "minimum": 1, "false_alarm": 1}]
    },
    "an empty sample": {"search": {"share": 0}},
    "a certain success": {"objective": {"success": 1.0}},
}


@pytest.mark.parametrize("name", RULES_REFUSED)
def test_what_policy_cannot_say(name: str) -> None:
    with pytest.raises(ValidationError):
        MonitoringRules.model_validate(RULES_REFUSED[name])


def test_a_bundle_of_a_version_that_was_observed_verifies(scene: Governed) -> None:
    """Its windows are in it; both verifiers accept it."""
    observe(scene)
    log = log_to_add_to(scene.story.machine)
    data, origin = made(log), pin(log)
    assert verify_bundle(data, TrustAnchors(origin)).ok
    assert standalone_verifier.verify(data, origin)["moves"]
    payloads = (
        base64.b64decode(each["envelope"]["payload"]) for each in json.loads(data)["entries"]
    )
    assert sum(b"/evidence/monitoring/v1" in payload for payload in payloads) == 1
