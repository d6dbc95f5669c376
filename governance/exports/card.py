"""A Hugging Face model card: YAML metadata with `model-index`, then what the records say, made and
never typed.

What is left out of the metadata on purpose: `license` (no record gives the model one), `datasets`
(its values are names on the Hub, and ours are not), `verified` (not ours to say). The page says
each in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from governance.attest.findings import CODES
from governance.attest.predicates import BaseImport, Finding, Ingest, Promotion, Quality, Scan
from governance.base.text import moment, number, plain, share
from governance.exports.records import Records, entries
from governance.exports.text import flat, markdown, outside_path, said, table, yaml_text
from governance.gates import recall
from governance.history.lineage import DataChain, ModelNode, decided, evaluated, trained
from governance.policy.policies import Datacard
from governance.report import scores
from governance.report.front import NOT_COVERED
from governance.report.model import Score
from governance.report.verdict import verdict

_HUB = re.compile(r"^([\w.-]+/[\w.-]+)@([0-9a-f]{7,40}|[\w.-]+)$")
"""A model on the Hub at a revision, as an import records it."""
_CLASSIFIERS = {"reward"}
"""Methods whose models give a score, not text."""


def model_card(records: Records) -> str:
    """README.md of the version."""
    body = [part for section in _SECTIONS for part in (*section(records), "")]
    return (
        f"---\n{yaml_text(metadata(records))}---\n\n"
        + re.sub(r"\n{3,}", "\n\n", "\n".join(body)).rstrip()
        + "\n"
    )


def metadata(records: Records) -> dict[str, Any]:
    """The front matter. `model-index` holds the means of the version's own evaluations."""
    facts = records.facts
    method = facts.released.method
    adapter = any(file.path == "adapter_config.json" for file in facts.registration.files)
    found: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-classification" if method in _CLASSIFIERS else "text-generation",
        "tags": ["countersign", method],
    }
    bases = _hub_bases(records)
    if bases:
        found |= {
            "base_model": [name for name, _ in bases],
            "base_model_relation": "adapter" if adapter else "finetune",
        }
    results = list(_results(records, found["pipeline_tag"]))
    if results:
        found["model-index"] = [{"name": records.name, "results": results}]
    return found


def _results(records: Records, task: str) -> Iterator[dict[str, Any]]:
    """One result per suite, with every metric that has a mean."""
    facts = records.facts
    for suite in facts.suites:
        mine = [
            (metric, score)
            for metric in scores.metrics(facts)
            for score in metric.scores
            if metric.suite == suite.name
            and score.digest == facts.digest
            and score.mean is not None
        ]
        if not mine:
            continue
        dataset = {"name": suite.name, "type": suite.name, "revision": suite.digest}
        figures = [
            {
                "type": metric.name,
                "name": f"{metric.name}, mean of {items(score)}",
                "value": score.mean,
                "args": {
                    "confidence": scores.confidence(facts),
                    "low": score.low,
                    "high": score.high,
                    "n": score.n,
                },
            }
            for metric, score in mine
        ]
        yield {"task": {"type": task}, "dataset": dataset, "metrics": figures}


def items(score: Score) -> str:
    """What a mean is of, in words."""
    return f"{score.n} items" + (f"; {score.missing} more have no score" if score.missing else "")


def _hub_bases(records: Records) -> list[tuple[str, str]]:
    """Name and revision on the Hub of every base with weights that came from there."""
    found = []
    for node in records.facts.chain:
        base = node.base.predicate if node.base else None
        if isinstance(base, BaseImport) and base.weights and (hub := _HUB.match(base.source)):
            found.append((hub[1], hub[2]))
    return found


# --- sections -------------------------------------------------------------------------------------


