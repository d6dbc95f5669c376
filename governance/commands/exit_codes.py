"""The exit code of a command that shows a report."""

from __future__ import annotations

from governance.base.errors import RefusedError, VerificationError
from governance.report.model.report import Report
from governance.report.reasons import UNVERIFIED, Say


def exit_code(report: Report) -> int:
    """5 where something does not verify, 4 where page one tells of another fault or users are
    served all the same.

    What does not verify: the log, a bundle that may lack entries, a decision that does not come out
    as it was logged or cannot be made again, a registry that says otherwise.
    """
    faults = {fault.code for fault in report.exceptions if fault.kind == "fault"}
    undecided = any(reason.code == Say.CANNOT_BE_DECIDED.name for reason in report.verdict.reasons)
    integrity = report.integrity
    if undecided or faults & UNVERIFIED or not (integrity.verified and integrity.complete):
        return VerificationError.exit_code
    serves = any(holding.until is None for holding in report.holds)
    refused = faults or (serves and report.verdict.word == "NOT APPROVED")
    return RefusedError.exit_code if refused else 0
