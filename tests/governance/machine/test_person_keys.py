"""A person's key: in a file, behind a passphrase, in a real ssh-agent; and what is said when it is
not.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from io import BytesIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME

from governance.attest.keys import public_key
from governance.base.errors import ConfigError, CountersignError, StorageError
from governance.machine import signers, sshagent
from governance.machine.signers import person_signer
from tests.governance.keys import Service, pem
from tests.governance.sshagent import add, make, needs_ssh


@needs_ssh
def test_a_file_made_by_ssh_keygen_signs(tmp_path: Path) -> None:
    path = make(tmp_path / "id")
    public = public_key((tmp_path / "id.pub").read_text())
    signer = person_signer(str(path), {}, None)
    assert signer.keyid == public.keyid
    public.verify(signer.sign(b"payload"), b"payload")
    shown = subprocess.run(
        ["ssh-keygen", "-lf", f"{path}.pub"], capture_output=True, text=True, check=True
    ).stdout
    assert public.fingerprint == shown.split()[1]


@needs_ssh
def test_a_passphrase_is_asked_for_until_it_is_right_and_only_where_somebody_can_answer(
    tmp_path: Path,
) -> None:
    openssh = make(tmp_path / "id", "correct horse")
    pkcs8 = tmp_path / "id.pem"
    locked = serialization.BestAvailableEncryption(b"correct horse")
    private = Ed25519PrivateKey.generate()
    pkcs8.write_bytes(
        private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    )
    pkcs8.chmod(0o600)
    for path in (openssh, pkcs8):
        asked: list[str] = []

        def answer(prompt: str, asked: list[str] = asked) -> str:
            asked.append(prompt)
            return "correct horse"

        signer = person_signer(str(path), {}, answer)
        public_key(signer.public_pem).verify(signer.sign(b"payload"), b"payload")
        assert asked == [f"Passphrase for {path}: "]
        with pytest.raises(ConfigError, match=r"no terminal to ask on[\s\S]*ssh-add"):
            person_signer(str(path), {}, None)
        given = iter(["battery staple", "", "correct horse"])
        assert (
            person_signer(str(path), {}, lambda prompt, given=given: next(given)).keyid
            == signer.keyid
        )
        with pytest.raises(ConfigError, match="3 wrong passphrases") as error:
            person_signer(str(path), {}, lambda prompt: "battery staple")
        assert "battery" not in str(error.value)


@needs_ssh
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602, 0o666])
@pytest.mark.parametrize("passphrase", ["", "correct horse"])
def test_a_key_that_others_can_read_is_refused_as_ssh_refuses_it(
    mode: int, passphrase: str, tmp_path: Path
) -> None:
    path = make(tmp_path / "id", passphrase)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"{mode:04o}[\s\S]*chmod 600"):
        person_signer(str(path), {}, lambda _: pytest.fail("asked for a passphrase"))
    path.chmod(0o400)
    assert person_signer(str(path), {}, lambda _: passphrase).keyid


@needs_ssh
def test_a_key_in_an_agent_signs_and_never_leaves_it(agent: dict[str, str], tmp_path: Path) -> None:
    one, other = make(tmp_path / "one", "secret"), make(tmp_path / "other", comment="ada@desk")
    subprocess.run(
        ["ssh-add", "-q", str(one)],
        check=True,
        stdin=subprocess.DEVNULL,
        env={
            **os.environ,
            **agent,
            "SSH_ASKPASS": str(_askpass(tmp_path)),
            "SSH_ASKPASS_REQUIRE": "force",
        },
    )
    add(agent, other)
    public = public_key((tmp_path / "one.pub").read_text())
    one.unlink()  # the agent has it
    for name in (public.fingerprint, "ada@laptop", str(tmp_path / "one.pub")):
        signer = person_signer(f"ssh-agent:{name}", agent, None)
        assert signer.keyid == public.keyid
        public.verify(signer.sign(b"payload" * 100), b"payload" * 100)


def _askpass(tmp_path: Path) -> Path:
    path = tmp_path / "askpass"
    path.write_text("#!/bin/sh\necho secret\n")
    path.chmod(0o700)
    return path


@needs_ssh
def test_an_agent_with_one_key_needs_no_name(agent: dict[str, str], tmp_path: Path) -> None:
    add(agent, make(tmp_path / "one"))
    assert (
        person_signer("ssh-agent:", agent, None).keyid
        == public_key((tmp_path / "one.pub").read_text()).keyid
    )


@needs_ssh
def test_which_key_of_an_agent_is_meant_must_be_clear(
    agent: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"holds no key[\s\S]*ssh-add"):
        person_signer("ssh-agent:ada@laptop", agent, None)
    add(
        agent,
        make(tmp_path / "one"),
        make(tmp_path / "two"),
        make(tmp_path / "rsa", kind="rsa", comment="old"),
    )
    add(agent, make(tmp_path / "ec", kind="ecdsa", comment="curve"))
    cases = {
        "ada@laptop": "2 keys of the agent",
        "": "4 keys, and none is named",
        "old": "kind ssh-rsa",
        "curve": "kind ecdsa-sha2",
    }
    for name, says in cases.items():
        with pytest.raises(ConfigError, match=says):
            person_signer(f"ssh-agent:{name}", agent, None)


@needs_ssh
def test_a_locked_agent_is_named(agent: dict[str, str], tmp_path: Path) -> None:
    add(agent, make(tmp_path / "one"))
    signer = person_signer("ssh-agent:", agent, None)
    subprocess.run(
        ["ssh-add", "-q", "-d", str(tmp_path / "one")], check=True, env={**os.environ, **agent}
    )
    with pytest.raises(StorageError, match=r"the agent refused[\s\S]*ssh-add"):
        signer.sign(b"payload")


def test_no_agent_is_said_with_what_to_do() -> None:
    for environ in ({}, {"SSH_AUTH_SOCK": "/nowhere/agent.sock"}):
        with pytest.raises(ConfigError, match=r"SSH_AUTH_SOCK[\s\S]*ssh-agent"):
            person_signer("ssh-agent:x", environ, None)


def _impostor(path: Path, answer: bytes) -> threading.Thread:
    """An agent that gives one answer, whatever it is asked."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    listening.listen(1)

    def serve() -> None:
        connection, _ = listening.accept()
        connection.recv(4096)
        connection.sendall(answer)
        connection.close()
        listening.close()

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


