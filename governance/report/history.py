"""What changed since the version before, the records every version must have, and every decision in order."""

from __future__ import annotations

from dataclasses import replace

from governance.evidence import Evidence
from governance.lineage import decided, evaluated, trained
from governance.predicates import Finding
from governance.report.facts import PREFIX, Facts, promoted, registered
from governance.report.front import needed, way_back
from governance.report.model import Change, Decision, Record
from governance.report.scores import own_evaluation
from governance.report.text import number, plain
from governance.statistics import mean_interval


def changes(facts: Facts) -> tuple[str, list[Change]]:
    """What differs from the version before, most telling first; and which version that is."""
    if facts.previous is None:
        return "none: this is the first version under this name", []
    before = registered(facts.previous)
    other = replace(facts, digest=before.model_digest, stage=before.stage, item=facts.previous)
    old, new = _portrait(other), _portrait(facts)
    names = [*new, *(name for name in old if name not in new)]
    lines = [
        Change(what=name, before=old.get(name, "none"), now=new.get(name, "none"))
        for name in names
        if old.get(name) != new.get(name)
    ]
    return f"version {before.version} ({before.model_digest[:PREFIX]}; registered, never approved)", lines


def _portrait(facts: Facts) -> dict[str, str]:
    """A version in the lines that two versions are compared by."""
    portrait: dict[str, str] = {}
    own = own_evaluation(facts)
    if own:
        for name, values in sorted(evaluated(own).scores.items()):
            known = [value for value in values if value is not None]
            portrait[f"{name} on {evaluated(own).suite_name}"] = (
                f"{mean_interval(known, 0.95).mean:.3f}" if known else "no scores"
            )
    for chain, _ in facts.datasets:
        count = chain.quality.predicate.counts.records_out if chain.quality else None
        portrait[f"data {chain.dataset}"] = f"{number(count)} records ({chain.sha256[:PREFIX]})"
    for node in facts.chain:
        if node.train is None:
            portrait[f"base {node.name}"] = node.sha256[:PREFIX]
            continue
        train = trained(node.train)
        portrait[f"{node.name}: objective"] = f"{train.method} ({train.objective[:PREFIX]})"
        portrait |= {f"{node.name}: {key}": plain(value) for key, value in sorted(train.parameters.items())}
        portrait[f"{node.name}: code"] = (train.code.commit or "no commit")[:PREFIX] + (
            " dirty" if train.code.dirty else ""
        )
    portrait["policies"] = facts.registration.policy[:PREFIX]
    return portrait


def records(facts: Facts) -> list[Record]:
    """The records every version must have, read from the log; those that do not exist yet say so."""
    own, released = own_evaluation(facts), facts.released.train
    data = [chain for chain, uses in facts.datasets if any(use.startswith("train@") for use in uses)]
    named = ", ".join(f"{chain.dataset} {chain.sha256[:PREFIX]}" for chain in data)
    version = f"{facts.registration.model}/{facts.registration.version}, sha256 {facts.digest[:PREFIX]}"
    objective = f"objective {trained(released).objective[:PREFIX]}, in full below" if released else "not recorded"
    scored = f"on {evaluated(own).suite_name}, in full below" if own else "not run"
    rows: list[tuple[str, str, list[Evidence | None]]] = [
        ("Dataset versions", named or "not recorded", [chain.quality for chain in data]),
        ("Model version", version, [facts.item]),
        ("Hyperparameters", objective, [released]),
        ("Evaluation", scored, [own]),
        ("Approval owner", needed(facts), []),
        ("Deployment date", "not deployed", []),
        ("Rollback path", way_back(facts), [facts.previous]),
        ("Incidents", "none recorded", []),
    ]
    return [Record(name=name, value=value, evidence=[i.index for i in items if i]) for name, value, items in rows]


def decisions(facts: Facts) -> list[Decision]:
    """Every decision about the version or a stage it rests on, refusals included, in the order of the log."""
    mine = {node.gate.index for node in facts.trained if node.gate}
    stages = {f"gate@{node.name}" for node in facts.trained}
    found = []
    for item in facts.everything:
        if item.kind == "gate" and decided(item).stage in stages:
            found.append(_gate(item, item.index in mine))
        elif item.kind == "promotion" and promoted(item).model_digest == facts.digest:
            found.append(_promotion(item, facts.registration.tier))
    return found


def _gate(item: Evidence, mine: bool) -> Decision:
    gate = decided(item)
    return Decision(
        about=f"{gate.stage}{'' if mine else ' (not the decision this version rests on)'}",
        what="may it train?",
        allowed=gate.allowed,
        at=gate.at,
        tier=gate.tier,
        findings=[_said(finding) for finding in gate.findings],
        evidence=[item.index],
    )


def _promotion(item: Evidence, tier: str) -> Decision:
    promotion = promoted(item)
    return Decision(
        about=f"{promotion.model}/{promotion.version}",
        what=f"may it be called {promotion.alias}?",
        allowed=promotion.allowed,
        at=promotion.at,
        tier=tier,
        findings=[_said(finding) for finding in promotion.findings],
        evidence=[item.index],
    )


def _said(finding: Finding) -> str:
    return f"{finding.code} {finding.subject}: {finding.message}"
