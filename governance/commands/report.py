"""`countersign report`: the audit report of one model version."""

from __future__ import annotations

import os
from pathlib import Path

import click

from governance.errors import ConfigError, CountersignError, VerificationError
from governance.machine import machine_of
from governance.policy import Policies, load_policies
from governance.report import files
from governance.report.build import Sources, build, latest, open_sources
from governance.report.html import json_twin
from governance.report.model import Report


@click.command("report")
@click.argument("version", metavar="[MODEL/VERSION]", required=False)
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path), default=Path("reports"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the report's JSON and write nothing.")
@click.pass_context
def command(ctx: click.Context, version: str | None, folder: Path, as_json: bool) -> None:
    """Write the audit report of MODEL/VERSION, or of the version registered last: a page and its JSON twin.

    It is computed from verified records only. Exit code 5 when they do not verify; the report then says what is broken.
    """
    sources = _sources(Path.cwd())
    model, number = _named(version) if version else latest(sources)
    report = build(sources, model, number)
    if as_json:
        click.echo(json_twin(report))
    else:
        page = files.write(folder, files.rendered(report))[-1]
        click.echo(summary(report, page))
    ctx.exit(0 if report.integrity.verified else VerificationError.exit_code)


def summary(report: Report, page: Path) -> str:
    """The verdict and what to read, in a few lines."""
    lines = [f"{report.model} version {report.version}: {report.verdict.word}", f"  {report.verdict.reason}"]
    lines += [f"  {gate.result:<8} {gate.name}" for gate in report.gates]
    if report.exceptions:
        lines.append(f"  exceptions: {'; '.join(notice.title for notice in report.exceptions)}")
    return "\n".join([*lines, f"  read: {page}"])


def _named(text: str) -> tuple[str, str]:
    model, separator, number = text.partition("/")
    if not (model and separator and number):
        raise ConfigError(f"{text!r} names no version", expected="MODEL/VERSION, e.g. support-desk/1")
    return model, number


def _sources(root: Path) -> Sources:
    policies: Policies | CountersignError
    try:
        policies = load_policies(root / "policies")
    except CountersignError as error:
        policies = error
    return open_sources(root, machine_of(root, os.environ), policies)
