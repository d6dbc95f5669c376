"""SLSA provenance v1, SLSA verification summary v1 and in-toto test results v0.1, as in-toto
Statements.

1. They say in a standard's words what our own statements in the log say; each names those by
   digest.
2. A model folder is one subject by the digest of its manifest (sha256 over the RFC 8785 list of
   path, size, sha256), and each of its files is one by its own: a tool that knows neither us nor
   the manifest can match files.
3. No SLSA build level is claimed: `verifiedLevels` are names of our own.
4. What was not run has no test result: absence is told beside the documents, not dressed as a pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from governance.attest.digests import manifest_digest
from governance.attest.predicates import Artifact, Promotion, Quality, Scan
from governance.base.statistics import Interval
from governance.exports.records import Records
from governance.exports.text import cleaned, outside_path
from governance.gates import recall
from governance.gates.assessment import figures
from governance.history.lineage import ModelNode, evaluated, subject, trained
from governance.log.evidence import STATEMENT_TYPE, Evidence
from governance.report import scores
from governance.report.facts import about
from governance.report.standing import said_of

PROVENANCE = "https://slsa.dev/provenance/v1"
VSA = "https://slsa.dev/verification_summary/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
BUILD_TYPE = "https://countersign.dev/build/train/v1"
LEVELS = {True: "COUNTERSIGN_RELEASE_DECISION_ALLOWED", False: "FAILED"}
"""`verifiedLevels` of a passed and a failed summary."""

Named = tuple[str, dict[str, Any]]
"""A statement and what its file is called."""


def statement(
    predicate_type: str, subjects: Sequence[dict[str, Any]], predicate: dict[str, Any]
) -> dict[str, Any]:
    """An in-toto Statement v1."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": cleaned(list(subjects)),
        "predicateType": predicate_type,
        "predicate": cleaned(predicate),
    }


# --- provenance -----------------------------------------------------------------------------------


def provenance(records: Records) -> Iterator[Named]:
    """One statement for each training stage behind the version."""
    for node in records.facts.trained:
        if node.train is not None:
            yield f"provenance-{node.name}", _provenance(records, node, node.train)


def _provenance(records: Records, node: ModelNode, item: Evidence) -> dict[str, Any]:
    train = trained(item)
    request = records.facts.requests.get(node.name)
    asked = {
        "stage": train.stage,
        "method": train.method,
        "records": train.records,
        "steps": train.steps,
    }
    if request is not None:
        asked |= {
            "model": request.model,
            "dataset": request.data.dataset,
            "parent": request.parent.name,
        }
        asked |= {"scorer": request.scorer.name} if request.scorer else {}
        asked |= {"suite": request.suite.name}
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": asked,
        "internalParameters": {
            "resolved": train.parameters,
            "device": train.device,
            "threads": train.threads,
        },
        "resolvedDependencies": _dependencies(records, node, item),
    }
    details = {
        "builder": {
            "id": f"urn:countersign:key:{item.keyid}",
            "version": {"python": train.environment.python, **train.environment.versions},
            "builderDependencies": [
                _resource("installed distributions", train.environment.distributions)
            ],
        },
        "metadata": {
            "invocationId": f"urn:countersign:statement:{item.digest}",
            "startedOn": train.run.started,
            "finishedOn": train.run.finished,
        },
        "byproducts": [_made(one) for one in item.subjects if one.role != "model"],
    }
    return statement(
        PROVENANCE,
        _model_subjects(records, node),
        {"buildDefinition": definition, "runDetails": details},
    )


def _dependencies(records: Records, node: ModelNode, item: Evidence) -> list[dict[str, Any]]:
    """Everything that went into a training, by digest."""
    train = trained(item)
    found = [_made(one) for one in train.inputs]
    found.append(_resource(f"objective {train.method}", train.objective, role="objective"))
    request = records.facts.requests.get(node.name)
    for name, digest in sorted(request.rewards.items() if request else ()):
        found += [_resource(f"reward {name}", digest, role="reward")] if digest else []
    found.append(_resource("policies", train.policy, role="policies"))
    if train.code.commit is not None:
        notes = {"role": "code", "uncommittedChanges": train.code.dirty}
        found.append(
            {"name": "code", "digest": {"gitCommit": train.code.commit}, "annotations": notes}
        )
    return found


# --- verification summary -------------------------------------------------------------------------


def summaries(records: Records) -> Iterator[Named]:
    """The last decision about each alias of the version, refusals included."""
    wrong = _contradicted(records)
    for alias, item in sorted(_latest(records).items()):
        if item.index not in wrong:
            yield f"vsa-{alias}", _summary(records, item)


