"""Signed reports: stored by digest, and returned byte for byte.

1. The statement names the digests of the page and its JSON twin, and the entries that the report
   read. Signing the same report again with the same key adds nothing.
2. Stored bytes are used only if they have the signed digest.
3. A new report is computed in any case. The signed report is returned in its place only if both
   agree on the same entries. Differences are reported.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from governance.attest.digests import sha256_bytes
from governance.attest.keys import Signer, public_key
from governance.attest.predicates import Artifact, Run, SignedReport
from governance.base.errors import ConfigError, InputError, RefusedError, VerificationError
from governance.base.time import instant
from governance.history.state import LogState
from governance.log import evidence
from governance.log.evidence import Evidence
from governance.log.port import Entry, Log
from governance.machine.machine import Machine
from governance.people import kept
from governance.people.speaking import digest_beginning
from governance.policy.authority import read_authority
from governance.policy.speakers import may_make
from governance.report.html import json_twin, page
from governance.report.model.report import Report

ABOUT = ("project", "model", "version", "digest", "as_of", "entries_read")
"""Fields of a report that say what it is about."""
Bytes = Callable[[str], bytes | None]
"""Reads the bytes stored under a digest. They may have been changed."""


@dataclass(frozen=True)
class ReportBytes:
    """A report in bytes: its page and its JSON twin."""

    model: str
    version: str
    page: bytes
    twin: bytes

    @property
    def files(self) -> dict[str, bytes]:
        """File name to content, the page last."""
        name = f"{self.model}-{self.version}"
        return {f"{name}.json": self.twin, f"{name}.html": self.page}


@dataclass(frozen=True)
class ComputedReport(ReportBytes):
    """A computed report."""

    report: Report
    asked_at: str | None
    """The time that the reader asked for. None for a report of the present."""


@dataclass(frozen=True)
class KeptReport(ReportBytes):
    """A signed report. Its bytes have the signed digests."""

    statement: Evidence[SignedReport]


def computed(report: Report, as_of: datetime | None) -> ComputedReport:
    """Renders a report."""
    asked_at = instant(as_of) if as_of else None
    twin = json_twin(report)
    return ComputedReport(report.model, report.version, page(report, twin), twin, report, asked_at)


def sign(
    log: Log,
    signer: Signer,
    machine: Machine,
    computed: ComputedReport,
    reason: str,
    role: str | None,
    run: Run,
) -> Entry:
    """(1) Stores and signs the bytes. Raises `VerificationError` if the log does not verify."""
    report = computed.report
    if not report.integrity.verified:
        found = f"evidence does not verify: {report.integrity.first_broken}"
        raise VerificationError(found, fix="countersign verify")
    _check_key(log, signer)
    statement = SignedReport(
        model=report.model,
        version=report.version,
        model_digest=report.digest,
        page=sha256_bytes(computed.page),
        twin=sha256_bytes(computed.twin),
        verdict=report.verdict.word,
        as_of=report.as_of,
        asked_at=computed.asked_at,
        entries=report.entries_read,
        root=report.integrity.root,
        generator=report.generator,
        reason=reason,
        role=role,
        run=run,
    )
    kept.keep(machine, computed.twin)
    kept.keep(machine, computed.page)
    twin, html = computed.files
    subjects = [
        Artifact(role="report", name=html, sha256=statement.page),
        Artifact(role="report_json", name=twin, sha256=statement.twin),
        Artifact(role="model", name=statement.model, sha256=statement.model_digest),
    ]
    return evidence.record(log, signer, "report", subjects, statement)


def _check_key(log: Log, signer: Signer) -> None:
    """Checks the key first: a statement by an unknown key would break the log. Raises
    `ConfigError`.
    """
    authority, keyid = read_authority(log), signer.keyid
    development = {public_key(pem).keyid for pem in evidence.origin(log).development_keys}
    maker = authority.principal(keyid, log.size())
    if maker is not None and not may_make(authority.policies.rules, "report", maker):
        found = f"{maker.name} has no part in a release, so that a report of theirs would not count"
        raise RefusedError(found, expected="a service that signs registrations or promotions")
    if maker is None and keyid not in development - authority.keys.keys():
        found = f"the policies in force do not name this key ({keyid[:16]})"
        fix = "give --key, or export COUNTERSIGN_SIGNER=file2:/path/to/the/service's/key.pem"
        raise ConfigError(found, where="COUNTERSIGN_SIGNER", fix=fix)


def of_version(now: LogState, model: str, version: str) -> list[Evidence[SignedReport]]:
    """The signed reports of a version, in the order of the log."""
    return [
        statement
        for statement in _all(now)
        if (statement.predicate.model, statement.predicate.version) == (model, version)
    ]


def find(now: LogState, sha256: str) -> Evidence[SignedReport]:
    """The last statement that signed a page or its JSON twin. A prefix of the digest is enough.
    Raises `InputError`.
    """
    signed = {
        digest: statement
        for statement in _all(now)
        for digest in (statement.predicate.page, statement.predicate.twin)
    }
    return signed[digest_beginning(sha256, signed, "signed report")]


def _all(now: LogState) -> list[Evidence[SignedReport]]:
    """The signed reports that count."""
    return [
        statement for statement in now.evidence.all(SignedReport) if now.authority.admits(statement)
    ]


def content(statement: Evidence[SignedReport], read: Bytes) -> KeptReport:
    """(2) The bytes that a statement names. Raises `InputError`, `VerificationError`."""
    signed = statement.predicate
    contents = (_bytes(signed.page, read), _bytes(signed.twin, read))
    return KeptReport(signed.model, signed.version, *contents, statement)


def standing_in(
    now: LogState, computed: ComputedReport, read: Bytes
) -> tuple[KeptReport | None, list[str]]:
    """(3) The signed report that equals this one, if any, and notes about signed reports that do
    not.
    """
    notes: list[str] = []
    report = computed.report
    subject = (report.digest, report.entries_read, computed.asked_at, report.as_of)
    for entry in reversed(of_version(now, report.model, report.version)):
        statement = entry.predicate
        covers = (statement.model_digest, statement.entries, statement.asked_at, statement.as_of)
        principal = now.authority.principal(entry.keyid, entry.index)
        if covers != subject or (principal is None and not entry.development):
            continue
        if statement.page == sha256_bytes(computed.page):
            own = (computed.model, computed.version, computed.page, computed.twin)
            return KeptReport(*own, entry), notes
        try:
            signed = content(entry, read)
        except (InputError, VerificationError) as error:
            notes.append(f"the report of entry {entry.index} cannot be returned: {error.found}")
            continue
        differing = _differing(json.loads(signed.twin), report)
        if not differing:
            return signed, notes
        notes.append(
            f"not as it was signed in entry {entry.index}: {', '.join(differing)}; "
            f"that one: countersign report --kept {statement.page}"
        )
    return None, notes


def _differing(signed: Any, now: Report) -> list[str]:
    """What differs between the present report and the signed one: what it is about, verdict, faults
    or registry.
    """
    current = now.model_dump()
    about = [name for name in ABOUT if signed.get(name) != current[name]]
    before, here = _essence(signed, current["format"]), _essence(current, signed["format"])
    return about + [name for name in here if here[name] != before[name]]


def _essence(report: Any, other_format: str) -> dict[str, Any]:
    """Verdict, faults and registry of a report's JSON. Between two formats only the number of
    faults is compared.
    """
    faults = [notice for notice in report["exceptions"] if notice["kind"] == "fault"]
    essence = {"verdict": report["verdict"]["word"], "faults": [len(faults)]}
    if report["format"] == other_format:
        essence["faults"] = [fault.get("code", fault["title"]) for fault in faults]
        essence["registry"] = report["integrity"]["registry"]
    return essence


def _bytes(sha256: str, read: Bytes) -> bytes:
    content = read(sha256)
    if content is None:
        fix = "use the machine on which it was signed, or a bundle that carries it"
        raise InputError(f"the report {sha256[:12]} is not kept here", fix=fix)
    if sha256_bytes(content) != sha256:
        found = "what is kept under the digest of a signed report was changed"
        fix = "ask whoever signed it for the file, or take it from a bundle (--bundle)"
        raise VerificationError(found, where=f"report {sha256[:12]}", fix=fix)
    return content
