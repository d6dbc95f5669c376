"""Moves of `candidate` have a right of their own: the pipeline's key has it, the server's key signs
promotions. One rule accepts and counts both; the second verifier repeats it.
"""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest

from governance.attest.envelope import sign_statement
from governance.attest.predicates import CANDIDATE, Artifact, Promotion
from governance.base.errors import ConfigError
from governance.bundle import standalone_verifier as second
from governance.bundle import verify_bundle
from governance.history.verify import TrustAnchors
from governance.log import api, evidence
from governance.people.enrolment import impossible
from governance.policy.policies import load_policies
from governance.release import promotion
from governance.server.append import NotAcceptedError, refusal, verifier
from tests.governance.bundles import both_accept, forged, made, pin, requested
from tests.governance.governed import KINDS, Governed, authorize, empty, person, principals
from tests.governance.story import MODEL, tell

PIPELINE = [*(kind for kind in KINDS if kind != "promotion"), CANDIDATE]
SERVICES = {"ci": PIPELINE, "server": ["promotion"], "other": ["gate"], "old": KINDS}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Version 1 is registered and candidate, by a pipeline that cannot promote."""
    scene = empty(tmp_path_factory.mktemp("rights"), people=principals(services=SERVICES))
    authorize(scene)
    tell(scene.story)
    return scene


@pytest.fixture
def scene(world: Governed, tmp_path: Path) -> Governed:
    return world.copy(tmp_path)


def test_the_pipeline_moves_candidate_and_nothing_else(scene: Governed) -> None:
    now = promotion.state(scene.story.log)
    assert now.timeline.holders[MODEL, CANDIDATE].version == "1"
    requested(scene)
    with pytest.raises(ConfigError, match="do not let this key sign promotions"):
        scene.consume()
    forged(scene)
    now = promotion.state(scene.story.log)
    assert (MODEL, "champion") not in now.timeline.holders and scene.held() is None
    report = verify_bundle(made(scene.story.log), TrustAnchors(pin(scene.story.log)))
    assert "no right to sign `promotion`" in report.aside[-1].reason


def test_the_server_promotes(scene: Governed) -> None:
    requested(scene)
    forged(scene, by=person("server"))
    assert scene.held() == "1" and both_accept(scene)


@pytest.mark.parametrize("alias", [CANDIDATE, "champion"])
@pytest.mark.parametrize("name", SERVICES)
def test_one_rule_says_who_gives_an_alias(name: str, alias: str, scene: Governed) -> None:
    log = scene.story.log
    (given,) = promotion.state(log).view.all(Promotion)
    move = given.predicate.model_copy(update={"alias": alias, "findings": [], "version": "1"})
    subject = Artifact(role="model", name=name, sha256=move.model_digest)
    statement = evidence.build_statement("promotion", [subject], move)
    envelope = sign_statement(statement, person(name))
    rights = SERVICES[name]
    permitted = "promotion" in rights or (alias == CANDIDATE and CANDIDATE in rights)
    if alias == CANDIDATE:
        _sent(scene, envelope, name, permitted)
    entry = log.entry(api.append(log, lambda given, _: evidence.filed_under(given), envelope).index)
    now = promotion.state(log)
    (said,) = (
        each for each in now.view.source.about(move.model_digest) if each.index == entry.index
    )
    assert now.authority.counts(said) is permitted
    assert (refusal(said, now.authority) is None) is (permitted and alias == CANDIDATE)
    assert (said.index in {each.index for each in now.view.all(Promotion)}) is permitted
    assert _second_counts(scene, entry.index) is permitted


def _sent(scene: Governed, envelope: bytes, name: str, permitted: bool) -> None:
    """To a server, by the account of this service."""
    verify = verifier(scene.story.log, scene.story.now)
    if permitted:
        verify(envelope, name)
        return
    with pytest.raises(NotAcceptedError, match="let this key sign candidate") as caught:
        verify(envelope, name)
    assert caught.value.reason == "no_right"


def _second_counts(scene: Governed, index: int) -> bool:
    entries = [
        second.Entry({"index": entry.index, "envelope": json.loads(entry.envelope), "proof": []})
        for entry in scene.story.log.entries()
    ]
    rights = second.Rights(entries)
    entries[index].check(rights.known)
    return rights.counts(entries[index])


@pytest.mark.slow
def test_somebody_must_be_able_to_give_candidate(tmp_path: Path) -> None:
    needed = set(KINDS) - {"promotion"}
    for extra in (set(), *map(set, combinations((CANDIDATE, "promotion"), 1))):
        text = principals(services={"ci": sorted(needed | extra)})
        scene = empty(tmp_path / "-".join(sorted(extra)), people=text)
        told = " ".join(
            str(problem) for problem in impossible(load_policies(scene.story.root / "policies"))
        )
        assert (CANDIDATE in told) is (not extra), told
        assert ("signs promotion" in told or ", promotion" in told) is ("promotion" not in extra)