def not_summarized(records: Records) -> list[str]:
    """What no summary is made of, and why: nobody is told PASSED of a decision that does not
    hold.
    """
    wrong = _contradicted(records)
    found = [
        (alias, item.index)
        for alias, item in sorted(_latest(records).items())
        if item.index in wrong
    ]
    return [
        f"{alias}: the decision of E{index} does not hold: {wrong[index]}" for alias, index in found
    ]


def _latest(records: Records) -> dict[str, Evidence]:
    latest: dict[str, Evidence] = {}
    for item in records.facts.promotions:
        said: Promotion = item.predicate
        if said.version == records.facts.registration.version and said.action != "retire":
            latest[said.alias] = item
    return latest


def _contradicted(records: Records) -> dict[int, str]:
    """Entry to why a decision on a governed alias does not come out as logged."""
    standing = records.facts.standing
    return {item.index: why for item, why in standing.unreproduced} if standing else {}


def _summary(records: Records, item: Evidence) -> dict[str, Any]:
    said: Promotion = item.predicate
    tier = records.facts.registration.tier
    passed = [
        LEVELS[True],
        f"COUNTERSIGN_TIER_{tier.upper()}",
        f"COUNTERSIGN_ALIAS_{said.alias.upper()}",
    ]
    used = [one for one in _decided_on(records) if one.index < item.index]
    predicate = {
        "verifier": {"id": records.log_id},
        "timeVerified": said.at,
        "resourceUri": (
            f"urn:countersign:model:{records.facts.project}:{said.model}:{said.version}:{said.alias}"
        ),
        "policy": {
            "uri": f"urn:countersign:policies:{said.policy}",
            "digest": {"sha256": said.policy},
        },
        "inputAttestations": [
            {key: _attestation(one)[key] for key in ("uri", "digest")} for one in _once(used)
        ],
        "verificationResult": "PASSED" if said.allowed else "FAILED",
        "verifiedLevels": passed if said.allowed else [LEVELS[False]],
        "slsaVersion": "1.1",
    }
    return statement(VSA, _model_subjects(records, records.facts.released), predicate)


def _decided_on(records: Records) -> Iterator[Evidence]:
    """What a decision about the version looks at: the chain, the registration, and what people said
    of them.
    """
    facts = records.facts
    yield from facts.statements()
    yield facts.item
    if facts.now is None or facts.standing is None:
        return
    yield from said_of(facts.now, facts.standing)
    yield from facts.standing.packets
    yield from (item for item, _ in facts.standing.waivers)
    yield from facts.standing.incidents
    yield from facts.now.evidence.by_subject(facts.digest, "request")


def _attestation(item: Evidence) -> dict[str, Any]:
    """A statement of the log, by the digest of its bytes and its place."""
    return {
        "uri": f"urn:countersign:statement:{item.digest}",
        "digest": {"sha256": item.digest},
        "name": f"{item.kind} {about(item)}",
        "annotations": {"entry": item.index, "key": item.keyid, "developmentKey": item.development},
    }


def _once(items: Sequence[Evidence]) -> list[Evidence]:
    return [item for _, item in sorted({item.index: item for item in items}.items())]


# --- test results ---------------------------------------------------------------------------------


def results(records: Records) -> Iterator[Named]:
    """The version's evaluations, and quality and personal-data scan of every dataset behind it."""
    facts = records.facts
    for suite in facts.suites:
        item = facts.evaluation(facts.released, suite)
        if item is not None and evaluated(item).not_run is None:
            yield f"test-result-evaluation-{suite.name}", _evaluation(records, item)
    for chain, _ in facts.datasets:
        if chain.quality is not None:
            yield f"test-result-quality-{chain.dataset}", _quality(chain.quality)
        if chain.scan is not None:
            yield f"test-result-scan-{chain.dataset}", _scan(chain.scan)


def not_run(records: Records) -> list[str]:
    """What has no test result, and why."""
    facts, found = records.facts, []
    for suite in facts.suites:
        item = facts.evaluation(facts.released, suite)
        if item is None:
            why = "" if suite == facts.suites[0] else ": it is the suite of an earlier stage"
            found.append(f"evaluation on {suite.name}: not run{why}")
        elif evaluated(item).not_run is not None:
            found.append(f"evaluation on {suite.name}: not run: {evaluated(item).not_run}")
    for chain, _ in facts.datasets:
        found += (
            [f"quality of {chain.dataset}: no evidence at this digest"]
            if chain.quality is None
            else []
        )
        found += (
            [f"scan of {chain.dataset}: no evidence at this digest"] if chain.scan is None else []
        )
    return found


