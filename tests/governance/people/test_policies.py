"""Policies are proposed, shown, signed; keys are rotated, revoked, recovered; each as a command,
and what stops it.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from governance.base.text import visible
from governance.history.state import state
from governance.policy.rules import RIGHTS
from tests.governance.governed import RULES, empty, keypair, principals
from tests.governance.people.desk import WHY, Desk, desk
from tests.governance.sshagent import add, make, needs_ssh

YES = "--yes"
RECOVERY = RULES + "recovery: {people: 2, roles: [recovery]}\n"


@pytest.fixture
def at_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return desk(tmp_path, empty(tmp_path), monkeypatch)


def edit(d: Desk, old: str, new: str) -> None:
    path = d.scene.story.root / "policies" / "policy.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def propose(d: Desk, who: str = "ada") -> str:
    digest: str = d.must(who, "policy", "propose", "--json").json["digest"]
    return digest


def in_force(d: Desk) -> str:
    return state(d.scene.story.log).authority.in_force.digest


def test_a_change_counts_when_its_owners_have_read_and_signed_it(at_desk: Desk) -> None:
    d = at_desk
    edit(d, "max_days: 30", "max_days: 10")
    old, digest = in_force(d), propose(d, "ben")
    shown = d.must("ada", "policy", "sign", digest[:12], WHY, YES)
    assert "-waivers: {max_days: 30" in shown.out and "+waivers: {max_days: 10" in shown.out
    assert in_force(d) == old
    found = d.must("", "policy", "status", "--json").json
    (proposal,) = found["proposals"]
    assert (proposal["signed_by"], proposal["waits_for"]) == (["ada"], ["ben"])
    before = d.entries()
    d.must("ada", "policy", "sign", digest[:12], WHY, YES)
    assert d.entries() == before, "signed once, however often"
    assert [one["kind"] for one in d.must("ben", "pending", "--json").json["pending"]] == ["policy"]
    assert "in force from entry" in d.must("ben", "policy", "sign", digest[:12], WHY, YES).out
    assert in_force(d) == digest
    item = list(state(d.scene.story.log).evidence.all("approval"))[-1]
    assert item.predicate.page is not None and item.predicate.about == "policy"


SIGNS_NOT: dict[str, tuple[str, str]] = {
    "a role that does not own": ("cleo", "may not say this"),
    "a service": ("ci", "the key of service ci"),
    "a stranger": ("stranger", "do not name this key"),
}


@pytest.mark.parametrize(("who", "says"), SIGNS_NOT.values(), ids=SIGNS_NOT.keys())
def test_who_signs_no_policy(at_desk: Desk, who: str, says: str) -> None:
    edit(at_desk, "max_days: 30", "max_days: 10")
    digest = propose(at_desk)
    assert says in at_desk.refused(who, "policy", "sign", digest[:12], WHY, YES)


def test_what_is_no_proposal_is_not_signed(at_desk: Desk) -> None:
    d = at_desk
    assert "are those in force" in d.refused("ada", "policy", "propose")
    assert "in force and signed by ada, ben" in d.refused(
        "ada", "policy", "sign", in_force(d)[:12], WHY, YES
    )
    assert "names no policies" in d.refused("ada", "policy", "sign", "0" * 12, WHY, YES, code=3)
    assert "8 characters or more" in d.refused(
        "ada", "policy", "sign", in_force(d)[:6], WHY, YES, code=3
    )
    edit(d, "max_days: 30", "max_dayz: 30")
    assert "did you mean 'max_days'" in d.refused("ada", "policy", "propose", code=2)


def test_a_policy_that_locks_everybody_out_is_not_proposed(at_desk: Desk) -> None:
    edit(at_desk, "owners: {people: 2", "owners: {people: 3")
    assert "owners: wants 3 people as policy-owner, and policy names 2" in at_desk.refused(
        "ada", "policy", "propose", code=2
    )


def test_the_terminal_shows_what_a_file_hides(at_desk: Desk) -> None:
    """What a comment hides from its owner."""
    d = at_desk
    edit(d, "development_keys: candidate", "development_keys: candidate  # \u200b hidden")
    digest = propose(d)
    out = d.must("ada", "policy", "show", digest[:12]).out
    assert "⟨U+200B⟩" in out and "\u200b" not in out
    assert visible(out) == out


def test_a_newcomer_says_nothing_before_the_owners_signed(at_desk: Desk) -> None:
    d = at_desk
    d.must("", "enrol", "zoe", d.public("zoe"), "--role", "risk")
    assert "do not name this key" in d.refused("zoe", "authorize", "--hours", "1", YES)
    digest = propose(d)
    for who in ("ada", "ben"):
        d.must(who, "policy", "sign", digest[:12], WHY, YES)
    d.must("zoe", "authorize", "--hours", "1", YES)


def test_a_key_of_the_pipeline_moves_no_governed_alias(at_desk: Desk) -> None:
    d = at_desk
    d.run("", "enrol", "ci2", d.public("ci2"), "--signs", "all")
    told = d.must("", "enrol", "ci2", d.public("ci2"), "--signs", "pipeline", "--json").json
    assert set(told["rights"]) == set(RIGHTS) - {"promotion"}
    told = d.must("", "enrol", "desk", d.public("desk"), "--signs", "promotion", "--json").json
    assert told["rights"] == ["promotion"]


def test_a_further_key_is_of_the_same_person(at_desk: Desk) -> None:
    d = at_desk
    d.must("", "enrol", "cleo", d.public("cleo2"))
    digest = propose(d)
    for who in ("ada", "ben"):
        d.must(who, "policy", "sign", digest[:12], WHY, YES)
    for key in ("cleo", "cleo2"):
        assert d.must(key, "authorize", "--hours", "1", YES, "--json").json["name"] == "cleo"
    assert "no person or service 'zoe'" in d.refused("", "enrol", "zoe", d.public("zoe"), code=2)
    assert "adds a key" in d.refused(
        "", "enrol", "cleo", d.public("cleo3"), "--role", "risk", code=2
    )


def test_a_rotated_key_ends_the_old_one_with_the_signed_policy(at_desk: Desk) -> None:
    d = at_desk
    d.must("", "rotate", "cleo", d.public("cleo"), d.public("cleo2"))
    digest = propose(d)
    d.must("cleo", "authorize", "--hours", "1", YES)
    for who in ("ada", "ben"):
        d.must(who, "policy", "sign", digest[:12], WHY, YES)
    assert "do not name this key" in d.refused("cleo", "authorize", "--hours", "1", YES)
    d.must("cleo2", "authorize", "--hours", "1", YES)


def test_a_revoked_key_ends_at_once(at_desk: Desk) -> None:
    d = at_desk
    done = d.must("ada", "revoke", "eve", "--reason", "laptop stolen", YES, "--json").json
    assert len(done["revocations"]) == 1
    assert "was revoked at entry" in d.refused("eve", "authorize", "--hours", "1", YES)
    assert "name: eve" not in (d.scene.story.root / "policies" / "policy.yaml").read_text()
    assert (
        d.must("ada", "policy", "status", "--json")
        .json["keys"]["eve"][0]
        .endswith(f"(revoked at entry {done['revocations'][0]})")
    )


REVOKES_NOT: dict[str, tuple[str, str]] = {
    "another person": ("cleo", "may not say this"),
    "a service": ("ci", "the key of service ci"),
}


@pytest.mark.parametrize(("who", "says"), REVOKES_NOT.values(), ids=REVOKES_NOT.keys())
def test_who_revokes_no_other_key(at_desk: Desk, who: str, says: str) -> None:
    assert says in at_desk.refused(who, "revoke", "eve", "--reason", "x", YES)


def test_anybody_revokes_their_own_key(at_desk: Desk) -> None:
    at_desk.must("cleo", "revoke", "cleo", "--reason", "stolen", YES)
    assert "was revoked" in at_desk.refused("cleo", "authorize", "--hours", "1", YES)


def test_a_revocation_comes_before_a_policy_that_could_not_be_signed(at_desk: Desk) -> None:
    """ben is one of two owners who are both wanted: his key ends at once, his place in policy must
    be filled first.
    """
    d = at_desk
    done = d.must("ada", "revoke", "ben", "--reason", "stolen", YES)
    assert "does not count after entry" in done.out and "enrol a successor first" in done.out
    assert '"name": "ben"' in (d.scene.story.root / "policies" / "policy.yaml").read_text()


def test_recovery_replaces_a_lost_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ben's key is gone for good: two people in recovery sign what two owners cannot sign any
    more.
    """
    rows = principals().rstrip("\n") + "".join(
        "\n  - "
        + json.dumps({"name": n, "kind": "person", "roles": ["recovery"], "keys": [keypair(n)[1]]})
        for n in ("rita", "rob")
    )
    d = desk(tmp_path, empty(tmp_path, RECOVERY, rows + "\n"), monkeypatch)
    d.must("ada", "revoke", "ben", "--reason", "lost", YES)
    d.must("", "rotate", "ben", d.public("ben"), d.public("ben2"))
    digest = propose(d)
    d.must("ada", "policy", "sign", digest[:12], WHY, YES)
    assert in_force(d) != digest
    (wait,) = d.must("rita", "pending", "--json").json["pending"]
    assert wait["next"] == f"countersign policy sign {digest[:12]}"
    d.must("rita", "policy", "sign", digest[:12], WHY, YES)
    d.must("rob", "policy", "sign", digest[:12], WHY, YES)
    assert in_force(d) == digest
    d.must("ben2", "authorize", "--hours", "1", YES)
    assert "do not name this key" in d.refused("ben", "authorize", "--hours", "1", YES)


