"""`countersign report`: the audit report of one model version, or the index of all."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from governance.commands import session, sources
from governance.errors import ConfigError, VerificationError
from governance.report import files, index
from governance.report.build import Sources, build, latest, read_state, until, verified_log
from governance.report.html import json_twin
from governance.report.index import Index
from governance.report.model import Report

INDEX = "index"


@click.command("report")
@click.argument("version", metavar="[MODEL/VERSION]", required=False)
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path), default=Path("reports"), show_default=True)
@click.option("--all", "everything", is_flag=True, help="The index of all models and versions instead.")
@sources.at_option
@session.bundle_options
@click.option("--json", "as_json", is_flag=True, help="Print the report's JSON and write nothing.")
@click.pass_context
def command(
    ctx: click.Context, version: str | None, folder: Path, everything: bool, moment: str | None, bundle: Path | None,
    origin: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Write the audit report of MODEL/VERSION, or of the version registered last: a page and its JSON twin.

    It is computed from verified records only. Exit code 5 when they do not verify, or when the registry says otherwise;
    the report then says what is wrong.
    """
    as_of, clock, found = sources.time_of(moment), session.clock(), sources.of(bundle, origin)
    if everything and version is not None:
        raise ConfigError("--all is of every version", fix="leave MODEL/VERSION out, or --all")
    if everything:
        made = _index(found, folder, as_of, clock)
        _written(made, folder, as_json)
        ctx.exit(0 if made.verified and "REGISTRY_" not in made.registry else VerificationError.exit_code)
    model, number = sources.named(version) if version else latest(found)
    report = build(found, model, number, as_of=as_of, clock=clock)
    if as_json:
        click.echo(json_twin(report))
    else:
        page = files.write(folder, files.rendered(report))[-1]
        click.echo(summary(report, page))
    ctx.exit(sources.exit_code(report))


def summary(report: Report, page: Path) -> str:
    """The verdict and what to read, in a few lines."""
    lines = [f"{report.model} version {report.version}: {report.verdict.word}", f"  {report.verdict.reason}"]
    told = [f"{one.title}. {one.detail}" for one in report.exceptions if one.kind == "fault"]
    lines += [f"  FAULT    {one}" for one in told]
    lines += [f"  {gate.result:<8} {gate.name}" for gate in report.gates]
    rest = [one.title for one in report.exceptions if one.kind != "fault"]
    if rest:
        lines.append(f"  exceptions: {'; '.join(rest)}")
    return "\n".join([*lines, f"  read: {page}"])


def _index(found: Sources, folder: Path, as_of: datetime | None, clock: datetime) -> Index:
    """The index; the reports of versions that stand in the folder are linked."""
    verified = verified_log(found)
    if verified.broken is not None:
        return index.broken(found.project, verified)
    whole, _ = read_state(found)
    pages = [path.name for path in folder.glob("*.html")]
    if as_of is not None:
        return index.index(until(whole, as_of), verified, as_of, None, pages)
    return index.index(whole, verified, clock, found.registry, pages)


def _written(made: Index, folder: Path, as_json: bool) -> None:
    if as_json:
        click.echo(index.json_twin(made))
        return
    written = files.write(folder, {f"{INDEX}.json": index.json_twin(made), f"{INDEX}.html": index.page(made)})
    told = f"{len(made.versions)} versions, {len(made.live)} live"
    told += f", {len(made.ending)} ending, {len(made.waiting)} waiting"
    told = told if made.verified else f"EVIDENCE DOES NOT VERIFY: {made.first_broken}"
    click.echo(f"{told}\n  read: {written[-1]}")
