"""Compares the registry with the log, in both directions.

Only governed models are compared: those that policies name and those with a version in the log.
(1) No name in the registry looks like a governed one.
(2) Every version in the log is in the registry, with the registered run, digest and files, and
    without a stage.
(3) Every version in the registry is in the log: registered, or made by a call that the server
    accepted.
(4) Every governed alias is where the last allowed move put it, and there is no other alias.
(5) The runs of registered versions exist.
`governance.models.artifacts` compares the files of a version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from governance.attest.findings import finding
from governance.attest.predicates import CANDIDATE, Call, Finding, Registration
from governance.base.errors import StorageError
from governance.history.state import LogState, state
from governance.log.http_client import is_server
from governance.log.mirror import MirrorLog
from governance.log.port import Log
from governance.machine.machine import Machine, own_checkpoint_key
from governance.models.artifacts import REGISTRY_RUN
from governance.registry.governed.names import TRIAL_MODEL, Names
from governance.registry.governed.rules import artifact_folder
from governance.registry.rest import RegistryServer
from governance.registry.rows import (
    NO_STAGE,
    Rows,
    VersionRow,
    postgres_reading,
    read_rows,
    sqlite_reading,
)

ATTEMPTS = 5
"""How often both are read before giving up, if the log grows in between."""


@dataclass(frozen=True)
class ExpectedRegistry:
    """What the registry must contain, according to the log."""

    names: Names
    versions: dict[tuple[str, str], Registration]
    """Maps model and version to the last registration."""
    holders: dict[tuple[str, str], str]
    """Maps model and governed alias to the version that holds it."""
    runs: dict[str, str]
    """Maps the registry's run id to MODEL/VERSION."""
    made: frozenset[tuple[str, str]] = frozenset()
    """Versions that were made by an accepted call to a server, registered or not."""


def _expected_registry(now: LogState) -> ExpectedRegistry:
    """What the registry must contain, according to the log."""
    rules = now.authority.policies.rules
    registered = now.timeline.registrations
    versions = {key: statement.predicate for key, statement in registered.items()}
    names = Names(
        frozenset(rules.models) | {model for model, _ in versions}, frozenset(rules.aliases)
    )
    holders = {
        (model, alias): held.version
        for (model, alias), held in now.timeline.holders.items()
        if alias != CANDIDATE
    }
    runs = {
        str(registration.run.detail[REGISTRY_RUN]): f"{registration.model}/{registration.version}"
        for registration in versions.values()
        if registration.run.detail.get(REGISTRY_RUN)
    }
    made = frozenset(
        (call.predicate.model, call.predicate.version or "")
        for call in now.evidence.all(Call)
        if call.predicate.alias is None
        and now.authority.may_sign("promotion", call.keyid, call.development, call.index)
    )
    return ExpectedRegistry(names, versions, holders, runs, made)


def compare(expected: ExpectedRegistry, rows: Rows) -> list[Finding]:
    """One finding for each difference."""
    return [
        *_names(expected, rows),
        *_versions(expected, rows),
        *_unknown(expected, rows),
        *_aliases(expected, rows),
        *_runs(expected, rows),
    ]


def reconcile(log: Log, machine: Machine) -> list[Finding] | None:
    """Compares the registry of this machine, or of its server, with the log.

    None if they cannot be compared: there is no registry here, the server cannot be reached, or the
    log is older than policies in logs. Raises `StorageError` if the registry cannot be read or the
    log keeps growing.
    """
    for _ in range(ATTEMPTS):
        now = state(log)
        if getattr(log, "offline", ""):
            return None
        if now.authority.in_force.policies is None:
            return None
        expected = _expected_registry(now)
        rows = _read(machine, expected)
        if rows is None:
            return None
        if isinstance(log, MirrorLog):
            log.refresh()  # reads what the server wrote meanwhile
        if log.size() == now.size:
            return compare(expected, rows)
    raise StorageError(
        "others kept writing to the log while it was compared with the registry", fix="try again"
    )


def _read(machine: Machine, expected: ExpectedRegistry) -> Rows | None:
    """The registry's rows. Without COUNTERSIGN_REGISTRY, the registry is in the log's database."""
    uri = (machine.environ.get("COUNTERSIGN_REGISTRY") or machine.log_uri).removeprefix("governed+")
    if is_server(uri):
        models = {*expected.names.models} | {model for model, _ in expected.versions}
        return RegistryServer(uri, machine.environ).rows(models, expected.runs)
    if uri.startswith("sqlite:///"):
        reading = sqlite_reading(Path(uri.removeprefix("sqlite:///")))
    elif uri.startswith("postgresql://"):
        reading = postgres_reading(uri)
    else:
        return None
    with reading as read:
        if read is not None:
            return read_rows(read, expected.runs)
    # On the machine that keeps the log, a registry without tables has lost all its rows. An
    # auditor's copy never had a registry.
    return Rows(frozenset(), (), (), frozenset()) if own_checkpoint_key(machine) else None


