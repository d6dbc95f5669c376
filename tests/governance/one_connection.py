"""A log that a test reads over one connection, as a stage does. Each new connection reads the schema
first, which takes a quarter of the time of a test that makes a report or a decision.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from governance.log.sqlite import one_reader


@pytest.fixture(autouse=True)
def one_connection() -> Iterator[None]:
    """For each test below the `conftest.py` that names it."""
    with one_reader():
        yield
