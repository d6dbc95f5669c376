"""Checks of the data that a stage trains on or generates from: its evidence from source to ready
records, and its datacard.

`data_evidence` reports a broken chain. The checks that need the missing evidence then report
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from governance.attest.predicates import Agreement, Ingest, Quality
from governance.gates import recall
from governance.gates.checks.context import DataContext, Findings, GateContext, signed_by
from governance.history.lineage import inputs
from governance.log.rules import ENDS_ALLOWANCES
from governance.policy.data import NO_MODEL
from governance.policy.policies import Policies
from governance.policy.rules import Datacard

LEAST_AGREEMENT = 0.4
_STEPS = {"quality": "check_quality", "scan": "scan_pii", "ingest": "ingest"}


def data_evidence(context: DataContext) -> Findings:
    """An unbroken chain of digests: quality statement about these records <- scan <- ingest."""
    chain = context.chain
    kind = chain.broken_at
    if kind is None:
        return
    upstream = {"quality": None, "scan": chain.quality, "ingest": chain.scan}[kind]
    digest = inputs(upstream).get("records", "") if upstream else chain.sha256
    yield context.data_finding(
        "EVIDENCE_MISSING",
        f"no {kind} evidence about these bytes in the log at hand, so they cannot be followed back"
        " to their source",
        expected=f"a statement of kind {kind} about {digest[:12]}",
        found=signed_by(context.view.set_aside(digest, kind)),
        stages=" ".join(f"{stage}@{chain.dataset}" for stage in reversed(_STEPS.values())),
    )


def ignored_fields(context: DataContext) -> Findings:
    """Policy in force permits to leave out every field that the ingest left out."""
    ingest, policy = context.chain.ingest, context.policies.rules.ingest
    if ingest is None or policy.ignored_fields is None:
        return
    name = context.chain.dataset
    fields = list(policy.not_permitted(name, ingest.predicate.fields_unused))
    if fields:
        yield context.data_finding(
            "FIELDS_NOT_PERMITTED",
            expected=", ".join(policy.ignored(name)) or "none",
            found=", ".join(fields),
            figures=fields,
        )


def excluded_raters(context: DataContext) -> Findings:
    """Ratings were left out of those raters whom policy in force excludes, and of no other."""
    ingest = context.chain.ingest
    if ingest is None or ingest.predicate.labels is None:
        return
    name, left_out = context.chain.dataset, sorted(ingest.predicate.labels.excluded)
    excluded = sorted({row.rater for row in context.policies.rules.ingest.excluded(name)})
    if left_out != excluded:
        yield context.data_finding(
            "RATERS_LEFT_OUT",
            expected=", ".join(excluded) or "none",
            found=", ".join(left_out) or "none",
            figures=left_out,
        )


def raters_agree(context: DataContext) -> Findings:
    """Pairs that votes of raters made: the lower end of the raters' alpha is what the quality suite
    `rated` demands of ratings (0.4 where it demands nothing).
    """
    ingest = context.chain.ingest
    agreement = agreement_of_votes(ingest.predicate) if ingest else None
    if agreement is None:
        return
    least = least_agreement(context.policies)
    if agreement.low is None or agreement.low < least:
        found = "no interval" if agreement.low is None else f"{agreement.low:.3f}"
        yield context.data_finding(
            "RATERS_AGREE_TOO_LITTLE",
            expected=f"alpha of {least:g} or more (lower end of its interval)",
            found=found,
            figures=[found],
        )


def agreement_of_votes(ingest: Ingest) -> Agreement | None:
    """How far the raters agree whose votes made the pairs; None where none did."""
    if ingest.kind != "preference" or ingest.labels is None:
        return None
    return ingest.labels.without or ingest.labels.agreement


def least_agreement(policies: Policies) -> float:
    """What the lower end of their alpha must be."""
    suite = policies.quality.get("rated")
    checks = suite.expectations if suite else []
    demanded = (check.min_value for check in checks if check.column == "rater_alpha_low")
    return next((least for least in demanded if least is not None), LEAST_AGREEMENT)


def data_kind(context: DataContext) -> Findings:
    """The stage can use this kind of record."""
    quality = context.quality
    if quality and quality.kind != context.kind:
        yield context.finding(
            "KIND_UNFIT",
            f"stage {context.request.stage}",
            expected=context.kind,
            found=quality.kind,
            figures=[quality.kind],
        )


def scan_passed(context: DataContext) -> Findings:
    """The scan let the dataset pass."""
    if context.scan and not context.scan.passed:
        yield context.data_finding(
            "SCAN_NOT_PASSED", expected="a scan that lets the dataset pass", found="refused"
        )


def scan_policy(context: DataContext) -> Findings:
    """The scan was made under the PII policy in force."""
    in_force = context.policies.pii_digest
    if context.scan and context.scan.config != in_force:
        yield context.data_finding(
            "SCAN_OUT_OF_DATE",
            expected=in_force[:12],
            found=context.scan.config[:12],
            figures=[context.scan.config],
        )


def pii_remaining(context: DataContext) -> Findings:
    """Policy in force allows every kind of value that the second scan still found."""
    remaining = sorted(context.scan.remaining.items()) if context.scan else []
    pii = context.policies.pii
    left = {
        entity: count
        for entity, count in remaining
        if count and pii.entity(entity).action != "allow"
    }
    if left:
        yield context.data_finding(
            "PII_REMAINING",
            expected="none, or action `allow`",
            found=", ".join(f"{entity}: {count}" for entity, count in left.items()),
            figures=[f"{entity} {count}" for entity, count in left.items()],
            entity=next(iter(left)),
        )


def allowances(context: DataContext) -> Findings:
    """No entry of the allow-list that the scan used has ended at the reference time."""
    if context.authority is not None and context.authority.rules < ENDS_ALLOWANCES:
        return
    today = context.at.date()
    used = context.scan.allowances if context.scan else []
    ended = [f"entry {one.entry} ({one.entity})" for one in used if today > one.until]
    if ended:
        last = min(one.until for one in used)
        yield context.data_finding(
            "ALLOWANCE_ENDED",
            expected=f"entries that have not ended on {today}",
            found=f"{', '.join(ended)}; the first ended on {last}",
            figures=ended,
        )


def ner(context: DataContext) -> Findings:
    """A model searched for names, where policy demands one."""
    engine = context.scan.engine.get("ner", "none") if context.scan else ""
    if context.scan and context.policies.pii.require_ner and engine in NO_MODEL:
        expected = "spacy:<folder> or transformers:<folder>"
        yield context.data_finding(
            "NER_REQUIRED", expected=expected, found=engine, figures=[engine]
        )


def pii_recall(context: DataContext) -> Findings:
    """The scan found as large a share of the planted values as policy demands."""
    if context.scan:
        yield from recall.findings(
            context.request.data.dataset, context.scan.recall, context.policies.pii
        )


def quality_passed(context: DataContext) -> Findings:
    """The quality gate let the dataset pass, and every critical expectation is met."""
    expectations = context.quality.expectations if context.quality else []
    failed = [
        expectation.name
        for expectation in expectations
        if expectation.severity == "critical" and not expectation.success
    ]
    if context.quality and (failed or not context.quality.passed):
        yield context.data_finding(
            "QUALITY_NOT_PASSED",
            expected="every critical expectation met",
            found=", ".join(failed) or "not passed",
            figures=failed,
        )


def quality_suite(context: DataContext) -> Findings:
    """The dataset was tested with every expectation of the suite that its datacard names, in the
    version in force.
    """
    quality = context.quality
    if quality is None:
        return
    suites = context.suites_in_force(quality.suite, quality.kind)
    declared = context.card.suite if context.card else None
    if not suites:
        of_kind = sorted(
            name for name, suite in context.policies.quality.items() if suite.kind == quality.kind
        )
        known = ", ".join(of_kind) or "none in policies/quality/"
        yield context.data_finding(
            "SUITE_OUT_OF_DATE",
            expected=f"a suite for {quality.kind}: {known}",
            found=quality.suite[:12],
            figures=[quality.suite],
        )
    elif declared and declared not in suites:
        yield context.data_finding(
            "SUITE_NOT_DECLARED", expected=declared, found=", ".join(suites), figures=suites
        )
    elif missing := _left_out(context, quality, suites[0]):
        yield context.data_finding(
            "SUITE_OUT_OF_DATE",
            expected=", ".join(missing),
            found=quality.suite[:12],
            figures=[quality.suite, *missing],
        )


def _left_out(context: DataContext, quality: Quality, suite: str) -> list[str]:
    """The expectations of a suite that the evidence does not have."""
    recorded = {expectation.name for expectation in quality.expectations}
    checks = context.policies.quality[suite].expectations
    return [check.name for check in checks if check.name not in recorded]


def held_out(context: GateContext) -> Findings:
    """The data was searched for records of the dataset that the result is evaluated on."""
    data, suite, quality = context.request.data, context.request.suite, context.quality
    if quality is None:
        return
    same_records = data.dataset == suite.name or data.sha256 == suite.records
    if same_records and suite.split != "train":
        return
    against = {
        artifact.sha256 for artifact in quality.inputs if artifact.role.startswith("held_out")
    }
    if not same_records and against & context.held_out_chain.digests:
        return
    searched = ", ".join(sorted(digest[:12] for digest in against)) or "no leak check"
    yield context.data_finding(
        "HELD_OUT_UNCHECKED",
        expected=f"a leak check against {suite.name} ({suite.records[:12]})",
        found="it trains on the split it is evaluated on" if same_records else searched,
        figures=[f"split {suite.split}"] if same_records else sorted(against),
    )


def datacard(context: DataContext) -> Findings:
    """The dataset has a datacard without blanks."""
    if context.card is None:
        path = f"policies/datacards/{context.request.data.dataset}.yaml"
        yield context.data_finding("DATACARD_MISSING", expected=path)
    elif context.card.blanks():
        blanks = ", ".join(context.card.blanks())
        yield context.data_finding(
            "DATACARD_INCOMPLETE",
            expected="every field filled in",
            found=f"blank: {blanks}",
            figures=context.card.blanks(),
        )


def retention(context: DataContext) -> Findings:
    """The data may still be kept at the reference time."""
    until, today = context.card.retention.until if context.card else None, context.at.date()
    if until is not None and today > until:
        yield context.data_finding(
            "DATACARD_EXPIRED",
            expected=f"retention.until not before {today}",
            found=f"{until}",
            figures=[f"{until}"],
        )


def purpose(context: DataContext) -> Findings:
    """The datacard permits the model's purpose."""
    model = context.model_policy
    for card in _filled(context, "purposes"):
        if model and model.purpose not in card.purposes:
            yield context.data_finding(
                "PURPOSE_NOT_PERMITTED",
                expected=model.purpose,
                found=", ".join(card.purposes),
                figures=card.purposes,
            )


