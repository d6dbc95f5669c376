"""Compares the registry with the log, in both directions.

Only governed models are compared: those that policies name and those with a version in the log.
(1) No name in the registry looks like a governed one.
(2) Every version in the log is in the registry, with the registered run, digest and files, and
    without a stage.
(3) Every version in the registry is in the log: registered, or made by a call that the server
    accepted.
(4) Every governed alias is where the last allowed move put it, and there is no other alias.
(5) The runs of registered versions exist.
`governance.release.artifacts` compares the files of a version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from governance.attest.findings import finding
from governance.attest.predicates import CANDIDATE, Call, Finding, Registration
from governance.base.errors import StorageError, VerificationError
from governance.history.state import LogState, state
from governance.log.http_client import is_server
from governance.log.mirror import MirrorLog
from governance.log.port import Log
from governance.log.sql import Database
from governance.log.sqlite import SqliteDatabase
from governance.machine.machine import Machine, database_log, own_checkpoint_key
from governance.registry.governed.names import TRIAL_MODEL, Names
from governance.registry.governed.rules import artifact_folder
from governance.registry.rest import RegistryServer
from governance.registry.rows import NO_STAGE, Rows, VersionRow, read_rows
from governance.release.artifacts import registry_run

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
    known: frozenset[tuple[str, str]]
    """Model and version: `known_versions`."""
    served: bool
    """Whether a server ever accepted a call. Then no version's files are in a local folder."""

    def covers(self, model: str) -> bool:
        """Whether a model of the registry is compared."""
        return self.names.is_governed(model) and model != TRIAL_MODEL

    @property
    def runs(self) -> dict[str, str]:
        """Maps the registry's run id to MODEL/VERSION."""
        return {
            run: f"{model}/{version}"
            for (model, version), registration in self.versions.items()
            if (run := registry_run(registration.run))
        }


def reconcile(log: Log, machine: Machine, known: LogState | None = None) -> list[Finding] | None:
    """Compares the registry of this machine, or of its server, with the log. `known`: the log as
    the caller has read it already.

    None if they cannot be compared: there is no registry here, the server cannot be reached, or the
    log is older than policies in logs. Raises `StorageError` if the registry cannot be read or the
    log keeps growing.
    """
    for _ in range(ATTEMPTS):
        now, known = known or state(log), None
        if getattr(log, "offline", "") or now.authority.in_force.policies is None:
            return None
        expected = _expected_registry(now)
        rows = _read(machine, expected)
        if rows is None:
            return None
        if isinstance(log, MirrorLog):
            log.refresh()  # reads what the server wrote meanwhile
        if log.size() == now.size:
            checks = (_names, _versions, _unknown, _aliases, _runs)
            return [difference for check in checks for difference in check(expected, rows)]
    raise StorageError(
        "others kept writing to the log while it was compared with the registry", fix="try again"
    )


def differing(log: Log, machine: Machine, known: LogState | None = None) -> list[Finding] | None:
    """As `reconcile`; None also where log or registry cannot be read."""
    database = _database(machine)
    if database is not None and read_rows(database, ()) is None:
        return None  # a log without a registry, as an auditor may have it, is no fault
    try:
        return reconcile(log, machine, known)
    except VerificationError:
        return None  # the log itself is broken, which its verification says
    except StorageError:
        if is_server(_address(machine)):
            return None  # it does not show the registry to this account
        raise


def _expected_registry(now: LogState) -> ExpectedRegistry:
    """What the registry must contain, according to the log."""
    versions = {key: statement.predicate for key, statement in now.timeline.registrations.items()}
    holders = {
        (model, alias): held.version
        for (model, alias), held in now.timeline.holders.items()
        if alias != CANDIDATE
    }
    known, served = frozenset(known_versions(now)), bool(_calls(now))
    return ExpectedRegistry(governed_names(now), versions, holders, known, served)


def known_versions(now: LogState) -> set[tuple[str, str]]:
    """Model and version of all that the log has: registered, or made by a call that a server
    accepted.
    """
    made = {(call.model, call.version or "") for call in _calls(now) if call.alias is None}
    return {*now.timeline.registrations, *made}


def _calls(now: LogState) -> list[Call]:
    """The calls that a server accepted."""
    return [
        call.predicate
        for call in now.evidence.all(Call)
        if now.authority.may_sign("promotion", call.keyid, call.development, call.index)
    ]


def governed_names(now: LogState) -> Names:
    """The models and aliases of the policies in force, and models with a registration."""
    rules = now.authority.policies.rules
    registered = {model for model, _ in now.timeline.registrations}
    return Names(frozenset(rules.models) | registered, frozenset(rules.aliases))


def _read(machine: Machine, expected: ExpectedRegistry) -> Rows | None:
    """The registry's rows. None where its address is of no kind that can be read."""
    uri = _address(machine)
    if is_server(uri):
        return RegistryServer(uri, machine.environ).rows(expected.names.models, expected.runs)
    database = _database(machine)
    if database is None:
        return None
    rows = read_rows(database, expected.runs)
    if rows is not None:
        return rows
    # On the machine that keeps the log, a registry without tables has lost all its rows. An
    # auditor's copy never had a registry.
    return Rows(frozenset(), (), (), frozenset()) if own_checkpoint_key(machine) else None


