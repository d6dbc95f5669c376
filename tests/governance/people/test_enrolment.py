"""policy.yaml is edited in place: everything else in it stays, and no text of it crashes the one
who edits.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.attest.keys import public_key
from governance.attest.predicates import RolloutRequest
from governance.base.errors import ConfigError, CountersignError
from governance.base.time import exact_instant
from governance.base.yaml import parse_model, parse_yaml
from governance.history import rollout_rules
from governance.machine.signers import person_signer
from governance.people import enrolment
from governance.people.enrolment import Founding, Person, Service
from governance.policy.rules import Rules
from governance.proxy.arms import unmeasured
from tests.conftest import ROOT
from tests.governance.governed import keypair

SHIPPED = (ROOT / "policies" / "policy.yaml").read_text(encoding="utf-8")
KEY = public_key(keypair("zoe")[1])


def founded(text: str = SHIPPED) -> str:
    people = {
        "ada": Person(key=keypair("ada")[1], roles=["policy-owner", "ml-lead"]),
        "ben": Person(key=keypair("ben")[1], roles=["policy-owner", "risk"]),
    }
    return enrolment.founded(
        text,
        Founding(people=people, services={"ci": Service(key=keypair("ci")[1], signs=["ingest"])}),
        ROOT,
    )


def test_everything_else_stays_as_it_is() -> None:
    before, after = SHIPPED.splitlines(), iter(founded().splitlines())
    missing = [
        line for line in before if line.strip() and line != "principals: []" and line not in after
    ]  # in order
    assert missing == []
    assert founded(founded()) == founded()


def test_a_founded_policy_permits_a_rollout_and_asks_for_whole_records_of_incidents() -> None:
    rules = parse_model(founded(), Path("policy.yaml"), Rules)
    assert rules.tiers["high"].canary and rules.rollouts is not None
    at = datetime(2026, 11, 20, tzinfo=UTC)
    asked = RolloutRequest.model_validate(
        {
            **{"principal": "ada", "role": "ml-lead", "reason": "better", "log": "a" * 64},
            **{"model": "m", "alias": "champion", "mode": "live", "weights": [100, 10_000]},
            **{"from_version": "1", "from_digest": "a" * 64},
            **{"to_version": "2", "to_digest": "b" * 64},
            "guardrails": [{"metric": "errors", **enrolment.ERRORS}],
            "minimum_sample": rules.rollouts.minimum_sample,
            "at": exact_instant(at),
            "expires": exact_instant(at + timedelta(hours=rules.rollouts.max_hours)),
            "widened_by": ["ml-lead", "risk"],
            "alpha": rules.rollouts.max_alpha,
        }
    )
    assert rollout_rules.request_problems(rules, asked) == []
    assert not unmeasured(asked.guardrails), "a proxy can measure what is demanded"
    assert rules.incidents.closing_needs == ["severity", "cause", "actions"]


def test_the_editor_s_result_is_what_was_asked_for() -> None:
    text = enrolment.enrolled(founded(), "zoe", "person", KEY, ["risk"])
    assert parse_yaml(text, "x")["principals"][-1] == {
        "name": "zoe", "kind": "person", "roles": ["risk"], "keys": [KEY.line]
    }  # fmt: skip
    assert enrolment.revoked(text, "zoe", None) == founded()
    assert enrolment.revoked(text, "zoe", KEY.fingerprint) == founded()
    other = public_key(keypair("zoe2")[1])
    for meant in (KEY.keyid[:12], KEY.fingerprint, KEY.line, KEY.pem):
        assert other.line in enrolment.rotated(text, "zoe", meant, other)
    two = enrolment.enrolled(text, "zoe", "known", other, [])
    assert enrolment.revoked(two, "zoe", other.fingerprint) == text
    with pytest.raises(ConfigError, match="has no key"):
        enrolment.rotated(text, "zoe", other.fingerprint, other)


SHAPES = ["", "[]", "a: [", "principals: x", "principals: [x]", "principals: {a: b}", "tiers: [1]", "tiers: {a: 1}",
          "principals: [{name: a}]", "principals: [{keys: 1}]", "principals: [{keys: [1]}]", "!!python/object:x {}",
          "&a [*a]", "principals: null"]  # fmt: skip


@pytest.mark.parametrize("text", SHAPES)
def test_a_file_of_another_shape_is_refused_or_edited(text: str) -> None:
    for change in (
        lambda: enrolment.enrolled(text, "zoe", "person", KEY, ["risk"]),
        lambda: enrolment.revoked(text, "zoe", None),
        lambda: enrolment.rotated(text, "zoe", KEY.line, KEY),
        lambda: founded(text),
    ):
        with contextlib.suppress(CountersignError):
            parse_yaml(change(), "x")


@settings(deadline=None)
@given(st.text(max_size=80))
def test_no_text_crashes(text: str) -> None:
    for read in (
        lambda: enrolment.read_key(text),
        lambda: person_signer(text, {}, None),
        lambda: person_signer(f"ssh-agent:{text}", {}, None),
        lambda: enrolment.enrolled(text, "zoe", "person", KEY, ["risk"]),
    ):
        with contextlib.suppress(CountersignError):
            read()