def region(context: DataContext) -> Findings:
    """The datacard permits processing where the model is made."""
    model = context.model_policy
    for card in _filled(context, "regions"):
        if model and not {model.region, "anywhere"} & set(card.regions):
            yield context.data_finding(
                "REGION_NOT_PERMITTED",
                expected=model.region,
                found=", ".join(card.regions),
                figures=card.regions,
            )


def classification(context: DataContext) -> Findings:
    """The tier permits data of this classification."""
    permitted = context.tier.classifications if context.tier else None
    for card in _filled(context, "classification"):
        if permitted is not None and card.classification not in permitted:
            yield context.data_finding(
                "CLASSIFICATION_NOT_PERMITTED",
                expected=" or ".join(permitted),
                found=str(card.classification),
                figures=[str(card.classification)],
            )


def data_licence(context: DataContext) -> Findings:
    """Policy permits the data's licence."""
    permitted = context.policies.rules.licences.data
    for card in _filled(context, "licence"):
        if card.licence not in permitted:
            yield context.data_finding(
                "LICENCE_NOT_PERMITTED",
                expected=", ".join(permitted),
                found=card.licence,
                figures=[str(card.licence)],
            )


def lawful_basis(context: DataContext) -> Findings:
    """Policy accepts the lawful basis."""
    accepted = context.policies.rules.lawful_bases
    for card in _filled(context, "lawful_basis"):
        if card.lawful_basis not in accepted:
            yield context.data_finding(
                "LAWFUL_BASIS_NOT_PERMITTED",
                expected=", ".join(accepted),
                found=str(card.lawful_basis),
                figures=[str(card.lawful_basis)],
            )