def _head(records: Records) -> list[str]:
    facts = records.facts
    return [
        f"# {markdown(records.name)}",
        "",
        *_made(records),
        "",
        (
            "Made from verified records by `countersign export`; nobody wrote it. It is no approval"
            " and no evidence: the log is."
        ),
        "",
        *table(
            ("What", "Said by the log"),
            [
                ("Model digest (sha256 of the manifest)", facts.digest),
                ("Made by stage", facts.registration.stage),
                ("Risk tier", facts.registration.tier),
                (
                    "Registered",
                    f"{moment(facts.registration.run.finished)}, {entries([facts.item])}",
                ),
                ("Records as of", moment(facts.as_of)),
                ("Policies", _policies(records)),
                ("Verdict on these records", verdict(facts).word),
                ("Aliases decided", _aliases(records)),
            ],
        ),
    ]


def _made(records: Records) -> list[str]:
    """What it is, in a sentence."""
    facts = records.facts
    known = facts.policies.rules.models.get(facts.registration.model) if facts.policies else None
    begins = (
        ", ".join(node.name for node in facts.chain if node.train is None)
        or "a base that is not recorded"
    )
    steps = [
        f"{node.method} on {request.data.dataset if request else 'data that is not recorded'}"
        for node in facts.trained
        for request in [facts.requests.get(node.name)]
    ]
    purpose = f" for {markdown(known.purpose)}" if known else ""
    return [f"A model{purpose}, made from {markdown(begins)} by {markdown(', then '.join(steps))}."]


def _policies(records: Records) -> str:
    policies = records.facts.policies
    if policies is None:
        return records.facts.policies_note
    if records.facts.standing is None or records.facts.now is None:
        return f"{policies.digest}; as last recorded, not signed by people"
    signers = records.facts.now.authority.in_force.signers
    signed = (
        f"signed by {len(signers)} of their owners" if signers else "NOT signed by their owners"
    )
    return f"{policies.digest}; in force, {signed}"


def _aliases(records: Records) -> str:
    version = records.facts.registration.version
    latest = {
        item.predicate.alias: item
        for item in records.facts.promotions
        if item.predicate.version == version
    }
    texts = []
    for alias, item in sorted(latest.items()):
        decision: Promotion = item.predicate
        word = (
            {"retire": "taken away"}.get(decision.action, "given")
            if decision.allowed
            else "refused"
        )
        texts.append(f"{alias} {word} {moment(decision.at)} (E{item.index})")
    return "; ".join(texts) or "none was asked for"


def _use(records: Records) -> list[str]:
    facts = records.facts
    known = facts.policies.rules.models.get(facts.registration.model) if facts.policies else None
    if known is None:
        why = facts.policies_note or "policies name no such model"
        return [
            "## Intended use",
            "",
            f"None is stated: {markdown(why)}.",
            "",
            "## Not for",
            "",
            "- any use",
        ]
    lines = [
        "## Intended use",
        "",
        f"- purpose: {markdown(known.purpose)}",
        f"- made in region: {markdown(known.region)}",
    ]
    lines.append("- who may use it, and where: not recorded; the serving platform decides")
    forbidden = [f"any purpose other than {known.purpose}"]
    forbidden += _purposes(records, known.purpose) + _regions(records)
    forbidden.append(
        "decisions about people made by it alone: nothing here shows that it is fit for them"
    )
    word = verdict(facts).word
    if not word.startswith("APPROVED"):
        forbidden.insert(0, f"serving users: the verdict on its records is {word}")
    return [
        *lines,
        "",
        "## Not for",
        "",
        *(f"- {markdown(one)}" for one in dict.fromkeys(forbidden)),
    ]


def _purposes(records: Records, purpose: str) -> list[str]:
    """What single datasets are not declared for."""
    return [
        f"{purpose}, as far as dataset {chain.dataset} goes: its card permits"
        f" {', '.join(card.purposes) or 'nothing'}"
        for chain, card in _carded(records)
        if card is not None and purpose not in card.purposes
    ]


def _regions(records: Records) -> list[str]:
    """Where data may not be processed."""
    return [
        f"processing of dataset {chain.dataset} outside {', '.join(card.regions)}"
        for chain, card in _carded(records)
        if card is not None and card.regions and "anywhere" not in card.regions
    ]


