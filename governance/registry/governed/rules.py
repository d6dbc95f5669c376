"""Judges one call on the model registry: allowed, refused with a reason, or a promotion that must
be decided.

A pure function. The first rule that applies gives the result:
(1) a name that looks like a governed name, but is another: refused;
(2) a new name that is no ASCII slug: refused. A model of an older database with such a name can be
    read, renamed and deleted, and nothing else;
(3) a tag of ours: refused, because only the server writes it;
(4) a model that is not governed: allowed;
(5) rename, deletion, stage, or description of a version of a governed model: refused, but for the
    deletion of a version that the log does not know;
(6) a new version: its files must be on the server's own artifact root, below the run that it names;
(7) a tag that hides a governed model: refused;
(8) an alias: its name must be plain. `latest` is refused. `candidate` needs the version's
    registration in the log. A governed alias is a promotion. Any other alias is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from governance.attest.predicates import CANDIDATE
from governance.registry.display import place_of
from governance.registry.governed.names import (
    LATEST,
    LONGEST,
    TRIAL_ALIAS,
    TRIAL_MODEL,
    Names,
    begins_with,
    is_plain,
    is_slug,
)

MARK = "Countersign refuses"
"""Every refusal begins so. The server's test of itself looks for it."""
Verdict = Literal["allowed", "refused", "promotion"]

OURS = ("governance.", "countersign.")
"""Beginnings of the tags that only the server writes, on every object."""
HIDES = ("mlflow.prompt.",)
"""Tags by which MLflow takes a model for a prompt, which it shows in no list of models."""
SOURCE = re.compile(
    r"mlflow-artifacts:(?:/|///)(?P<folder>(?:\d{1,20}/)?(?P<run>[0-9a-f]{32})/artifacts(?:/[A-Za-z0-9._-]+)+)"
)
"""Where a governed version's files may be: below one run, on the server's own artifact root. Two
slashes are refused: a host follows them, and a number can be a host.
"""


@dataclass(frozen=True)
class Call:
    """A call on the model registry, as far as rules ask about it."""

    operation: str
    """The method of MLflow's store."""
    model: str
    new_name: str | None = None
    """What a rename or copy would call it."""
    version: str | None = None
    alias: str | None = None
    source: str | None = None
    run_id: str | None = None
    tags: tuple[str, ...] = ()
    """Keys."""


@dataclass(frozen=True)
class Judgement:
    """The result for a call, and why."""

    verdict: Verdict
    reason: str = ""
    next: str = ""


ALLOWED = Judgement("allowed")
PROMOTION = Judgement("promotion")


def judge(call: Call, names: Names, *, registered: bool = False, known: bool = True) -> Judgement:
    """Judges a call. `registered`: whether the log has the registration of the call's version.
    `known`: whether the log knows that version at all.
    """
    asked = [name for name in (call.model, call.new_name) if name is not None]
    refusals = [_strange(name, names) for name in asked]  # (1)
    for refusal in (*refusals, _misnamed(call), _no_tags(call, OURS)):  # (2), (3)
        if refusal is not None:
            return refusal
    if not any(names.is_governed(name) for name in asked):
        return ALLOWED  # (4)
    return _judge_governed(call, names, registered, known)


def _judge_governed(call: Call, names: Names, registered: bool, known: bool) -> Judgement:
    """(5) to (8)"""
    match call.operation:
        case "get_model_version_by_alias" | "get_latest_versions":
            is_latest = call.alias is None or call.alias.casefold() == LATEST
            return _refused(*_LATEST) if is_latest else ALLOWED
        case "create_model_version":
            return _version(call)
        case "set_registered_model_alias" | "delete_registered_model_alias":
            return _alias(call, names, registered)
        case "copy_model_version" | "delete_model_version" if _is_free(call, names, known):
            return ALLOWED
        case operation if operation in _FREE:
            return (operation in _TAGGED and _no_tags(call, HIDES)) or ALLOWED  # (7)
    unknown = f"{call.operation} is not known to be harmless for a governed model"
    return _refused(*_FORBIDDEN.get(call.operation, (unknown, "ask who runs the server")))


def _is_free(call: Call, names: Names, known: bool) -> bool:
    """Whether a copy has no governed name, or a version is from before its model was governed."""
    if call.operation == "delete_model_version":
        return not known
    return not names.is_governed(call.new_name or "")


def artifact_folder(source: str) -> str | None:
    """The folder of a governed version's files, relative to the artifact root; None for a foreign
    source.
    """
    match = SOURCE.fullmatch(source)
    if match is None or any(set(part) == {"."} for part in match["folder"].split("/")):
        return None
    return match["folder"]


