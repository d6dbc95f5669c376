"""Starts a governed server: the checks in order, then MLflow under uvicorn until a signal stops it.

1. There is a log of this project, and it begins with the pinned entry. All its entries verify, and
   it continues the last head that this machine knows.
2. Other accounts cannot write the database, artifacts or keys, and cannot read the keys.
3. The settings are written; password and secret key are there.
4. The application is made. Every plugin loads, or nothing starts.
5. The server's attempt to move a governed alias is refused.
6. Then it listens.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governance.base.distribution import pip_install
from governance.base.errors import (
    BusyError,
    ConfigError,
    CountersignError,
    RefusedError,
    StorageError,
    VerificationError,
)
from governance.base.storage import write_atomic
from governance.log import evidence
from governance.log.port import Execute
from governance.log.sql import Database, SqlLog
from governance.machine.machine import (
    SERVED_FILES,
    Machine,
    check_pin,
    checkpoint_keys,
    exposed_keys,
    own_checkpoint_key,
)
from governance.policy.policies import load_policies
from governance.registry.addresses import ADDRESSES, follow, prefix_of
from governance.registry.addresses import replace as replace_prefix
from governance.registry.display import without_credentials
from governance.registry.governed.governor import log as calls
from governance.registry.governed.names import TRIAL_ALIAS, TRIAL_MODEL
from governance.registry.governed.rules import MARK
from governance.release.reconcile import reconcile
from governance.release.serving import serving_log
from governance.release.shown import Refreshing
from governance.server.context import begun_log
from governance.server.settings import Settings, environment, own_secrets, write_accounts
from governance.server.witnesses import Asking

if TYPE_CHECKING:
    from starlette.testclient import TestClient

Say = Callable[[str], None]
SHOWN = 5
FACTORY = "governance.server.plugin:app"
ROOTS = ("/api/2.0/mlflow", "/ajax-api/2.0/mlflow")
"""Paths of the client's API and of the web pages' API."""
_ALIAS = {"name": TRIAL_MODEL, "alias": TRIAL_ALIAS}
ATTEMPTS = (
    ("POST", "registered-models/alias", {**_ALIAS, "version": "1"}),
    ("DELETE", "registered-models/alias", _ALIAS),
    ("POST", "registered-models/rename", {"name": TRIAL_MODEL, "new_name": f"{TRIAL_MODEL}-2"}),
)


def check_origin(log: SqlLog, machine: Machine, pin: str | None) -> str:
    """(1) What establishes that the log is the one meant. Raises `VerificationError` where the log
    does not begin with the pinned entry, nothing pins it, or an entry is not what was logged.
    """
    origin, project = evidence.origin(log), machine.project
    if origin.project != project:
        raise VerificationError(
            f"the log is of project {origin.project!r}", expected=repr(project), where=log.where
        )
    check_pin(log, pin)
    if pin is None and own_checkpoint_key(machine) not in {pem for _, pem in checkpoint_keys(log)}:
        found = "nothing shows that this is the log you mean: this machine's key does not sign it"
        fix = f"if you know its first entry: --origin {log.entry(0).leaf_hash.hex()}"
        raise VerificationError(found, where=log.where, fix=fix)
    at = datetime.now(UTC)
    serving_log(machine, at, pinned=pin, keys=_keys_on_disk(), witnessed=False)
    return "the origin given" if pin else "the checkpoint key of this machine"


def _keys_on_disk() -> Mapping[str, str]:
    """The keys of the policies in this folder, if it has any. Policies that cannot be read, as a
    later version may find them, stop no server: the log has those that are in force.
    """
    policies = Path.cwd() / "policies"
    with suppress(CountersignError):
        return load_policies(policies).keys if policies.is_dir() else {}
    return {}


def check_private(settings: Settings, machine: Machine) -> list[str]:
    """(2) Warnings for files that other accounts can read. Raises `StorageError` for files that
    they can write, and for keys that they can read.
    """
    exposed = exposed_keys(machine)
    if exposed:
        found, key = "other accounts can read a private key", str(exposed[0])
        raise StorageError(found, where=key, fix=f"chmod 600 {key}")
    warnings = []
    paths = [path for path in (settings.artifacts, settings.state) if path.exists()]
    if settings.database.startswith("sqlite:///"):
        paths.insert(0, Path(settings.database.removeprefix("sqlite:///")))
    for path in paths:
        mode = path.stat().st_mode
        if mode & 0o022:
            fix = f"chmod go-rwx {path}"
            raise StorageError("other accounts can write it", where=str(path), fix=fix)
        folders = [folder.stat().st_mode for folder in path.absolute().parents]
        is_reachable = all(mode & (stat.S_IXGRP | stat.S_IXOTH) for mode in folders)
        if mode & 0o044 and is_reachable:
            warnings.append(f"other accounts can read {path}; next: chmod go-rwx {path}")
    return warnings


def serve(
    settings: Settings, machine: Machine, pin: str | None, environ: Mapping[str, str], say: Say
) -> None:
    """Runs the server until SIGTERM or SIGINT. Raises before it listens, if a check fails."""
    if settings.socket is None:
        check_port(settings)
    log = begun_log(settings.database)
    established = check_origin(log, machine, pin)
    os.umask(0o077)
    for folder in (settings.state, settings.artifacts):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _remember_files(settings, machine)
    follow(log.database, machine.project, settings.artifacts)
    _prepare(settings, log.database, say)
    for warning in check_private(settings, machine):
        say(f"warning    {warning}")
    secret = own_secrets(settings, environ)
    write_accounts(settings)
    os.environ.update(environment(settings, secret, environ))
    import uvicorn  # MLflow asks whether it is there, to know that it runs as a server

    app = _application()
    refusals = _run_trial(app, settings, secret.password)
    say(f"log        {machine.project}: {log.size()} entries, established by {established}")
    say(f"origin     {log.entry(0).leaf_hash.hex()}")
    for line in _differences(log, settings, machine):
        say(f"warning    {line}")
    password = f"in {secret.password_file}" if secret.password_file else "as given"
    say(f"trial      refused {refusals} attempts to move a governed alias of {TRIAL_MODEL}")
    say(f"accounts   {settings.admin} (password {password}); the page /#/account makes others")
    say(f"serving    {settings.address} (COUNTERSIGN_LOG={settings.address}) until SIGTERM")
    handler = logging.StreamHandler()  # accepted and refused calls
    name = f"[{settings.project}] " if settings.project else ""
    handler.setFormatter(logging.Formatter(f"{name}%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    calls.addHandler(handler)
    calls.setLevel(logging.INFO)
    calls.propagate = False
    Asking(log, lambda: datetime.now(UTC), say).start()
    Refreshing(log, lambda: datetime.now(UTC), say).start()
    # uvicorn ends on it, and raises it again when all is closed
    signal.signal(signal.SIGTERM, lambda *_: None)
    has_workers = settings.workers > 1
    behind = settings.socket is not None
    uvicorn.run(
        FACTORY if has_workers else app,
        factory=has_workers,
        host=settings.host,
        port=settings.port,
        uds=str(settings.socket) if behind else None,
        forwarded_allow_ips="*" if behind else None,  # only the front reaches the socket
        workers=settings.workers,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=10,
    )


def check_port(settings: Settings) -> None:
    """Raises `BusyError` where another process listens there already. Nothing is changed before."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
    except OSError as error:
        found = f"the server cannot listen on {settings.host}:{settings.port}: {error.strerror}"
        raise BusyError(found, fix="stop what listens there, or set another --port") from None


