"""DSSE: exact bytes, distinct keys, one form."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as VendorEnvelope
from securesystemslib.signer import SSlibKey

from governance.attest import canonical
from governance.attest.envelope import (
    UnknownKeyError,
    sign_payload,
    sign_statement,
    unverified,
    verify_envelope,
)
from governance.attest.keys import Signer
from governance.base.errors import VerificationError
from tests.governance.keys import ONE, TWO

KEYS = {ONE.keyid: ONE.public_pem}
STATEMENT = {"_type": "https://in-toto.io/Statement/v1", "n": 0.1, "text": "größe"}
DATA = sign_statement(STATEMENT, ONE)


def changed(**fields: Any) -> bytes:
    """The envelope with other fields, in canonical form."""
    return canonical.dumps({**json.loads(DATA), **fields})


def test_a_verified_envelope_gives_the_statement_its_bytes_and_its_signer() -> None:
    verified = verify_envelope(DATA, KEYS)
    assert verified.statement == STATEMENT
    assert verified.payload == canonical.dumps(STATEMENT)
    assert verified.keyid == ONE.keyid
    assert unverified(DATA) == (STATEMENT, ONE.keyid)


def test_the_standard_library_of_the_field_verifies_it_too() -> None:
    vendor = VendorEnvelope.from_dict(json.loads(DATA))
    key = SSlibKey(ONE.keyid, "ed25519", "ed25519", {"public": bytes.fromhex(_raw_hex()).hex()})
    assert vendor.verify([key], 1).keys() == {ONE.keyid}


def _raw_hex() -> str:
    from governance.attest.keys import public_key

    return public_key(ONE.public_pem).raw.hex()


def test_the_payload_is_verified_as_it_came_not_as_we_would_write_it() -> None:
    payload = b'{ "b": 1.50,\n "a": 2 }'
    verified = verify_envelope(sign_payload(payload, ONE), KEYS)
    assert verified.payload == payload and verified.statement == {"b": 1.5, "a": 2}


def _signatures(*signers: Signer) -> list[dict[str, str]]:
    return [json.loads(sign_statement(STATEMENT, one))["signatures"][0] for one in signers]


def test_an_unknown_key_is_no_signature() -> None:
    with pytest.raises(UnknownKeyError, match="unknown key"):
        verify_envelope(sign_statement(STATEMENT, TWO), KEYS)


def test_a_key_under_an_id_that_is_not_its_own() -> None:
    alias = [{**_signatures(ONE)[0], "keyid": "0" * 64}]
    with pytest.raises(VerificationError, match="an id that is not its own"):
        verify_envelope(changed(signatures=alias), {**KEYS, "0" * 64: ONE.public_pem})


@pytest.mark.parametrize("order", [(ONE, TWO), (TWO, ONE), (ONE, ONE)])
@pytest.mark.parametrize("keys", [KEYS, {**KEYS, TWO.keyid: TWO.public_pem}])
def test_a_second_signature_makes_no_statement(
    order: tuple[Signer, ...], keys: dict[str, str]
) -> None:
    """Known or not, right or wrong: with it the same statement would be another entry."""
    for signatures in (
        _signatures(*order),
        [*_signatures(ONE), {"keyid": "ab" * 32, "sig": "AAAA"}],
    ):
        with pytest.raises(VerificationError, match="2 signatures"):
            verify_envelope(changed(signatures=signatures), keys)
        with pytest.raises(VerificationError, match="2 signatures"):
            unverified(changed(signatures=signatures))


REFUSED = {
    "no JSON": b"{",
    "a list": b"[]",
    "a field more": changed(note="x"),
    "a field less": canonical.dumps(
        {k: v for k, v in json.loads(DATA).items() if k != "payloadType"}
    ),
    "another payload type": changed(payloadType="application/json"),
    "a homograph payload type": changed(payloadType="application/vnd.in-t\u043eto+json"),
    "no signatures": changed(signatures=[]),
    "signatures that are text": changed(signatures="x"),
    "a signature that is a number": changed(signatures=[{"keyid": ONE.keyid, "sig": 1}]),
    "an empty payload": changed(payload=""),
    "URL-safe base64": changed(payload=base64.urlsafe_b64encode(b"\xfb\xff" * 3).decode()),
    "base64 with loose bits": changed(payload="QR=="),
    "base64 with a line break": changed(payload=json.loads(DATA)["payload"] + "\n"),
    "spaces between": json.dumps(json.loads(DATA)).encode(),
    "a line break at the end": DATA + b"\n",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(VerificationError):
        verify_envelope(data, KEYS)


def test_members_without_end_are_not_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """To find out whether they are in canonical form takes seconds a megabyte, and anybody with an
    account may ask.
    """
    monkeypatch.setattr(canonical, "dumps", lambda value: pytest.fail("written"))
    many = ",".join(f'"{at}":"x"' for at in range(10_000))
    with pytest.raises(VerificationError, match="not a DSSE envelope"):
        verify_envelope(b"{" + many.encode() + b"}", KEYS)


@pytest.mark.parametrize("payload", [b"[]", b"1", b'{"a":1,"a":2}', b"{"])
def test_a_signed_payload_that_is_no_statement_is_refused(payload: bytes) -> None:
    with pytest.raises(VerificationError):
        verify_envelope(sign_payload(payload, ONE), KEYS)


@given(
    st.integers(0, len(DATA) - 1),
    st.integers(0, 255),
    st.sampled_from(["replace", "insert", "delete"]),
)
def test_no_byte_can_change(position: int, byte: int, how: str) -> None:
    rest = DATA[position + 1 :] if how != "insert" else DATA[position:]
    data = DATA[:position] + (b"" if how == "delete" else bytes([byte])) + rest
    if data == DATA:
        return
    with pytest.raises(VerificationError):
        verify_envelope(data, KEYS)


@pytest.mark.parametrize("noise", ["\n", " ", "!", "=", "-", "\u00e9"])
@pytest.mark.parametrize("place", [0, 4, 7])
def test_base64_has_no_other_characters(noise: str, place: int) -> None:
    envelope = json.loads(DATA)
    payload, signature = envelope["payload"], dict(envelope["signatures"][0])
    signature["sig"] = signature["sig"][:place] + noise + signature["sig"][place:]
    spoiled = payload[:place] + noise + payload[place:]
    for data in (changed(payload=spoiled), changed(signatures=[signature])):
        with pytest.raises(VerificationError, match="base64"):
            verify_envelope(data, KEYS)
