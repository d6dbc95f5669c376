"""The registry against the log: what the tables say that the log does not, and the other way round.

Only governed models are compared: those that policies name, and those that the log ever had a
version of.
(1) a name in the registry that could be taken for a governed one;
(2) every version in the log is in the registry, from the run that was registered, with its digest,
    without a stage, and whoever loads it is sent to its files;
(3) every version in the registry is in the log: registered, or made by a call that the server let
    through;
(4) every governed alias is where the last allowed move put it, and no other alias is there;
(5) the runs that evidence rests on are there.
The files of a version are compared by `governance.models.artifacts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from governance.attest.findings import finding
from governance.attest.predicates import CANDIDATE, Call, Finding, Registration
from governance.base.errors import StorageError
from governance.base.http_client import is_server
from governance.history.state import LogState, state
from governance.log.mirror import MirrorLog
from governance.log.port import Log
from governance.machine.machine import Machine, own_checkpoint_key
from governance.models.artifacts import REGISTRY_RUN
from governance.registry import rest
from governance.registry.governed.names import TRIAL_MODEL, Names
from governance.registry.governed.rules import artifact_folder
from governance.registry.rows import (
    NO_STAGE,
    Rows,
    VersionRow,
    postgres_reading,
    read_rows,
    sqlite_reading,
)

ATTEMPTS = 5
"""How often both are read again because somebody moved something in between."""


@dataclass(frozen=True)
class Known:
    """What the log says of the registry."""

    names: Names
    versions: dict[tuple[str, str], Registration]
    """The last registration of each."""
    holders: dict[tuple[str, str], str]
    """Model and governed alias to the version that holds it."""
    runs: dict[str, str]
    """Run to what rests on it, in words."""
    made: frozenset[tuple[str, str]] = frozenset()
    """Versions that a server let somebody make, as it says: known, registered or not."""


def known(now: LogState) -> Known:
    """What the log says, as far as the registry can be held against it."""
    rules = now.authority.policies.rules
    registered = now.timeline.registrations
    versions = {key: item.predicate for key, item in registered.items()}
    names = Names(
        frozenset(rules.models) | {model for model, _ in versions}, frozenset(rules.aliases)
    )
    holders = {
        (model, alias): held.version
        for (model, alias), held in now.timeline.holders.items()
        if alias != CANDIDATE
    }
    runs = {
        str(one.run.detail[REGISTRY_RUN]): f"{one.model}/{one.version}"
        for one in versions.values()
        if one.run.detail.get(REGISTRY_RUN)
    }
    made = frozenset(
        (item.predicate.model, item.predicate.version or "")
        for item in now.evidence.all(Call)
        if item.predicate.alias is None
        and now.authority.may_sign("promotion", item.keyid, item.development, item.index)
    )
    return Known(names, versions, holders, runs, made)


def compare(known: Known, rows: Rows) -> list[Finding]:
    """Every difference, each as expected and found."""
    return [
        *_names(known, rows),
        *_versions(known, rows),
        *_unknown(known, rows),
        *_aliases(known, rows),
        *_runs(known, rows),
    ]


def reconcile(log: Log, machine: Machine) -> list[Finding] | None:
    """The registry of this machine against the log, or a server's as it shows it to this account.

    None where that cannot be: there is no registry here, the server cannot be reached, or the log
    was begun before logs carried their policies. Raises `StorageError` where it is there and cannot
    be read.
    """
    for _ in range(ATTEMPTS):
        now = state(log)
        if getattr(log, "offline", ""):
            return None
        if now.authority.in_force.policies is None:
            return None
        said = known(now)
        rows = _read(machine, said)
        if rows is None:
            return None
        if isinstance(log, MirrorLog):
            log.refresh()  # what the server wrote meanwhile
        if log.size() == now.size:
            return compare(said, rows)
    raise StorageError(
        "others kept writing to the log while it was compared with the registry", fix="try again"
    )


def _read(machine: Machine, said: Known) -> Rows | None:
    """Where nobody says where the registry is, it is in the log's own database."""
    uri = (machine.environ.get("COUNTERSIGN_REGISTRY") or machine.log_uri).removeprefix("governed+")
    if is_server(uri):
        models = {*said.names.models} | {model for model, _ in said.versions}
        return rest.read_rows(uri, models, said.runs, machine.environ)
    if uri.startswith("sqlite:///"):
        reading = sqlite_reading(Path(uri.removeprefix("sqlite:///")))
    elif uri.startswith("postgresql://"):
        reading = postgres_reading(uri)
    else:
        return None
    with reading as read:
        if read is not None:
            return read_rows(read, said.runs)
    # Where the log is kept, a registry without tables has lost everything; in an auditor's copy
    # there never was one.
    return Rows(frozenset(), (), (), frozenset()) if own_checkpoint_key(machine) else None


def _names(known: Known, rows: Rows) -> Iterator[Finding]:
    """(1)"""
    for name in sorted(rows.models):
        like = known.names.resembles(name)
        if like is not None:
            yield finding(
                "REGISTRY_LOOKALIKE",
                f"model {name!r}",
                f"it could be taken for {like}",
                expected=like,
                found=repr(name),
            )


def _versions(known: Known, rows: Rows) -> Iterator[Finding]:
    """(2)"""
    there = {(row.model, row.version): row for row in rows.versions}
    for (model, version), registered in sorted(known.versions.items()):
        row = there.get((model, version))
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
    """Whether a version's files may stand there: where a server has them, no folder of a machine
    is.
    """
    folder, end = artifact_folder(place), f"{run}/artifacts/model"
    local = not served and place.startswith("file:") and place.endswith(f"/{end}")
    return local or (folder is not None and folder.endswith(end))


def _unknown(known: Known, rows: Rows) -> Iterator[Finding]:
    """(3)"""
    for row in rows.versions:
        ours = known.names.is_governed(row.model) and row.model != TRIAL_MODEL
        if (
            ours
            and not row.deleted
            and (row.model, row.version) not in {*known.versions, *known.made}
        ):
            yield finding(
                "REGISTRY_VERSION_UNKNOWN",
                f"{row.model}/{row.version}",
                "the registry has this version, and the log has no registration of it, nor a call"
                " that made it",
                expected="a registration, or an accepted call",
                found=row.source,
            )


def _aliases(known: Known, rows: Rows) -> Iterator[Finding]:
    """(4)"""
    there = {(row.model, row.alias): row.version for row in rows.aliases}
    for (model, alias), version in sorted(known.holders.items()):
        if there.get((model, alias)) != version:
            found = there.get((model, alias))
            yield _moved(
                model, alias, f"version {version}", f"version {found}" if found else "nobody"
            )
    for (model, alias), version in sorted(there.items()):
        if (
            model == TRIAL_MODEL
            or not known.names.is_governed(model)
            or (model, alias) in known.holders
        ):
            continue
        if alias == CANDIDATE:
            if (model, version) not in known.versions:
                yield _moved(model, alias, "a version that the log has", f"version {version}")
        elif alias in known.names.aliases:
            yield _moved(model, alias, "nobody", f"version {version}")
        else:
            yield finding(
                "REGISTRY_ALIAS_UNKNOWN",
                f"{model}@{alias}",
                "policy knows no such alias",
                expected=", ".join(sorted({*known.names.aliases, CANDIDATE})),
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


def _runs(known: Known, rows: Rows) -> Iterator[Finding]:
    """(5)"""
    for run, about in sorted(known.runs.items()):
        if run not in rows.runs:
            yield finding(
                "REGISTRY_RUN_MISSING",
                f"run {run}",
                f"{about} was registered from it",
                expected="an active run",
                found="deleted, or no row",
            )
