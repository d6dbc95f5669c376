"""Every error a user can meet: one root, one family per boundary, one exit code per family.

A message says what was found, what was expected, where, and what to do next. Vendor exceptions are
translated into these in adapters only; the command line prints them without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class CountersignError(Exception):
    """Root of all errors that Countersign raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __init__(self, found: str, *, expected: str = "", where: str = "", fix: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.expected = expected
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.found}" if self.where else self.found]
        if self.expected:
            parts.append(f"expected: {self.expected}")
        if self.fix:
            parts.append(f"next: {self.fix}")
        return "\n  ".join(parts)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean ...?` with the entry of `known` most like an unknown word; empty where none is
    close.
    """
    similar = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {similar[0]!r}?" if similar else ""


class ConfigError(CountersignError):
    """params.yaml, policies/ or the command line is not valid. Exit code 2."""

    exit_code = 2


def unknown(what: str, name: str, known: Iterable[str], where: str = "") -> ConfigError:
    """The error for a name that is not among `known`; it names the most similar one."""
    names = list(known)
    expected = f"one of {', '.join(names)}" if names else "there is none yet"
    fix = did_you_mean(name, names)
    return ConfigError(f"no {what} {name[:80]!r}", expected=expected, where=where, fix=fix)


class InputError(CountersignError):
    """A data file or a model folder is not as required. Exit code 3."""

    exit_code = 3


class RefusedError(CountersignError):
    """A decision denied what was asked; the findings say why. Exit code 4."""

    exit_code = 4


class VerificationError(CountersignError):
    """Evidence, a signature, a proof or a digest does not verify. Exit code 5."""

    exit_code = 5


class StorageError(CountersignError):
    """The log, the registry or the disk cannot be read or written. Exit code 6."""

    exit_code = 6


class UnsignedError(StorageError):
    """The key that signs the log's checkpoints now is not on this machine, so nothing is appended.
    Exit code 6.
    """


class BusyError(CountersignError):
    """Another run holds what this one needs. Exit code 7."""

    exit_code = 7


class ConflictError(BusyError):
    """Someone else was first: what was decided on is no longer what is there. Decide again. Exit
    code 7.
    """


class OfflineError(CountersignError):
    """Something has to be downloaded first and the network is not there. Exit code 8."""

    exit_code = 8


class TrainingError(CountersignError):
    """A training run failed or could not be set up as asked. Exit code 9."""

    exit_code = 9


class Problems(ConfigError):
    """Several configuration mistakes, all reported at once. Exit code 2."""

    def __init__(self, problems: list[CountersignError]) -> None:
        super().__init__(f"{len(problems)} problem(s)")
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)
