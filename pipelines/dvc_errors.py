"""DVC's errors as ours."""

from __future__ import annotations

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


def translated(error: Exception) -> CountersignError:
    """DVC's error as one of ours, with the first line of its message."""
    if failure := disk_failure(error):
        return failure
    family = family_of(error)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return family(f"DVC: {lines[0][:300]}", fix=STEPS.get(family, "see what `dvc status` says"))


def _kinds(error: BaseException) -> Iterator[str]:
    """The names of an error's classes and of its causes' classes."""
    yield from (class_.__name__ for class_ in type(error).__mro__)
    cause = error.__cause__ or error.__context__
    if cause is not None:
        yield from _kinds(cause)
