"""How a governed log begins, and what never begins one."""

from __future__ import annotations

import pytest

from governance.history.state import state
from governance.log import evidence
from governance.log.port import Log
from governance.machine.machine import machine, open_log, read_log
from governance.policy.policies import load_policies
from tests.governance.governed import keypair
from tests.governance.people.desk import WHY, Desk
from tests.governance.story import MODEL, START
from tests.governance.terminal import people_file

PEOPLE = {"ada": "policy-owner,ml-lead", "ben": "policy-owner,risk", "cleo": "release-manager"}
YES = "--yes"


def who(d: Desk, **roles: str) -> list[str]:
    """The options that name everybody."""
    return named(d, {name: (d.public(name), rights) for name, rights in (roles or PEOPLE).items()})


def named(d: Desk, people: dict[str, tuple[str, str]]) -> list[str]:
    """The options that name people by public key and roles, and the service."""
    file = people_file(d.folder / "named.yaml", people, {"ci": (d.public("ci"), "all")})
    return ["--people", str(file)]


def log(d: Desk) -> Log:
    return read_log(machine(MODEL, {"COUNTERSIGN_HOME": str(d.folder / "home")}))


def test_three_commands_begin_a_governed_log(fresh: Desk) -> None:
    d = fresh
    before = (d.scene.story.root / "policies" / "policy.yaml").read_text()
    first = d.must("ada", "init", *who(d), YES, "--json").json
    assert first["signed_by"] == ["ada"] and first["waits_for"] == ["ben"]
    assert "countersign policy sign" in first["next"][0]
    d.must("ben", "policy", "sign", first["policies"][:12], WHY, YES)
    last = d.must("", "init", "--json").json
    assert (
        last["signed_by"] == ["ada", "ben"]
        and last["waits_for"] == []
        and last["pin"] == first["pin"]
    )
    now = state(log(d))
    assert now.authority.in_force.signers == ("ada", "ben")
    assert evidence.origin(log(d)).development_keys == []
    after = (d.scene.story.root / "policies" / "policy.yaml").read_text()
    kept = [line for line in before.splitlines() if line.strip().startswith("#")]
    assert [line for line in after.splitlines() if line in kept] == kept


def both_sign(d: Desk) -> None:
    d.must("ada", "init", *who(d), YES)
    d.must("ben", "init", YES)


def test_each_owner_signs_once(fresh: Desk) -> None:
    d = fresh
    both_sign(d)
    again = d.must("ada", "init", *who(d), YES, "--json").json
    assert again["done"] == [] and again["signed_by"] == ["ada", "ben"]
    assert log(d).size() == 3


def test_a_file_says_who_is_who(fresh: Desk) -> None:
    d = fresh
    for name in (*PEOPLE, "rita", "rob", "ci"):
        d.public(name)
    (d.folder / "people.yaml").write_text(
        "people:\n"
        + "".join(
            f"  {name}: {{key: keys/{name}.pub, roles: [{roles}]}}\n"
            for name, roles in PEOPLE.items()
        )
        + "  rita: {key: keys/rita.pub, roles: [recovery]}\n"
        + f"  rob: {{key: '{keypair('rob')[1]}', roles: [recovery]}}\n"
        + "services:\n  ci: {key: keys/ci.pub, signs: "
        + "[ingest, scan, quality, base, gate, train, evaluate, registration, promotion]}\n"
        + "owners: {people: 1, roles: [policy-owner]}\napprovers: [risk, ml-lead]\n"
        + "aliases:\n  champion: {requesters: [release-manager], break_glass: [release-manager]}\n"
        + "waivers: {max_days: 20, accepted_by: [risk]}\n"
    )
    d.must("ada", "init", "--people", str(d.folder / "people.yaml"), YES)
    rules = state(log(d)).authority.policies.rules
    assert (rules.owners and rules.owners.people, rules.recovery and rules.recovery.people) == (
        1,
        2,
    )
    assert rules.aliases["champion"].break_glass == ["release-manager"]
    assert rules.tiers["limited"].approvers == ["risk", "ml-lead"] and rules.waivers.max_days == 20
    assert state(log(d)).authority.in_force.signers == ("ada",)


NEVER: dict[str, tuple[dict[str, str], str]] = {
    "nobody approves": (
        {"ada": "policy-owner", "ben": "policy-owner"},
        "tiers.limited: wants 2 people",
    ),
    "one approver": ({"ada": "policy-owner,risk", "ben": "policy-owner"}, "policy names 1 (ada)"),
    "a role that is none": ({"ada": "Policy Owner"}, "people.ada"),
}


