"""Rights by log position: policies in force, quorums of people, revoked keys. The order decides, no
clock does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from governance.attest.keys import public_key
from governance.attest.predicates import Artifact, CheckpointKey, PolicyChange
from governance.base.errors import ConfigError, VerificationError
from governance.base.time import instant
from governance.log import evidence
from governance.machine.machine import signer
from governance.policy import authority
from governance.policy.authority import Authority, read_authority
from governance.policy.policies import files_digest, load_policies, policies_of
from governance.release import promotion
from tests.governance.governed import KINDS, PEOPLE, Governed, empty, keypair, person, principals
from tests.governance.keys import P256, line_of
from tests.governance.story import begin, digest


@pytest.fixture
def scene(tmp_path: Path) -> Governed:
    return empty(tmp_path)


def _authority(scene: Governed) -> Authority:
    return read_authority(scene.story.log)


def _propose(scene: Governed, change: Callable[[str], str]) -> str:
    """Other policies, proposed by an owner; their digest."""
    path = scene.story.root / "policies" / "policy.yaml"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    policies = load_policies(scene.story.root / "policies")
    scene.propose(policies)
    return policies.digest


def _without_cleo(text: str) -> str:
    return text.replace(
        principals(), principals({name: [name] for name in PEOPLE if name != "cleo"})
    )


def test_the_first_policies_are_in_force_and_signed_by_their_owners(scene: Governed) -> None:
    (first,) = _authority(scene).periods
    assert first.digest == scene.story.policies.digest
    assert first.signers == ("ada", "ben")
    assert first.signed_at == scene.story.log.size() - 1


def test_policies_nobody_owns_can_never_be_changed_for_governed_aliases(tmp_path: Path) -> None:
    authority = read_authority(begin(tmp_path).log)
    assert authority.in_force.signed_at is None
    assert authority.principal(person("ada").keyid, 1) is None


def test_changed_policies_count_from_the_entry_that_completes_the_quorum(scene: Governed) -> None:
    old = scene.story.policies.digest
    new = _propose(scene, _without_cleo)
    assert _authority(scene).in_force.digest == old
    assert [(one.digest, one.signers) for one in _authority(scene).proposals] == [(new, ())]
    scene.approve("ada", "policy-owner", new, "policy")
    assert _authority(scene).in_force.digest == old
    at = scene.approve("ben", "policy-owner", new, "policy")
    authority = _authority(scene)
    assert (authority.in_force.digest, authority.in_force.start) == (new, at)
    cleo = person("cleo").keyid
    assert authority.principal(cleo, at) is not None, (
        "the completing entry itself is judged by the old policies"
    )
    assert authority.principal(cleo, at + 1) is None
    assert cleo in authority.keys, "what was said before still verifies"
    assert authority.proposals == ()


REFUSED: dict[str, Callable[[Governed, str], object]] = {
    "one owner": lambda scene, new: scene.approve("ada", "policy-owner", new, "policy"),
    "one owner twice": lambda scene, new: [
        scene.approve("ada", "policy-owner", new, "policy") for _ in range(2)
    ],
    "one owner in two roles": lambda scene, new: [
        scene.approve("ada", role, new, "policy") for role in PEOPLE["ada"]
    ],
    "somebody who is no owner": lambda scene, new: [
        scene.approve("ada", "policy-owner", new, "policy"),
        scene.approve("cleo", "release-manager", new, "policy"),
    ],
    "somebody who claims to be one": lambda scene, new: [
        scene.approve("ada", "policy-owner", new, "policy"),
        scene.approve("cleo", "policy-owner", new, "policy"),
    ],
    "in another's name": lambda scene, new: [
        scene.approve("ada", "policy-owner", new, "policy"),
        scene.approve("ben", "policy-owner", new, "policy", key="cleo"),
    ],
    "another digest": lambda scene, new: [
        scene.approve("ada", "policy-owner", new, "policy"),
        scene.approve("ben", "policy-owner", "0" * 64, "policy"),
    ],
    "about something else": lambda scene, new: [
        scene.approve("ada", "policy-owner", new, "policy"),
        scene.approve("ben", "policy-owner", new, "packet"),
    ],
    "about a checkpoint key with this digest": lambda scene, new: [
        scene.approve("ben", "policy-owner", new, "checkpoint_key"),
        scene.approve("ada", "policy-owner", new, "policy"),
    ],
    "a rejection": lambda scene, new: [
        scene.approve("ada", "policy-owner", new, "policy"),
        scene.approve("ben", "policy-owner", new, "policy", decision="reject"),
    ],
    "an approval taken back": lambda scene, new: [
        scene.approve("ada", "policy-owner", new, "policy"),
        scene.approve("ada", "policy-owner", new, "policy", decision="reject"),
        scene.approve("ben", "policy-owner", new, "policy"),
    ],
    "an approval that ends": lambda scene, new: [
        scene.approve("ada", "policy-owner", new, "policy", expires="2026-11-20T09:30:00Z"),
        scene.approve("ben", "policy-owner", new, "policy"),
    ],
    "a revoked key": lambda scene, new: [
        scene.approve("ada", "policy-owner", new, "policy"),
        scene.revoke("ben", "ben", "ada", "policy-owner"),
        scene.approve("ben", "policy-owner", new, "policy"),
    ],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_quorum(name: str, scene: Governed) -> None:
    old = scene.story.policies.digest
    REFUSED[name](scene, _propose(scene, _without_cleo))
    assert _authority(scene).in_force.digest == old


def test_a_signature_about_one_thing_takes_back_none_about_another(scene: Governed) -> None:
    new = _propose(scene, _without_cleo)
    scene.approve("ada", "policy-owner", new, "policy")
    scene.approve("ada", "policy-owner", new, "checkpoint_key", decision="reject")
    scene.approve("ben", "policy-owner", new, "policy")
    assert _authority(scene).in_force.digest == new


def test_an_old_signature_enacts_nothing_again(scene: Governed) -> None:
    """Back to policies that were in force once: only by fresh signatures."""
    first = scene.story.policies.digest
    second = _propose(scene, _without_cleo)
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", second, "policy")
    again = _propose(
        scene,
        lambda text: text.replace(
            principals({n: [n] for n in PEOPLE if n != "cleo"}), principals()
        ),
    )
    assert again == first
    scene.approve("ada", "policy-owner", first, "policy")
    assert _authority(scene).in_force.digest == second
    scene.approve("ben", "policy-owner", first, "policy")
    assert _authority(scene).in_force.digest == first


def test_two_keys_of_one_person_are_one_person(tmp_path: Path) -> None:
    scene = empty(
        tmp_path, people=principals({"ada": ["ada", "ada2"], "ben": ["ben"], "cleo": ["cleo"]})
    )
    old = scene.story.policies.digest
    new = _propose(scene, lambda text: text.replace("max_days: 30", "max_days: 20"))
    scene.approve("ada", "policy-owner", new, "policy")
    scene.approve("ada", "policy-owner", new, "policy", key="ada2")
    assert _authority(scene).in_force.digest == old


def test_an_owner_by_an_older_name_is_one_person(scene: Governed) -> None:
    """ada's key goes by adele since, and another one by ada, by policies that owners signed."""
    more = {
        "name": "ada",
        "kind": "person",
        "roles": ["policy-owner"],
        "keys": [keypair("ada2")[1]],
    }
    renamed = _propose(
        scene,
        lambda text: text.replace('"name": "ada"', '"name": "adele"').replace(
            "principals:\n", f"principals:\n  - {json.dumps(more)}\n"
        ),
    )
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", renamed, "policy")
    new = _propose(scene, lambda text: text.replace("approvals: 2", "approvals: 1"))
    for who, key in (("adele", "ada"), ("ada", "ada2")):
        scene.approve(who, "policy-owner", new, "policy", key=key)
    assert _authority(scene).in_force.digest == renamed
    scene.approve("ben", "policy-owner", new, "policy")
    assert _authority(scene).in_force.digest == new