def _strange(name: str, names: Names) -> Judgement | None:
    """(1)"""
    if len(name) > LONGEST:
        return _refused(f"a name of {len(name)} characters", f"use at most {LONGEST}")
    governed = names.resembles(name)
    if governed is not None:
        reason = f"the name {name!r} could be taken for the governed model {governed!r}"
        return _refused(reason, "use a name that nobody confuses with it")
    return None


def _misnamed(call: Call) -> Judgement | None:
    """(2)"""
    new_name = call.model if call.operation == "create_registered_model" else call.new_name
    if new_name is not None and not is_slug(new_name):
        return _refused(
            f"the name {new_name!r} is refused: a name has a-z, 0-9, _ and -, begins with a letter,"
            " and has at most 63 characters",
            "use another name",
        )
    if new_name is None and not is_slug(call.model) and call.operation not in _OF_OLD_NAMES:
        reason = f"the name {call.model!r} is of an older database: such a model is not changed"
        return _refused(reason, "rename it, or delete it")
    return None


def _version(call: Call) -> Judgement:
    """(6)"""
    if call.model == TRIAL_MODEL:
        return _refused("the server tests itself with this model", "use another name")
    match = SOURCE.fullmatch(call.source or "")
    if match is None or artifact_folder(call.source or "") is None:
        return _refused(
            f"the source {place_of(call.source or '')!r} is not on this server's own artifact root",
            "log the files to a run of this server and register that, as `countersign repro` does",
        )
    if call.run_id != match["run"]:
        reason = f"the source is of run {match['run']}, not of run {call.run_id or 'none'}"
        return _refused(reason, "name the run that has the files")
    return _no_tags(call, HIDES) or ALLOWED


def _no_tags(call: Call, prefixes: tuple[str, ...]) -> Judgement | None:
    """(3), (7)"""
    ours = ", ".join(repr(key) for key in sorted(call.tags) if begins_with(key, prefixes))
    if ours:
        beginnings = " or ".join(prefixes)
        reason = f"only the server writes tags beginning {beginnings}: {ours}"
        return _refused(reason, "use another name for a tag of your own")
    return None


def _alias(call: Call, names: Names, registered: bool) -> Judgement:
    """(8)"""
    alias = call.alias or ""
    # one that the log gives to nobody may be taken away; any other needs a retirement
    is_deletion = call.operation == "delete_registered_model_alias"
    is_taken_away = is_deletion and alias != CANDIDATE and "\0" not in alias  # in no database
    governed_aliases = {*names.aliases, TRIAL_ALIAS} if call.model == TRIAL_MODEL else names.aliases
    if is_taken_away or (alias in governed_aliases and alias != LATEST):
        return PROMOTION
    if not is_plain(alias):
        return _refused(f"{alias!r} is no plain name", "use a-z first, then a-z, 0-9, _ and -")
    if alias == LATEST:
        return _refused(*_LATEST)
    if alias != CANDIDATE:
        aliases = ", ".join(sorted({*governed_aliases, CANDIDATE}))
        return _refused(f"policy does not know the alias {alias!r}", f"use one of {aliases}")
    if call.operation == "set_registered_model_alias" and not registered:
        return _refused(
            f"the log has no registration of {call.model} version {call.version}",
            "register it by `countersign repro`, with COUNTERSIGN_LOG naming this server's log",
        )
    return ALLOWED


def _refused(reason: str, next: str) -> Judgement:
    return Judgement("refused", reason, next)


_TAGGED = ("create_registered_model", "set_registered_model_tag", "set_model_version_tag")
_FREE = (
    *_TAGGED,
    "update_registered_model",
    "delete_registered_model_tag",
    "delete_model_version_tag",
)
"""Operations on a governed model that only a tag can make wrong, and those that write a tag."""
_OF_OLD_NAMES = (
    "delete_registered_model",
    "delete_registered_model_alias",
    "delete_registered_model_tag",
    "delete_model_version",
    "delete_model_version_tag",
    "get_latest_versions",
    "get_model_version_by_alias",
)
"""Operations on a model whose name could not be given any more."""

_KEPT = "`countersign retire` takes a version out of service by a signed decision"
_FORBIDDEN = {
    "rename_registered_model": (
        "a governed model is never renamed, and no model gets its name",
        "register under the other name",
    ),
    "delete_registered_model": ("a governed model is never deleted", _KEPT),
    "delete_model_version": ("a version of a governed model is never deleted", _KEPT),
    "transition_model_version_stage": (
        "a governed model has aliases instead of stages",
        "countersign promote MODEL/VERSION --to ALIAS",
    ),
    "update_model_version": (
        "only the server writes the description of a governed version",
        "put notes into a tag of your own",
    ),
    "copy_model_version": (
        "a version cannot be copied into a governed model, because its evidence cannot",
        "register it by `countersign repro`",
    ),
}
_LATEST = ("`latest` ignores approvals", "ask for an alias, e.g. models:/MODEL@champion")
