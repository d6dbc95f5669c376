"""The exit codes that scripts rely on, as `pipelines.cli` documents them."""

from __future__ import annotations

from governance.base import errors

EXIT_CODES = {
    "CountersignError": 1,
    "ConfigError": 2,
    "Problems": 2,
    "InputError": 3,
    "RefusedError": 4,
    "VerificationError": 5,
    "StorageError": 6,
    "UnsignedError": 6,
    "BusyError": 7,
    "ConflictError": 7,
    "OfflineError": 8,
    "TrainingError": 9,
}


def test_every_family_of_errors_has_its_documented_exit_code() -> None:
    found = {
        name: error.exit_code
        for name, error in vars(errors).items()
        if isinstance(error, type) and issubclass(error, errors.CountersignError)
    }
    assert found == EXIT_CODES
