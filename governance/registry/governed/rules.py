"""One call on the model registry, judged: let through, refused with the reason, or left to
promotion to decide.

Pure, and in order; the first rule that has something to say answers:
(1) a name that looks like a governed one and is none: refused, so that nobody is served by a
    homograph;
(2) a name with something in it that nobody sees: refused;
(3) a model that is not governed: MLflow's own affair;
(4) rename, deletion, stage, description of a version: refused for a governed model;
(5) a version: from the server's own artifact root, below the run it names, without tags that are
    ours;
(6) a tag that is ours: refused; what it says is written by the server and read by people only;
(7) an alias: plain; `latest` never; `candidate` where the log has the version's registration; a
    governed one is a promotion; any other is none that policy knows.
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
    has_hidden,
    is_plain,
)

MARK = "Countersign refuses"
"""Every refusal begins so: the server's trial of itself looks for it."""
Verdict = Literal["allowed", "refused", "promotion"]

OURS = ("governance.", "countersign.")
"""Tags that say something of a version's status."""
HIDES = ("mlflow.prompt.",)
"""Tags by which MLflow takes a model for a prompt, which it shows in no list of models."""
SOURCE = re.compile(
    r"mlflow-artifacts:(?:/|///)(?P<folder>(?:\d{1,20}/)?(?P<run>[0-9a-f]{32})/artifacts(?:/[A-Za-z0-9._-]+)+)"
)
"""Where a governed version's files may stand: below one run, on the server's own artifact root.
After two slashes comes a host, which a number is, too.
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
    """What becomes of a call, and why."""

    verdict: Verdict
    reason: str = ""
    next: str = ""


ALLOWED = Judgement("allowed")
PROMOTION = Judgement("promotion")


def judge(call: Call, names: Names, *, registered: bool = False) -> Judgement:
    """What becomes of a call. `registered`: whether the log has the registration of the version it
    names.
    """
    asked = [name for name in (call.model, call.new_name) if name is not None]
    for name in asked:
        if refusal := _strange(name, names):
            return refusal  # (1), (2)
    if not any(names.is_governed(name) for name in asked):
        return ALLOWED  # (3)
    return _judge_governed(call, names, registered)


def _judge_governed(call: Call, names: Names, registered: bool) -> Judgement:
    """(4) to (7)"""
    match call.operation:
        case "get_model_version_by_alias" | "get_latest_versions":
            is_latest = call.alias is None or call.alias.casefold() == LATEST
            return _refused(*_LATEST) if is_latest else ALLOWED
        case "create_model_version":
            return _version(call)
        case "set_registered_model_alias" | "delete_registered_model_alias":
            return _alias(call, names, registered)
        case "copy_model_version" if not names.is_governed(call.new_name or ""):
            return ALLOWED  # it serves nobody by a governed name
        case operation if operation in _TAGS:
            return _no_tags(call, _TAGS[operation])
    unknown = (f"{call.operation} is not known to be harmless for a governed model", _ASK)
    return _refused(*_FORBIDDEN.get(call.operation, unknown))


def artifact_folder(source: str) -> str | None:
    """The folder of a governed version's files, relative to the artifact root; None for a foreign
    source.
    """
    match = SOURCE.fullmatch(source)
    if match is None or any(set(part) == {"."} for part in match["folder"].split("/")):
        return None
    return match["folder"]


def _strange(name: str, names: Names) -> Judgement | None:
    """(1), (2)"""
    if len(name) > LONGEST:
        return _refused(f"a name of {len(name)} characters", f"at most {LONGEST}")
    governed = names.resembles(name)
    if governed is not None:
        return _refused(
            f"the name {name!r} could be taken for the governed model {governed!r}",
            "give it a name that nobody confuses",
        )
    if has_hidden(name):
        return _refused(f"the name {name!r} holds characters that nobody sees", "leave them out")
    return None


def _version(call: Call) -> Judgement:
    """(5)"""
    if call.model == TRIAL_MODEL:
        return _refused("the server tests itself with this model", "use another name")
    match = SOURCE.fullmatch(call.source or "")
    if match is None or artifact_folder(call.source or "") is None:
        return _refused(
            f"the source {place_of(call.source or '')!r} is not on this server's own artifact root",
            "log the files to a run of this server and register from there, as `countersign repro`"
            " does",
        )
    if call.run_id != match["run"]:
        return _refused(
            f"the source stands below run {match['run']}, and the version names run"
            f" {call.run_id or 'none'}",
            "name the run that holds the files",
        )
    return _no_tags(call, _TAGS["create_model_version"])


def _no_tags(call: Call, prefixes: tuple[str, ...]) -> Judgement:
    """(6)"""
    ours = sorted(key for key in call.tags if begins_with(key, prefixes))
    if ours:
        return _refused(
            f"tags beginning {' or '.join(prefixes)} are written by the server only:"
            f" {', '.join(map(repr, ours))}",
            "use another name for a tag of your own",
        )
    return ALLOWED


def _alias(call: Call, names: Names, registered: bool) -> Judgement:
    """(7)"""
    alias = call.alias or ""
    governed_aliases = {*names.aliases, TRIAL_ALIAS} if call.model == TRIAL_MODEL else names.aliases
    if not is_plain(alias):
        return _refused(
            f"{alias!r} is no plain name of an alias", "a-z first, then a-z, 0-9, _ and -"
        )
    if alias == LATEST:
        return _refused(*_LATEST)
    if alias in governed_aliases:
        return PROMOTION
    if alias != CANDIDATE:
        aliases = ", ".join(sorted({*governed_aliases, CANDIDATE}))
        return _refused(
            f"policy does not know the alias {alias!r}",
            f"use one of {aliases}, or have policies/policy.yaml changed",
        )
    if call.operation == "set_registered_model_alias" and not registered:
        return _refused(
            f"the log has no registration of {call.model} version {call.version}",
            "register it by `countersign repro`, with COUNTERSIGN_LOG naming this server's log",
        )
    return ALLOWED


def _refused(reason: str, next: str) -> Judgement:
    return Judgement("refused", reason, next)


_TAGS: dict[str, tuple[str, ...]] = {
    "create_registered_model": (*OURS, *HIDES),
    "update_registered_model": (),
    "create_model_version": ("governance.", *HIDES),
    "set_registered_model_tag": (*OURS, *HIDES),
    "delete_registered_model_tag": OURS,
    "set_model_version_tag": (*OURS, *HIDES),
    "delete_model_version_tag": OURS,
}
"""Operations on a governed model that are refused with these tags only."""

_ASK = "ask who runs the server"
_KEPT = "row and log stay; `countersign retire` takes a version out of service by a signed decision"
_FORBIDDEN = {
    "rename_registered_model": (
        "a governed model is never renamed, nor another one given its name",
        "register under the other name",
    ),
    "delete_registered_model": ("a governed model is never deleted", _KEPT),
    "delete_model_version": ("a version of a governed model is never deleted", _KEPT),
    "transition_model_version_stage": (
        "stages say nothing of a governed model; its aliases do",
        "countersign promote MODEL/VERSION --to ALIAS",
    ),
    "update_model_version": (
        "the description of a governed version shows its status and is written by the server only",
        "put notes into a tag of your own",
    ),
    "copy_model_version": (
        "a version cannot be copied into a governed model: its evidence is not",
        "register it by `countersign repro`",
    ),
}
_LATEST = ("`latest` passes by every approval", "ask for an alias, e.g. models:/MODEL@champion")