def _evaluation(records: Records, item: Evidence) -> dict[str, Any]:
    """Held against the thresholds of the policies; where they demand nothing, neither passed nor
    failed.
    """
    facts, said = records.facts, evaluated(item)
    own = bool(facts.suites) and said.suite == facts.suites[0].digest
    demands = scores.judged(facts) if own else []
    texts = {True: [], False: []}  # type: dict[bool, list[str]]
    for one in demands:
        texts[one.passed].append(f"{one.metric} {one.demand}: found {one.found}")
    named = {one.metric for one in demands}
    level = scores.confidence(facts)
    shown = {name: figure for name, figure in figures(said, level).items() if name not in named}
    why = "no threshold in policy" if facts.policies and own else "not held against policies here"
    open_ones = [f"{name}: {why}; {_figure(figure)}" for name, figure in sorted(shown.items())]
    configuration = [
        _resource(f"suite {said.suite_name}", said.suite, role="suite"),
        _resource(
            "policies", facts.policies.digest if facts.policies else said.policy, role="policies"
        ),
        _attestation(item),
        *(_made(one) for one in item.subjects),
    ]
    return statement(
        TEST_RESULT,
        _model_subjects(records, facts.released),
        _result(texts[True], open_ones, texts[False], configuration),
    )


def _figure(figure: Interval | str) -> str:
    if isinstance(figure, str):
        return figure
    return f"mean {figure.mean:.3f} [{figure.low:.3f}, {figure.high:.3f}], n={figure.n}"


def _quality(item: Evidence) -> dict[str, Any]:
    said: Quality = item.predicate
    texts: dict[str, list[str]] = {"passed": [], "warned": [], "failed": []}
    for one in said.expectations:
        word = "passed" if one.success else "failed" if one.severity == "critical" else "warned"
        left_out = f"; {one.unexpected} left out" if one.action == "drop" and one.unexpected else ""
        texts[word].append(f"{one.name}: {one.expected} on {one.column}{left_out}")
    if not said.passed and not texts["failed"]:
        texts["failed"].append("the suite as a whole")
    configuration = [
        _resource(f"quality suite for {said.kind}", said.suite, role="suite"),
        _attestation(item),
    ]
    return statement(
        TEST_RESULT,
        _data_subjects(item),
        _result(texts["passed"], texts["warned"], texts["failed"], configuration),
    )


def _scan(item: Evidence) -> dict[str, Any]:
    said: Scan = item.predicate
    texts: dict[str, list[str]] = {"passed": [], "warned": [], "failed": []}
    for name in sorted({*said.entities_searched, *said.found, *said.remaining}):
        left, action = said.remaining.get(name, 0), said.actions.get(name, "none recorded")
        word = "passed" if left == 0 else "warned" if action == "allow" else "failed"
        texts[word].append(
            f"{name}: {said.found.get(name, 0)} found, action {action}, {left} remaining"
        )
    if not said.passed and not texts["failed"]:
        texts["failed"].append("the scan as a whole")
    texts["warned"] += [f"not searched for: {one}" for one in said.cannot_find]
    texts["warned"].append(recall.told({said.dataset: said.recall}))
    configuration = [
        _resource("policies/pii.yaml", said.config, role="scan configuration"),
        _attestation(item),
    ]
    return statement(
        TEST_RESULT,
        _data_subjects(item),
        _result(texts["passed"], texts["warned"], texts["failed"], configuration),
    )


def _result(
    passed: list[str], warned: list[str], failed: list[str], configuration: list[Any]
) -> dict[str, Any]:
    """The predicate of a test result; `url` is left out: there is no run to look at but the log."""
    return {
        "result": "FAILED" if failed else "WARNED" if warned or not passed else "PASSED",
        "configuration": configuration,
        "passedTests": passed,
        "warnedTests": warned,
        "failedTests": failed,
    }


# --- resources ------------------------------------------------------------------------------------


def _model_subjects(records: Records, node: ModelNode) -> list[dict[str, Any]]:
    """The model by the digest of its manifest, and, where it is the registered one, each of its
    files.
    """
    facts = records.facts
    folder = _resource(
        f"manifest of {node.name}",
        node.sha256,
        role="model",
        what="sha256 of the folder's manifest",
    )
    if node.sha256 != facts.digest or manifest_digest(facts.registration.files) != facts.digest:
        return [folder]
    return [
        folder,
        *(_resource(file.path, file.sha256, role="file") for file in facts.registration.files),
    ]


def _data_subjects(item: Evidence) -> list[dict[str, Any]]:
    return [
        _resource(
            f"{item.predicate.dataset} records", subject(item, "records") or item.subjects[0].sha256
        )
    ]


def _made(one: Artifact) -> dict[str, Any]:
    return _resource(outside_path(one.name), one.sha256, role=one.role)


def _resource(name: str, sha256: str, **annotations: Any) -> dict[str, Any]:
    """A ResourceDescriptor."""
    found: dict[str, Any] = {"name": name, "digest": {"sha256": sha256}}
    return {**found, "annotations": annotations} if annotations else found
