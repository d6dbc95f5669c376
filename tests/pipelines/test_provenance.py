"""The environment that a run records."""

from __future__ import annotations

import importlib_metadata
import pytest

from pipelines import provenance


@pytest.mark.parametrize("name", ["click", "rfc8785"])
def test_a_licence_is_read_with_the_backport_of_importlib_metadata(name: str) -> None:
    """Training imports the backport, whose metadata raises KeyError for a field that is missing.
    One of the two has an expression, the other a classifier.
    """
    assert provenance._licence(importlib_metadata.distribution(name))  # type: ignore[arg-type]
