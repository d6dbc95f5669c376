"""Checks of the data that a stage trains on: its evidence from source to ready records, and its
datacard.

`data_evidence` reports a broken chain. The checks that need the missing evidence then report
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from governance.attest.findings import finding
from governance.attest.predicates import Finding, Quality
from governance.gates import recall
from governance.gates.checks.context import GateContext
from governance.policy.policies import Datacard

Found = Iterable[Finding]
_STEPS = {"quality": "check_quality", "scan": "scan_pii", "ingest": "ingest"}


def data_evidence(context: GateContext) -> Found:
    """An unbroken chain of digests: quality statement about these records <- scan <- ingest."""
    chain, name = context.chain, context.request.data.dataset
    broken = chain.broken_at
    if broken is None:
        return
    upstream = {"quality": None, "scan": chain.quality, "ingest": chain.scan}[broken]
    digest = (
        next(
            (
                artifact.sha256
                for artifact in upstream.predicate.inputs
                if artifact.role == "records"
            ),
            "",
        )
        if upstream
        else chain.sha256
    )
    stages = " ".join(f"{stage}@{name}" for stage in reversed(_STEPS.values()))
    yield finding(
        "EVIDENCE_MISSING",
        f"dataset {name}",
        f"no {broken} evidence about these bytes in the log at hand, so they cannot be followed"
        " back to their source",
        expected=f"a {broken} statement whose subject is {digest[:12]}",
        found=_set_aside(context.view.set_aside(digest, broken)),
        next=rejoin(stages),
    )


def data_kind(context: GateContext) -> Found:
    """The method can train on this kind of record."""
    if context.quality and context.quality.kind != context.request.kind:
        yield finding(
            "KIND_UNFIT",
            f"stage {context.request.stage}",
            f"{context.request.data.dataset} is not of the kind that {context.request.method}"
            " trains on",
            expected=context.request.kind,
            found=context.quality.kind,
            next=f"params.yaml: stages.{context.request.stage}.data",
        )


def scan_passed(context: GateContext) -> Found:
    """The scan let the dataset pass."""
    if context.scan and not context.scan.passed:
        name = context.request.data.dataset
        yield finding(
            "SCAN_NOT_PASSED",
            f"dataset {name}",
            "the PII scan refused it",
            expected="a scan that lets the dataset pass",
            found="refused",
            next=(
                f"read reports/scan_pii/{name}/report.md, mend the source or policies/pii.yaml, run"
                " again"
            ),
        )


def scan_policy(context: GateContext) -> Found:
    """The scan was made under the PII policy in force."""
    if context.scan and context.scan.config != context.policies.pii_digest:
        name = context.request.data.dataset
        yield finding(
            "SCAN_OUT_OF_DATE",
            f"dataset {name}",
            "it was scanned under another policies/pii.yaml than the one in force",
            expected=context.policies.pii_digest[:12],
            found=context.scan.config[:12],
            next=f"countersign repro scan_pii@{name} check_quality@{name}",
        )


def pii_remaining(context: GateContext) -> Found:
    """Policy in force allows every kind of value that the second scan still found."""
    remaining = context.scan.remaining if context.scan else {}
    pii = context.policies.pii
    left = {
        entity: count
        for entity, count in sorted(remaining.items())
        if count and pii.entity(entity).action != "allow"
    }
    if left:
        yield finding(
            "PII_REMAINING",
            f"dataset {context.request.data.dataset}",
            "personal data is left in the records that policy does not allow",
            expected="none, or action `allow`",
            found=", ".join(f"{entity}: {count}" for entity, count in left.items()),
            next=f"policies/pii.yaml: entities.{next(iter(left))}.action",
        )


def ner(context: GateContext) -> Found:
    """A model searched for names, where policy demands one."""
    engine = context.scan.engine.get("ner", "none") if context.scan else ""
    if context.scan and context.policies.pii.require_ner and engine in ("none", "name-list"):
        yield finding(
            "NER_REQUIRED",
            f"dataset {context.request.data.dataset}",
            "policy demands a real named-entity model, and the scan had none",
            expected="spacy:<folder> or transformers:<folder>",
            found=engine,
            next="policies/pii.yaml: ner, then: countersign repro",
        )


def pii_recall(context: GateContext) -> Found:
    """The scan found as large a share of the planted values as policy demands."""
    if context.scan:
        yield from recall.findings(
            context.request.data.dataset, context.scan.recall, context.policies.pii
        )


def quality_passed(context: GateContext) -> Found:
    """The quality gate let the dataset pass, and every critical expectation is met."""
    quality = context.quality
    if quality is None:
        return
    failed = [
        check.name
        for check in quality.expectations
        if check.severity == "critical" and not check.success
    ]
    if failed or not quality.passed:
        name = context.request.data.dataset
        yield finding(
            "QUALITY_NOT_PASSED",
            f"dataset {name}",
            "the quality gate refused it",
            expected="every critical expectation met",
            found=", ".join(failed) or "not passed",
            next=(
                f"read reports/check_quality/{name}/report.md, mend the source or the suite, run"
                " again"
            ),
        )


def quality_suite(context: GateContext) -> Found:
    """The dataset was tested with every expectation of the suite that its datacard names, in the
    version in force.
    """
    quality = context.quality
    if quality is None:
        return
    name = context.request.data.dataset
    suites = context.suites_in_force(quality.suite, quality.kind)
    declared = context.card.suite if context.card else None
    if suites and declared and declared not in suites:
        yield finding(
            "SUITE_NOT_DECLARED",
            f"dataset {name}",
            "it was held against another quality suite than its datacard names",
            expected=declared,
            found=", ".join(suites),
            next=(
                f"params.yaml: datasets.{name}.suite: {declared}, then `countersign repro`; or"
                f" {_card(name)}: suite"
            ),
        )
        return
    missing = _not_held(context, quality, suites[0]) if suites else []
    if suites and not missing:
        return
    of_kind = sorted(
        name for name, suite in context.policies.quality.items() if suite.kind == quality.kind
    )
    yield finding(
        "SUITE_OUT_OF_DATE",
        f"dataset {name}",
        (
            "its evidence leaves out expectations of the suite"
            if suites
            else "it was held against a quality suite that is not in force"
        ),
        expected=(
            ", ".join(missing)
            if suites
            else f"a suite for {quality.kind}: {', '.join(of_kind) or 'none in policies/quality/'}"
        ),
        found=quality.suite[:12],
        next=f"countersign repro check_quality@{name}",
    )


def _not_held(context: GateContext, quality: Quality, suite: str) -> list[str]:
    held = {expectation.name for expectation in quality.expectations}
    return [
        check.name
        for check in context.policies.quality[suite].expectations
        if check.name not in held
    ]


def held_out(context: GateContext) -> Found:
    """The data was searched for records of the dataset that the result is evaluated on."""
    request, quality = context.request, context.quality
    if quality is None:
        return
    same_records = (
        request.data.dataset == request.suite.name or request.data.sha256 == request.suite.records
    )
    if same_records and request.suite.split != "train":
        return
    against = {
        artifact.sha256 for artifact in quality.inputs if artifact.role.startswith("held_out")
    }
    if same_records or not against & context.held_out_chain.digests:
        found = (
            "it trains on the split it is evaluated on"
            if same_records
            else ", ".join(sorted(digest[:12] for digest in against)) or "no leak check"
        )
        yield finding(
            "HELD_OUT_UNCHECKED",
            f"dataset {request.data.dataset}",
            f"it was not searched for leaks into {request.suite.name}, on which {request.stage} is"
            " evaluated",
            expected=f"a leak check against {request.suite.name} ({request.suite.records[:12]})",
            found=found,
            next=f"params.yaml: datasets.{request.data.dataset}.held_out: {request.suite.name}",
        )


def datacard(context: GateContext) -> Found:
    """The dataset has a datacard without blanks."""
    name = context.request.data.dataset
    if context.card is None:
        yield finding(
            "DATACARD_MISSING",
            f"dataset {name}",
            "nobody has declared its origin, licence, lawful basis and the rest",
            expected=_card(name),
            next=f"write {_card(name)} (`countersign add FILE` writes one with blanks to fill in)",
        )
    elif context.card.blanks():
        blanks = ", ".join(context.card.blanks())
        yield finding(
            "DATACARD_INCOMPLETE",
            f"dataset {name}",
            "its datacard has blanks",
            expected="every field filled in",
            found=f"blank: {blanks}",
            next=f"{_card(name)}: {blanks}",
        )


def retention(context: GateContext) -> Found:
    """The data may still be kept at the reference time."""
    until = context.card.retention.until if context.card else None
    if until is not None and context.at.date() > until:
        name = context.request.data.dataset
        yield finding(
            "DATACARD_EXPIRED",
            f"dataset {name}",
            "its retention period is over",
            expected=f"retention.until not before {context.at.date()}",
            found=until.isoformat(),
            next=f"erase the data, or have the steward renew {_card(name)}: retention.until",
        )


def purpose(context: GateContext) -> Found:
    """The datacard permits the model's purpose."""
    model = context.model_policy
    for card in _filled(context, "purposes"):
        if model and model.purpose not in card.purposes:
            yield _not_permitted(
                context, "PURPOSE", "purposes", model.purpose, ", ".join(card.purposes)
            )


