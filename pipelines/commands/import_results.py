"""`countersign import-results FILE --model MODEL/VERSION`: results of another evaluation tool, as
signed evidence.

They are marked "separately run", and no threshold reads them. The digest of the model that the tool
evaluated is taken from its folder, or given; it must be the one that is registered.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from governance.attest.digests import tree_digest
from governance.attest.predicates import Artifact, Results, Run
from governance.base.errors import ConfigError, InputError
from governance.base.text import one_line
from governance.base.time import exact_instant
from governance.commands import session
from governance.commands.session import FILE, Call
from governance.history.state import LogState
from governance.log import evidence
from governance.machine.machine import signer
from governance.people import authorizing
from pipelines.results.file import ToolFile, read

KIND = "results"


@click.command("import-results")
@click.argument("file", type=FILE)
@click.option("--model", "version", required=True, metavar="MODEL/VERSION", help="What it scored.")
@click.option("--folder", type=FILE, metavar="DIR", help="The model folder that the tool loaded.")
@click.option("--digest", metavar="SHA256", help="Where the folder is not here: its digest.")
@session.options("dry_run", "as_json")
def command(call: Call, file: Path, version: str, folder: Path | None, digest: str | None) -> None:
    """Record the results of another evaluation tool about MODEL/VERSION: results_*.json of lm-eval,
    or a JSON log of inspect-ai.

    Give the folder that the tool loaded, or its digest. Names of tasks and metrics, values,
    standard errors and counts are recorded, and no texts. No threshold reads them.
    """
    name, number = session.named(version)
    now = call.state()
    registered = now.registration(name, number).predicate.model_digest
    _require_right(call, now)
    _require_digest(registered, version, folder, digest)
    given = read(file)
    at = exact_instant(call.now)
    asked = authorizing.on_behalf(call.machine, call.log, call.now).requester
    results = Results(
        model=name,
        version=number,
        model_digest=registered,
        digest_from="folder" if folder else "stated",
        tool=given.tool,
        tool_version=given.version,
        dated=given.dated,
        tasks=given.tasks,
        policy=now.authority.in_force.digest,
        run=Run(started=at, finished=at, seconds=0.0, requested_by=asked),
    )
    entry = None
    if not call.dry_run:
        subjects = [
            Artifact(role="results", name=f"results of {given.tool}", sha256=given.sha256),
            Artifact(role="model", name=name, sha256=registered),
        ]
        entry = evidence.record(call.log, signer(call.machine), KIND, subjects, results).index
    document = {**results.model_dump(mode="json"), "file": given.sha256, "entry": entry}
    call.show(document, list(lines(given, results, entry)))


def _require_right(call: Call, now: LogState) -> None:
    """Raises `ConfigError` if the key in use may not sign results."""
    key, development = signer(call.machine), call.machine.signer_uri is None
    if not now.authority.may_sign(KIND, key.keyid, development, now.size):
        found = f"policies in force do not let this key sign {KIND} ({key.keyid[:16]})"
        fix = f"policies/policy.yaml: a service principal with this key that signs `{KIND}`"
        raise ConfigError(found, where="COUNTERSIGN_SIGNER", fix=fix)


def _require_digest(registered: str, version: str, folder: Path | None, digest: str | None) -> None:
    """Raises `ConfigError` unless one of the two is given, `InputError` if it is another model."""
    if (folder is None) == (digest is None):
        found = "which model the tool evaluated is not said"
        raise ConfigError(found, fix="give --folder DIR or --digest SHA256, one of them")
    if folder is not None and not folder.is_dir():
        raise InputError("not a folder", where=str(folder), expected="the model's folder")
    found = tree_digest(folder) if folder else str(digest)
    if found != registered:
        fix = "name the version that the tool evaluated"
        raise InputError(
            f"the tool evaluated another model ({one_line(found)[:12]})",
            expected=f"{registered[:12]}, which is {version}",
            where="--folder" if folder else "--digest",
            fix=fix,
        )


def lines(given: ToolFile, results: Results, entry: int | None) -> Iterator[str]:
    """The result for people."""
    where = "dry run: nothing was written" if entry is None else f"E{entry}"
    name = f"{results.model}/{results.version}"
    yield f"{name}: results of {results.tool} {results.tool_version}, separately run  [{where}]"
    yield f"  the file calls the model {one_line(given.named)[:120]}"
    for task in results.tasks:
        for metric in task.metrics:
            error = "" if metric.stderr is None else f" (standard error {metric.stderr:.3g})"
            variant = f", {metric.variant}" if metric.variant else ""
            count = f", {task.items} items" if task.items is not None else ""
            yield f"  {task.name}  {metric.name}{variant}: {metric.value:.4g}{error}{count}"