def test_an_owner_signs_nothing_after_their_last_day_whatever_the_date(tmp_path: Path) -> None:
    row = '"name": "ben", "kind": "person", '
    scene = empty(tmp_path, people=principals().replace(row, f'{row}"until": "2026-11-19", '))
    for order in (("ada", "ben"), ("ben", "ada")):
        for who in order:
            at = {"at": "2026-11-19T12:00:00Z"} if who == "ben" else {}
            scene.approve(who, "policy-owner", scene.story.policies.digest, "policy", **at)
    assert _authority(scene).in_force.signed_at is None


def test_whose_key_changed_has_the_same_last_day(scene: Governed) -> None:
    """ben has another key since, and a last day, which was yesterday."""
    index = scene.approve("ben", "risk", digest("x"))
    row = '"name": "ben", "kind": "person", '
    new = _propose(
        scene,
        lambda text: text.replace(row, f'{row}"until": "2026-11-19", ').replace(
            keypair("ben")[1], keypair("ben2")[1]
        ),
    )
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", new, "policy")
    now = promotion.state(scene.story.log)
    (said,) = now.evidence.by_subject(digest("x"), "approval")
    assert (said.index, now.authority.in_force.digest) == (index, new)
    assert now.authority.speaker(said) is not None
    assert not now.authority.may_still_act(said, scene.now)


