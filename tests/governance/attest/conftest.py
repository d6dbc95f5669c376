"""Tests that ask a log often."""

from __future__ import annotations

from tests.governance.one_connection import one_connection as one_connection  # the fixture