def _differences(log: SqlLog, settings: Settings, machine: Machine) -> Iterator[str]:
    """Changes of the registry that the log does not have. Nothing moves on such a row until it is
    corrected.
    """
    findings = reconcile(log, replace(machine, log_uri=settings.database, environ={})) or []
    for finding in findings[:SHOWN]:
        difference = f"expected {finding.expected}; found {finding.found}"
        yield f"{finding.code} {finding.subject}: {difference}"
    if len(findings) > SHOWN:
        yield f"and {len(findings) - SHOWN} more: countersign verify"


def _remember_files(settings: Settings, machine: Machine) -> None:
    """Writes where the files are, for `countersign verify` and the next start. The default folder
    is not written, so that it may be moved.
    """
    named, folder = machine.state / SERVED_FILES, settings.artifacts.absolute()
    if folder == (machine.state / "artifacts").absolute():
        named.unlink(missing_ok=True)
    else:
        write_atomic(named, f"{folder}\n".encode(), mode=0o600)


def _prepare(settings: Settings, database: Database, say: Say) -> None:
    """(3) MLflow's tables, in one step where they are not there yet."""
    if settings.database.startswith("sqlite:///"):
        from governance.registry.mlflow import prepare_sqlite

        prepare_sqlite(Path(settings.database.removeprefix("sqlite:///")), settings.artifacts, say)
    adopted = _adopt(database, settings.artifacts)
    if adopted:
        say(f"adopted    {adopted} addresses of this machine's registry name the served files now")