def test_those_who_recover_stand_in_for_lost_owners(tmp_path: Path) -> None:
    rules = (
        "owners: {people: 2, roles: [policy-owner]}\nrecovery: {people: 2, roles: [visitor,"
        " engineer]}\n"
    )
    scene = empty(tmp_path, rules)
    new = _propose(scene, _without_cleo)
    scene.approve("dora", "engineer", new, "policy")
    scene.approve("eve", "visitor", new, "policy")
    assert _authority(scene).in_force.digest == new


WHO_MAY_REVOKE = {
    # who, in which role, with which key: whether cleo's key is good for nothing afterwards
    "its owner": ("cleo", "release-manager", "", True),
    "a policy owner": ("ada", "policy-owner", "", True),
    "somebody else": ("dora", "engineer", "", False),
    "the service": ("ci", "policy-owner", "ci", False),
}


@pytest.mark.parametrize("name", WHO_MAY_REVOKE)
def test_who_may_revoke_a_key(name: str, scene: Governed) -> None:
    who, role, key, revoked = WHO_MAY_REVOKE[name]
    at = scene.revoke("cleo", "cleo", who, role, key)
    authority, cleo = _authority(scene), person("cleo").keyid
    assert authority.principal(cleo, at) is not None, "what it said before stands"
    assert (authority.principal(cleo, at + 1) is None) == revoked


def test_a_service_key_counts_at_its_position(scene: Governed) -> None:
    ci = signer(scene.story.machine).keyid
    at = scene.revoke("ci", "ci", "ada", "policy-owner")
    authority = _authority(scene)
    for kind in KINDS:
        assert authority.may_sign(kind, ci, False, at)
        assert not authority.may_sign(kind, ci, False, at + 1)


def test_the_checkpoint_key_has_a_successor_once_owners_say_so(scene: Governed) -> None:
    public = public_key(keypair("next")[1])
    said = CheckpointKey.model_validate(scene.signed("ada", "policy-owner", pem=public.pem))
    scene.say(
        "ada",
        "checkpoint_key",
        [Artifact(role="checkpoint_key", name="next", sha256=public.keyid)],
        said,
    )
    scene.approve("ada", "policy-owner", public.keyid, "checkpoint_key")
    assert len(_authority(scene).checkpoint_keys) == 1
    at = scene.approve("ben", "policy-owner", public.keyid, "checkpoint_key")
    assert _authority(scene).checkpoint_keys[-1] == (at, public.pem)


OFFERED: dict[str, tuple[Callable[[str], str], bool]] = {
    "another form of the same key": (lambda pem: keypair("next")[1] + " a comment", True),
    "space around it": (lambda pem: f"\n{pem}\n", True),
    "no key at all": (lambda pem: "garbage", False),
    "a key of another kind": (lambda pem: "ssh-rsa AAAA", False),
    "an ECDSA key": (lambda pem: line_of(P256), False),
    "two keys": (lambda pem: f"{keypair('next')[1]}\n{line_of(P256)}", False),
}


