"""DVC as `countersign repro` runs it: `python -m pipelines.dvc_process repro ...`.

1. It ends when the run that started it is gone, and with it the stage (`pipelines.process`).
2. What DVC itself cannot do gets an exit code of ours; a stage that failed has left its own.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Iterator, Sequence

from governance.errors import BusyError, ConfigError, CountersignError, InputError, StorageError
from pipelines.process import end_with

RUN = "COUNTERSIGN_RUN"
"""The id of the process that this one ends with."""

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
}
"""DVC's errors, by name, as families of ours."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Kept(logging.Handler):
    """Keeps the last error that was logged."""

    error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Called for every record."""
        if record.exc_info and record.exc_info[1]:
            self.error = record.exc_info[1]


def main(arguments: Sequence[str]) -> int:
    """Runs DVC; 0, or an exit code as `pipelines.cli` has them."""
    import psutil

    parent = psutil.Process().parent()
    if parent is None or str(parent.pid) != os.environ.get(RUN):
        return BusyError.exit_code
    end_with([parent])
    from dvc.cli import main as dvc

    kept = Kept(logging.ERROR)
    logging.getLogger("dvc").addHandler(kept)
    code = dvc(list(arguments))
    return exit_code(kept.error) if code else 0


def exit_code(error: BaseException | None) -> int:
    """The exit code for what DVC said; what nobody knows is a fault of ours. Adds the next step where DVC has none."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in FULL:
            print("  next: free some space, then run this again: nothing half-written was kept", file=sys.stderr)
            return StorageError.exit_code
        if isinstance(cause, PermissionError) or (isinstance(cause, OSError) and cause.errno == errno.EROFS):
            print("  next: give this user the right to write there, then run this again", file=sys.stderr)
            return StorageError.exit_code
        if isinstance(cause, FileNotFoundError):
            return InputError.exit_code
        if type(cause).__name__ in OURS:
            return OURS[type(cause).__name__].exit_code
    return 1


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what caused it, each once."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
