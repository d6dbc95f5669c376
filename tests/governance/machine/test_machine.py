"""This machine: addresses, keys, and how a log begins."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.base.errors import ConfigError, StorageError, VerificationError
from governance.log import evidence
from governance.log.evidence import key_ring
from governance.log.sqlite import SqliteLog
from governance.log.views import log_evidence
from governance.machine import machine
from governance.machine.machine import Machine, known_signer, open_log, own_checkpoint_key, read_log
from governance.machine.signers import stored_signer
from tests.governance.examples import NOON, A, B, C, InForce, artifact, ingest, scene
from tests.governance.keys import pem

HOMES = {
    "given": (
        {"COUNTERSIGN_HOME": "/var/lib/cs", "XDG_STATE_HOME": "/x", "HOME": "/h"},
        "/var/lib/cs",
    ),
    "XDG": ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/countersign"),
    "XDG, relative": ({"XDG_STATE_HOME": "x", "HOME": "/h"}, "/h/.local/state/countersign"),
    "home": ({"HOME": "/h"}, "/h/.local/state/countersign"),
}


@pytest.mark.parametrize(("environ", "home"), HOMES.values(), ids=HOMES.keys())
def test_where_state_is_kept(environ: dict[str, str], home: str) -> None:
    here = machine.machine("desk", environ)
    assert here.home == Path(home)
    assert here.log_uri == here.registry_uri == f"sqlite:///{home}/desk/countersign.db"
    assert here.artifact_root == Path(home) / "desk" / "artifacts"


def test_a_key_that_cannot_be_put_in_its_place_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    with pytest.raises(StorageError, match="not permitted"):
        stored_signer(tmp_path / "keys", "checkpoint")
    assert list((tmp_path / "keys").iterdir()) == []


def test_a_place_that_depends_on_the_working_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match="COUNTERSIGN_HOME"):
        machine.machine("desk", {"COUNTERSIGN_HOME": "state"})
    for uri in ("sqlite:///log.db", "log.db", "mysql://host/db"):
        here = machine.machine("desk", {"HOME": "/h", "COUNTERSIGN_LOG": uri})
        with pytest.raises(ConfigError, match="COUNTERSIGN_LOG"):
            read_log(here)


def test_log_and_registry_can_stand_elsewhere(tmp_path: Path) -> None:
    log = f"sqlite:///{tmp_path}/elsewhere/log.db"
    place = scene(tmp_path / "home", COUNTERSIGN_LOG=log, COUNTERSIGN_REGISTRY="http://mlflow:5000")
    assert place.machine.registry_uri == "http://mlflow:5000"
    assert place.log.path == tmp_path / "elsewhere" / "log.db" and place.log.path.exists()


def test_who_asks_is_a_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    named = machine.machine("desk", {"HOME": "/h", "COUNTERSIGN_REQUESTER": "ada"}).requester
    assert (named.name, named.authenticated) == ("ada", False)
    assert machine.machine("desk", {"HOME": "/h"}).requester.name == getpass.getuser()

    def unnamed() -> str:
        raise KeyError("no such user")

    monkeypatch.setattr(getpass, "getuser", unnamed)  # a container run under a number
    assert machine.machine("desk", {"HOME": "/h"}).requester.name == f"uid {os.getuid()}"


def test_keys_never_show_when_a_machine_is_printed() -> None:
    assert "secret" not in repr(machine.machine("desk", {"HOME": "/h", "CI_KEY": "secret"}))


def test_the_project_name_comes_from_its_parameters(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("project: desk\ndatasets: {}\n")
    assert machine.machine_of(tmp_path, {"HOME": "/h"}).project == "desk"
    for wrong in ("", "project: ../x\n", "project: [1]\n", "- 1\n"):
        (tmp_path / "params.yaml").write_text(wrong)
        with pytest.raises(ConfigError, match="no project name"):
            machine.machine_of(tmp_path, {"HOME": "/h"})


def test_the_first_entry_says_whom_and_what_to_trust(tmp_path: Path) -> None:
    place = scene(tmp_path)
    first = evidence.origin(place.log)
    assert (first.project, first.policy, first.development_keys) == (
        "desk",
        C,
        [place.signer.public_pem],
    )
    assert first.checkpoint_key == own_checkpoint_key(place.machine) != place.signer.public_pem
    (item,) = log_evidence(place.log, key_ring(place.log, {})).all()
    assert (item.kind, item.subjects[0].sha256, item.development) == ("origin", C, True)


def test_a_changed_policy_is_an_entry_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    place = scene(tmp_path)
    digests = [C, A, A, B, A, C]
    assert [
        open_log(place.machine, InForce(digest), lambda: NOON).size() for digest in digests
    ] == [1, 2, 2, 3, 4, 5]
    changes = log_evidence(place.log, key_ring(place.log, {})).all("policy")
    assert [(item.predicate.previous, item.subjects[0].sha256) for item in changes] == [
        (C, A),
        (A, B),
        (B, A),
        (A, C),
    ]
    assert evidence.policy_in_force(place.log) == C


def test_reading_begins_no_log(tmp_path: Path) -> None:
    here = machine.machine("desk", {"COUNTERSIGN_HOME": str(tmp_path / "home")})
    with pytest.raises(StorageError, match=r"no log yet[\s\S]*next: run `make repro`"):
        read_log(here)
    assert own_checkpoint_key(here) is None
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", ["checkpoint", "development"])
def test_a_log_does_not_grow_without_the_keys_it_began_with(tmp_path: Path, name: str) -> None:
    """A new key would sign evidence that counts as missing, and stands in the log for ever."""
    place, other = scene(tmp_path / "one"), scene(tmp_path / "other")
    key = place.machine.keys / f"{name}.pem"
    key.unlink()
    with pytest.raises(
        StorageError, match=f"the {name} key .* is not here[\\s\\S]*restore the keys folder"
    ):
        open_log(place.machine, InForce(), lambda: NOON)
    assert not key.exists()
    key.write_bytes((other.machine.keys / f"{name}.pem").read_bytes())
    with pytest.raises(StorageError, match="restore the keys folder"):
        open_log(place.machine, InForce(), lambda: NOON)
    assert SqliteLog(place.log.path, "desk").size() == 1


def test_a_log_put_in_the_place_of_ours_is_not_read(tmp_path: Path) -> None:
    place, other = scene(tmp_path / "one"), scene(tmp_path / "other")
    place.log.path.write_bytes(other.log.path.read_bytes())
    with pytest.raises(VerificationError, match="not signed with this machine's key"):
        read_log(place.machine)
    for key in place.machine.keys.iterdir():
        key.unlink()
    assert read_log(place.machine).size() == 1  # a reader without keys has nothing to compare with


def test_a_service_signer_needs_no_development_key(tmp_path: Path) -> None:
    here, public = unattended(tmp_path)
    policies = InForce(C, {machine.signer(here).keyid: public})
    open_log(here, policies, lambda: NOON)
    assert not (here.keys / "development.pem").exists()
    assert open_log(here, policies, lambda: NOON).size() == 1


def test_the_log_of_another_project_is_not_ours(tmp_path: Path) -> None:
    place = scene(tmp_path)
    other = machine.machine(
        "another", {"COUNTERSIGN_HOME": str(tmp_path), "COUNTERSIGN_LOG": place.machine.log_uri}
    )
    with pytest.raises(VerificationError, match="the log of project 'desk'"):
        open_log(other, InForce(), lambda: NOON)


def unattended(tmp_path: Path) -> tuple[Machine, str]:
    key = pem(Ed25519PrivateKey.from_private_bytes(bytes([7] * 32))).decode()
    environ = {"COUNTERSIGN_HOME": str(tmp_path), "COUNTERSIGN_SIGNER": "env:CI_KEY", "CI_KEY": key}
    here = machine.machine("desk", environ)
    return here, machine.signer(here).public_pem


def test_unattended_runs_sign_with_the_service_key(tmp_path: Path) -> None:
    here, public = unattended(tmp_path)
    keyid = machine.signer(here).keyid
    log = open_log(here, InForce(C, {keyid: public}), lambda: NOON)
    evidence.record(
        log, known_signer(here, {keyid: public}), "ingest", [artifact("records")], ingest()
    )
    items = list(log_evidence(log, key_ring(log, {keyid: public})).all())
    assert [(item.kind, item.keyid, item.development) for item in items] == [
        ("origin", keyid, False),
        ("ingest", keyid, False),
    ]
    assert list(log_evidence(log, key_ring(log, {})).all()) == []


def test_a_service_key_that_policies_do_not_name_is_refused_before_any_work(tmp_path: Path) -> None:
    here, public = unattended(tmp_path)
    with pytest.raises(ConfigError, match="policies do not name the key") as error:
        open_log(here, InForce(), lambda: NOON)
    assert public.splitlines()[1] in str(error.value)
    assert not (tmp_path / "desk").exists()
    development = machine.machine("desk", {"COUNTERSIGN_HOME": str(tmp_path)})
    assert known_signer(development, {}).keyid == machine.signer(development).keyid


def test_a_kms_signer_takes_its_public_key_from_a_file(tmp_path: Path) -> None:
    environ = {"HOME": "/h", "COUNTERSIGN_SIGNER": "awskms:alias/desk"}
    with pytest.raises(ConfigError, match="COUNTERSIGN_SIGNER_PUBLIC"):
        machine.signer(machine.machine("desk", environ))
    with pytest.raises(ConfigError, match="public key cannot be read"):
        machine.signer(
            machine.machine(
                "desk", {**environ, "COUNTERSIGN_SIGNER_PUBLIC": str(tmp_path / "none")}
            )
        )