def _carded(records: Records) -> list[tuple[DataChain, Datacard | None]]:
    return [(chain, records.cards.get(chain.dataset)) for chain, _ in records.facts.datasets]


def _limits(records: Records) -> list[str]:
    facts = records.facts
    found = [
        f"{one.metric} {one.demand}: NOT met; found {one.found}"
        for one in scores.judged(facts)
        if not one.passed
    ]
    found += [
        f"{one.name} on {one.suite}: {one.slices_note}"
        for one in scores.metrics(facts)
        if one.slices
    ]
    found += _open(records)
    for chain, _ in facts.datasets:
        scan = chain.scan.predicate if chain.scan else None
        if isinstance(scan, Scan):
            left = sum(scan.remaining.values())
            found += [_remaining(chain.dataset, scan)] if left else []
        else:
            found.append(f"personal data in {chain.dataset}: not searched for at this digest")
    found += _unfindable(records)
    scans = [chain.scan.predicate for chain, _ in facts.datasets if chain.scan]
    found.append(f"personal data: {recall.told({one.dataset: one.recall for one in scans})}")
    for node in facts.chain:
        for suite in facts.suites:
            item = facts.evaluation(node, suite)
            if item is not None and (why := evaluated(item).not_run) is not None:
                found.append(f"evaluation of {node.name} on {suite.name}: not run: {why}")
    found.append(
        "what it gets wrong beyond these suites, for whom, and in which languages: not recorded"
    )
    return ["## Limits", "", *(f"- {markdown(one)}" for one in dict.fromkeys(found))]


def _remaining(dataset: str, scan: Scan) -> str:
    """As the scan's own configuration had it; what policies in force make of it, a finding says."""
    kept = sum(count for name, count in scan.remaining.items() if scan.actions.get(name) == "allow")
    other = sum(scan.remaining.values()) - kept
    return (
        f"personal data in {dataset}: {kept} occurrences remain that its scan was to allow, {other}"
        " that it was not"
    )


def _unfindable(records: Records) -> list[str]:
    """What the search for personal data is known not to find, and in which datasets."""
    where: dict[str, list[str]] = {}
    scanned = [(chain, chain.scan.predicate) for chain, _ in records.facts.datasets if chain.scan]
    for chain, scan in scanned:
        for one in scan.cannot_find:
            where.setdefault(one, []).append(chain.dataset)
    return [
        f"the search for personal data cannot find {one} ({_named(names, len(scanned))})"
        for one, names in where.items()
    ]


def _named(names: list[str], of: int) -> str:
    return "every dataset" if len(names) == of else ", ".join(names)


def _open(records: Records) -> list[str]:
    """What stands against it when it is decided again; people's part apart, which is no limit of
    the model.
    """
    again = records.facts.again
    if again is None:
        return [
            "it was not decided again: "
            + (records.facts.policies_note or "its gate's request is not recorded")
        ]
    return [_finding(one) for one in again.findings if not one.code.startswith("REQUEST_")]


def _finding(one: Finding) -> str:
    title = CODES[one.code].title if one.code in CODES else one.message
    return f"{one.code}: {one.subject}: {title}"


def _exceptions(records: Records) -> list[str]:
    standing = records.facts.standing
    lines = ["## Exceptions accepted", ""]
    if standing is None:
        return [*lines, f"None can be: {markdown(records.facts.standing_note)}."]
    rows: list[tuple[object, ...]] = [
        (
            item.predicate.finding,
            item.predicate.about,
            item.predicate.role,
            item.predicate.control,
            moment(item.predicate.expires),
            why or "in force",
            f"E{item.index}",
        )
        for item, why in standing.waivers
    ]
    if not rows:
        return [*lines, "None."]
    head = ("Finding", "About", "Accepted in the role", "Control", "Expires", "State", "Entry")
    return [*lines, *table(head, rows)]


def _data(records: Records) -> list[str]:
    lines = ["## Data", ""]
    for chain, uses in records.facts.datasets:
        lines += [f"### {markdown(chain.dataset)}", "", *_dataset(records, chain, uses), ""]
    return (
        lines
        if records.facts.datasets
        else [*lines, "Not recorded: no gate's request stands in the log."]
    )


