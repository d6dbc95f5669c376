"""DVC as `countersign repro` runs it: `python -m pipelines.commands.dvc_process repro ...`.

1. It ends when the run that started it ends, and its stage with it (`pipelines.process`).
2. An error of DVC itself gets one of our exit codes. A stage that failed has already written its
   own.
3. A killed DVC holds no lock. DVC would wait for a zombie process, in a container for ever.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence

from governance.base.errors import (
    BusyError,
    ConfigError,
    CountersignError,
    InputError,
    StorageError,
)
from governance.base.storage import disk_failure
from pipelines.process import end_with

RUN = "COUNTERSIGN_RUN"
"""Environment variable: the id of the process that this one ends with."""

OURS: dict[str, type[CountersignError]] = {
    "LockError": BusyError,
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


class Kept(logging.Handler):
    """A log handler that keeps the last exception."""

    error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the record's exception."""
        if record.exc_info and record.exc_info[1]:
            self.error = record.exc_info[1]


def main(arguments: Sequence[str]) -> int:
    """Runs DVC. Returns 0 or an exit code of `pipelines.cli`."""
    import psutil

    parent = psutil.Process().parent()
    if parent is None or str(parent.pid) != os.environ.get(RUN):
        return BusyError.exit_code
    end_with([parent])
    psutil.pid_exists = _runs  # (3): `dvc.rwlock` calls it
    from dvc.cli import main as dvc

    kept = Kept(logging.ERROR)
    logging.getLogger("dvc").addHandler(kept)
    code = dvc(list(arguments))
    return exit_code(kept.error) if code else 0


def _runs(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def exit_code(error: BaseException | None) -> int:
    """The exit code for DVC's exception; an unknown exception is an internal error. Prints the next
    step if the disk failed.
    """
    if error is None:
        return CountersignError.exit_code
    if failure := disk_failure(error):
        print(f"  next: {failure.fix}", file=sys.stderr)
        return failure.exit_code
    family = next((OURS[name] for name in _kinds(error) if name in OURS), CountersignError)
    return family.exit_code


def _kinds(error: BaseException) -> Iterator[str]:
    """The names of an error's classes and of its causes' classes."""
    yield from (class_.__name__ for class_ in type(error).__mro__)
    cause = error.__cause__ or error.__context__
    if cause is not None:
        yield from _kinds(cause)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
