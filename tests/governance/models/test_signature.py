"""OpenSSF Model Signing: the real tool verifies our signature, and finds every change."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from governance.attest.digests import manifest
from governance.attest.envelope import pae
from governance.attest.keys import public_key
from governance.base.errors import VerificationError
from governance.machine.signers import model_signer
from governance.models.signature import FILE, KEY_FILE, signed_files

TOOL = shutil.which("model_signing")


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """A model folder, and its signature beside it."""
    model = tmp_path / "model"
    (model / "sub").mkdir(parents=True)
    for path, text in {"config.json": "{}", "sub/b.txt": "b", "model-1.safetensors": "w"}.items():
        (model / path).write_text(text, encoding="utf-8")
    signer = model_signer(tmp_path / "keys")
    for name, data in signed_files("support-desk", manifest(model), signer).items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_the_statement_lists_every_file_and_its_signature_verifies(signed: Path) -> None:
    bundle = json.loads((signed / FILE).read_bytes())
    envelope = bundle["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    key = public_key((signed / KEY_FILE).read_text(encoding="utf-8"))
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    key.verify(signature, pae(payload))
    with pytest.raises(VerificationError):
        key.verify(signature, pae(payload + b" "))
    names = [row["name"] for row in json.loads(payload)["predicate"]["resources"]]
    assert names == sorted(names) == ["config.json", "model-1.safetensors", "sub/b.txt"]


def test_the_key_is_made_once_and_for_this_account_only(signed: Path) -> None:
    path = signed / "keys" / "model_signing.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert model_signer(signed / "keys").public_pem == (signed / KEY_FILE).read_text("utf-8")


def verified(folder: Path) -> bool:
    assert TOOL is not None
    words = ["verify", "key", "model", "--signature", FILE, "--public_key", KEY_FILE]
    done = subprocess.run([TOOL, *words], cwd=folder, capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(TOOL is None, reason="model_signing is not installed (pip: model-signing)")
def test_the_real_tool_verifies_it_and_finds_every_change(signed: Path) -> None:
    assert verified(signed)
    model = signed / "model"
    (model / "config.json").write_text("{ }", encoding="utf-8")
    assert not verified(signed)
    (model / "config.json").write_text("{}", encoding="utf-8")
    assert verified(signed)
    (model / "more.txt").write_text("x", encoding="utf-8")
    assert not verified(signed)
    (model / "more.txt").unlink()
    (model / "sub" / "b.txt").unlink()
    assert not verified(signed)
    (model / "sub" / "b.txt").write_text("b", encoding="utf-8")
    other = model_signer(signed / "other")
    (signed / KEY_FILE).write_text(other.public_pem, encoding="utf-8")
    assert not verified(signed)
