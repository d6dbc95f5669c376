"""A server accepts of a rollout what counts, and nothing else; no signed word of it can change."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from governance.attest import canonical
from governance.attest.envelope import sign_statement, verify_envelope
from governance.base.errors import RefusedError, VerificationError
from governance.log.evidence import Evidence, build_statement
from governance.rollout import deciding
from governance.server.append import NotAcceptedError, verifier
from tests.governance.examples import A, artifact, every_kind
from tests.governance.governed import Governed, person
from tests.governance.rollout.rolling import Recorded, desk, recorded
from tests.governance.story import MODEL

GOOD, BAD, OLD = (0.02, 1000), (0.3, 1000), (0.02, 9000)


@pytest.fixture(scope="module")
def rolling(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    return desk(tmp_path_factory.mktemp("rolling"))


@pytest.fixture
def tale(rolling: Governed, tmp_path: Path) -> Recorded:
    return recorded(rolling.copy(tmp_path))


def sent(tale: Recorded, statement: Evidence, by: str) -> str:
    """The kind under which the server files it, or the codes for which it refuses it."""
    assert tale.scene is not None
    log, at = tale.scene.story.log, tale.scene.now
    said = build_statement(statement.kind, statement.subjects, statement.predicate)
    try:
        return verifier(log, lambda: at)(sign_statement(said, person(by)), "proxy").kind
    except NotAcceptedError as refused:
        assert refused.reason in ("rollout", "no_right", "role", "date")
        return str(refused)


def test_a_server_accepts_each_statement_of_a_good_rollout(tale: Recorded) -> None:
    for by, statement in (
        ("cleo", lambda: tale.request(weights=[1_000])),
        ("ben", lambda: tale.step("start")),
        ("proxy", lambda: tale.window(OLD, GOOD)),
        ("proxy", lambda: tale.reaction("pass")),
        ("ben", lambda: tale.step("abort")),
    ):
        assert sent(tale, statement(), by).startswith("rollout")
        assert "refuse" not in sent(tale, statement(), by)
        tale.tell(statement())


def test_a_server_refuses_what_does_not_count(tale: Recorded) -> None:
    assert "ROLLOUT_NOT_PERMITTED" in sent(tale, tale.request(alpha=0.4), "cleo")
    tale.started()
    assert "ROLLOUT_SAMPLE" in sent(tale, tale.step("widen"), "ben")
    assert "sign rollout_window" in sent(tale, tale.window(), "ci")
    assert "permits no risk" not in sent(tale, tale.step("abort"), "ben")
    first = tale.tell(tale.window(OLD, BAD))
    again = sent(tale, tale.window(OLD, GOOD, number=1), "proxy")
    assert "ROLLOUT_OUT_OF_TURN" in again  # other figures under a number that was counted
    assert sent(tale, first, "proxy") == "rollout_window"  # the same again is the same entry
    assert "ROLLOUT_HARMFUL" in sent(tale, tale.step("widen"), "ben")
    assert "ROLLOUT_NOT_PROVEN" in sent(tale, tale.reaction("pass"), "proxy")
    late = tale.step("abort", at="2026-11-01T00:00:00.000000Z")
    assert "dated" in sent(tale, late, "ben")


def _changed(value: Any) -> Iterator[Any]:
    """The value with one thing in it changed, for each thing in it."""
    if isinstance(value, dict):
        for name, member in value.items():
            for other in _changed(member):
                yield {**value, name: other}
    elif isinstance(value, list):
        for index, member in enumerate(value):
            for other in _changed(member):
                yield [*value[:index], other, *value[index + 1 :]]
        yield [*value, "more"]
    elif isinstance(value, bool) or value is None:
        yield not value
    elif isinstance(value, int | float):
        yield value + 1
    else:
        yield f"{value}x"


@pytest.mark.parametrize("kind", deciding.KINDS)
def test_no_signed_word_can_change(kind: str) -> None:
    statement = build_statement(kind, [artifact("model", A, MODEL)], every_kind()[kind])
    envelope = json.loads(sign_statement(statement, person("proxy")))
    key = person("proxy")
    verify_envelope(canonical.dumps(envelope), {key.keyid: key.public_pem})
    payload = json.loads(base64.b64decode(envelope["payload"]))
    changes = list(_changed(payload))
    assert len(changes) > 15
    for changed in changes:
        text = base64.b64encode(canonical.dumps(changed)).decode()
        spoiled = canonical.dumps({**envelope, "payload": text})
        with pytest.raises(VerificationError, match="signature"):
            verify_envelope(spoiled, {key.keyid: key.public_pem})


def test_the_command_refuses_before_it_signs(tale: Recorded) -> None:
    from governance.rollout import automation

    assert tale.scene is not None
    tale.started()
    with pytest.raises(RefusedError, match="ROLLOUT_SAMPLE"):
        automation.check(tale.now, tale.step("widen"), tale.at)