def source(context: DataContext) -> Findings:
    """The source is the one that the datacard pins. The datacard pins one where the tier demands
    it.
    """
    read = context.chain.source
    if context.card is None or read is None:
        return
    pinned = context.card.source_sha256
    if pinned is None and context.tier and context.tier.pinned_sources:
        yield context.data_finding(
            "SOURCE_UNPINNED",
            expected="source_sha256",
            found="nothing pinned",
            source=read,
            figures=[read],
        )
    if pinned is not None and pinned != read:
        yield context.data_finding(
            "SOURCE_CHANGED",
            expected=pinned[:12],
            found=read[:12],
            source=read,
            figures=[read],
        )


def guideline(context: DataContext) -> Findings:
    """The guideline that ingest read is the one that the datacard declares, if it declares one."""
    said = context.card.labelling if context.card else ""
    ingest = context.chain.ingest
    if isinstance(said, str) or said.guideline is None or ingest is None:
        return
    declared, read = said.guideline.sha256, inputs(ingest).get("guideline")
    if read != declared:
        name = context.chain.dataset
        found = read[:12] if read else f"no file: params.yaml: datasets.{name}.guideline"
        yield context.data_finding(
            "GUIDELINE_DIFFERS", expected=declared[:12], found=found, figures=[read or ""]
        )


def _filled(context: DataContext, field: str) -> Iterator[Datacard]:
    """The datacard, if this field is filled in. The check `datacard` reports blanks."""
    if context.card is not None and field not in context.card.blanks():
        yield context.card
