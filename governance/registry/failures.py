"""What a registry's libraries, its database or the disk say against it, in one clear sentence of
ours.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from governance.base.errors import StorageError
from governance.registry.display import without_credentials
from governance.registry.rest import GRANT, NO_RIGHT, is_server

VENDORS = ("mlflow", "requests", "urllib3", "sqlalchemy", "alembic")
"""Packages whose exceptions are translated."""

UNKNOWN = "the account or its password is not known there"
SENTENCES = (
    ("error code 401", UNKNOWN),
    ("Response body: 'Permission denied'", NO_RIGHT),
    ("Connection refused", "nothing answers there (connection refused)"),
    ("Name or service not known", "there is no such host"),
    ("nodename nor servname", "there is no such host"),
    ("Temporary failure in name resolution", "the host's name cannot be resolved"),
    ("timed out", "it does not answer in time"),
    ("unable to open database file", "the database file cannot be opened"),
    ("readonly database", "the database cannot be written"),
    ("disk is full", "the disk is full"),
    ("No space left", "the disk is full"),
    ("database is locked", "the database is locked by another program"),
    ("file is not a database", "the file is not a SQLite database"),
    ("out-of-date database schema", "its tables were made by another version of MLflow"),
)
"""Part of a vendor's message, and what it means."""


_ANSWERED = re.compile(r'Response text: .*?"message": ?"(?P<message>(?:[^"\\]|\\.)*)', re.DOTALL)
"""What a server said in words, within what its client makes of it."""
REFUSED = "Countersign refuses"
_ACCOUNT = (
    "set COUNTERSIGN_USER and COUNTERSIGN_PASSWORD, or MLFLOW_TRACKING_USERNAME and"
    " MLFLOW_TRACKING_PASSWORD"
)
_FIXES = {REFUSED: "", UNKNOWN: _ACCOUNT, NO_RIGHT: GRANT}
"""What to do about what the server itself says."""


@contextmanager
def translated(where: str) -> Iterator[None]:
    """What MLflow, its HTTP client, its database or the disk say against it, as `StorageError`."""
    try:
        yield
    except Exception as error:
        vendor = type(error).__module__.startswith(VENDORS)
        if not vendor and not isinstance(error, (ImportError, OSError, sqlite3.Error)):
            raise
        found = f"the registry cannot be used: {_sentence(error)}"
        fix = next((fix for words, fix in _FIXES.items() if words in found), None)
        fix = _fix(where) if fix is None else fix
        raise StorageError(found, where=without_credentials(where), fix=fix) from error


def _sentence(error: BaseException) -> str:
    """The first line of a vendor's message, without the object addresses and retry counts of HTTP
    clients.
    """
    text = str(error)
    for phrase, plain in SENTENCES:
        if phrase in text:
            return plain
    answered = _ANSWERED.search(text)
    if answered is not None:
        text = _unescaped(answered["message"])
    return without_credentials((text.splitlines() or [type(error).__name__])[0])[:200]


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text


def _fix(where: str) -> str:
    if is_server(where):
        return "start that MLflow server, or set COUNTERSIGN_REGISTRY to one that runs"
    return (
        "check that the folder exists, is writable and has room; COUNTERSIGN_REGISTRY names another"
        " place"
    )
