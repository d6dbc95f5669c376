"""`countersign fleet`: what is live, what waits, what is overdue and under incident, across
projects.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from governance.base.errors import ConfigError
from governance.base.progress import Progress
from governance.base.storage import write_atomic
from governance.commands import session
from governance.commands.session import Call
from governance.machine import projects
from governance.machine.machine import Machine, machine_of
from governance.people import fleet


@click.command("fleet")
@click.option("--projects", "file", type=session.FILE, help="A projects.yaml; its projects only.")
@click.option("--html", "page", type=session.FILE, help="Write a page to this file, too.")
@session.options("as_json")
def command(call: Call, file: Path | None, page: Path | None) -> None:
    """Show all projects that this machine knows: what is live, what waits for whom, what is
    overdue, and open incidents.

    It knows the projects of projects.yaml in COUNTERSIGN_HOME, those whose log is kept there, and
    the one at hand. Each log is verified and compared with its registry. Exit code 5 where
    something does not verify, 6 where a log cannot be read, 4 where something is overdue, under
    incident or would be refused now.
    """
    here = _here()
    if file is not None:
        machines = projects.listed(file, os.environ)
    else:
        machines = projects.known(os.environ, here)
    if not machines:
        fix = "change to a project's folder, set COUNTERSIGN_HOME, or give --projects FILE"
        raise ConfigError("this machine knows no project", fix=fix)
    with Progress().waiting(f"verifying {len(machines)} logs"):
        made = fleet.fleet(machines, call.now, here.project if here else "")
    if page is not None:
        write_atomic(page, fleet.page(made))
    call.show(made, () if call.as_json else session.text("fleet", fleet=made, page=page))
    call.exit(made.exit_code)


def _here() -> Machine | None:
    """The project at hand; None where there is none."""
    is_named = os.environ.get("COUNTERSIGN_PROJECT") or Path("params.yaml").exists()
    return machine_of(Path.cwd(), os.environ) if is_named else None
