"""Signatures: the published vector, and what is refused as a secret."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.base.errors import ConfigError
from governance.events.signing import headers, read_secrets
from tests.governance.events.receiving import KEY, SECRET, verified

VECTOR = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_vector_of_the_specification() -> None:
    """Of the reference libraries' tests."""
    secrets = read_secrets(VECTOR, "here")
    made = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', secrets)
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_secret_is_replaced_both_sign() -> None:
    secrets = read_secrets(f"{SECRET}\n{VECTOR}", "here")
    made = headers("evt_1", 1, b"{}", secrets)
    assert verified(made, b"{}", KEY) and verified(made, b"{}", secrets[1])
    assert not verified(made, b"{}", bytes(32))


@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 2**40))
def test_another_body_or_time_has_another_signature(one: bytes, other: bytes, at: int) -> None:
    made = headers("evt_1", at, one, [KEY])
    assert verified(made, one)
    assert verified(made, other) == (one == other)
    assert not verified({**made, "webhook-timestamp": str(at + 1)}, one)
    assert not verified({**made, "webhook-id": "evt_2"}, one)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "whsec_",
        "whsec_####",
        f"whsec_{base64.b64encode(bytes(23)).decode()}",
        f"whsec_{base64.b64encode(bytes(65)).decode()}",
        f"{SECRET} short",
    ],
)
def test_what_is_no_secret_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_secrets(text, "here")
    assert "short" not in str(error.value) and "####" not in str(error.value)
