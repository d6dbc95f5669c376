"""Statements signed by earlier versions verify for ever: the files of tests/golden/ are never
rewritten.

A version that changes what it writes, or has a new kind of evidence, adds a folder beside `v1` and
keeps reading the old ones. `python -m tests.governance.attest.test_golden FOLDER` writes it, and
refuses to overwrite.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.attest.envelope import sign_statement, verify_envelope
from governance.attest.keys import Signer, public_key
from governance.exports.publish import STATEMENTS, statement_schemas
from governance.log import merkle
from governance.log.checkpoint import Checkpoint, origin_of, sign_checkpoint
from governance.log.evidence import build_statement, identity_of, parse_statement, scope_of
from governance.machine.signers import private_signer
from tests.governance.examples import A, B, artifact, every_kind
from tests.governance.keys import checkpoint_of, pem

ROOT = Path(__file__).parent.parent.parent.parent
GOLDEN, SCHEMAS = ROOT / "tests" / "golden", ROOT / STATEMENTS
VERSIONS = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
FILES = [path for version in VERSIONS for path in sorted((GOLDEN / version).glob("*.dsse.json"))]


def signer() -> Signer:
    return private_signer(pem(Ed25519PrivateKey.from_private_bytes(bytes([42] * 32))), "golden")


def written() -> dict[str, bytes]:
    """What this version writes, by file name."""
    subjects = [
        artifact("records", A, "data/ready/x/records.parquet"),
        artifact("report", B, "data/ready/x/report.json"),
    ]
    envelopes = {
        kind: sign_statement(build_statement(kind, subjects, model), signer())
        for kind, model in every_kind().items()
    }
    leaves = [merkle.leaf_hash(envelopes[kind]) for kind in envelopes]
    state = Checkpoint(origin_of("desk", leaves[0]), len(leaves), merkle.root_of(leaves))
    identities = {
        kind: identity_of(build_statement(kind, subjects, model), signer().keyid)
        for kind, model in every_kind().items()
    }
    return {
        **{
            f"{index:02d}-{kind}.dsse.json": data
            for index, (kind, data) in enumerate(envelopes.items())
        },
        "checkpoint.txt": sign_checkpoint(state, signer()).encode(),
        "identities.json": json.dumps(identities, indent=1).encode() + b"\n",
        "key.pem": signer().public_pem.encode(),
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_statement_of_an_earlier_version_verifies(path: Path) -> None:
    key = public_key((path.parent / "key.pem").read_text())
    verified = verify_envelope(path.read_bytes(), {key.keyid: key.pem})
    kind, subjects, predicate = parse_statement(verified.statement, path.name)
    assert path.name.endswith(f"-{kind}.dsse.json")
    assert [subject.role for subject in subjects] == ["records", "report"]
    identity = json.loads((path.parent / "identities.json").read_text())[kind]
    assert identity_of(verified.statement, key.keyid) == identity, (
        "the same thing would be recorded twice"
    )
    assert scope_of(kind, predicate, identity)
    schema = json.loads((SCHEMAS / f"{kind}.v1.json").read_text())
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator(schema).validate(verified.statement)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_checkpoint_of_an_earlier_version_verifies_over_its_statements(version: str) -> None:
    folder = GOLDEN / version
    state = checkpoint_of((folder / "checkpoint.txt").read_text(), (folder / "key.pem").read_text())
    leaves = [merkle.leaf_hash(path.read_bytes()) for path in sorted(folder.glob("*.dsse.json"))]
    assert (state.size, state.root) == (len(leaves), merkle.root_of(leaves))
    assert state.origin == origin_of("desk", leaves[0])


def test_every_kind_has_a_golden_statement_and_is_still_written_to_the_byte() -> None:
    for name, data in written().items():
        assert (GOLDEN / VERSIONS[-1] / name).read_bytes() == data, name


def test_the_published_schemas_are_those_of_the_models() -> None:
    """Otherwise: python -m governance.exports.publish"""
    published = {path.name: path.read_text() for path in SCHEMAS.glob("*.json")}
    assert published == {path.name: text for path, text in statement_schemas().items()}


@pytest.mark.parametrize("kind", every_kind())
def test_a_schema_refuses_what_the_model_refuses(kind: str) -> None:
    schema = json.loads((SCHEMAS / f"{kind}.v1.json").read_text())
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    good = json.loads(json.dumps(build_statement(kind, [artifact("records")], every_kind()[kind])))
    assert validator.is_valid(good)
    spoiled = [
        {**good, "extra": 1},
        {**good, "subject": []},
        {**good, "predicateType": "x"},
        {**good, "predicate": {**good["predicate"], "extra": 1}},
        {**good, "predicate": {}},
    ]
    assert [validator.is_valid(statement) for statement in spoiled] == [False] * 5


if __name__ == "__main__":
    target = GOLDEN / sys.argv[1]
    target.mkdir()
    for name, data in written().items():
        (target / name).write_bytes(data)
