"""The checks that `countersign repro` makes before any stage runs; all mistakes are reported at
once.

Each stage repeats its own checks when it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from governance.attest.findings import finding
from governance.attest.requests import refusal
from governance.base.errors import CountersignError, Problems, RefusedError
from governance.base.yaml import read_yaml
from governance.log.http_client import is_server
from governance.machine.machine import known_signer, log_of
from governance.people import authorizing
from governance.policy.authority import read_authority
from governance.registry.rest import RegistryServer
from pipelines.families import all_families, family, mistakes_of, names
from pipelines.project import Project


def check(project: Project) -> None:
    """Raises the mistake, or `Problems` with all mistakes."""
    families = all_families().values()
    wrong = [mistake for family in families for mistake in family.mistakes(project)]
    wrong += _signer(project)
    if wrong:
        raise wrong[0] if len(wrong) == 1 else Problems(wrong)


def evidence(project: Project) -> None:
    """Raises `RefusedError` if DVC has made stages already but the log is empty, so that nothing
    here counts.
    """
    log = log_of(project.machine)
    if log.size():
        return
    made = _made(project.root)
    if made:
        missing = finding(
            "EVIDENCE_MISSING",
            f"project {project.machine.project}",
            f"outputs of {len(made)} stages are here, but the log is empty",
            expected=f"a log with statements by {', '.join(made)}",
            found=f"an empty log, {log.where}",
            next=(
                "use the log that has their evidence (COUNTERSIGN_HOME or COUNTERSIGN_LOG), "
                "or run all stages again: countersign repro --force"
            ),
        )
        raise RefusedError(refusal("repro", (missing,)))


def registry(project: Project) -> None:
    """Raises an error if the registry's server cannot be reached or does not know the account,
    because the run would fail at its end.
    """
    uri = project.machine.registry_uri
    if is_server(uri):
        RegistryServer(uri, project.machine.environ).check_account()


def in_nobodys_name(project: Project, at: datetime) -> str:
    """A note if people decide about aliases and nobody has authorized the run; else empty."""
    log = log_of(project.machine)
    if not log.size():
        return ""
    policies = read_authority(log).in_force.policies
    if policies is None or not policies.rules.aliases:
        return ""
    requester = authorizing.on_behalf(project.machine, log, at).requester
    if requester.authenticated:
        return ""
    return (
        f"note: {requester.name} has not authorized this run, so its results can become candidate"
        " only; next: run `countersign authorize` and set COUNTERSIGN_REQUESTER"
    )


def _made(root: Path) -> list[str]:
    """The stages that leave evidence, count as made for DVC and have an output here."""
    lock = read_yaml(root / "dvc.lock") if (root / "dvc.lock").exists() else None
    stages = lock.get("stages", {}) if isinstance(lock, dict) else {}
    return [
        name
        for name, stage in stages.items()
        if _leaves_evidence(name.partition("@")[0])
        and any((root / str(out["path"])).exists() for out in stage.get("outs", []))
    ]


def _leaves_evidence(name: str) -> bool:
    return name in names() and family(name).evidence is not None


def _signer(project: Project) -> Iterator[CountersignError]:
    """Mistakes of a configured signer: it does not exist, or policies do not know it."""
    if project.machine.signer_uri is not None:
        yield from mistakes_of(partial(known_signer, project.machine, project.policies.keys))
