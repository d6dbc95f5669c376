"""Packages that are hidden while a library is imported."""

from __future__ import annotations

import importlib
import sys

import pytest

from pipelines.optional import hidden


def test_a_hidden_package_cannot_be_imported_and_afterwards_it_can() -> None:
    sys.modules.pop("wave", None)
    with hidden(["wave"]), pytest.raises(ImportError):
        importlib.import_module("wave")
    assert "wave" not in sys.modules
    importlib.import_module("wave")


def test_what_is_imported_already_stays() -> None:
    import json

    with hidden(["json"]):
        assert importlib.import_module("json") is json
    assert sys.modules["json"] is json


def test_after_an_error_nothing_is_hidden() -> None:
    sys.modules.pop("wave", None)
    with pytest.raises(RuntimeError), hidden(["wave"]):
        raise RuntimeError
    importlib.import_module("wave")