def _names(expected: ExpectedRegistry, rows: Rows) -> Iterator[Finding]:
    """(1)"""
    for name in sorted(rows.models):
        like = expected.names.resembles(name)
        if like is not None:
            yield finding(
                "REGISTRY_LOOKALIKE",
                f"model {name!r}",
                f"it could be taken for {like}",
                expected=like,
                found=repr(name),
            )


def _versions(expected: ExpectedRegistry, rows: Rows) -> Iterator[Finding]:
    """(2)"""
    rows_by_version = {(row.model, row.version): row for row in rows.versions}
    for (model, version), registered in sorted(expected.versions.items()):
        row = rows_by_version.get((model, version))
        about = f"{model}/{version}"
        if row is None or row.deleted:
            yield finding(
                "REGISTRY_VERSION_MISSING",
                about,
                "the log has this version, and the registry has not",
                expected=f"version {version}, model sha256 {registered.model_digest[:16]}",
                found="deleted" if row else "no row",
            )
        else:
            yield from _version(about, registered, row, TRIAL_MODEL in rows.models)


def _version(
    about: str, registered: Registration, row: VersionRow, served: bool
) -> Iterator[Finding]:
    run = registered.run.detail.get(REGISTRY_RUN)
    if run and row.run_id != run:
        yield finding(
            "REGISTRY_SOURCE_CHANGED",
            about,
            "it names another run than was registered",
            expected=str(run),
            found=row.run_id,
        )
    for place in dict.fromkeys((row.source, row.location)):
        if run and not _is_place(place, str(run), served):
            yield finding(
                "REGISTRY_SOURCE_CHANGED",
                about,
                "its files are said to stand elsewhere than they were registered from",
                expected=f".../{run}/artifacts/model",
                found=place,
            )
    if row.digest != registered.model_digest:
        yield finding(
            "REGISTRY_DIGEST_CHANGED",
            about,
            "its tag names another digest than its registration",
            expected=registered.model_digest,
            found=row.digest or "no tag",
        )
    if row.stage not in NO_STAGE:
        yield finding(
            "REGISTRY_STAGE_SET", about, "it has a stage", expected="none", found=str(row.stage)
        )


def _is_place(place: str, run: str, served: bool) -> bool:
    """Whether a version's files may be at this place. A served version has no local folder."""
    folder, end = artifact_folder(place), f"{run}/artifacts/model"
    local = not served and place.startswith("file:") and place.endswith(f"/{end}")
    return local or (folder is not None and folder.endswith(end))


def _unknown(expected: ExpectedRegistry, rows: Rows) -> Iterator[Finding]:
    """(3)"""
    for row in rows.versions:
        is_ours = expected.names.is_governed(row.model) and row.model != TRIAL_MODEL
        if (
            is_ours
            and not row.deleted
            and (row.model, row.version) not in {*expected.versions, *expected.made}
        ):
            yield finding(
                "REGISTRY_VERSION_UNKNOWN",
                f"{row.model}/{row.version}",
                "the registry has this version, and the log has no registration of it, nor a call"
                " that made it",
                expected="a registration, or an accepted call",
                found=row.source,
            )


def _aliases(expected: ExpectedRegistry, rows: Rows) -> Iterator[Finding]:
    """(4)"""
    holders_in_registry = {(row.model, row.alias): row.version for row in rows.aliases}
    for (model, alias), version in sorted(expected.holders.items()):
        if holders_in_registry.get((model, alias)) != version:
            holder = holders_in_registry.get((model, alias))
            yield _moved(
                model, alias, f"version {version}", f"version {holder}" if holder else "nobody"
            )
    for (model, alias), version in sorted(holders_in_registry.items()):
        if (
            model == TRIAL_MODEL
            or not expected.names.is_governed(model)
            or (model, alias) in expected.holders
        ):
            continue
        if alias == CANDIDATE:
            if (model, version) not in expected.versions:
                yield _moved(model, alias, "a version that the log has", f"version {version}")
        elif alias in expected.names.aliases:
            yield _moved(model, alias, "nobody", f"version {version}")
        else:
            yield finding(
                "REGISTRY_ALIAS_UNKNOWN",
                f"{model}@{alias}",
                "policy knows no such alias",
                expected=", ".join(sorted({*expected.names.aliases, CANDIDATE})),
                found=f"version {version}",
            )


def _moved(model: str, alias: str, expected: str, found: str) -> Finding:
    return finding(
        "REGISTRY_ALIAS_MOVED",
        f"{model}@{alias}",
        "the alias is not where the log's last decision put it: somebody moved it behind the log's"
        " back",
        expected=expected,
        found=found,
    )


def _runs(expected: ExpectedRegistry, rows: Rows) -> Iterator[Finding]:
    """(5)"""
    for run, about in sorted(expected.runs.items()):
        if run not in rows.runs:
            yield finding(
                "REGISTRY_RUN_MISSING",
                f"run {run}",
                f"{about} was registered from it",
                expected="an active run",
                found="deleted, or no row",
            )