def test_the_checkpoint_key_has_a_successor(at_desk: Desk) -> None:
    d = at_desk
    made = d.must("ada", "checkpoint-key", "rotate", "--reason", "yearly", YES, "--json").json
    d.must("ada", "checkpoint-key", "approve", made["keyid"][:12], WHY, YES)
    assert "no other key waits" not in d.must("ben", "pending").out
    done = d.must("ben", "checkpoint-key", "approve", made["keyid"][:12], WHY, YES, "--json").json
    assert done["approved"]
    assert "countersign checkpoint-key use" in d.refused(
        "ada", "authorize", "--hours", "1", YES, code=6
    )
    assert made["fingerprint"] in d.must("", "checkpoint-key", "use", "--dry-run").out
    d.must("", "checkpoint-key", "use")
    assert "no other key waits" in d.must("", "checkpoint-key", "use").out
    d.must("ada", "authorize", "--hours", "1", YES)
    keys = d.must("", "checkpoint-key", "status", "--json").json["keys"]
    assert [one["keyid"] for one in keys][-1] == made["keyid"] and len(keys) == 2
    verified = d.must("", "verify", "--no-files", "--json").json
    assert verified["log"]["broken"] is None
    kept = sorted(
        path.name for path in (d.folder / "home" / "support-desk" / "keys").glob("checkpoint*")
    )
    assert len(kept) == 2


