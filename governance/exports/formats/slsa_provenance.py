"""SLSA provenance v1: one statement for each training stage. It claims no SLSA build level."""

from __future__ import annotations

from urllib.parse import quote

from governance.attest.predicates import Train
from governance.exports.catalog import Document, Format, Made
from governance.exports.records import Records
from governance.exports.statements import Resource, artifact, model_subjects, resource, statement
from governance.history.lineage import ModelNode
from governance.log.evidence import Evidence
from governance.policy.declarations import UNKNOWN, Declaration

PROVENANCE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://countersign.dev/build/train/v1"
DECLARED_TYPE = "https://countersign.dev/build/declared/v1"
"""Of a training elsewhere, as somebody declared it."""


def provenance(records: Records) -> Made:
    """One statement for each training stage behind the version; one for a version that was trained
    elsewhere, with the declared builder.
    """
    trainings = [(node, node.train) for node in records.facts.trained if node.train]
    made = [_provenance(records, node, training) for node, training in trainings]
    if records.facts.declaration is not None:
        made.append(_declared(records, records.facts.declaration))
    return Made(made, () if made else ("no training of this version is in the log",))


def _provenance(records: Records, node: ModelNode, training: Evidence[Train]) -> Document:
    train = training.predicate
    request = records.facts.requests.get(node.sha256)
    parameters = train.model_dump(include={"stage", "method", "records", "steps"})
    if request is not None:
        parameters |= {"model": request.model, "dataset": request.data.dataset}
        parameters |= {"parent": request.parent.name, "suite": request.suite.name}
        parameters |= {"scorer": request.scorer.name} if request.scorer else {}
    environment, run = train.environment, train.run
    definition = {
        "buildType": BUILD_TYPE,
        "externalParameters": parameters,
        "internalParameters": {
            "resolved": train.parameters,
            "device": train.device,
            "threads": train.threads,
        },
        "resolvedDependencies": _dependencies(records, node, training),
    }
    packages = [resource("installed distributions", environment.distributions)]
    if environment.files:
        packages.append(resource("installed files", environment.files))
    builder = {
        "id": f"urn:countersign:key:{training.keyid}",
        "version": {"python": environment.python, **environment.versions},
        "builderDependencies": packages,
    }
    metadata = {
        "invocationId": f"urn:countersign:statement:{training.digest}",
        "startedOn": run.started,
        "finishedOn": run.finished,
    }
    made = [artifact(subject) for subject in training.subjects if subject.role != "model"]
    details = {"builder": builder, "metadata": metadata, "byproducts": made}
    predicate = {"buildDefinition": definition, "runDetails": details}
    subjects = model_subjects(records, node)
    names = [trained.name for trained in records.facts.trained]
    own = node.name if names.count(node.name) == 1 else f"{node.name}-{node.sha256[:12]}"
    return statement(f"provenance-{own}", PROVENANCE, subjects, predicate)


def _declared(records: Records, declared: Declaration) -> Document:
    """What is declared of a training elsewhere. The builder is the declared one, not this project:
    nothing of it was run or seen here.
    """
    by, node = declared.trained_by, records.facts.released
    named = [
        resource(data.name, data.sha256, role="data")
        if data.sha256 != UNKNOWN
        else {"name": data.name, "annotations": {"role": "data", "sha256": UNKNOWN}}
        for data in declared.declared_datasets
    ]
    documents = [resource(each.title, each.sha256, role="document") for each in declared.documents]
    definition = {
        "buildType": DECLARED_TYPE,
        "externalParameters": {
            "assurance": "self-attested",
            "declaredOn": declared.declared_on.isoformat(),
            "methods": declared.method_names,
            "parent": declared.parent.model,
        },
        "internalParameters": declared.built_from.model_dump(),
        "resolvedDependencies": [*named, *documents],
    }
    parts = (by.organisation, by.tool)
    identifier = ":".join(quote(part, safe="") for part in parts)
    versions = {by.tool: by.tool_version}
    builder = {"id": f"urn:countersign:declared:{identifier}", "version": versions}
    predicate = {"buildDefinition": definition, "runDetails": {"builder": builder}}
    subjects = model_subjects(records, node)
    return statement(f"provenance-{node.name}", PROVENANCE, subjects, predicate)


def _dependencies(records: Records, node: ModelNode, training: Evidence[Train]) -> list[Resource]:
    """Everything that went into a training, by digest."""
    train = training.predicate
    dependencies = [artifact(file) for file in train.inputs]
    dependencies.append(resource(f"objective {train.method}", train.objective, role="objective"))
    request = records.facts.requests.get(node.sha256)
    for name, digest in sorted(request.rewards.items() if request else ()):
        dependencies += [resource(f"reward {name}", digest, role="reward")] if digest else []
    dependencies.append(resource("policies", train.policy, role="policies"))
    if train.code.commit is not None:
        notes = {"role": "code", "uncommittedChanges": train.code.dirty}
        commit = {"gitCommit": train.code.commit}
        dependencies.append({"name": "code", "digest": commit, "annotations": notes})
    if train.code.sources:
        dependencies.append(resource("packages that ran", train.code.sources, role="code"))
    return dependencies


FORMAT = Format("slsa-provenance", "SLSA provenance v1, one per training stage", provenance)
