"""OpenSSF Model Signing 1.0: the signature file that `model_signing verify key` accepts
(https://github.com/ossf/model-signing-spec).

A Sigstore bundle holds a DSSE envelope with an in-toto Statement. Its predicate lists every file
with its sha256, sorted by name. The key is ECDSA P-256. The signature says which machine registered
these bytes. It is no evidence: whether the version is approved stands in the log alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from governance.attest import canonical
from governance.attest.envelope import PAYLOAD_TYPE, pae
from governance.attest.keys import Signer
from governance.attest.predicates import ModelFile

PREDICATE = "https://model_signing/signature/v1.0"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
FILE, KEY_FILE = "model.sig", "model.sig.pub.pem"
"""The signature, and the public key that verifies it."""


def model_signature(name: str, files: Sequence[ModelFile], signer: Signer) -> bytes:
    """The signature file of a model's files. `signer` has an ECDSA P-256 key."""
    listed = sorted(files, key=lambda file: file.path)
    digests = b"".join(bytes.fromhex(file.sha256) for file in listed)
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": hashlib.sha256(digests).hexdigest()}}],
        "predicateType": PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [],
            },
            "resources": [
                {"name": file.path, "algorithm": "sha256", "digest": file.sha256} for file in listed
            ],
        },
    }
    payload = canonical.dumps(statement)
    hint = hashlib.sha256(signer.public_pem.encode()).hexdigest()
    return canonical.dumps(
        {
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [
                    {"sig": base64.b64encode(signer.sign(pae(payload))).decode(), "keyid": ""}
                ],
            },
        }
    )


def signed_files(name: str, files: Sequence[ModelFile], signer: Signer) -> dict[str, bytes]:
    """The signature and its public key, by file name."""
    return {
        FILE: model_signature(name, files, signer),
        KEY_FILE: signer.public_pem.encode(),
    }
