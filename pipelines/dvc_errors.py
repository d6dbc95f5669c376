"""DVC's errors as ours."""

from __future__ import annotations

import re
from collections.abc import Iterator

from governance.base.errors import (
    BusyError,
    ConfigError,
    CountersignError,
    InputError,
    StorageError,
)
from governance.base.storage import disk_failure

OURS: dict[str, type[CountersignError]] = {
    "LockError": BusyError,
    "RWLockFileCorruptedError": BusyError,
    "RWLockFileFormatError": BusyError,
    "NotDvcRepoError": ConfigError,
    "MissingDataSource": InputError,
    "StageNotFound": ConfigError,
    "NoOutputOrStageError": ConfigError,
    "StageFileDoesNotExistError": ConfigError,
    "DvcParserError": ConfigError,
    "ResolveError": ConfigError,
    "YAMLFileCorruptedError": ConfigError,
    "YAMLValidationError": ConfigError,
    "MissingParamsError": ConfigError,
    "ConfigError": ConfigError,
    "CheckoutError": StorageError,
    "DatabaseError": StorageError,
    "FileNotFoundError": InputError,
}
"""DVC's error classes, by name, and the error of ours with the same meaning."""

STEPS: dict[type[CountersignError], str] = {
    BusyError: "wait until the other run of DVC ends; `countersign repro` waits for it",
    ConfigError: "see what `dvc status` says; a new folder needs `git init && dvc init`",
}
"""The next step where DVC's message has none."""


def family_of(error: BaseException) -> type[CountersignError]:
    """The family of ours with the same meaning; the root for an error that is not in the table."""
    return next((OURS[name] for name in _kinds(error) if name in OURS), CountersignError)


NO_TABLE = re.compile(r"'stages\.\w+\.foreach'.*Could not find '(\w+)'")
"""DVC's message where dvc.yaml names a table that params.yaml lacks."""


def translated(error: Exception) -> CountersignError:
    """DVC's error as one of ours, with the first line of its message."""
    if failure := disk_failure(error):
        return failure
    family = family_of(error)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    fix = STEPS.get(family, "see what `dvc status` says")
    if table := NO_TABLE.search(lines[0]):
        fix = f"params.yaml: add the table, empty if need be: `{table[1]}: {{}}`"
    return family(f"DVC: {lines[0][:300]}", fix=fix)


def _kinds(error: BaseException) -> Iterator[str]:
    """The names of an error's classes and of its causes' classes."""
    yield from (class_.__name__ for class_ in type(error).__mro__)
    cause = error.__cause__ or error.__context__
    if cause is not None:
        yield from _kinds(cause)
