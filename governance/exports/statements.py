"""Parts that the in-toto exports share: subjects, resources, and the log's statements by digest.

A model folder is one subject. Its digest is that of its manifest (sha256 over the RFC 8785 list of
path, size, sha256). Each file is another subject, for tools that do not know the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from governance.attest import canonical
from governance.attest.digests import manifest_digest
from governance.attest.predicates import Artifact
from governance.exports.catalog import Document
from governance.exports.records import Records
from governance.exports.text import cleaned, file_name, outside_path
from governance.history.lineage import ModelNode, subject
from governance.log.evidence import STATEMENT_TYPE, Evidence
from governance.report.facts import about

Resource = dict[str, Any]
"""An in-toto ResourceDescriptor."""


def statement(
    name: str, predicate_type: str, subjects: Sequence[Resource], predicate: Mapping[str, Any]
) -> Document:
    """An in-toto Statement v1."""
    value = {
        "_type": STATEMENT_TYPE,
        "subject": cleaned(list(subjects)),
        "predicateType": predicate_type,
        "predicate": cleaned(dict(predicate)),
    }
    path = f"attestations/{file_name(name)}.json"
    return Document(path, canonical.dumps(value), statement=True)


def resource(name: str, sha256: str, **annotations: Any) -> Resource:
    """Something with a digest."""
    descriptor: Resource = {"name": name, "digest": {"sha256": sha256}}
    return {**descriptor, "annotations": annotations} if annotations else descriptor


def artifact(file: Artifact) -> Resource:
    """A file or folder that a stage read or made."""
    return resource(outside_path(file.name), file.sha256, role=file.role)


def logged(evidence: Evidence) -> Resource:
    """A statement of the log, by the digest of its bytes."""
    key = {"key": evidence.keyid, "developmentKey": evidence.development}
    name = f"{evidence.kind} {about(evidence)}"
    descriptor = resource(name, evidence.digest, entry=evidence.index, **key)
    return {"uri": f"urn:countersign:statement:{evidence.digest}", **descriptor}


def model_subjects(records: Records, node: ModelNode) -> list[Resource]:
    """The model's folder and, if it is the registered model, each of its files."""
    files = records.facts.registration.files
    what = "sha256 of the folder's manifest"
    subjects = [resource(f"manifest of {node.name}", node.sha256, role="model", what=what)]
    if node.sha256 == records.facts.digest == manifest_digest(files):
        subjects += [resource(file.path, file.sha256, role="file") for file in files]
    return subjects


def data_subject(evidence: Evidence) -> Resource:
    """The records that a data stage made."""
    sha256 = subject(evidence, "records") or evidence.subjects[0].sha256
    return resource(f"{evidence.predicate.dataset} records", sha256)