@pytest.mark.parametrize(("roles", "says"), NEVER.values(), ids=NEVER.keys())
def test_a_policy_under_which_nothing_could_ever_be_signed_is_not_begun(
    fresh: Desk, roles: dict[str, str], says: str
) -> None:
    d = fresh
    before = (d.scene.story.root / "policies" / "policy.yaml").read_bytes()
    assert says in d.refused("ada", "init", *who(d, **roles), YES, code=2)
    assert (d.scene.story.root / "policies" / "policy.yaml").read_bytes() == before
    assert not (d.folder / "home").exists()


def test_one_key_under_two_names_is_refused(fresh: Desk) -> None:
    d = fresh
    people = {name: (d.public(name), rights) for name, rights in PEOPLE.items()}
    twins = named(d, {**people, "zoe": (d.public("ada"), "risk")})
    assert "named twice: it is ada's" in d.refused("ada", "init", *twins, YES, code=2)


def test_a_private_key_is_never_written_into_policy(fresh: Desk) -> None:
    d = fresh
    mistaken = named(d, {"ada": (d.key("ada"), "policy-owner")})
    assert "this is the private one" in d.refused("ada", "init", *mistaken, YES, code=2)


def test_no_people_is_said_with_the_next_step(fresh: Desk) -> None:
    assert "countersign init --people FILE" in fresh.refused("", "init", code=2)


def test_a_key_that_policy_does_not_name_begins_nothing(fresh: Desk) -> None:
    d = fresh
    assert "do not name this key" in d.refused("stranger", "init", *who(d), YES)
    assert not (d.folder / "home" / "support-desk" / "countersign.db").exists()


def test_who_owns_no_policy_begins_nothing(fresh: Desk) -> None:
    d = fresh
    before = (d.scene.story.root / "policies" / "policy.yaml").read_bytes()
    assert "cleo (release-manager) signs no policies" in d.refused("cleo", "init", *who(d), YES)
    assert (d.scene.story.root / "policies" / "policy.yaml").read_bytes() == before


def test_nothing_is_begun_where_nobody_says_yes(fresh: Desk) -> None:
    d = fresh
    before = (d.scene.story.root / "policies" / "policy.yaml").read_bytes()
    assert "nobody is there to say yes" in d.refused("ada", "init", *who(d), code=2)
    assert (d.scene.story.root / "policies" / "policy.yaml").read_bytes() == before
    assert not (d.folder / "home" / "support-desk" / "countersign.db").exists()


def test_an_owner_signs_later_by_init_too(fresh: Desk) -> None:
    d = fresh
    d.must("ada", "init", *who(d), YES)
    done = d.must("ben", "init", YES)
    assert "- ben signed the policies" in done.out and "signed by ada, ben" in done.out


def test_a_dry_run_writes_nothing(fresh: Desk) -> None:
    d = fresh
    before = (d.scene.story.root / "policies" / "policy.yaml").read_bytes()
    assert "would write" in d.must("ada", "init", *who(d), "--dry-run").out
    assert (d.scene.story.root / "policies" / "policy.yaml").read_bytes() == before
    assert not (d.folder / "home").exists()


def test_a_log_that_began_under_development_keys_stays_what_it_is(fresh: Desk) -> None:
    d = fresh
    here = machine(MODEL, {"COUNTERSIGN_HOME": str(d.folder / "home")})
    began = open_log(here, load_policies(d.scene.story.root / "policies"), lambda: START)
    message = d.refused("ada", "init", *who(d), YES)
    assert "began under development keys" in message and "COUNTERSIGN_HOME" in message
    assert began.size() == 1
    assert "principals: []" in (d.scene.story.root / "policies" / "policy.yaml").read_text()


def test_changed_policies_are_proposed_not_begun_again(fresh: Desk) -> None:
    d = fresh
    both_sign(d)
    newcomer = named(d, {"zoe": (d.public("zoe"), "risk")})
    assert "countersign policy propose" in d.refused("ada", "init", *newcomer, YES)


def test_a_governed_log_takes_no_development_keys(fresh: Desk) -> None:
    d = fresh
    both_sign(d)
    here = machine(MODEL, {"COUNTERSIGN_HOME": str(d.folder / "home")})
    with pytest.raises(Exception, match=r"takes no development keys[\s\S]*COUNTERSIGN_SIGNER"):
        open_log(here, load_policies(d.scene.story.root / "policies"), lambda: START)