def _dataset(records: Records, chain: DataChain, uses: list[str]) -> list[str]:
    card = records.cards.get(chain.dataset)
    missing = records.facts.policies_note or "no datacard"
    ingest = (
        chain.ingest.predicate
        if chain.ingest and isinstance(chain.ingest.predicate, Ingest)
        else None
    )
    quality = (
        chain.quality.predicate
        if chain.quality and isinstance(chain.quality.predicate, Quality)
        else None
    )
    rows: list[tuple[object, ...]] = [
        ("Used by", ", ".join(uses)),
        ("Records, digest of the ready file", chain.sha256),
        ("Source digest", chain.source or "not recorded"),
        ("Kind", ingest.kind if ingest else "not recorded"),
        ("Records", number(quality.counts.records_out) if quality else "not recorded"),
        ("Left out", _excluded(chain)),
        ("Personal data", _personal(chain)),
        ("Evidence", entries([chain.ingest, chain.scan, chain.quality])),
    ]
    declared: list[tuple[object, ...]] = _declared(card) if card else [("Declared", missing)]
    return [
        *table(("What", "Recorded"), rows),
        "",
        *table(("What", "Declared by its steward"), declared),
    ]


def _declared(card: Datacard) -> list[tuple[object, ...]]:
    return [
        ("Title", said(card.title)),
        ("Steward", said(card.steward)),
        ("Origin", said(card.origin)),
        ("Licence", said(card.licence)),
        ("Lawful basis", said(card.lawful_basis)),
        ("Purposes", ", ".join(card.purposes) or "not stated"),
        ("Regions", ", ".join(card.regions) or "not stated"),
        ("Classification", said(card.classification)),
        ("Kept until", f"{said(card.retention.until)}; then {said(card.retention.then)}"),
        ("Labelling", said(card.labelling)),
    ]


def _excluded(chain: DataChain) -> str:
    counts: dict[str, int] = {}
    for item in (chain.ingest, chain.scan, chain.quality):
        for reason, records in (item.predicate.counts.excluded if item else {}).items():
            counts[reason] = counts.get(reason, 0) + records
    return ", ".join(f"{reason} {records}" for reason, records in sorted(counts.items())) or "none"


def _personal(chain: DataChain) -> str:
    scan = chain.scan.predicate if chain.scan else None
    if not isinstance(scan, Scan):
        return "not searched for at this digest"
    found = ", ".join(
        f"{name} {count} ({scan.actions.get(name, 'no action')})"
        for name, count in sorted(scan.found.items())
    )
    return (
        f"found: {found or 'none'}; remaining: {sum(scan.remaining.values())}; languages:"
        f" {', '.join(scan.languages)}"
    )


def _training(records: Records) -> list[str]:
    facts = records.facts
    lines = ["## Training", "", "Licence of this model: not recorded; a person decides it.", ""]
    rows: list[tuple[object, ...]] = [
        _base(records, node) for node in facts.chain if node.train is None
    ]
    lines += [*table(("Base", "Digest", "From", "Licence", "Entry"), rows), ""]
    for node in facts.trained:
        lines += [f"### {markdown(node.name)}", "", *_stage(records, node), ""]
    return lines


def _base(records: Records, node: ModelNode) -> tuple[object, ...]:
    base = (
        node.base.predicate if node.base and isinstance(node.base.predicate, BaseImport) else None
    )
    allowed = records.facts.policies.bases.get(node.name) if records.facts.policies else None
    source = outside_path(base.source) if base else "not recorded"
    weights = "" if base is None or base.weights else " (an architecture, trained from scratch)"
    return (
        node.name,
        node.sha256,
        f"{source}{weights}",
        allowed.licence if allowed else "not stated",
        entries([node.base]),
    )


