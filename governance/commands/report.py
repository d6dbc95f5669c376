"""`countersign report`: the audit report of one model version, signed where somebody answers for
it; or of all.
"""

from __future__ import annotations

from pathlib import Path

import click

from governance.attest.digests import sha256_bytes
from governance.attest.keys import Signer
from governance.attest.predicates import Requester, Run
from governance.base.errors import ConfigError, RefusedError, VerificationError
from governance.base.text import one_line
from governance.base.time import exact_instant
from governance.bundle.log import BundleLog
from governance.commands import session, sources
from governance.commands.session import Call, named
from governance.machine.machine import signer
from governance.people import kept, reports, speaking
from governance.people.reports import Bytes, ComputedReport, KeptReport
from governance.report import files, index
from governance.report.build import build, latest, until
from governance.report.html import json_twin
from governance.report.index import Index
from governance.report.model import Report
from governance.report.sources import Sources
from governance.report.verdict import banner

INDEX = "index"
WHY = "for the record"


@click.command("report")
@click.argument("version", metavar="[MODEL/VERSION]", required=False)
@click.option(
    "-o", "--output", "folder", type=session.FILE, default=Path("reports"), show_default=True
)
@click.option(
    "--all", "everything", is_flag=True, help="The index of all models and versions instead."
)
@click.option(
    "--sign",
    "signing",
    is_flag=True,
    help="Sign it: it is kept by its digest and returned as it was.",
)
@click.option(
    "--kept",
    "sha256",
    metavar="SHA256",
    help="A report that was signed, as it was, to standard output.",
)
@click.option(
    "--reason", default=WHY, show_default=True, help="With --sign: why. No personal data."
)
@session.options("key", "role", "yes", "moment", *session.READS)
def command(
    call: Call,
    version: str | None,
    folder: Path,
    everything: bool,
    signing: bool,
    sha256: str | None,
    reason: str,
) -> None:
    """Write the audit report of MODEL/VERSION, or of the version registered last: a page and its
    JSON twin.

    It is computed from verified records only. Where somebody signed the report of exactly these
    entries and this time, and nothing has come to light since, it is the one that was signed, to
    the byte. Exit code 5 when the records do not verify, a decision does not come out as it was
    logged, or the registry says otherwise; 4 when page one tells of another fault, or of a version
    that serves users and would be refused now.

    With --sign it is signed, by your key (--key, COUNTERSIGN_KEY), else by the service's
    (COUNTERSIGN_SIGNER) or this machine's development key.
    """
    _check(call, version, everything, signing, sha256)
    read, kept_bytes = _sources(call)
    if sha256 is not None:
        click.echo(_as_it_was(read, kept_bytes, sha256), nl=False)
        return
    if everything:
        overview = _index(call, read, folder)
        _write_index(call, overview, folder)
        call.exit(code_of_all(overview))
    model, number = named(version) if version else latest(read)
    report = build(read, model, number, as_of=call.as_of, clock=call.now)
    computed = reports.computed(report, call.as_of)
    if signing:
        signed, notes = None, [_sign(call, computed, reason)]
    else:
        signed, notes = _signed(read, kept_bytes, computed)
    if call.as_json:
        click.echo((signed or computed).twin)
        session.tell(notes, err=True)
    else:
        page = files.write(folder, (signed or computed).files)[-1]
        click.echo("\n".join([summary(report, page), *(f"  {line}" for line in notes)]))
    call.exit(sources.exit_code(report))


def summary(report: Report, page: Path) -> str:
    """The verdict and what to read, in a few lines."""
    faults = [fault for fault in report.exceptions if fault.kind == "fault"]
    title = banner(report.verdict.word, len(faults)).text
    lines = [
        f"{report.model} version {report.version}: {title}",
        f"  {report.verdict.reason}",
    ]
    lines += [f"  FAULT         {fault.title}: {fault.detail}" for fault in faults]
    lines += [f"  {gate.result:<13} {gate.name}" for gate in report.gates]
    rest = [notice.title for notice in report.exceptions if notice.kind != "fault"]
    if rest:
        lines.append(f"  exceptions: {'; '.join(rest)}")
    return "\n".join(one_line(line) for line in [*lines, f"  read: {page}"])


def _check(
    call: Call, version: str | None, everything: bool, signing: bool, sha256: str | None
) -> None:
    """Checks that the options fit together. Raises `ConfigError`."""
    if everything and version is not None:
        raise ConfigError("--all is of every version", fix="leave MODEL/VERSION out, or --all")
    if sha256 is not None and (version is not None or everything or signing):
        fix = "give --kept SHA256 alone, or with --bundle"
        raise ConfigError("--kept names the report by its digest", fix=fix)
    if signing and (everything or call.bundle is not None):
        found = "--sign is of one version's report, where the log can be added to"
        raise ConfigError(found, fix="leave --all, --bundle out")


