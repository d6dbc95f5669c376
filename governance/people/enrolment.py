"""Edits policies/policy.yaml: people, services, owners, approvers, alias rules. Comments are kept.

An edit gives no right. Changed policies count for governed aliases after their owners signed them
(`governance.policy.authority`). Policies that could never work are refused before anybody signs
them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from governance.attest import predicates
from governance.attest.digests import SHORTEST
from governance.attest.keys import PublicKey, earlier_key, public_key
from governance.base.errors import ConfigError, CountersignError, Problems, unknown
from governance.base.model import Model, Slug
from governance.base.storage import home_expanded, write_atomic
from governance.base.yaml import edited, parse_model
from governance.machine.signers import start_of
from governance.policy.policies import Policies, policies_of, policy_files
from governance.policy.rules import (
    COVERED_BY,
    RIGHTS,
    AliasRule,
    Principal,
    Quorum,
    Right,
    Rules,
    WaiverRules,
)

FILE = "policy.yaml"
OWNER, RECOVERY, RELEASER = "policy-owner", "recovery", "release-manager"
"""Default roles: who signs policies, who signs them if owners are lost, who requests a move."""
PIPELINE = "pipeline"
"""In place of a list of rights: those of a key that runs the pipeline."""
OPTIONAL = frozenset(kind.name for kind in predicates.KINDS.values() if kind.optional_for_release)
"""Kinds that no release depends on. Policies are valid if no service signs them."""
Change = Callable[[str], str]
"""Changes the text of policy.yaml."""
COMMENTS = {
    "owners": "Who signs a changed policy before it counts for governed aliases.",
    "recovery": "Who signs it in their stead, where owners were lost.",
    "aliases": "The aliases that serve users, and in which roles a person may ask to move them.",
    "waivers": "What may be accepted for a while: how long, and by whom.",
    "incidents": "The roles that open an incident on a model, and that close it.",
    "rollouts": "Who asks for canary rollouts and widens them, and what each one must keep to.",
    "seconded_by": "The roles that sign a rollback or retirement of another.",
}
"""The rules that `founded` writes, and the comment above each."""
ERRORS = {"worse": "higher", "low": 0, "high": 1, "margin": 0.01}
"""The guardrail of every rollout under the rules that `founded` writes: failed requests, which each
proxy can measure.
"""


class Person(Model):
    """A person to enrol."""

    key: str
    """A public key: a file, or the line itself."""
    roles: list[Slug] = Field(min_length=1)


class Service(Model):
    """A service to enrol."""

    key: str
    signs: list[Right] = Field(min_length=1)


class Founding(Model):
    """People and services that begin a governed log: the file of `countersign init --people`."""

    people: dict[Slug, Person] = {}
    services: dict[Slug, Service] = {}
    owners: Quorum | None = None
    """Absent: two people as policy-owner, or one where there is only one."""
    recovery: Quorum | None = None
    """Absent: the people in role recovery, all but one of them, at least two; none where nobody is.
    """
    approvers: list[Slug] = []
    """Who approves releases. Absent: every role but those of owners, recovery and release managers.
    """
    aliases: dict[Slug, AliasRule] = {}
    """Absent: champion, asked for by release managers, or by approvers where there are none."""
    waivers: WaiverRules | None = None
    """Absent: as policy.yaml has it."""


def read_key(text: str, folder: Path = Path()) -> PublicKey:
    """Reads a public key from a file, or from the text itself. Raises `ConfigError`."""
    if text.strip().startswith(("-----BEGIN", "ssh-", "ecdsa-", "sk-")):
        return public_key(text)
    path = folder / home_expanded(text)
    try:
        return public_key(start_of(path).decode("utf-8"))
    except ConfigError as error:
        error.where = str(path)
        raise
    except (OSError, ValueError):  # of a null byte, too
        fix = "ssh-keygen -t ed25519 makes one"
        raise ConfigError("no such public key file", where=str(path), fix=fix) from None


# -- Changes of policy.yaml ------------------------------------------------------------------------
def founded(text: str, given: Founding, folder: Path) -> str:
    """policy.yaml with the principals of `given` and the rules that follow from them. Existing
    principals and rules are kept. Key files are named relative to `folder`.
    """

    def change(rules: Rules, yaml: Any) -> None:
        enrolled_names = {principal.name for principal in rules.principals}
        for name, person in given.people.items():
            if name not in enrolled_names:
                _append(yaml, name, "person", person.roles, read_key(person.key, folder))
        for name, service in given.services.items():
            if name not in enrolled_names:
                _append(yaml, name, "service", service.signs, read_key(service.key, folder))
        for name, rule in _rules(given).items():
            if not yaml.get(name):
                yaml[name] = rule
                yaml.yaml_set_comment_before_after_key(name, before=f"\n{COMMENTS[name]}")
        for tier in yaml["tiers"].values():
            if tier["promotable"] and tier["approvals"] and not tier.get("approvers"):
                tier.insert(list(tier).index("approvals") + 1, "approvers", _approvers(given))

    return _changed(text, change)


def enrolled(text: str, name: str, kind: str, key: PublicKey, rights: list[str]) -> str:
    """policy.yaml with a new principal. Without `rights`: with a further key of an enrolled
    principal.
    """

    def change(rules: Rules, yaml: Any) -> None:
        if not rights:
            yaml["principals"][_position(rules, name)]["keys"].append(key.line)
            return
        if name in {principal.name for principal in rules.principals}:
            fix = f"countersign enrol {name} KEY, without roles, adds a key; countersign rotate"
            raise ConfigError(f"{name} is enrolled already", where=FILE, fix=fix)
        _append(yaml, name, kind, rights, key)

    return _changed(text, change)


def rights_of(named: Iterable[str]) -> list[str]:
    """The rights that are named, in order. `PIPELINE` stands for all but those that cover another:
    moves of governed aliases need a key of their own.
    """
    rights = [
        right
        for name in named
        for right in (RIGHTS if name == PIPELINE else [name])
        if name != PIPELINE or right not in COVERED_BY.values()
    ]
    return list(dict.fromkeys(rights))


def rotated(text: str, name: str, old: str, new: PublicKey) -> str:
    """policy.yaml with another key of `name` in place of `old`."""

    def change(rules: Rules, yaml: Any) -> None:
        position = _position(rules, name)
        at = _key_at(rules.principals[position], old)
        yaml["principals"][position]["keys"][at] = new.line

    return _changed(text, change)


def revoked(text: str, name: str, key: str | None) -> str:
    """policy.yaml without a key of `name`; without `name`, if no key is given or left."""

    def change(rules: Rules, yaml: Any) -> None:
        position = _position(rules, name)
        at = _key_at(rules.principals[position], key) if key is not None else None
        if at is not None and len(rules.principals[position].keys) > 1:
            del yaml["principals"][position]["keys"][at]
        else:
            del yaml["principals"][position]

    return _changed(text, change)


def _changed(text: str, change: Callable[[Rules, Any], None]) -> str:
    """The text after `change` of its round-trip YAML. Comments and order are kept. Raises
    `Problems` or `ConfigError` for a text that is no policy.yaml.
    """
    rules = parse_model(text, Path("policies") / FILE, Rules)
    return edited(text, lambda yaml: change(rules, yaml))


def _append(yaml: Any, name: str, kind: str, rights: list[str], key: PublicKey) -> None:
    """Appends a principal. An empty list is replaced: it stands in one line."""
    field = "roles" if kind == "person" else "signs"
    row = {"name": name, "kind": kind, field: list(rights), "keys": [key.line]}
    if yaml.get("principals"):
        yaml["principals"].append(row)
    else:
        yaml["principals"] = [row]


def _rules(given: Founding) -> dict[str, Any]:
    """The rules that the people file states, else those that follow from the people's roles."""
    people = Counter(role for person in given.people.values() for role in person.roles)
    approvers = _approvers(given)
    requesters = [RELEASER] if people[RELEASER] else approvers
    rules: dict[str, Any] = {"seconded_by": list(dict.fromkeys([*approvers, *requesters]))}
    if people[OWNER]:
        rules["owners"] = {"people": min(people[OWNER], 2), "roles": [OWNER]}
    if people[RECOVERY]:
        rules["recovery"] = {"people": max(people[RECOVERY] - 1, 2), "roles": [RECOVERY]}
    if requesters:
        rules["aliases"] = {"champion": {"requesters": requesters}}
    if approvers:
        opened_by = dict.fromkeys([*approvers, *requesters, *([OWNER] if people[OWNER] else [])])
        rules["incidents"] = {
            "opened_by": list(opened_by),
            "closed_by": approvers,
            "closing_needs": ["severity", "cause", "actions"],
        }
        rules["rollouts"] = {
            "requested_by": requesters,
            "widened_by": approvers,
            "minimum_sample": 500,
            "guardrails": {"errors": dict(ERRORS)},
        }
    rules |= given.model_dump(include=set(COMMENTS), exclude_defaults=True)
    return {name: rules[name] for name in COMMENTS if rules.get(name)}


