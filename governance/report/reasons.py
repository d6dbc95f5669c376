"""The sentences of a report, each under its code. Code tests codes and fields, never words.

A reason is a code and its fields. `reason` and `notice` draw the sentence once, for the page, the
terminal and JSON. A field is never read as a template, whatever characters it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, unique

from governance.attest.codes import CODES
from governance.base.model import Json
from governance.base.text import timed
from governance.report.model.front import Notice
from governance.report.model.parts import Reason


@unique
class Say(Enum):
    """Code to sentence."""

    # The verdict
    APPROVED = "Approved by {people}. Re-checked today: still approved."
    NO_APPROVAL_REQUIRED = "Its tier requires no approval. Re-checked today: still approved."
    WAIVED_FINDINGS = "Approved despite waived findings: {findings}."
    LIVE = "Live as {aliases}."
    STILL_SERVING = "STILL SERVING as {aliases}."
    STILL_HELD = (
        "It still holds {aliases}. Servers that follow the log refuse it; others may serve it."
    )
    REPLACED = "It holds no alias now: another version took its place."
    REGISTRY_SAYS_OTHERWISE = "So says the log; the registry says otherwise."
    WOULD_BE_REFUSED = "Was approved; would be refused today: {findings}."
    REFUSED_NOW = "Checked under the policies in force, it is refused: {findings}."
    REFUSED_THEN = "Refused when it was decided: {findings}."
    NEVER_DECIDED = "No alias was ever decided for it."
    REJECTED = "Rejected by {name} as {role}: {reason}."
    AUTOMATIC_CHECKS_OK = "All automatic checks pass."
    NEEDS_POLICY_SIGNATURES = "It needs the policy owners' signatures on the policies."
    NEEDS_PACKET = "It needs a packet."
    NEEDS_NEW_PACKET = "It needs a packet of the present evidence, and approvals of that packet."
    NEEDS_APPROVALS = "It needs approval by {wanted} people in different roles (has: {has})."
    NEEDS_REQUEST = "It needs a signed request."
    NEEDS_MOVE = "It needs only the move itself."
    TESTING_ONLY = "For testing as candidate only."
    RETIRED = "Retired; {name} asked: {reason}. It holds no alias."
    RETIRED_UNASKED = "Retired; no reason is recorded. It holds no alias."
    ROLLED_BACK = "Rolled back from {alias} to version {version} on {at}."
    NOT_REPRODUCED = "The decision in E{entry} does not hold: {why}."
    NOT_PROMOTABLE = "Models of tier {tier} cannot be released."
    PASSED_THEN_AND_NOW = "All automatic checks pass, then and today. Nobody has approved it."
    PASSED_THEN = "All automatic checks passed; they cannot be repeated here. Nobody approved it."
    COMPLETENESS_NOT_SHOWN = (
        "The entries here verify, and nothing shows that they are all entries about the model: a"
        " rejection, an incident or a later move may have been left out."
    )
    CANNOT_BE_DECIDED = "It cannot be decided again: {why}."
    # Separation of duties
    DUTIES_HOLD = "Separation of duties: holds. No approver asked for a run or for the move."
    DUTIES_SHARED = "{people} asked for both training and evaluation."
    DUTIES_SHARED_PERMITTED = (
        "{people} asked for both training and evaluation, which tier {tier} permits."
    )
    DUTIES_BROKEN = "Separation of duties: broken. {acts}."
    DUTIES_BROKEN_UNCOUNTED = (
        "Separation of duties: broken. {acts}. These approvals were not counted."
    )
    DUTIES_NOT_SHOWN = "Separation of duties: not shown. Nobody has approved."
    # Page one's gates
    QUALITY = "{met} of {checks} quality checks pass on the records kept, in {datasets} datasets."
    QUALITY_UNCHECKED = "Datasets without a recorded check: {datasets}."
    PII_FOUND = "{found} items found; left: {left} that policy forbids, {allowed} that it allows."
    PII_ALLOWANCES = "Kept by the allow-list: {count} (entries: {entries}; first to end: {until})."
    PII_MERGED = "Redaction made {count} records equal to others."
    PII_LOWEST = "Lowest detection: {found} of {planted} planted {name} ({dataset}); {required}."
    PII_UNMEASURED = "Detection was not measured: {datasets}."
    LINEAGE = "{known} of {links} links from source to version are in the log."
    NOT_LABELLED = "No dataset here was labelled by several people; datacards name who labelled."
    AGREEMENT = "{met} of {checks} checks of agreement between raters pass."
    THRESHOLDS_MET = "{met} of {demands} thresholds met: {figures}."
    FIGURES = "Scored: {figures}."
    WORST_SLICE = "Slices of {metric}: {slices}."
    NO_THRESHOLD = "Policy sets no threshold."
    NO_THRESHOLD_WHY = "Policy sets no threshold: {why}."
    NO_SAFETY_THRESHOLD = "Policy sets no safety threshold."
    NO_SAFETY_METRIC = "No metric measures safety."
    NOT_EVALUATED = "No evaluation is recorded."
    EVALUATION_NOT_RUN = "Not run: {why}."
    THRESHOLDS_UNKNOWN = "The thresholds are unknown: {why}."
    LEAKAGE_NOT_TESTED = "No test shows whether the model repeats its training data."
    LEAKED_CANARIES = (
        "Of {count} secrets, each planted {times} times in the training of {stage}, {model} gives"
        " away {extracted} ({interval}); exposure {mean} on average, highest {highest} of {most}."
    )
    LEAKED_MEMBERS = (
        "{model} tells records that trained {stage} from held-out ones with AUC {auc}, where 0.5 is"
        " chance ({records}); {found}."
    )
    LEAKS_DILUTED = (
        "The training of {stage} reached {seen} of {used} records; the others count as trained on."
    )
    LEAKS_NOT_MEASURED = "Not measured: {parts}."
    SIGNED_FILES = "{valid} of {valid} signatures valid ({test_keys} by test keys). {files} files."
    FILES_NOT_CHECKED = "File types were not checked: the decision could not be repeated."
    FINDINGS = "Open findings: {findings}."
    WAIVED = "Waived findings: {findings}."


REGISTRY_SAYS = "{subject}: the log says {expected}, the registry says {found} ({finding})"
ACCEPTED = "{finding} {subject} was accepted for a while: {why}"


@unique
class About(Enum):
    """Code to the kind, the title and the sentence of a notice on page one."""

    DECISION_NOT_REPRODUCED = (
        "fault", "A decision does not come out as logged",
        "E{entry}, decided again from the entries before it: {why}",
    )  # fmt: skip
    ALIAS_MOVED = ("fault", "Alias moved without a decision", REGISTRY_SAYS)
    REGISTRY_DIFFERS = ("fault", "The registry differs from the log", REGISTRY_SAYS)
    SELF_APPROVAL = ("fault", "Self-approval", "{acts}")
    APPROVAL_NOT_COUNTED = ("fault", "An approval does not count", "{name}'s of E{entry}: {why}")
    WAIVER_EXPIRED = ("fault", "Expired waiver", ACCEPTED)
    WAIVER_NOT_COUNTED = ("fault", "A waiver does not count", ACCEPTED)
    WAIVER_NOT_NEEDED = (
        "note", "A waiver ended and is no longer needed", f"{ACCEPTED}. No finding needs it today",
    )  # fmt: skip
    INCIDENT_OPEN = ("fault", "Incident open", "since {at}, reported by {name}: {reason}")
    SECOND_SIGNATURE_OVERDUE = (
        "fault", "Emergency rollback: second signature overdue",
        "one person moved {alias} back alone; the second signature was due by {due}",
    )  # fmt: skip
    SECOND_SIGNATURE_DUE = (
        "note", "Emergency rollback: second signature due",
        "one person moved {alias} back alone; the second signature is due by {due}",
    )  # fmt: skip
    SECOND_SIGNATURE_GIVEN = (
        "note", "Emergency rollback", "one person moved {alias} back; a second person signed it",
    )  # fmt: skip
    POLICIES_NOT_SIGNED = (
        "fault", "Policies not signed", "their owners never signed the policies in force",
    )  # fmt: skip
    CHANGED_SINCE_APPROVAL = ("note", "Changed since it was approved", "{changes}")
    WAIVER = (
        "waiver", "Waived: {finding} {about}",
        "until {expires}, accepted by {principal} as {role}: {why}. Compensating control: {control}"
        " (owner: {owner}). Renewals so far: {renewals}",
    )  # fmt: skip
    BEHAVIOUR_NOT_JUDGED = (
        "note", "Behaviour: not judged, waived",
        "{subject}: {why}, which {finding} says and a waiver accepts. No limit of behaviour was"
        " applied. Missing: {lacks}",
    )  # fmt: skip
    DEVELOPMENT_KEYS = (
        "note", "Development keys",
        "{count} of {of} statements carry automatic test keys; enough for testing only",
    )  # fmt: skip
    DEVELOPMENT_RECORD_KEY = (
        "note", "Development record key",
        "record ids use a public test key: who has a text can test whether it is in the data",
    )  # fmt: skip
    KEY_REVOKED_LATER = (
        "note", "An approver's key was revoked",
        "the key by which {name} approved as {role} in E{entry} was revoked later, in E{revoked};"
        " what it signed before still counts",
    )  # fmt: skip
    ORIGIN_NOT_ESTABLISHED = (
        "note", "Origin not established",
        "the log is consistent, but nothing here shows that it is the log you mean",
    )  # fmt: skip
    ENTRIES_LEFT_OUT = (
        "note", "Statements left out", "{count} entries do not count: {entries}",
    )  # fmt: skip
    POLICIES_NOT_AVAILABLE = ("note", "Policies not available", "{why}")
    UNCOMMITTED_CODE = (
        "note", "Uncommitted code",
        "{count} statements were made with uncommitted code, parameters or policies"
        " ({outside} outside any git work tree)",
    )  # fmt: skip
    TRAINED_ELSEWHERE = (
        "note", "Trained elsewhere: self-attested",
        "{name} was trained by {organisation} with {tool}; {person} declared it on {on}. Nothing of"
        " its training and data was run or checked here. Unknown: {unknown}",
    )  # fmt: skip
    TRAINED_ELSEWHERE_UNDECLARED = (
        "note", "Trained elsewhere: not declared",
        "{name} was trained elsewhere, and the policies at hand do not declare how",
    )  # fmt: skip
    NAMES_BY_LIST = (
        "note", "Low-assurance search for personal data",
        "lists and patterns search for people and places, not a model; section Data says how"
        " many planted values they found",
    )  # fmt: skip
    RECORDS_LEFT_OUT = (
        "note", "Records left out",
        "{count} of {of} records read were left out; section Data gives each reason",
    )  # fmt: skip
    NOT_RUN = ("note", "Not run", "{tests}")
    REQUESTER_NOT_AUTHENTICATED = (
        "note", "Who started the runs is not proven", "operating-system account: {names}",
    )  # fmt: skip


UNVERIFIED = frozenset(
    about.name
    for about in (About.DECISION_NOT_REPRODUCED, About.ALIAS_MOVED, About.REGISTRY_DIFFERS)
)
"""Faults that contradict the log itself."""


def reason(code: Say, **fields: Json) -> Reason:
    """A reason with its sentence."""
    return Reason(code=code.name, fields=fields, text=timed(_drawn(code.value, fields)))


def text_of(reasons: list[Reason]) -> str:
    """Several reasons as one text."""
    return " ".join(reason_.text for reason_ in reasons)


def notice(code: About, evidence: Sequence[int] = (), **fields: Json) -> Notice:
    """An exception with its title and sentence."""
    kind, title, detail = code.value
    shown, text = _drawn(title, fields), timed(_drawn(detail, fields))
    about = {"kind": kind, "code": code.name, "fields": fields, "evidence": list(evidence)}
    return Notice.model_validate({**about, "title": shown, "detail": text})


def named(codes: list[str]) -> list[str]:
    """Finding codes, each once, with their titles: `score below threshold (THRESHOLD_NOT_MET)`."""
    unknown = "a finding of another version"
    titles = {code: CODES[code].title if code in CODES else unknown for code in codes}
    return [f"{title[:1].lower()}{title[1:]} ({code})" for code, title in titles.items()]


def _drawn(template: str, fields: dict[str, Json]) -> str:
    return template.format_map({name: _shown(value) for name, value in fields.items()})


def _shown(value: Json) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "nobody"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
