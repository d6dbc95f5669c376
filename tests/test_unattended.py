"""Nobody at the keyboard: a service's key signs, from the environment or a file, and policy says
what it may sign.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.machine.signers import private_signer
from governance.policy.rules import RIGHTS
from tests.conftest import PROFILE
from tests.project import Done, Project, fresh

pytestmark = pytest.mark.slow

EVERYTHING = RIGHTS


def private_pem(key: Ed25519PrivateKey) -> str:
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, pkcs8, plain).decode()


def hired(project: Project, signs: Iterable[str] = EVERYTHING, name: str = "ci") -> str:
    """A service that policy names, with what it may sign; its private key."""
    pem = private_pem(Ed25519PrivateKey.generate())
    public = private_signer(pem.encode(), "test").public_pem
    row = {"name": name, "kind": "service", "keys": [public], "signs": list(signs)}
    project.edit(
        "policies/policy.yaml",
        lambda policy: policy.update(principals=[*policy["principals"], row]),
    )
    return pem


def test_a_run_signed_by_a_service(small: Project, tmp_path: Path) -> None:
    """As far as the second gate; at night to the registered version."""
    project = fresh(tmp_path)
    pem = hired(project)
    keyid = private_signer(pem.encode(), "test").keyid
    service = {
        "COUNTERSIGN_SIGNER": "env:SERVICE_KEY",
        "SERVICE_KEY": pem,
        "COUNTERSIGN_REQUESTER": "release-bot",
    }
    stages = [] if PROFILE == "nightly" else ["gate@sft"]
    said = project.made(*stages, **service)
    items = project.evidence()
    assert {item.keyid for item in items} == {keyid}
    assert not any(item.development for item in items)
    assert {item.predicate.run.requested_by.name for item in items} == {"release-bot"}
    assert project.said() == (small.said()[: len(items)] if stages else small.said())
    assert not stages or project.said()[-1] == ("gate", "gate@sft", True)
    assert pem.splitlines()[1] not in said
    assert project.countersign("verify").code == 0
    written = [path for path in project.home.rglob("*") if path.is_file()]
    assert not any(pem.splitlines()[1].encode() in path.read_bytes() for path in written)


def test_a_key_in_a_file(tmp_path: Path) -> None:
    project = fresh(tmp_path)
    pem = hired(project)
    key = tmp_path / "service.pem"
    key.write_text(pem, encoding="utf-8")
    key.chmod(0o600)
    project.made("ingest@desk_eval", COUNTERSIGN_SIGNER=f"file2:{key}")
    keyid = private_signer(pem.encode(), "test").keyid
    assert [(item.kind, item.keyid, item.development) for item in project.evidence()] == [
        ("origin", keyid, False),
        ("ingest", keyid, False),
    ]


PEM = private_pem(Ed25519PrivateKey.generate())
ENCRYPTED = (
    Ed25519PrivateKey.generate()
    .private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    .decode()
)
UNFIT: dict[str, tuple[dict[str, str], int, tuple[str, ...]]] = {
    # what is set, exit code, what the message says
    "a key nobody knows": (
        {"COUNTERSIGN_SIGNER": "env:KEY", "KEY": PEM},
        2,
        (
            "COUNTERSIGN_SIGNER",
            "policies do not name the key",
            "its evidence would not count",
            "BEGIN PUBLIC KEY",
        ),
    ),
    "a variable that is not set": ({"COUNTERSIGN_SIGNER": "env:KEY"}, 2, ("KEY", "next: ")),
    "no key": (
        {"COUNTERSIGN_SIGNER": "env:KEY", "KEY": "hello"},
        2,
        ("KEY", "not a private key", "expected: PEM"),
    ),
    "a key that wants a passphrase": (
        {"COUNTERSIGN_SIGNER": "env:KEY", "KEY": ENCRYPTED},
        2,
        ("KEY", "passphrase", "next: use a KMS signer"),
    ),
    "a file that is not there": (
        {"COUNTERSIGN_SIGNER": "file2:/nowhere/key.pem"},
        2,
        ("/nowhere/key.pem",),
    ),
    "an unknown kind of signer": (
        {"COUNTERSIGN_SIGNER": "carrier-pigeon:1"},
        2,
        ("carrier-pigeon", "expected: "),
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_key_that_is_of_no_use(name: str, tmp_path: Path) -> None:
    environ, code, says = UNFIT[name]
    project = fresh(tmp_path)
    done = project.repro("ingest@desk_eval", **environ)
    assert done.code == code, done.out
    assert [wanted for wanted in says if wanted not in done.out] == [], done.out
    assert "Traceback" not in done.out
    assert "PRIVATE KEY-----" not in done.out
    assert not (project.root / "data/ingested/desk_eval").exists()
    assert project.log.size() == 0


def without_a_plan(project: Project, kind: str, **environ: str) -> Done:
    """`countersign repro` refuses before anything runs; what plain DVC says, which asks no plan."""
    done = project.repro(**environ)
    assert done.code == 2 and "may not sign: " in done.out and kind in done.out, done.out
    assert project.log.size() == 0 and "Running stage" not in done.out
    done = project.run("dvc", "repro", **environ)
    assert done.code != 0, done.out
    return done


@pytest.mark.nightly
def test_a_key_that_may_not_sign_trainings(tmp_path: Path) -> None:
    """What it signs beyond its right counts as missing: nothing is built on that model."""
    project = fresh(tmp_path)
    pem = hired(project, signs=[kind for kind in EVERYTHING if kind != "train"])
    done = without_a_plan(project, "train", COUNTERSIGN_SIGNER="env:KEY", KEY=pem)
    assert "gate@sft refused" in done.out
    assert "EVIDENCE_MISSING model base" in done.out
    assert "only by a key that policy does not let sign it" in done.out
    assert project.versions() == []
    assert project.log_is_whole()


def test_a_key_that_may_not_decide(tmp_path: Path) -> None:
    project = fresh(tmp_path)
    pem = hired(project, signs=[kind for kind in EVERYTHING if kind != "gate"])
    done = without_a_plan(project, "gate", COUNTERSIGN_SIGNER="env:KEY", KEY=pem)
    assert "GATE_MISSING stage base" in done.out
    assert not (project.root / "models/base").exists()


@pytest.mark.nightly
def test_development_keys_are_refused_where_policy_says_never(tmp_path: Path) -> None:
    project = fresh(tmp_path)
    project.edit("policies/policy.yaml", lambda policy: policy.update(development_keys="never"))
    done = without_a_plan(project, "train")
    assert "EVIDENCE_MISSING dataset desk_sft" in done.out
    assert not (project.root / "models/base").exists()
