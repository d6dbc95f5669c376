"""Errors of a registry's libraries, its database or the disk as one error of ours."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from governance.base.errors import StorageError
from governance.log.http_client import is_server
from governance.registry.display import without_credentials
from governance.registry.rest import GRANT, NO_RIGHT

VENDORS = ("mlflow", "requests", "urllib3", "sqlalchemy", "alembic")
"""Packages whose exceptions are translated."""

UNKNOWN = "the account or its password is not known there"
_ACCOUNT = (
    "set COUNTERSIGN_USER and COUNTERSIGN_PASSWORD, or MLFLOW_TRACKING_USERNAME and"
    " MLFLOW_TRACKING_PASSWORD"
)
_PHRASES = {
    "error code 401": UNKNOWN,
    "Response body: 'Permission denied'": NO_RIGHT,
    "Connection refused": "nothing answers there (connection refused)",
    "Name or service not known|nodename nor servname": "there is no such host",
    "Temporary failure in name resolution": "the host's name cannot be resolved",
    "timed out": "it does not answer in time",
    "readonly database": "the database cannot be written",
    "disk is full|No space left": "the disk is full",
    "database is locked": "the database is locked by another program",
    "out-of-date database schema": "its tables were made by another version of MLflow",
}
"""Part of a vendor's message, and what it means."""
_FIXES = {UNKNOWN: _ACCOUNT, NO_RIGHT: GRANT}


_ANSWERED = re.compile(r'Response text: .*?"message": ?"(?P<message>(?:[^"\\]|\\.)*)', re.DOTALL)
"""A server's own message within the text of its client's error."""


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Errors of MLflow, its HTTP client, its database or the disk become `StorageError`."""
    try:
        yield
    except Exception as error:
        vendor = type(error).__module__.startswith(VENDORS)
        if not vendor and not isinstance(error, (ImportError, OSError, sqlite3.Error)):
            raise
        sentence, fix = _problem(str(error), type(error).__name__, where)
        raise StorageError(
            f"the registry cannot be used: {sentence}", where=without_credentials(where), fix=fix
        ) from error


def _problem(message: str, name: str, where: str) -> tuple[str, str]:
    """What a vendor's message means, and what to do. The first line of an unknown message, without
    the object addresses and retry counts of HTTP clients.
    """
    for phrase, sentence in _PHRASES.items():
        if re.search(phrase, message):
            return sentence, _FIXES.get(sentence) or _fix(where)
    answered = _ANSWERED.search(message)
    if answered is not None:
        with suppress(ValueError):
            message = json.loads(f'"{answered["message"]}"')
    sentence = without_credentials((message.splitlines() or [name])[0])[:200]
    return sentence, _fix(where) if answered is None else ""


def _fix(where: str) -> str:
    if is_server(where):
        return "start that MLflow server, or set COUNTERSIGN_REGISTRY to one that runs"
    return "check that the folder exists, can be written and has room; or set COUNTERSIGN_REGISTRY"
