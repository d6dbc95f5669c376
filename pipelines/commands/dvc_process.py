"""DVC as `countersign repro` runs it: `python -m pipelines.commands.dvc_process repro ...`.

1. It ends when the run that started it ends, and its stage with it (`pipelines.process`).
2. An error of DVC itself gets one of our exit codes. A stage that failed has already written its
   own.
3. A killed DVC holds no lock. DVC would wait for a zombie process, in a container for ever.
4. DVC does not warn of empty files: a dataset without slices has an empty one.
5. Python looks for garbage less often: DVC makes many objects and keeps most of them.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Sequence

from governance.base.errors import BusyError, CountersignError
from governance.base.storage import disk_failure
from pipelines import dvc_yaml
from pipelines.commands import dvc_git
from pipelines.dvc_errors import family_of
from pipelines.process import RUN, end_with

OBJECTS = 50_000
"""(5) Python looks for garbage when there are so many new objects; by default, 700."""


class Kept(logging.Handler):
    """A log handler that keeps the last exception."""

    error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the record's exception."""
        if record.exc_info and record.exc_info[1]:
            self.error = record.exc_info[1]


def main(arguments: Sequence[str]) -> int:
    """Runs DVC. Returns 0 or an exit code of `pipelines.cli`."""
    gc.set_threshold(OBJECTS)  # (5)
    import psutil

    parent = psutil.Process().parent()
    if parent is None or str(parent.pid) != os.environ.get(RUN):
        return BusyError.exit_code
    end_with([parent])
    psutil.pid_exists = _runs  # (3): `dvc.rwlock` calls it
    from dvc.cli import main as dvc

    dvc_yaml.install()
    dvc_git.install()
    logging.getLogger("dvc.output").addFilter(_is_not_of_empty)  # (4)
    kept = Kept(logging.ERROR)
    logging.getLogger("dvc").addHandler(kept)
    code = dvc(list(arguments))
    return exit_code(kept.error) if code else 0


def _is_not_of_empty(record: logging.LogRecord) -> bool:
    return record.msg != "'%s' is empty."


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
    return family_of(error).exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