def _approvers(given: Founding) -> list[str]:
    quorums = (given.owners, given.recovery)
    others = {OWNER, RECOVERY, RELEASER, *(role for q in quorums if q for role in q.roles)}
    roles = [role for person in given.people.values() for role in person.roles]
    return given.approvers or [role for role in dict.fromkeys(roles) if role not in others]


# -- Principals and keys ---------------------------------------------------------------------------
def key_of(policies: Policies, name: str, key: str) -> PublicKey:
    """The key of `name` that fits a fingerprint, key id, file or line. Raises `ConfigError`."""
    principal = principal_named(policies, name)
    return earlier_key(principal.keys[_key_at(principal, key)])


def principal_named(policies: Policies, name: str) -> Principal:
    """The principal with this name. Raises `ConfigError`."""
    return policies.rules.principals[_position(policies.rules, name)]


def person_named(policies: Policies, name: str) -> Principal:
    """The person with this name. Raises `ConfigError`."""
    principal = principal_named(policies, name)
    if principal.kind != "person":
        raise ConfigError(f"{name} is a service", expected="a person that policy names")
    return principal


def _position(rules: Rules, name: str) -> int:
    names = [principal.name for principal in rules.principals]
    if name not in names:
        raise unknown("person or service", name, sorted(names), f"policies/{FILE}")
    return names.index(name)