def region(context: GateContext) -> Found:
    """The datacard permits processing where the model is made."""
    model = context.model_policy
    for card in _filled(context, "regions"):
        if model and model.region not in card.regions and "anywhere" not in card.regions:
            yield _not_permitted(
                context, "REGION", "regions", model.region, ", ".join(card.regions)
            )


def classification(context: GateContext) -> Found:
    """The tier permits data of this classification."""
    for card in _filled(context, "classification"):
        if context.tier and card.classification not in context.tier.classifications:
            yield finding(
                "CLASSIFICATION_NOT_PERMITTED",
                f"dataset {context.request.data.dataset}",
                f"tier {context.tier_name} does not permit data of this classification",
                expected=" or ".join(context.tier.classifications),
                found=str(card.classification),
                next=(
                    "use other data, or policies/policy.yaml:"
                    f" tiers.{context.tier_name}.classifications"
                ),
            )


def data_licence(context: GateContext) -> Found:
    """Policy permits the data's licence."""
    permitted = context.policies.rules.licences.data
    for card in _filled(context, "licence"):
        if card.licence not in permitted:
            yield finding(
                "LICENCE_NOT_PERMITTED",
                f"dataset {context.request.data.dataset}",
                "policy does not permit its licence",
                expected=", ".join(permitted),
                found=card.licence,
                next="use other data, or policies/policy.yaml: licences.data",
            )


