"""Edits policies/policy.yaml: people, services, owners, approvers, alias rules. Comments are kept.

An edit gives no right. Changed policies count for governed aliases after their owners signed them
(`governance.policy.authority`). Policies that could never work are refused before anybody signs
them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from governance.attest import predicates
from governance.attest.digests import SHORTEST
from governance.attest.keys import PublicKey, public_key, start_of
from governance.base.errors import ConfigError, CountersignError, Problems, did_you_mean
from governance.base.model import Model, Slug
from governance.base.storage import home_expanded, write_atomic
from governance.base.yaml import load_model, parse_yaml
from governance.policy.policies import (
    AliasRule,
    EvidenceKind,
    IncidentRules,
    Policies,
    Principal,
    Quorum,
    Rules,
    WaiverRules,
    policies_of,
    policy_files,
)

FILE = "policy.yaml"
OWNER, RECOVERY, RELEASER = "policy-owner", "recovery", "release-manager"
"""Default roles: who signs policies, who signs them if owners are lost, who requests a move."""
KINDS = tuple(kind.name for kind in predicates.KINDS.values() if kind.granted)
"""The kinds of evidence that services sign."""
AFTERWARDS = frozenset(kind.name for kind in predicates.KINDS.values() if kind.afterwards)
"""Kinds that no release depends on. Policies are valid if no service signs them."""
BEGIN = "-----BEGIN"
Change = Callable[[str], str]
"""Changes the text of policy.yaml."""
COMMENTS = {
    "owners": "Who signs a changed policy before it counts for governed aliases.",
    "recovery": "Who signs it in their stead, where owners were lost.",
    "aliases": "The aliases that serve users, and in which roles a person may ask to move them.",
    "waivers": "What may be accepted for a while: how long, and by whom.",
    "incidents": (
        "In which roles a person opens an incident on a model, or closes it; any, where absent."
    ),
    "seconded_by": (
        "In which roles a person signs a rollback or retirement that another asked for; any, where"
        " absent."
    ),
}
"""The comment above each rule that `founded` writes."""


class Person(Model):
    """A person to enrol."""

    key: str
    """A public key: a file, or the line itself."""
    roles: list[Slug] = Field(min_length=1)


class Service(Model):
    """A service to enrol."""

    key: str
    signs: list[EvidenceKind] = Field(min_length=1)


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
    incidents: IncidentRules | None = None
    """Absent: anybody opens one, and approvers close it."""
    seconded_by: list[Slug] = []
    """Absent: approvers, and whoever may ask for a move."""


def read_founding(path: Path) -> Founding:
    """Reads the people file. Paths of keys are relative to its folder. Raises `Problems`."""
    given = load_model(path, Founding)
    folder = path.parent
    people = {
        name: person.model_copy(update={"key": _from(folder, person.key)})
        for name, person in given.people.items()
    }
    services = {
        name: service.model_copy(update={"key": _from(folder, service.key)})
        for name, service in given.services.items()
    }
    return given.model_copy(update={"people": people, "services": services})


def principal_of(text: str, kind: str) -> tuple[str, str, list[str]]:
    """Name, key and roles (or kinds of evidence) of `ada=KEY:role,role`. Raises `ConfigError`."""
    name, equals, rest = text.partition("=")
    key, colon, roles = rest.rpartition(":")
    given = [part.strip() for part in roles.split(",") if part.strip()]
    if not (equals and colon and name and key and given):
        rights, such = (
            ("roles", "role,role")
            if kind == "person"
            else ("what it signs", "ingest,scan,... or `all`")
        )
        problem = f"{text[:120]!r} is not a name, a public key and {rights}"
        raise ConfigError(problem, where=f"--{kind}", expected=f"NAME=FILE_OR_KEY:{such}")
    return (
        name.strip(),
        key.strip(),
        list(KINDS) if kind == "service" and given == ["all"] else given,
    )


def read_key(text: str) -> PublicKey:
    """Reads a public key from a file or from the text itself. Raises `ConfigError`."""
    if text.strip().startswith((BEGIN, "ssh-", "ecdsa-", "sk-")):
        return public_key(text)
    path = home_expanded(text)
    try:
        given = start_of(path).decode("utf-8")
    except (OSError, ValueError):  # of a null byte, too
        raise ConfigError(
            "no such public key file", where=str(path), fix="ssh-keygen -t ed25519 makes one"
        ) from None
    try:
        return public_key(given)
    except ConfigError as error:
        raise ConfigError(
            error.found, expected=error.expected, where=str(path), fix=error.fix
        ) from None


# -- The text of policy.yaml -----------------------------------------------------------------------
def founded(text: str, given: Founding) -> str:
    """policy.yaml with the principals of `given` and the rules that follow from them. Existing
    principals and rules are kept.
    """

    def change(rules: CommentedMap) -> None:
        names = {principal["name"] for principal in rules.get("principals") or []}
        for name, person in given.people.items():
            if name not in names:
                _append(
                    rules,
                    _principal(name, "person", [read_key(person.key).line], roles=person.roles),
                )
        for name, service in given.services.items():
            if name not in names:
                _append(
                    rules,
                    _principal(name, "service", [read_key(service.key).line], signs=service.signs),
                )
        for name, value in _rules(rules, given).items():
            rules[name] = value
            rules.yaml_set_comment_before_after_key(name, before=f"\n{COMMENTS[name]}")
        for tier in rules.get("tiers", {}).values():
            if tier.get("promotable") and tier.get("approvals") and not tier.get("approvers"):
                tier.insert(
                    list(tier).index("approvals") + 1, "approvers", _flow(_approvers(given))
                )

    return _changed(text, change)


def enrolled(text: str, name: str, kind: str, key: PublicKey, rights: list[str]) -> str:
    """policy.yaml with a new principal. Without `rights`: with a further key of an enrolled
    principal.
    """

    def change(rules: CommentedMap) -> None:
        if not rights:
            _enrolled(rules, name)["keys"].append(key.line)
            return
        if _find(rules, name) is not None:
            raise ConfigError(
                f"{name} is enrolled already",
                where=FILE,
                fix=(
                    f"countersign enrol {name} KEY, without roles, adds a key; countersign rotate"
                    f" {name} replaces one"
                ),
            )
        named_rights = {"roles": rights} if kind == "person" else {"signs": rights}
        _append(rules, _principal(name, kind, [key.line], **named_rights))

    return _changed(text, change)


def rotated(text: str, name: str, old: str, new: PublicKey) -> str:
    """policy.yaml with another key of `name` in place of `old`."""

    def change(rules: CommentedMap) -> None:
        keys = _enrolled(rules, name)["keys"]
        at = _key_at(keys, name, old)
        keys[at] = new.line

    return _changed(text, change)


def revoked(text: str, name: str, key: str | None) -> str:
    """policy.yaml without a key of `name`, or without `name`."""

    def change(rules: CommentedMap) -> None:
        principal = _enrolled(rules, name)
        keys = principal["keys"]
        if key is not None and len(keys) > 1:
            del keys[_key_at(keys, name, key)]
            return
        if key is not None:
            _key_at(keys, name, key)
        rules["principals"].remove(principal)

    return _changed(text, change)


def key_of(policies: Policies, name: str, key: str | None) -> PublicKey:
    """The key of `name` that fits a fingerprint, key id, file or line. `key` may be None if there
    is only one. Raises `ConfigError`.
    """
    keys = [public_key(text) for text in principal_named(policies, name).keys]
    if key is None and len(keys) == 1:
        return keys[0]
    if key is None:
        raise ConfigError(
            f"{name} has {len(keys)} keys",
            expected=", ".join(public.fingerprint for public in keys),
        )
    return keys[_key_at([public.pem for public in keys], name, key)]


def principal_named(policies: Policies, name: str) -> Principal:
    """The principal with this name. Raises `ConfigError`."""
    principal = next(
        (principal for principal in policies.rules.principals if principal.name == name), None
    )
    if principal is None:
        names = sorted(principal.name for principal in policies.rules.principals)
        raise ConfigError(
            f"policies name no {name!r}",
            expected=f"one of: {', '.join(names) or 'nobody'}",
            fix=did_you_mean(name, names),
        )
    return principal


def person_named(policies: Policies, name: str) -> Principal:
    """The person with this name. Raises `ConfigError`."""
    principal = principal_named(policies, name)
    if principal.kind != "person":
        raise ConfigError(f"{name} is a service", expected="a person that policy names")
    return principal


# -- What could never work -------------------------------------------------------------------------
def impossible(policies: Policies) -> list[CountersignError]:
    """Demands that nobody can meet: quorums, approvals, and evidence that no service signs."""
    people = [principal for principal in policies.rules.principals if principal.kind == "person"]
    demands = (
        (where, demand, count, _in_roles(people, roles))
        for where, demand, count, roles in _demands(policies.rules)
    )
    problems = [
        problem
        for where, demand, count, has in demands
        for problem in _short(where, demand, count, has)
    ]
    if policies.rules.owners is None:
        problems.append(
            _never(
                "owners",
                "nobody could ever change the policies",
                "owners: {people: 2, roles: [...]}",
            )
        )
    return problems + _misplaced(policies.rules)


def _demands(rules: Rules) -> Iterator[tuple[str, str, int, list[str]]]:
    """Each demand for people: its place, its text, the number of people, their roles."""
    for name, quorum in {"owners": rules.owners, "recovery": rules.recovery}.items():
        if quorum is not None:
            yield (
                name,
                f"{quorum.people} people as {', '.join(quorum.roles)}",
                quorum.people,
                quorum.roles,
            )
    used = {model.tier for model in rules.models.values()}
    for name, tier in rules.tiers.items():
        if tier.promotable and name in used:
            roles = ", ".join(tier.approvers) or "none: name approvers"
            yield (
                f"tiers.{name}",
                f"{tier.approvals} people in different roles of {roles}",
                tier.approvals,
                tier.approvers,
            )
    for alias, rule in rules.aliases.items():
        yield (
            f"aliases.{alias}.requesters",
            f"somebody as {', '.join(rule.requesters)}",
            1,
            rule.requesters,
        )


def _misplaced(rules: Rules) -> list[CountersignError]:
    """Rights of the other kind of principal, and evidence that no service signs."""
    problems: list[CountersignError] = []
    for principal in rules.principals:
        if principal.kind == "service" and principal.roles:
            problems.append(
                _never(
                    "principals",
                    f"{principal.name} is a service and has roles",
                    "roles are people's",
                )
            )
        if principal.kind == "person" and principal.signs:
            problems.append(
                _never(
                    "principals",
                    f"{principal.name} is a person and signs evidence",
                    "services sign evidence",
                )
            )
    signed = {kind for principal in rules.principals for kind in principal.signs}
    missing = [kind for kind in KINDS if kind not in signed and kind not in AFTERWARDS]
    if missing and rules.aliases:
        problems.append(
            _never("principals", f"no service signs {', '.join(missing)}", "a service that does")
        )
    return problems


def checked(folder: Path, text: str) -> Policies:
    """The policies of `folder` with this text as policy.yaml. Writes nothing. Raises `Problems`
    with every mistake.
    """
    try:
        policies = policies_of({**policy_files(folder), FILE: text})
    except Problems as error:
        raise Problems([_in_project(problem) for problem in error.problems]) from None
    problems = impossible(policies)
    if problems:
        raise Problems(problems)
    return policies


def _in_project(problem: CountersignError) -> CountersignError:
    """The problem, with the path in the project instead of the path in a copy."""
    where = re.sub(r"^.*/policies/", "policies/", problem.where)
    return ConfigError(problem.found, expected=problem.expected, where=where, fix=problem.fix)


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


def _short(where: str, demand: str, people: int, has: Iterable[str]) -> list[CountersignError]:
    names = sorted(has)
    if len(names) >= people:
        return []
    return [
        _never(
            where,
            f"wants {demand}, and policy names {len(names)} ({', '.join(names) or 'nobody'})",
            demand,
        )
    ]


def _never(where: str, problem: str, expected: str) -> CountersignError:
    return ConfigError(problem, where=f"policies/{FILE}: {where}", expected=expected)


def _in_roles(people: Iterable[Principal], roles: Iterable[str]) -> list[str]:
    return [person.name for person in people if set(person.roles) & set(roles)]


# -- The rules of a founding -----------------------------------------------------------------------
def _rules(rules: Mapping[str, Any], given: Founding) -> dict[str, Any]:
    """The rules that policy.yaml does not have yet: owners, recovery, aliases, waivers, incidents,
    seconders.
    """
    people = {name: person.roles for name, person in given.people.items()}
    owners = given.owners or _quorum(people, OWNER, at_most=2)
    recovery = given.recovery or _quorum(people, RECOVERY, at_least=2)
    releasers = (
        [RELEASER] if any(RELEASER in roles for roles in people.values()) else _approvers(given)
    )
    champion = {"champion": AliasRule(requesters=releasers)} if releasers else {}
    added: dict[str, Any] = {}
    if owners is not None and not rules.get("owners"):
        added["owners"] = _flow(owners.model_dump())
    if recovery is not None and not rules.get("recovery"):
        added["recovery"] = _flow(recovery.model_dump())
    if not rules.get("aliases") and (given.aliases or champion):
        rows = given.aliases or champion
        added["aliases"] = CommentedMap(
            {name: _flow(rule.model_dump(exclude_defaults=True)) for name, rule in rows.items()}
        )
    if given.waivers is not None and not rules.get("waivers"):
        added["waivers"] = _flow(given.waivers.model_dump(exclude_defaults=True))
    incidents = given.incidents or (
        IncidentRules(closed_by=_approvers(given)) if _approvers(given) else None
    )
    if incidents is not None and not rules.get("incidents"):
        added["incidents"] = _flow(incidents.model_dump(exclude_defaults=True))
    seconded = given.seconded_by or list(dict.fromkeys([*_approvers(given), *releasers]))
    if seconded and not rules.get("seconded_by"):
        added["seconded_by"] = _flow(seconded)
    return added


def _quorum(
    people: Mapping[str, list[str]], role: str, *, at_most: int | None = None, at_least: int = 1
) -> Quorum | None:
    count = sum(role in roles for roles in people.values())
    if not count:
        return None
    needed = min(count, at_most) if at_most else max(at_least, count - 1)
    return Quorum(people=needed, roles=[role])


def _approvers(given: Founding) -> list[str]:
    own = {OWNER, RECOVERY, RELEASER}
    own |= set(given.owners.roles if given.owners else ()) | set(
        given.recovery.roles if given.recovery else ()
    )
    roles = [role for person in given.people.values() for role in person.roles if role not in own]
    return given.approvers or list(dict.fromkeys(roles))


# -- YAML ------------------------------------------------------------------------------------------
def _changed(text: str, change: Callable[[CommentedMap], None]) -> str:
    """The text after `change`, with comments and order kept. Raises `ConfigError` if the text does
    not have the expected shape.
    """
    people_in(text)
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    rules = yaml.load(text)
    change(rules)
    out = io.StringIO()
    yaml.dump(rules, out)
    return out.getvalue()


def people_in(text: str) -> list[str]:
    """The names of the people in policy.yaml. Raises `ConfigError` if the text does not have the
    expected shape.
    """
    rules = parse_yaml(text, f"policies/{FILE}")
    if not isinstance(rules, dict):
        raise ConfigError("no mapping", where=f"policies/{FILE}", expected="the rules of a project")
    principals, tiers = rules.get("principals") or [], rules.get("tiers") or {}
    rows = (
        [*principals, *tiers.values()]
        if isinstance(principals, list) and isinstance(tiers, dict)
        else [None]
    )
    keys = (
        [principal.get("keys") for principal in principals if isinstance(principal, dict)]
        if isinstance(principals, list)
        else []
    )
    lists = all(isinstance(row, list) and all(isinstance(key, str) for key in row) for row in keys)
    if not all(isinstance(row, dict) for row in rows) or not lists:
        raise ConfigError(
            "principals or tiers are not what they must be",
            where=f"policies/{FILE}",
            expected="principals: a list of names with keys; tiers: a mapping",
        )
    return [
        str(principal.get("name")) for principal in principals if principal.get("kind") == "person"
    ]


def _append(rules: CommentedMap, principal: CommentedMap) -> None:
    """Appends a principal. The list becomes a block list, because keys are long."""
    before = rules.get("principals") or []
    if (
        not isinstance(before, CommentedSeq)
        or before.fa.flow_style() is not False
        or not len(before)
    ):
        rules["principals"] = CommentedSeq(before)
    rules["principals"].append(principal)


def _principal(name: str, kind: str, keys: list[str], **rights: Sequence[str]) -> CommentedMap:
    principal = CommentedMap({"name": name, "kind": kind})
    for right, values in rights.items():
        principal[right] = _flow(list(values))
    principal["keys"] = CommentedSeq(keys)
    return principal


def _flow(value: Any) -> Any:
    if isinstance(value, dict):
        mapping = CommentedMap(
            {name: _flow(part) for name, part in value.items() if part is not None}
        )
        mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list):
        items = CommentedSeq([_flow(part) for part in value])
        items.fa.set_flow_style()
        return items
    return value


def _find(rules: CommentedMap, name: str) -> CommentedMap | None:
    return next(
        (principal for principal in rules.get("principals") or [] if principal.get("name") == name),
        None,
    )


def _enrolled(rules: CommentedMap, name: str) -> CommentedMap:
    principal = _find(rules, name)
    if principal is None:
        names = (
            ", ".join(str(principal.get("name")) for principal in rules.get("principals") or [])
            or "nobody"
        )
        raise ConfigError(
            f"policies name no {name!r}", where=f"policies/{FILE}", expected=f"one of: {names}"
        )
    return principal


def _key_at(keys: list[str], name: str, meant: str) -> int:
    """The index of the key that `meant` names by fingerprint, key id or its beginning, file, or
    line. Raises `ConfigError`.
    """
    theirs = [public_key(text) for text in keys]
    by_name = [
        at for at, key in enumerate(theirs) if meant == key.fingerprint or _begins(key.keyid, meant)
    ]
    if not by_name and not meant.startswith("SHA256:"):
        keyid = read_key(meant).keyid
        by_name = [at for at, key in enumerate(theirs) if key.keyid == keyid]
    if len(by_name) != 1:
        raise ConfigError(
            f"{name} has no key {meant[:80]!r}",
            expected=f"one of: {', '.join(key.fingerprint for key in theirs)}",
        )
    return by_name[0]


def _begins(keyid: str, meant: str) -> bool:
    return len(meant) >= SHORTEST and keyid.startswith(meant)


def _from(folder: Path, key: str) -> str:
    """A path of a key file, relative to the working folder. A key itself is returned as it is."""
    if key.strip().startswith((BEGIN, "ssh-", "ecdsa-", "sk-")) or home_expanded(key).is_absolute():
        return key
    return str(folder / key)
