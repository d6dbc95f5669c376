"""A run that stops because its result must not be used: it publishes nothing, and the harness
records it.

The terminal may name rows of the data. What is recorded holds codes, steps and counts only.
"""

from __future__ import annotations

from collections.abc import Sequence

from governance.attest.findings import finding
from governance.attest.predicates import Finding, RecordUse
from governance.base.errors import TrainingError
from governance.base.model import Model

ROWS_SHOWN = 10
RESULTS = frozenset({"NON_FINITE", "MODEL_UNCHANGED"})
"""What data, objective and seed lead to. Another finding is about something that the training uses.
"""


class Stopped(Model):
    """Why a run stopped, as it is recorded."""

    findings: tuple[Finding, ...]
    step: int | None = None
    counts: dict[str, int] = {}


class StoppedError(TrainingError):
    """A run stopped and must be recorded. Exit code 9."""

    def __init__(self, stopped: Stopped, message: str, where: str = "", fix: str = "") -> None:
        super().__init__(message, where=where, fix=fix)
        self.stopped = stopped

    @property
    def is_result(self) -> bool:
        """Whether the training itself yields this."""
        return RESULTS.issuperset(reason.code for reason in self.stopped.findings)


class RecordsRefusedError(StoppedError):
    """Policy does not permit a training that leaves out or cuts so many records. Exit code 4."""

    exit_code = 4


def records_refused(stage: str, findings: Sequence[Finding], use: RecordUse) -> RecordsRefusedError:
    """The error that these findings about its records stop the DVC stage `stage`."""
    stopped = Stopped(findings=tuple(findings), counts=counts_of(use))
    message = "; ".join(f"{each.code}: {each.found}" for each in findings)
    fix = findings[0].next
    error = RecordsRefusedError(stopped, message, where=stage, fix=fix)
    error.expected = findings[0].expected
    return error


def counts_of(use: RecordUse) -> dict[str, int]:
    """What became of a training's records, as counts of a failure."""
    dropped = {f"dropped_{reason.lower()}": count for reason, count in use.dropped.items()}
    return {"offered": use.offered, "used": use.used, "truncated": use.truncated, **dropped}


def not_finite(
    stage: str,
    figure: str,
    value: str,
    *,
    step: int | None = None,
    counts: dict[str, int] | None = None,
    rows: Sequence[str] = (),
) -> StoppedError:
    """The error that `figure` is not finite in the DVC stage `stage`: `value` is nan, inf or how
    many of them. `rows` are places in the source files, for the terminal only.
    """
    at = "" if step is None else f" at step {step}"
    message = f"not finite{at}: {figure} ({value})"
    reason = finding("NON_FINITE", f"stage {stage}", f"not finite{at}: {figure}", found=value)
    fix = f"nothing was published; {reason.next}"
    if rows:
        message = f"{message}; {shown(rows)}"
    stopped = Stopped(findings=(reason,), step=step, counts=counts or {})
    return StoppedError(stopped, message, where=stage, fix=fix)


def unchanged(stage: str, steps: int) -> StoppedError:
    """The error that the training `stage` left every weight as it was."""
    reason = finding("MODEL_UNCHANGED", f"stage {stage}", found=f"the same after {steps} steps")
    fix = f"nothing was published; {reason.next}"
    stopped = Stopped(findings=(reason,), step=steps)
    return StoppedError(stopped, f"the weights are the parent's after {steps} steps", stage, fix)


def reward_failed(
    name: str, file: str, problem: str, *, expected: str = "", fix: str = "correct the function"
) -> StoppedError:
    """The error that a reward function raised, or gave what is no score: `problem` follows its
    name, and quotes no answer.
    """
    reason = finding("REWARD_FAILED", f"reward {name}", expected=expected, found=problem)
    message, fix = f"reward function {name!r} {problem}", f"{fix}; nothing was published"
    error = StoppedError(Stopped(findings=(reason,)), message, where=file, fix=fix)
    error.expected = expected
    return error


def reward_reached_out(name: str, file: str, access: str) -> StoppedError:
    """The error that a reward function asked for what none may have."""
    reason = finding("REWARD_REACHED_OUT", f"reward {name}", found=access)
    message = f"reward function {name!r} asked for {access}"
    fix = f"nothing was published; {reason.next}"
    return StoppedError(Stopped(findings=(reason,)), message, where=file, fix=fix)


def tool_reached_out(name: str, file: str, access: str) -> StoppedError:
    """The error that a tool asked for what none may have."""
    reason = finding("TOOL_REACHED_OUT", f"tool {name}", found=access)
    message = f"the tool {name!r} asked for {access}"
    fix = f"nothing was published; {reason.next}"
    return StoppedError(Stopped(findings=(reason,)), message, where=file, fix=fix)


def shown(rows: Sequence[str]) -> str:
    """Rows in words: the first of them, and how many more there are."""
    more = f" and {len(rows) - ROWS_SHOWN} more" if len(rows) > ROWS_SHOWN else ""
    return f"rows {', '.join(rows[:ROWS_SHOWN])}{more}"