def _sources(call: Call) -> tuple[Sources, Bytes]:
    """Where to read the log, and the bytes of kept reports."""
    if call.bundle is None:
        return sources.here(), lambda sha256: kept.read(call.machine, sha256)
    read = sources.carried(call.bundle, call.origin)
    files = read.log.bundle.files if isinstance(read.log, BundleLog) else ()
    texts = {file.sha256: file.text.encode() for file in files}
    return read, texts.get


def _as_it_was(read: Sources, kept_bytes: Bytes, sha256: str) -> bytes:
    """The signed page or twin with this digest. Raises `VerificationError` if the log does not
    verify.
    """
    statement = reports.find(sources.verified(read).read[0], sha256)
    signed = reports.content(statement, kept_bytes)
    return signed.page if statement.predicate.page.startswith(sha256) else signed.twin


def _signed(
    read: Sources, kept_bytes: Bytes, computed: ComputedReport
) -> tuple[KeptReport | None, list[str]]:
    """The signed report that equals this one, if any, and notes about it."""
    if not computed.report.integrity.verified:
        return None, []
    now, _ = read.read
    signed, notes = reports.standing_in(now, computed, kept_bytes)
    if signed is None:
        return None, notes
    statement, entry = signed.statement.predicate, signed.statement.index
    principal = now.authority.principal(signed.statement.keyid, entry)
    who = principal.name if principal else "a development key"
    role = f" as {statement.role}" if statement.role else ""
    return signed, [f"as {who}{role} signed it, entry {entry}: sha256 {statement.page}", *notes]


def _sign(call: Call, computed: ComputedReport, reason: str) -> str:
    """Signs a report. Returns a sentence about it."""
    role, report = call.role, computed.report
    chosen: Signer
    if call.has_key:
        chosen, authority = call.signer, call.state().authority
        author = call.signing.speaker(authority, speaking.roles_of(authority.policies))
        name, role = f"{author.name} as {author.role}", author.role
        requester = Requester(name=author.name, authenticated=True)
        version = f"{report.model}/{report.version}"
        session.tell([f"{report.verdict.word}: {report.verdict.reason}"], err=True)
        question = f"{author.name} signs the report of {version} as {author.role}: {reason}"
        call.agreed(question, version)
    elif role is not None:
        fix = "give --key, or leave --role out"
        raise ConfigError("a service has no role", where="--role", fix=fix)
    else:
        chosen, requester = signer(call.machine), call.machine.requester
        name = "this machine's service or development key"
    at = exact_instant(call.now)
    run = Run(started=at, finished=at, seconds=0.0, requested_by=requester)
    entry = reports.sign(call.log, chosen, call.machine, computed, reason, role, run)
    return f"signed by {name}, entry {entry.index}: sha256 {sha256_bytes(computed.page)}"


def _index(call: Call, read: Sources, folder: Path) -> Index:
    """The index, with links to the reports in the folder."""
    verified = read.verified
    if verified.broken is not None:
        return index.broken(read.project, verified)
    whole, _ = read.read
    pages = [path.name for path in folder.glob("*.html")]
    if call.as_of is not None:
        return index.index(until(whole, call.as_of), verified, call.as_of, None, pages)
    return index.index(whole, verified, call.now, read.registry, pages)


def code_of_all(overview: Index) -> int:
    """The exit code of the index: 5 if something does not verify, 4 if a live version has a fault
    or is late, else 0.
    """
    if overview.first_broken or overview.registry:
        return VerificationError.exit_code
    late = any(row.overdue for row in (*overview.ending, *overview.waiting))
    wrong = any(row.faults for row in overview.live)
    return RefusedError.exit_code if late or wrong else 0


def _write_index(call: Call, overview: Index, folder: Path) -> None:
    twin = json_twin(overview)
    if call.as_json:
        click.echo(twin)
        return
    written = files.write(folder, {f"{INDEX}.json": twin, f"{INDEX}.html": index.page(overview)})
    counts = f"{len(overview.versions)} versions, {len(overview.live)} live"
    counts += f", {len(overview.ending)} ending, {len(overview.waiting)} waiting"
    broken = overview.first_broken
    headline = f"EVIDENCE DOES NOT VERIFY: {broken}" if broken else counts
    click.echo(f"{headline}\n  read: {written[-1]}")
