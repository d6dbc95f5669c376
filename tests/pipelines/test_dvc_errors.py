"""DVC's errors say what to do next."""

from __future__ import annotations

from pipelines.dvc_errors import translated


class ResolveError(Exception):
    """As DVC has it."""


def test_a_table_that_params_lacks_is_named_with_what_to_add() -> None:
    found = (
        "failed to parse 'stages.evaluate_further.foreach' in 'dvc.yaml':"
        " Could not find 'evaluations'"
    )
    error = translated(ResolveError(found))
    assert error.exit_code == 2 and "`evaluations: {}`" in str(error)
