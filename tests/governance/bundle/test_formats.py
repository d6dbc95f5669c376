"""docs/formats.md: its test vectors hold for Countersign, and for the verifier that was written
from the page.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from governance.attest import canonical
from governance.attest.digests import sha256_bytes, tree_digest
from governance.attest.envelope import sign_statement, verify_envelope
from governance.attest.keys import public_key
from governance.bundle import standalone_verifier as verifier
from governance.bundle import verify_bundle
from governance.bundle.form import FORMAT, MAX_BYTES, MAX_ENTRIES, MAX_FILES, Attached, Bundle, Item
from governance.history.verify import TrustAnchors
from governance.log import merkle
from governance.log.checkpoint import origin_of, sign_checkpoint
from governance.log.model_index import sign_index, verified_index
from governance.machine.signers import private_signer
from governance.policy.policies import files_digest
from tests.governance.keys import checkpoint_of
from tests.governance.story import ROOT

PAGE = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
VECTORS: dict[str, Any] = json.loads(PAGE.rpartition("```json\n")[2].partition("```")[0])
GOLDEN = ROOT / "tests" / "golden"
TEXTS = st.text(st.characters(exclude_categories=("Cs",)))
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


def _signer() -> Any:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["key"]["seed"]))
    form = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private_signer(key.private_bytes(*form), "vectors")


def test_canonical_json() -> None:
    given = VECTORS["canonical"]
    assert (
        canonical.dumps(given["value"]).hex() == rfc8785.dumps(given["value"]).hex() == given["hex"]
    )
    assert sha256_bytes(bytes.fromhex(given["hex"])) == given["sha256"]


def test_keys() -> None:
    given = VECTORS["key"]
    for text in (given["pem"], given["openssh"]):
        assert public_key(text).keyid == verifier.load(text)[0] == given["keyid"]
    assert _signer().keyid == given["keyid"]


def test_digests(tmp_path: Path) -> None:
    for path, text in VECTORS["folder"]["files"].items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    assert tree_digest(tmp_path) == VECTORS["folder"]["sha256"]
    files = VECTORS["policies"]["files"]
    assert files_digest(files) == VECTORS["policies"]["sha256"]
    assert (
        verifier.listing({path: text.encode() for path, text in files.items()})
        == VECTORS["policies"]["sha256"]
    )
    packet = {
        name: value for name, value in VECTORS["packet"]["predicate"].items() if name != "run"
    }
    assert sha256_bytes(canonical.dumps(packet)) == VECTORS["packet"]["sha256"]


def test_the_tree() -> None:
    given = VECTORS["tree"]
    leaves = [merkle.leaf_hash(bytes.fromhex(data)) for data in given["logged_hex"]]
    assert [leaf.hex() for leaf in leaves] == given["leaf_hashes"]
    root = merkle.root_of(leaves)
    assert root.hex() == given["root"]
    merkle.verify_inclusion(
        leaves[2], 2, 5, [bytes.fromhex(step) for step in given["inclusion_of_2"]], root
    )
    old, proof = (
        bytes.fromhex(given["root_of_first_3"]),
        [bytes.fromhex(one) for one in given["consistency_3_to_5"]],
    )
    merkle.verify_consistency(3, 5, old, root, proof)


def test_envelopes() -> None:
    given = VECTORS["envelope"]
    data = sign_statement(given["statement"], _signer())
    assert json.loads(data) == given["envelope"]
    assert merkle.leaf_hash(data).hex() == given["leaf_hash"]
    known = verify_envelope(data, {VECTORS["key"]["keyid"]: VECTORS["key"]["pem"]})
    assert sha256_bytes(known.payload) == given["statement_sha256"]
    entry = verifier.Entry({"index": 0, "envelope": given["envelope"], "proof": []})
    entry.check(dict([verifier.load(VECTORS["key"]["pem"])]))
    assert (entry.digest, entry.leaf.hex()) == (given["statement_sha256"], given["leaf_hash"])


def test_checkpoints() -> None:
    note = VECTORS["checkpoint"]["note"]
    known = checkpoint_of(note, VECTORS["key"]["pem"])
    assert known.origin == origin_of("desk", bytes.fromhex(VECTORS["tree"]["leaf_hashes"][0]))
    assert (known.size, known.root.hex()) == (5, VECTORS["tree"]["root"])
    assert sign_checkpoint(known, _signer()) == note
    assert verifier.signed_by(note, verifier.load(VECTORS["key"]["pem"])[1])


def test_the_index_of_a_model() -> None:
    note, key = VECTORS["model_index"]["note"], VECTORS["key"]["pem"]
    index = verified_index(note, [(0, key)])
    leaves = [bytes.fromhex(VECTORS["tree"]["leaf_hashes"][number]) for number in (0, 2, 3)]
    assert (index.model, index.size, index.entries) == ("help-desk", 5, 3)
    assert index.root == merkle.root_of(leaves) == verifier.tree_root(leaves)
    assert sign_index(index, _signer()) == note
    assert verifier.model_index(note)[1:] == ("help-desk", 5, 3, index.root)
    assert verifier.signed_by(note, verifier.load(key)[1])
    assert not verifier.signed_by(
        VECTORS["checkpoint"]["note"].replace("\n5\n", "\n6\n"), verifier.load(key)[1]
    )


def test_a_bundle_of_an_earlier_version_verifies() -> None:
    """Never written again: a version that changes what it writes adds another."""
    data, pin = (
        (GOLDEN / "bundle-v1.json").read_bytes(),
        (GOLDEN / "bundle-v1.origin").read_text(encoding="ascii").strip(),
    )
    assert verify_bundle(data, TrustAnchors(pin)).ok
    verifier.verify(data, pin)


def test_the_page_says_what_the_code_does() -> None:
    assert FORMAT in PAGE and f"{MAX_BYTES >> 20} MiB" in PAGE and f"1 to {MAX_ENTRIES} of" in PAGE
    assert f"at most {MAX_FILES} of" in PAGE and f"{canonical.MAX_DEPTH} levels" in PAGE
    for model in (Bundle, Item, Attached):
        assert all(f"`{name}`" in PAGE or f'"{name}"' in PAGE for name in model.model_fields), model
    assert set(Bundle.model_fields) | {"seal"} == verifier.MEMBERS | verifier.OPTIONAL


def test_the_second_verifier_shares_nothing_with_the_first() -> None:
    """It is copied out of the package, so it imports the standard library and two packages only."""
    tree = ast.parse(Path(verifier.__file__).read_text(encoding="utf-8"))
    names = [node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    for node in ast.walk(tree):
        names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
    foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    assert foreign == {"cryptography", "ruamel"}


def test_it_runs_as_one_file(tmp_path: Path) -> None:
    """Without the package: isolated, in another folder."""
    copy = tmp_path / "verifier.py"
    copy.write_bytes(Path(verifier.__file__).read_bytes())
    pin = (GOLDEN / "bundle-v1.origin").read_text(encoding="ascii").strip()
    bundle = str(GOLDEN / "bundle-v1.json")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", str(copy), bundle, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert run("--origin", pin).returncode == 0
    assert json.loads(run("--origin", pin, "--json").stdout)["verified"] is True
    assert run("--origin", "0" * 64).returncode == verifier.DOES_NOT_VERIFY
    assert run().returncode == verifier.DOES_NOT_VERIFY


@given(JSON_VALUES)
def test_its_canonical_json_is_that_of_rfc_8785(value: object) -> None:
    assert verifier.canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "text", ["a: &x {b: c}\nd: *x\n", "a: !x b\n", "a: {b: c\n", "a: b\na: c\n"]
)
def test_it_refuses_policies_with_aliases_tags_or_repeated_keys(text: str) -> None:
    with pytest.raises(verifier.UNREADABLE):
        verifier.policy_rules(text)