@needs_ssh
def test_the_checkpoint_key_may_live_in_another_process(
    at_desk: Desk, agent: dict[str, str], tmp_path: Path
) -> None:
    d, path = at_desk, make(tmp_path / "checkpoint")
    add(agent, path)
    made = d.must(
        "ada",
        "checkpoint-key",
        "rotate",
        "--public",
        f"{path}.pub",
        "--reason",
        "HSM",
        YES,
        "--json",
    ).json
    for who in ("ada", "ben"):
        d.must(who, "checkpoint-key", "approve", made["keyid"][:12], WHY, YES)
    d.refused("ada", "authorize", "--hours", "1", YES, code=6)
    d.environ |= {**agent, "COUNTERSIGN_CHECKPOINT": f"ssh-agent:{path}.pub"}
    d.must("ada", "authorize", "--hours", "1", YES)
    assert (
        d.must("", "verify", "--no-files", "--json").json["log"]["checkpoint_key"] == made["keyid"]
    )
    assert "--public" in d.refused(
        "ada", "checkpoint-key", "rotate", "--reason", "again", YES, code=2
    )
    assert "address of the approved key" in d.refused("", "checkpoint-key", "use", code=2)
    before = d.entries()
    subprocess.run(["ssh-add", "-q", "-D"], check=True, env={**os.environ, **agent})
    assert "holds no key" in d.refused("ada", "authorize", "--hours", "2", YES, code=2)
    assert d.entries() == before


def test_a_checkpoint_key_that_owners_did_not_approve_is_not_used(at_desk: Desk) -> None:
    d = at_desk
    made = d.must("ada", "checkpoint-key", "rotate", "--reason", "yearly", YES, "--json").json
    d.must("ada", "checkpoint-key", "approve", made["keyid"][:12], WHY, YES)
    assert "not the one that was approved" in d.refused("", "checkpoint-key", "use", code=2)
    assert "may not say this" in d.refused(
        "cleo", "checkpoint-key", "approve", made["keyid"][:12], WHY, YES
    )
