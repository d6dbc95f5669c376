"""Hyperparameters as text: what is shown, what is shortened, what is never shown."""

from __future__ import annotations

import pytest

from governance.registry.display import (
    is_secret,
    param_texts,
    place_of,
    shortened,
    without_credentials,
)


@pytest.mark.parametrize(
    "name",
    [
        "hub_token",
        "token",
        "api_key",
        "OPENAI_API_KEY",
        "wandbApiKey",
        "db.password",
        "client-secret",
        "auth",
        "aws_credentials",
    ],
)
def test_secrets_are_recognised(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "eos_token",
        "pad_token",
        "max_new_tokens",
        "per_token_loss",
        "learning_rate",
        "keys",
        "author",
    ],
)
def test_other_parameters_are_not(name: str) -> None:
    assert not is_secret(name)


def test_values_become_text() -> None:
    params = {
        "lr": 0.1,
        "on": True,
        "none": None,
        "list": [1, {"token": "t", "a": 2}],
        "deep": {"a": {"b": "text"}},
        "empty": {},
    }
    assert param_texts(params) == {
        "lr": "0.1",
        "on": "true",
        "none": "null",
        "list": '[1, {"a": 2}]',
        "deep.a.b": "text",
        "empty": "{}",
    }


def test_odd_names_and_addresses() -> None:
    assert param_texts({"a b$c": "postgresql://u:p@host/db"}) == {
        "a b_c": "postgresql://...@host/db"
    }
    assert without_credentials("https://host/@path") == "https://host/@path"


def test_long_values_keep_their_beginning_and_digest() -> None:
    assert shortened("x" * 10, 10) == "x" * 10
    text = shortened("x" * 1000, 100)
    assert len(text) == 100 and text.startswith("xxx") and "sha256" in text
    assert text != shortened("x" * 999 + "y", 100)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("s3://evil/model", "s3://evil/model"),
        ("s3://AKIA:se/cr+et@bucket/x", "s3://...@bucket/x"),
        ("https://a:b@c@host/x?sig=secret&x=1", "https://...@host/x?..."),
        ("file:///etc", "file:///etc"),
        ("host/x?token=secret", "host/x?..."),
        ("", ""),
    ],
)
def test_an_address_is_repeated_without_what_opens_it(address: str, place: str) -> None:
    assert place_of(address) == place
    assert len(place_of("x" * 5000)) == 500
