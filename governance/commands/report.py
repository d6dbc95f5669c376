"""`countersign report`: the audit report of one model version, signed where somebody answers for
it; or of all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import click

from governance.attest.digests import sha256_bytes
from governance.attest.keys import Signer
from governance.attest.predicates import Requester, Run
from governance.base.errors import ConfigError, RefusedError, VerificationError
from governance.base.text import one_line
from governance.base.time import exact_instant
from governance.commands import session, sources
from governance.history.state import LogState
from governance.machine.machine import signer
from governance.people import kept, reports, speaking
from governance.people.reports import Bytes, ComputedReport, KeptReport
from governance.report import files, index
from governance.report.build import Sources, build, latest, until
from governance.report.index import Index
from governance.report.model import Report
from governance.report.verdict import banner

INDEX = "index"
WHY = "for the record"


@dataclass(frozen=True)
class _Where:
    """Where to read the log and kept reports."""

    sources: Sources
    kept: Bytes


@click.command("report")
@click.argument("version", metavar="[MODEL/VERSION]", required=False)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("reports"),
    show_default=True,
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
@session.key_option
@session.role_option
@click.option("--yes", is_flag=True, help="Do not ask before signing.")
@sources.at_option
@session.bundle_options
@click.option("--json", "as_json", is_flag=True, help="Print the report's JSON and write nothing.")
@click.pass_context
def command(
    ctx: click.Context,
    version: str | None,
    folder: Path,
    everything: bool,
    signing: bool,
    sha256: str | None,
    reason: str,
    key: str | None,
    role: str | None,
    yes: bool,
    moment: str | None,
    bundle: Path | None,
    origin: str | None,
    as_json: bool,
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
    _check(version, everything, signing, sha256, bundle)
    as_of, clock = sources.time_of(moment), session.clock()
    where = _where(bundle, origin)
    if sha256 is not None:
        click.echo(_as_it_was(where, sha256), nl=False)
        return
    if everything:
        made = _index(where.sources, folder, as_of, clock)
        _written(made, folder, as_json)
        ctx.exit(code_of_all(made))
    model, number = session.named(version) if version else latest(where.sources)
    computed = reports.computed(
        build(where.sources, model, number, as_of=as_of, clock=clock), as_of
    )
    signed, notes = (
        (None, [_sign(computed, reason, key, role, yes)]) if signing else _signed(where, computed)
    )
    if as_json:
        click.echo((signed or computed).twin)
        session.tell(notes, err=True)
    else:
        page = files.write(folder, (signed or computed).files)[-1]
        click.echo("\n".join([summary(computed.report, page), *(f"  {line}" for line in notes)]))
    ctx.exit(sources.exit_code(computed.report))


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
    version: str | None, everything: bool, signing: bool, sha256: str | None, bundle: Path | None
) -> None:
    """Checks that the options fit together. Raises `ConfigError`."""
    if everything and version is not None:
        raise ConfigError("--all is of every version", fix="leave MODEL/VERSION out, or --all")
    if sha256 is not None and (version is not None or everything or signing):
        raise ConfigError(
            "--kept names the report by its digest",
            fix="give --kept SHA256 alone, or with --bundle",
        )
    if signing and (everything or bundle is not None):
        raise ConfigError(
            "--sign is of one version's report, where the log can be added to",
            fix="leave --all, --bundle out",
        )


def _where(bundle: Path | None, origin: str | None) -> _Where:
    if bundle is None:
        machine = session.here()
        return _Where(sources.here(), lambda sha256: kept.read(machine, sha256))
    opened = session.carried(bundle, origin)
    texts = {file.sha256: file.text.encode() for file in opened.log.bundle.files}
    return _Where(opened.sources, texts.get)


def _as_it_was(where: _Where, sha256: str) -> bytes:
    """The signed page or twin with this digest. Raises `VerificationError` if the log does not
    verify.
    """
    verified = where.sources.verified
    if verified.broken is not None:
        raise VerificationError(
            f"evidence does not verify: {verified.broken}", fix="countersign verify"
        )
    statement = reports.find(where.sources.read[0], sha256)
    signed = reports.content(statement, where.kept)
    return signed.page if statement.predicate.page.startswith(sha256) else signed.twin


def _signed(where: _Where, computed: ComputedReport) -> tuple[KeptReport | None, list[str]]:
    """The signed report that equals this one, if any, and notes about it."""
    if not computed.report.integrity.verified:
        return None, []
    now, _ = where.sources.read
    signed, notes = reports.standing_in(now, computed, where.kept)
    if signed is not None:
        statement = signed.item.predicate
        notes = [
            f"as {_who(now, signed)} signed it, entry {signed.item.index}: sha256 {statement.page}",
            *notes,
        ]
    return signed, notes


def _who(now: LogState, signed: KeptReport) -> str:
    principal = now.authority.principal(signed.item.keyid, signed.item.index)
    role = signed.item.predicate.role
    return f"{principal.name if principal else 'a development key'}{f' as {role}' if role else ''}"


def _sign(
    computed: ComputedReport, reason: str, key: str | None, role: str | None, yes: bool
) -> str:
    """Signs a report. Returns a sentence about it."""
    machine, at = session.here(), session.clock()
    log = speaking.log_to_add_to(machine)
    chosen: Signer
    if key or os.environ.get(speaking.KEY):
        now = session.current(log)
        chosen = session.signer(key)
        author = speaking.speaker(
            now.authority, chosen, role, speaking.roles_of(now.authority.policies), at
        )
        name, role = f"{author.name} as {author.role}", author.role
        requester = Requester(name=author.name, authenticated=True)
        report = computed.report
        version = f"{report.model}/{report.version}"
        question = f"{author.name} signs the report of {version} as {author.role}: {reason}"
        session.tell([f"{report.verdict.word}: {report.verdict.reason}"], err=True)
        session.confirm(question, version, yes)
    elif role is not None:
        raise ConfigError(
            "a service has no role", where="--role", fix="give --key, or leave --role out"
        )
    else:
        chosen, requester = signer(machine), machine.requester
        name = "this machine's service or development key"
    run = Run(
        started=exact_instant(at), finished=exact_instant(at), seconds=0.0, requested_by=requester
    )
    entry = reports.sign(log, chosen, machine, computed, reason, role, run)
    return f"signed by {name}, entry {entry.index}: sha256 {sha256_bytes(computed.page)}"


def _index(read: Sources, folder: Path, as_of: datetime | None, clock: datetime) -> Index:
    """The index, with links to the reports in the folder."""
    verified = read.verified
    if verified.broken is not None:
        return index.broken(read.project, verified)
    whole, _ = read.read
    pages = [path.name for path in folder.glob("*.html")]
    if as_of is not None:
        return index.index(until(whole, as_of), verified, as_of, None, pages)
    return index.index(whole, verified, clock, read.registry, pages)


def code_of_all(overview: Index) -> int:
    """The exit code of the index: 5 if something does not verify, 4 if a live version has a fault
    or is late, else 0.
    """
    if not overview.verified or overview.registry_state == "differs":
        return VerificationError.exit_code
    late = any(row.overdue for row in (*overview.ending, *overview.waiting))
    wrong = any(live.has_fault for live in overview.live)
    return RefusedError.exit_code if late or wrong else 0


def _written(overview: Index, folder: Path, as_json: bool) -> None:
    if as_json:
        click.echo(index.json_twin(overview))
        return
    written = files.write(
        folder, {f"{INDEX}.json": index.json_twin(overview), f"{INDEX}.html": index.page(overview)}
    )
    counts = f"{len(overview.versions)} versions, {len(overview.live)} live"
    counts += f", {len(overview.ending)} ending, {len(overview.waiting)} waiting"
    headline = counts if overview.verified else f"EVIDENCE DOES NOT VERIFY: {overview.first_broken}"
    click.echo(f"{headline}\n  read: {written[-1]}")
