"""`countersign report`: the audit report of one model version, signed where somebody answers for
it; or of all.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NoReturn

import click

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Requester, Run
from governance.base.errors import ConfigError, RefusedError, VerificationError
from governance.base.time import exact_instant
from governance.bundle.log import BundleLog
from governance.bundle.sources import Sources
from governance.commands import session, sources
from governance.commands.exit_codes import exit_code
from governance.commands.session import Call, named
from governance.machine.machine import signer
from governance.people import kept, reports
from governance.people.reports import Bytes, ComputedReport, ReportBytes
from governance.report import html, index
from governance.report.build import build, latest, until
from governance.report.index import Index
from governance.report.model.report import Report
from governance.report.verdict import banner

INDEX = "index"


@click.command("report")
@click.argument("version", metavar="[MODEL/VERSION]", required=False)
@click.option("-o", "--output", "folder", type=session.FILE, default="reports", show_default=True)
@click.option("--all", "everything", is_flag=True, help="The index of all versions instead.")
@click.option("--sign", "signing", is_flag=True, help="Sign the report and keep its bytes.")
@click.option("--kept", "sha256", metavar="SHA256", help="Print a signed report, as it was.")
@click.option("--reason", default="", help="With --sign: why you sign. No personal data.")
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
    if [everything, sha256 is not None, signing or version is not None].count(True) > 1:
        raise ConfigError("give one of MODEL/VERSION, --all and --kept; sign one version's report")
    if signing and call.bundle is not None:
        raise ConfigError("a report is signed where the log can be added to", fix="omit --bundle")
    if signing and not reason.strip():
        raise click.UsageError("Missing option '--reason'.")
    read = sources.of(call)
    kept_bytes: Bytes
    if isinstance(read.log, BundleLog):  # there may be no machine of this project
        kept_bytes = {file.sha256: file.text.encode() for file in read.log.bundle.files}.get
    else:
        kept_bytes = partial(kept.read, call.machine)
    if sha256 is not None:
        statement = reports.find(sources.verified(read).read[0], sha256)
        read.must_show_all_of(statement.predicate.model)
        found = reports.content(statement, kept_bytes)
        is_page = statement.predicate.page.startswith(sha256)
        click.echo(found.page if is_page else found.twin, nl=False)
        return
    if everything:
        _index(call, read, folder)
    name = named(version) if version else latest(read)
    report = build(read, *name, as_of=call.as_of, clock=call.now)
    computed = reports.computed(report, call.as_of)
    content: ReportBytes = computed
    if signing:
        notes = [_sign(call, computed, reason)]
    else:
        content, notes = _signed(read, kept_bytes, computed)
    if call.as_json:
        click.echo(content.twin)
        session.tell(notes, err=True)
    else:
        page = html.write(folder, content.files)[-1]
        session.tell([summary(report, page), *(f"  {line}" for line in notes)])
    call.exit(exit_code(report))


def summary(report: Report, page: Path) -> str:
    """The verdict and what to read, in a few lines."""
    faults = sum(fault.kind == "fault" for fault in report.exceptions)
    title = banner(report.verdict.word, faults).text
    return "\n".join(session.text("report", report=report, title=title, page=page))


def _signed(
    read: Sources, kept_bytes: Bytes, computed: ComputedReport
) -> tuple[ReportBytes, list[str]]:
    """The signed report that equals this one, if there is one, and notes about it."""
    if not computed.report.integrity.verified:
        return computed, []
    now, _ = read.read
    signed, notes = reports.standing_in(now, computed, kept_bytes)
    if signed is None:
        return computed, notes
    statement, entry = signed.statement.predicate, signed.statement.index
    principal = now.authority.principal(signed.statement.keyid, entry)
    who = principal.name if principal else "a development key"
    role = f" as {statement.role}" if statement.role else ""
    return signed, [f"as {who}{role} signed it, entry {entry}: sha256 {statement.page}", *notes]


def _sign(call: Call, computed: ComputedReport, reason: str) -> str:
    """Signs a report. Returns a sentence about it."""
    role, report = call.role, computed.report
    if call.has_key:
        chosen, authority = call.signer, call.state().authority
        roles = authority.policies.rules.responsible_roles
        author = call.signing.speaker(authority, roles)
        name, role = f"{author.name} as {author.role}", author.role
        requester = Requester(name=author.name, authenticated=True)
        version = f"{report.model}/{report.version}"
        session.tell([f"{report.verdict.word}: {report.verdict.reason}"], err=True)
        call.confirm(f"{name} signs the report of {version}: {reason}", version)
    elif role is not None:
        raise ConfigError("a service has no role", where="--role", fix="give --key")
    else:
        chosen, requester = signer(call.machine), call.machine.requester
        name = "this machine's service or development key"
    at = exact_instant(call.now)
    run = Run(started=at, finished=at, seconds=0.0, requested_by=requester)
    entry = reports.sign(call.log, chosen, call.machine, computed, reason, role, run)
    return f"signed by {name}, entry {entry.index}: sha256 {sha256_bytes(computed.page)}"


def code_of_all(overview: Index) -> int:
    """The exit code of the index: 5 if something does not verify, 4 if a live version has a fault,
    is late or would be refused now, else 0.
    """
    if overview.first_broken or overview.registry:
        return VerificationError.exit_code
    late = any(row.overdue for row in (*overview.ending, *overview.waiting))
    wrong = any(row.faults or row.verdict == "NOT APPROVED" for row in overview.live)
    return RefusedError.exit_code if late or wrong else 0


def _index(call: Call, read: Sources, folder: Path) -> NoReturn:
    """Writes the index, with links to the reports in the folder, and ends the command."""
    verified = read.verified
    pages = [path.name for path in folder.glob("*.html")]
    for model in () if verified.broken else read.read[0].timeline.models:
        read.must_show_all_of(model)
    if verified.broken is not None:
        overview = index.broken(read.project, verified)
    elif call.as_of is not None:
        past = until(read.read[0], call.as_of)
        overview = index.index(past, verified, call.as_of, None, pages)
    else:
        overview = index.index(read.read[0], verified, call.now, read.registry, pages)
    twin = html.json_twin(overview)
    if call.as_json:
        click.echo(twin)
        call.exit(code_of_all(overview))
    written = html.write(folder, {f"{INDEX}.json": twin, f"{INDEX}.html": index.page(overview)})
    headline = f"EVIDENCE DOES NOT VERIFY: {overview.first_broken}"
    if not overview.first_broken:
        headline = f"{len(overview.versions)} versions, {len(overview.live)} live"
        headline += f", {len(overview.ending)} ending, {len(overview.waiting)} waiting"
    session.tell([headline, f"  read: {written[-1]}"])
    call.exit(code_of_all(overview))
