"""Changes since the version before, in groups."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from governance.attest.predicates import Evaluate
from governance.base.statistics import mean_interval
from governance.base.text import number, plain
from governance.report.facts import PREFIX, Facts
from governance.report.model.record import Change

GROUPS = ("results", "data", "recipe", "code", "base model", "libraries", "rules")
"""The most important group first."""
NO_EARLIER = "none: this is the first version under this name"
Portrait = dict[tuple[str, str], str]
"""(Group, name) to value: the properties by which versions are compared."""


class Unknown(str):
    """A property whose value is not shown. Two versions without it are not the same in it."""


def changes(facts: Facts) -> tuple[str, list[Change]]:
    """The version before, as text, and the differences from it."""
    if facts.previous is None:
        same = [
            statement.predicate.version
            for statement in facts.registrations
            if statement.index < facts.registration_statement.index
        ]
        same = [version for version in same if version != facts.registration.version]
        return f"none: version {same[-1]} is the same bytes" if same else NO_EARLIER, []
    before = facts.previous.predicate
    word = "registered before it, not approved before it"
    if facts.approved_before:
        word = "approved last before this one"
    since = f"version {before.version} ({before.model_digest[:PREFIX]}; {word})"
    return since, differences(*_portraits(facts))


def differences(old: Portrait, new: Portrait) -> list[Change]:
    """The differences between two versions."""
    names = [*new, *(name for name in old if name not in new)]
    changes_ = [
        Change(group=name[0], what=name[1], before=old.get(name, "none"), now=new.get(name, "none"))
        for name in names
        if old.get(name) != new.get(name) or isinstance(new.get(name), Unknown)
    ]
    return sorted(changes_, key=lambda change: GROUPS.index(change.group))


def unchanged(facts: Facts) -> dict[str, int]:
    """Group to the number of properties that are the same in the version before."""
    old, new = _portraits(facts)
    same = (name for name, value in new.items() if old.get(name) == value)
    return dict(Counter(name[0] for name in same if not isinstance(new[name], Unknown)))


def _portraits(facts: Facts) -> tuple[Portrait, Portrait]:
    """The properties of the version before and of this one."""
    if facts.previous is None:
        return {}, portrait(facts)
    before = facts.previous.predicate
    earlier = replace(
        facts,
        digest=before.model_digest,
        stage=before.stage,
        suite=before.suite,
        further=before.further,
        registration_statement=facts.previous,
    )
    return portrait(earlier), portrait(facts)


def _no_scores(evaluation: Evaluate) -> str:
    text = evaluation.without_scores or "no scores"
    return Unknown(text) if evaluation.not_shown else text


def portrait(facts: Facts) -> Portrait:
    """The properties of one version."""
    portrait: Portrait = {}
    for own in facts.own_evaluations:
        for name, values in sorted(own.predicate.scores.items()):
            numbers = [value for value in values if value is not None]
            portrait["results", f"{name} on {own.predicate.suite_name}"] = (
                f"{mean_interval(numbers, 0.95).mean:.3f}" if numbers else _no_scores(own.predicate)
            )
    for chain, _ in facts.datasets:
        count = chain.quality.predicate.counts.records_out if chain.quality else None
        portrait["data", chain.dataset] = f"{number(count)} records ({chain.sha256[:PREFIX]})"
    for node in facts.chain:
        if node.train is None:
            portrait["base model", node.name] = node.sha256[:PREFIX]
            continue
        train = node.train.predicate
        portrait["recipe", f"{node.name}: objective"] = (
            f"{train.method} ({train.objective[:PREFIX]})"
        )
        portrait |= {
            ("recipe", f"{node.name}: {key}"): plain(value)
            for key, value in sorted(train.parameters.items())
        }
        portrait["code", f"{node.name}: commit"] = (train.code.commit or "none")[:PREFIX] + (
            ", dirty" if train.code.dirty else ""
        )
        portrait |= {
            ("libraries", f"{node.name}: {name}"): version
            for name, version in train.environment.versions.items()
        }
    portrait["rules", "policies"] = facts.registration.policy[:PREFIX]
    portrait["rules", "tier"] = facts.registration.tier
    return portrait