def lawful_basis(context: GateContext) -> Found:
    """Policy accepts the lawful basis."""
    accepted = context.policies.rules.lawful_bases
    for card in _filled(context, "lawful_basis"):
        if card.lawful_basis not in accepted:
            yield finding(
                "LAWFUL_BASIS_NOT_PERMITTED",
                f"dataset {context.request.data.dataset}",
                "policy does not accept its lawful basis",
                expected=", ".join(accepted),
                found=str(card.lawful_basis),
                next="use other data, or policies/policy.yaml: lawful_bases",
            )


def source(context: GateContext) -> Found:
    """The source is the one that the datacard pins. The datacard pins one where the tier demands
    it.
    """
    name, read = context.request.data.dataset, context.chain.source
    if context.card is None or read is None:
        return
    pinned, next_step = context.card.source_sha256, f"{_card(name)}: source_sha256: {read}"
    if pinned is None and context.tier and context.tier.pinned_sources:
        yield finding(
            "SOURCE_UNPINNED",
            f"dataset {name}",
            f"tier {context.tier_name} demands that the datacard pins its source",
            expected="source_sha256",
            found="nothing pinned",
            next=next_step,
        )
    if pinned is not None and pinned != read:
        yield finding(
            "SOURCE_CHANGED",
            f"dataset {name}",
            "the source that was read is not the one its datacard pins",
            expected=pinned[:12],
            found=read[:12],
            next=f"check the new source, then {next_step}",
        )


def rejoin(stages: str) -> str:
    """The next step where DVC's cache has the outputs and the log has no evidence."""
    return (
        "join the log that has it (COUNTERSIGN_HOME or COUNTERSIGN_LOG), or make it again: "
        f"countersign repro --force {stages}"
    )


def _set_aside(keys: list[str]) -> str:
    if not keys:
        return "none"
    return (
        "only by a key that policies/policy.yaml does not let sign it:"
        f" {', '.join(key[:16] for key in keys)}"
    )


def _filled(context: GateContext, field: str) -> Iterator[Datacard]:
    """The datacard, if this field is filled in. The check `datacard` reports blanks."""
    if context.card is not None and field not in context.card.blanks():
        yield context.card


def _not_permitted(
    context: GateContext, what: str, field: str, expected: str, found: str
) -> Finding:
    name = context.request.data.dataset
    return finding(
        f"{what}_NOT_PERMITTED",
        f"dataset {name}",
        f"its datacard does not permit the {what.lower()} of model {context.model}",
        expected=expected,
        found=found,
        next=f"use other data, or have the steward change {_card(name)}: {field}",
    )


def _card(dataset: str) -> str:
    return f"policies/datacards/{dataset}.yaml"