def _stage(records: Records, node: ModelNode) -> list[str]:
    if node.train is None:
        return ["Not recorded."]
    train, request = trained(node.train), records.facts.requests.get(node.name)
    names = {one.sha256: one.name for one in records.facts.chain}
    code = train.code.commit or "no commit: outside a git work tree"
    rows: list[tuple[object, ...]] = [
        ("Method", train.method),
        ("Model digest", node.sha256),
        ("Parent", names.get(node.parent or "", "none")),
        ("Scorer", names.get(node.scorer or "", "none")),
        ("Data", request.data.dataset if request else "not recorded"),
        ("Records, steps", f"{number(train.records)}, {number(train.steps)}"),
        ("Parameters", plain(flat(train.parameters))),
        ("Rewards", ", ".join(sorted(request.rewards)) if request and request.rewards else "none"),
        ("Objective", train.objective),
        ("Last signals", plain(dict(train.final))),
        ("Code", code + (", with changes that are not committed" if train.code.dirty else "")),
        ("Engines", plain(train.environment.versions)),
        ("Device, seconds", f"{train.device}, {number(train.run.seconds)}"),
        ("Energy", "not measured"),
        (
            "Allowed by",
            (
                f"E{node.gate.index}, tier {decided(node.gate).tier}"
                if node.gate
                else "no decision before it"
            ),
        ),
        ("Evidence", entries([node.train])),
    ]
    return table(("What", "Recorded"), rows)


def _evaluation(records: Records) -> list[str]:
    facts = records.facts
    lines = [
        "## Evaluation",
        "",
        f"Thresholds fixed before the run: {markdown(scores.thresholds_fixed(facts))}.",
        "",
    ]
    level = f"{scores.confidence(facts):.0%} interval".replace("%", " percent")
    rows: list[tuple[object, ...]] = []
    for metric in scores.metrics(facts):
        for score in metric.scores:
            demand = (
                "; ".join(metric.thresholds) if score.digest == facts.digest else "does not apply"
            )
            interval = _interval(score.low, score.high)
            rows.append(
                (
                    metric.suite,
                    metric.name,
                    f"{score.model}: {score.relation}",
                    score.n,
                    share(score.mean),
                    interval,
                    demand or "none in policy",
                    ", ".join(f"E{index}" for index in score.evidence),
                )
            )
    head = ("Suite", "Metric", "Model", "n", "Mean", level, "Demanded", "Entry")
    lines += table(head, rows)
    compared = [
        (
            metric.suite,
            metric.name,
            one.against,
            one.n,
            share(one.mean),
            _interval(one.low, one.high),
            one.words,
        )
        for metric in scores.metrics(facts)
        for one in metric.differences
    ]
    lines += ["", "Paired differences, this version less the other:", ""]
    lines += table(
        ("Suite", "Metric", "Against", "n", "Difference", level, "In words"), list(compared)
    )
    return [
        *lines,
        "",
        "Assurance: self-attested, unless the table of people in the audit report says otherwise.",
    ]


def _interval(low: float | None, high: float | None) -> str:
    return "none" if low is None or high is None else f"{share(low)} to {share(high)}"


def _check(records: Records) -> list[str]:
    return [
        "## How to check this",
        "",
        (
            f"- log: {records.verified.entries} entries verified, root `{records.verified.root}`,"
            f" first entry `{records.verified.first}`"
        ),
        f"- `countersign verify --origin {records.verified.first}` checks the log",
        "- `countersign verify-model` checks a copy of the model against its registration",
        "- `countersign report` gives the full audit report, people and decisions included",
    ]


def _not_shown(records: Records) -> list[str]:
    sliced = any(one.slices for one in scores.metrics(records.facts))
    items = [
        *NOT_COVERED,
        "Languages, groups of people and domains that its suites do not name"
        + ("." if sliced else "; results by slice, since their items name none."),
        "Whether it repeats training data: not tested.",
        "Names of people: exports carry none.",
    ]
    return ["## Not shown here", "", *(f"- {markdown(one)}" for one in items)]


_SECTIONS = (_head, _use, _limits, _exceptions, _data, _training, _evaluation, _check, _not_shown)