WRONG_ANSWERS = {
    "too long": (1 << 30).to_bytes(4, "big"),
    "nothing": (0).to_bytes(4, "big"),
    "cut short": (100).to_bytes(4, "big") + b"\x0c",
    "another kind": (1).to_bytes(4, "big") + b"\x0e",
    "refusal": (1).to_bytes(4, "big") + b"\x05",
    "too many keys": (5).to_bytes(4, "big") + b"\x0c" + (1 << 31).to_bytes(4, "big"),
    "fewer keys than it says": (5).to_bytes(4, "big") + b"\x0c" + (3).to_bytes(4, "big"),
}


@pytest.mark.parametrize("answer", WRONG_ANSWERS.values(), ids=WRONG_ANSWERS.keys())
def test_an_agent_that_answers_badly_is_refused(answer: bytes, tmp_path: Path) -> None:
    path = Path("/tmp") / f"cs-impostor-{os.getpid()}-{abs(hash(answer))}.sock"
    thread = _impostor(path, answer)
    try:
        with pytest.raises(StorageError):
            sshagent.identities({"SSH_AUTH_SOCK": str(path)})
    finally:
        thread.join()
        path.unlink()


def test_an_agent_that_signs_with_another_key_is_found_out(tmp_path: Path) -> None:
    """What an agent hands out is verified before it is used."""
    blob = (
        b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"
        + Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    )
    forged = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x40" + Ed25519PrivateKey.generate().sign(
        b"payload"
    )
    answer = b"\x0e" + len(forged).to_bytes(4, "big") + forged
    path = Path("/tmp") / f"cs-forger-{os.getpid()}.sock"
    thread = _impostor(path, len(answer).to_bytes(4, "big") + answer)
    environ = {"SSH_AUTH_SOCK": str(path)}
    signer = signers._held_by_agent(sshagent.Identity(blob, ""), environ)
    try:
        with pytest.raises(CountersignError, match="does not verify"):
            signer.sign(b"payload")
    finally:
        thread.join()
        path.unlink()


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_wire_format_crashes(data: bytes) -> None:
    try:
        sshagent._string(BytesIO(data))
        _ = sshagent.Identity(data, "").kind
    except StorageError:
        pass


@needs_ssh
def test_what_is_no_private_key_is_named(tmp_path: Path) -> None:
    make(tmp_path / "id")
    (tmp_path / "words").write_text("hello")
    cases = {
        str(tmp_path / "id.pub"): "public key, which cannot sign",
        str(tmp_path / "words"): "not a private key",
        str(tmp_path / "none"): "no such key file",
        "/dev/zero": "not a private key",
        "awskms:alias/ada": "public key of this signer",
    }
    for address, says in cases.items():
        with pytest.raises(ConfigError, match=says):
            person_signer(address, {}, None)


@needs_ssh
def test_public_keys_that_cannot_sign_here_are_refused_by_kind(tmp_path: Path) -> None:
    make(tmp_path / "rsa", kind="rsa")
    with pytest.raises(ConfigError, match=r"kind ssh-rsa[\s\S]*ssh-keygen -t ed25519"):
        public_key((tmp_path / "rsa.pub").read_text())
    with pytest.raises(ConfigError, match="this is the private one"):
        public_key((tmp_path / "rsa").read_text())


def test_a_key_in_a_service_signs_by_its_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "testkms", Service)
    public = signers.private_signer(
        pem(Ed25519PrivateKey.from_private_bytes(bytes(32))), "x"
    ).public_pem
    (tmp_path / "public.pem").write_text(public)
    environ = {"COUNTERSIGN_KEY_PUBLIC": str(tmp_path / "public.pem")}
    signer = person_signer("testkms:good", environ, None)
    public_key(public).verify(signer.sign(b"payload"), b"payload")
    with pytest.raises(ConfigError, match="public key of this signer is not known"):
        person_signer("testkms:good", {}, None)