def _adopt(database: Database, root: Path) -> int:
    """Takes over a registry that one machine used alone. Returns the number of changed rows.

    The addresses of runs and versions name a folder on this machine's disk. The server gives the
    same files through the write-once store, so `file:///ROOT/x` becomes `mlflow-artifacts:/x`. The
    files stay where they are.
    """
    prefix, served = prefix_of(root), "mlflow-artifacts:/"
    changed = 0
    with database.transaction() as execute:
        for table, column in ADDRESSES:
            if table == "experiments":  # its folder may be the root itself
                changed += _adopt_experiments(database, execute, prefix, served)
            else:
                changed += replace_prefix(database, execute, table, column, prefix, served)
    return changed


def _adopt_experiments(database: Database, execute: Execute, prefix: str, served: str) -> int:
    if not database.has(execute, "experiments"):
        return 0
    below = f"WHERE substr(artifact_location || '/', 1, {len(prefix)}) = ?"
    count: int = execute(f"SELECT COUNT(*) FROM experiments {below}", (prefix,))[0][0]  # noqa: S608
    place = "? || CAST(experiment_id AS VARCHAR(20))"
    execute(f"UPDATE experiments SET artifact_location = {place} {below}", (served, prefix))  # noqa: S608
    return count


def _application() -> Any:
    from mlflow.exceptions import MlflowException

    from governance.server.plugin import app

    try:
        return app()
    except MlflowException as error:
        if isinstance(error.__cause__, CountersignError):
            raise error.__cause__ from None
        fix = "see docs/registry.md; an installation again shows MLflow the governed stores"
        reason = without_credentials(error.message)  # MLflow quotes the database's address
        raise StorageError(f"the server cannot be made: {reason}", fix=fix) from error
    except ImportError as error:
        fix = f"{pip_install('server')} (constraints.txt has the versions)"
        raise ConfigError(f"a package is missing: {error}", fix=fix) from error


def _run_trial(app: Any, settings: Settings, password: str) -> int:
    """(5) Asks the application in this process."""
    from starlette.testclient import TestClient

    calls.disabled = True  # its own attempts are not logged
    base_url = f"http://{settings.allowed_hosts[0]}"
    try:
        with closing(TestClient(app, base_url, raise_server_exceptions=False)) as client:
            return attempt(client, settings.admin, password)
    finally:
        calls.disabled = False


def attempt(client: TestClient, user: str, password: str) -> int:
    """(5) Tries to move a governed alias by every API, as administrator. Returns the number of
    refusals.

    The model's name is always governed, and nobody makes that model. Raises `RefusedError` for any
    answer but our refusal: MLflow handled the call, so this server governs nothing.
    """
    client.auth = (user, password)
    for root in ROOTS:
        for method, what, body in ATTEMPTS:
            answer = client.request(method, f"{root}/{what}", json=body)
            if answer.status_code != 403 or MARK not in answer.text:
                raise RefusedError(
                    f"the server does not start, because it failed its own test: {method}"
                    f" {root}/{what} was answered {answer.status_code}: {answer.text[:300]}",
                    expected="403 and our refusal, whoever moves the alias of a governed model",
                )
    return len(ROOTS) * len(ATTEMPTS)