@pytest.mark.parametrize("row", OFFERED)
def test_whoever_offers_a_successor_stops_nothing(row: str, scene: Governed) -> None:
    """It is one key however it is written, and nonsense is none."""
    write, follows = OFFERED[row]
    public = public_key(keypair("next")[1])
    said = CheckpointKey.model_validate(scene.signed("ada", "policy-owner", pem=write(public.pem)))
    scene.say(
        "ada",
        "checkpoint_key",
        [Artifact(role="checkpoint_key", name="next", sha256=public.keyid)],
        said,
    )
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", public.keyid, "checkpoint_key")
    assert [pem for _, pem in _authority(scene).checkpoint_keys[1:]] == (
        [public.pem] if follows else []
    )


def test_what_is_recorded_is_not_believed(scene: Governed) -> None:
    """A proposal whose files are not those of its digest is no proposal, whoever signs."""
    log, service = scene.story.log, signer(scene.story.machine)
    run = scene.story.run()
    files = dict(scene.story.policies.files)
    other = files_digest({**files, "policy.yaml": "models: {}\n"})
    change = PolicyChange(previous=scene.story.policies.digest, run=run, files=files)
    evidence.record(
        log, service, "policy", [Artifact(role="policy", name="policies", sha256=other)], change
    )
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", other, "policy")
    assert _authority(scene).in_force.digest == scene.story.policies.digest


@pytest.mark.parametrize(
    "path", ["../policy.yaml", "/etc/x.yaml", "a/b/c.yaml", "policy.yml", "Policy.yaml", ""]
)
def test_a_path_that_is_none_of_ours_is_refused(path: str, scene: Governed) -> None:
    with pytest.raises(ConfigError, match="no path of a policy"):
        policies_of({**scene.story.policies.files, path: "x: 1\n"})


def test_policies_that_cannot_be_read_change_nothing(scene: Governed) -> None:
    files = {**scene.story.policies.files, "policy.yaml": "tiers: nonsense\n"}
    digest = files_digest(files)
    change = PolicyChange(previous=scene.story.policies.digest, run=scene.story.run(), files=files)
    what = [Artifact(role="policy", name="policies", sha256=digest)]
    evidence.record(scene.story.log, signer(scene.story.machine), "policy", what, change)
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", digest, "policy")
    assert _authority(scene).in_force.digest == scene.story.policies.digest


@pytest.mark.slow
def test_a_proposal_is_verified_and_parsed_once(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """7 MB of proposals raised each decision from 0.2 s to 7 s."""
    files = dict(scene.story.policies.files)
    for number in range(100):
        text = f"{files['policy.yaml']}# {number}\n"
        scene.propose(policies_of({**files, "policy.yaml": text}))
    first, read = _authority(scene), list[str]()
    real = {name: getattr(authority, name) for name in ("verify_envelope", "parse_statement")}

    def counted(name: str, *args: Any, **how: Any) -> Any:
        read.append(name)
        return real[name](*args, **how)

    for name in real:
        monkeypatch.setattr(authority, name, partial(counted, name))
    assert len(first.proposals) == 100 and _authority(scene) == first
    assert read == []
    scene.approve("ada", "policy-owner", digest("others"), "policy")
    assert _authority(scene) == first
    assert read == ["verify_envelope", "parse_statement"]  # of what is new


def test_a_log_of_before_says_what_to_do(tmp_path: Path) -> None:
    """An origin without the policies' text gives nobody rights, and says so."""
    from tests.governance.examples import scene as bare

    with pytest.raises(VerificationError, match="countersign init"):
        _ = read_authority(bare(tmp_path).log).policies


def test_authority_as_of_an_entry(scene: Governed) -> None:
    size = scene.story.log.size()
    scene.revoke("cleo", "cleo", "ada", "policy-owner")
    assert read_authority(scene.story.log, size).revoked == {}
    assert instant(scene.now) > "2026"


@pytest.mark.parametrize(("last_day", "counts"), [("2026-11-20", True), ("2026-11-19", False)])
def test_an_owner_signs_on_their_last_day(tmp_path: Path, last_day: str, counts: bool) -> None:
    """Everything here is signed on 2026-11-20."""
    row = '"name": "ben", "kind": "person", '
    scene = empty(tmp_path, people=principals().replace(row, f'{row}"until": "{last_day}", '))
    assert (_authority(scene).in_force.signed_at is not None) is counts