def _key_at(principal: Principal, text: str) -> int:
    """The index of the key that `text` names by fingerprint, key id or its beginning, file, or
    line. Raises `ConfigError`.
    """
    keys = [earlier_key(line) for line in principal.keys]
    long_enough = len(text) >= SHORTEST
    named = [
        key
        for key in keys
        if text == key.fingerprint or (long_enough and key.keyid.startswith(text))
    ]
    if not named and not text.startswith("SHA256:"):
        keyid = read_key(text).keyid
        named = [key for key in keys if key.keyid == keyid]
    if len(named) != 1:
        expected = f"one of: {', '.join(key.fingerprint for key in keys)}"
        raise ConfigError(f"{principal.name} has no key {text[:80]!r}", expected=expected)
    return keys.index(named[0])


# -- What could never work -------------------------------------------------------------------------
def impossible(policies: Policies) -> list[CountersignError]:
    """Demands that nobody can meet: quorums, approvals, and evidence that no service signs."""
    rules = policies.rules
    if not rules.in_roles(None):
        step = "countersign init --people FILE, as docs/people.md describes it"
        return [_never("principals", "policies name no people", step)]
    problems = []
    for where, needed, roles in _demands(rules):
        people = sorted(person.name for person in rules.in_roles(roles))
        if len(people) < needed:
            found = f"policy names {len(people)} ({', '.join(people) or 'nobody'})"
            as_roles = ", ".join(roles) or "none: name approvers"
            problems.append(_never(where, f"wants {needed} people as {as_roles}, and {found}"))
    if rules.owners is None:
        example = "owners: {people: 2, roles: [...]}"
        problems.append(_never("owners", "nobody could ever change the policies", example))
    for principal in rules.principals:
        if principal.roles if principal.kind == "service" else principal.signs:
            problem = f"{principal.name} is a {principal.kind}: people have roles, services sign"
            problems.append(_never("principals", problem))
    signed = {kind for principal in rules.principals for kind in principal.signs}
    signed |= {right for right, covering in COVERED_BY.items() if covering in signed}
    missing = [right for right in RIGHTS if right not in signed and right not in OPTIONAL]
    if missing and rules.aliases:
        problems.append(_never("principals", f"no service signs {', '.join(missing)}"))
    return problems


def _demands(rules: Rules) -> Iterator[tuple[str, int, list[str]]]:
    """Each demand for people: its place in the rules, how many people, and their roles."""
    for name, quorum in {"owners": rules.owners, "recovery": rules.recovery}.items():
        if quorum is not None:
            yield name, quorum.people, quorum.roles
    for name in sorted({model.tier for model in rules.models.values()}):
        if rules.tiers[name].promotable:
            yield f"tiers.{name}", rules.tiers[name].approvals, rules.tiers[name].approvers
    for alias, rule in rules.aliases.items():
        yield f"aliases.{alias}.requesters", 1, rule.requesters


def _never(where: str, problem: str, fix: str = "") -> CountersignError:
    return ConfigError(problem, where=f"policies/{FILE}: {where}", fix=fix)


# -- The file --------------------------------------------------------------------------------------
def checked(folder: Path, text: str) -> Policies:
    """The policies of `folder` with this text as policy.yaml. Writes nothing. Raises `Problems`
    with every mistake.
    """
    policies = policies_of({**policy_files(folder), FILE: text})
    problems = impossible(policies)
    if problems:
        raise Problems(problems)
    return policies


def read(folder: Path) -> str:
    """The text of policy.yaml. Raises `ConfigError`."""
    try:
        return (folder / FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        fix = "change to the project's folder"
        raise ConfigError("there is no policy.yaml here", where=str(folder), fix=fix) from None


def write(folder: Path, text: str) -> None:
    """Writes policy.yaml atomically."""
    write_atomic(folder / FILE, text.encode())