def _address(machine: Machine) -> str:
    """Without COUNTERSIGN_REGISTRY, the registry is in the log's database."""
    uri = machine.environ.get("COUNTERSIGN_REGISTRY") or machine.log_uri
    return uri.removeprefix("governed+")


def _database(machine: Machine) -> Database | None:
    """The registry's database; None where the registry is not in one that can be read here."""
    uri = _address(machine)
    if uri.startswith("sqlite:///"):
        return SqliteDatabase(Path(uri.removeprefix("sqlite:///")))
    if uri.startswith("postgresql://"):
        return database_log(uri, machine.project).database
    return None


def _names(expected: ExpectedRegistry, rows: Rows) -> Iterator[Finding]:
    """(1)"""
    for name in sorted(rows.models):
        like = expected.names.resembles(name)
        if like is not None:
            yield finding("REGISTRY_LOOKALIKE", f"model {name!r}", expected=like, found=repr(name))


def _versions(expected: ExpectedRegistry, rows: Rows) -> Iterator[Finding]:
    """(2)"""
    rows_by_version = {(row.model, row.version): row for row in rows.versions}
    places = [place for row in rows.versions for place in (row.source, row.location)]
    at_a_server = any((place or "").startswith("mlflow-artifacts:") for place in places)
    # What the log says counts: who can write the rows could change the places of all of them.
    # Servers of earlier versions made a trial model.
    is_served = expected.served or TRIAL_MODEL in rows.models or at_a_server
    for (model, version), registered in sorted(expected.versions.items()):
        row = rows_by_version.get((model, version))
        about = f"{model}/{version}"
        if row is None or row.deleted:
            wanted = f"version {version}, model sha256 {registered.model_digest[:16]}"
            found = "deleted" if row else "no row"
            yield finding("REGISTRY_VERSION_MISSING", about, expected=wanted, found=found)
        else:
            yield from _version(about, registered, row, is_served)


def _version(
    about: str, registered: Registration, row: VersionRow, is_served: bool
) -> Iterator[Finding]:
    run, digest = registry_run(registered.run), registered.model_digest
    if run and row.run_id != run:
        yield finding("REGISTRY_SOURCE_CHANGED", about, expected=run, found=row.run_id)
    for place in dict.fromkeys((row.source, row.location)):
        if run and not _is_place(place, run, is_served):
            wanted = f".../{run}/artifacts/model"
            yield finding("REGISTRY_SOURCE_CHANGED", about, expected=wanted, found=place)
    if row.digest != digest:
        found = row.digest or "no tag"
        yield finding("REGISTRY_DIGEST_CHANGED", about, expected=digest, found=found)
    if row.stage not in NO_STAGE:
        yield finding("REGISTRY_STAGE_SET", about, expected="none", found=str(row.stage))


def _is_place(place: str, run: str, is_served: bool) -> bool:
    """Whether a version's files may be at this place. A served version has no local folder."""
    folder, end = artifact_folder(place), f"{run}/artifacts/model"
    local = not is_served and place.startswith("file:") and place.endswith(f"/{end}")
    return local or (folder is not None and folder.endswith(end))


def _unknown(expected: ExpectedRegistry, rows: Rows) -> Iterator[Finding]:
    """(3)"""
    for row in rows.versions:
        version = (row.model, row.version)
        if expected.covers(row.model) and not row.deleted and version not in expected.known:
            about, wanted = "/".join(version), "a registration, or an accepted call"
            yield finding("REGISTRY_VERSION_UNKNOWN", about, expected=wanted, found=row.source)


def _aliases(expected: ExpectedRegistry, rows: Rows) -> Iterator[Finding]:
    """(4) The aliases that the log gives to a version, then those that it gives to nobody."""
    held = {(row.model, row.alias): row.version for row in rows.aliases}
    for (model, alias), version in sorted(expected.holders.items()):
        holder = held.pop((model, alias), None)
        if holder != version:
            found = f"version {holder}" if holder else "nobody"
            yield _moved(model, alias, f"version {version}", found)
    for (model, alias), version in sorted(held.items()):
        found = f"version {version}"
        if not expected.covers(model):
            continue
        if alias in expected.names.aliases:
            yield _moved(model, alias, "nobody", found)
        elif alias != CANDIDATE:
            aliases = ", ".join(sorted({*expected.names.aliases, CANDIDATE}))
            about = f"{model}@{alias}"
            yield finding("REGISTRY_ALIAS_UNKNOWN", about, expected=aliases, found=found)
        elif (model, version) not in expected.versions:
            yield _moved(model, alias, "a version that the log has", found)


def _moved(model: str, alias: str, expected: str, found: str) -> Finding:
    return finding("REGISTRY_ALIAS_MOVED", f"{model}@{alias}", expected=expected, found=found)


def _runs(expected: ExpectedRegistry, rows: Rows) -> Iterator[Finding]:
    """(5)"""
    for run, version in sorted(expected.runs.items()):
        if run not in rows.runs:
            wanted = f"an active run, from which {version} was registered"
            yield finding(
                "REGISTRY_RUN_MISSING", f"run {run}", expected=wanted, found="deleted, or no row"
            )
