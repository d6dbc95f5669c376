"""This machine: the addresses of its log, registry and keys, and the requester. They never depend
on the working folder.

COUNTERSIGN_PROJECT         the project's name, where there is no params.yaml: a reviewer's machine
COUNTERSIGN_HOME            state of all projects; default $XDG_STATE_HOME/countersign or
                            ~/.local/state/countersign
COUNTERSIGN_LOG             sqlite:///PATH, postgresql://USER@HOST/DATABASE, or https://SERVER of a
                            governed server;
                            default sqlite:///HOME/PROJECT/countersign.db
COUNTERSIGN_USER, COUNTERSIGN_PASSWORD   the account on that server
COUNTERSIGN_ORIGIN          digest of the log's entry 0, or id of its checkpoint key: pins which log
                            it is
COUNTERSIGN_REGISTRY        an MLflow server or database; default: the server of
                            COUNTERSIGN_LOG where it names one, else as the log's
COUNTERSIGN_SIGNER          who signs evidence: env:NAME, file2:PATH, awskms:..., gcpkms:...,
                            hv:..., hsm:...;
                            default: a development key made on first use
COUNTERSIGN_SIGNER_PUBLIC   file of that signer's public key (PEM), for a KMS or HSM
COUNTERSIGN_CHECKPOINT      who signs checkpoints of a log that is kept here: ssh-agent:KEY, or as
                            COUNTERSIGN_SIGNER;
                            default: a key made on first use
COUNTERSIGN_CHECKPOINT_PUBLIC   as COUNTERSIGN_SIGNER_PUBLIC
COUNTERSIGN_ENDPOINT_KEYS   NAME=VARIABLE,...: which variable holds the key of an endpoint of policy
                            (`pipelines.isolation.endpoint_keys`)
COUNTERSIGN_REQUESTER       who asks for the run, for unattended use; default: the account's name
"""

from __future__ import annotations

import getpass
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from governance.attest.digests import sha256_bytes
from governance.attest.keys import Signer, public_key
from governance.attest.predicates import (
    Artifact,
    Origin,
    PolicyChange,
    Requester,
    RulesChange,
    Run,
)
from governance.base.errors import ConfigError, StorageError, VerificationError
from governance.base.home import state_home
from governance.base.model import SLUG
from governance.base.progress import Progress
from governance.base.storage import write_state
from governance.base.time import instant
from governance.base.yaml import read_yaml
from governance.history.model_entries import ModelEntries
from governance.log import evidence
from governance.log.checkpoint import Checkpoint, parse_checkpoint
from governance.log.heads import Heads
from governance.log.http_client import is_server
from governance.log.notes import read_vkey
from governance.log.port import Log
from governance.log.rules import CURRENT, rule_versions
from governance.log.sql import SqlLog
from governance.log.sqlite import SqliteLog
from governance.machine.signers import (
    CHECKPOINT,
    DEVELOPMENT,
    person_signer,
    signer_from_uri,
    stored_signer,
)
from governance.policy.authority import read_authority
from governance.policy.policies import Policies
from governance.policy.witnesses import Requirement

DATABASE = "countersign.db"
SERVED_FILES = Path("server/artifacts")
"""Below the project's state: the folder in which this machine's server keeps model files."""
ELSEWHERE = "COUNTERSIGN_CHECKPOINT"
_RESTORE = "restore the keys folder that belongs to the log, or work over the server that keeps it"
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Machine:
    """Addresses of one project's state on this machine."""

    home: Path
    project: str
    log_uri: str = field(repr=False)
    """May hold a password: errors say `Log.where`."""
    registry_uri: str = field(repr=False)
    artifact_root: Path
    """Where a registry of this machine keeps model files."""
    signer_uri: str | None
    requester: Requester
    environ: Mapping[str, str] = field(repr=False, default_factory=dict)
    """The environment it was read from; may hold keys."""

    @property
    def state(self) -> Path:
        """The project's folder."""
        return self.home / self.project

    @property
    def keys(self) -> Path:
        """Keys made on this machine."""
        return self.state / "keys"


def machine(project: str, environ: Mapping[str, str]) -> Machine:
    """This machine as the environment describes it. Raises `ConfigError`."""
    home = state_home(environ)
    default = f"{_SQLITE}{home / project / DATABASE}"
    log = environ.get("COUNTERSIGN_LOG") or default
    return Machine(
        home=home,
        project=project,
        log_uri=log,
        registry_uri=environ.get("COUNTERSIGN_REGISTRY") or (log if is_server(log) else default),
        artifact_root=_artifact_root(home / project),
        signer_uri=environ.get("COUNTERSIGN_SIGNER") or None,
        requester=_requester(environ),
        environ=environ,
    )


def machine_of(root: Path, environ: Mapping[str, str]) -> Machine:
    """The machine for the project that COUNTERSIGN_PROJECT names, else the one at `root`, named in
    its params.yaml. Raises `ConfigError`.
    """
    name, where = environ.get("COUNTERSIGN_PROJECT"), "COUNTERSIGN_PROJECT"
    if not name:
        path = root / "params.yaml"
        if not path.exists():
            fix = "change to the project's folder, or set COUNTERSIGN_PROJECT=NAME"
            raise ConfigError("no project here: no params.yaml", where=str(root), fix=fix)
        params = read_yaml(path)
        name, where = params.get("project") if isinstance(params, dict) else None, str(path)
    if not isinstance(name, str) or not re.fullmatch(SLUG, name):
        expected = "a line `project: NAME` of a-z, 0-9, _ and -"
        raise ConfigError(f"{str(name)[:80]!r} is no project name", where=where, expected=expected)
    return machine(name, environ)


def signer(machine: Machine) -> Signer:
    """The signer of evidence on this machine."""
    if machine.signer_uri is None:
        return stored_signer(machine.keys, DEVELOPMENT)
    return signer_from_uri(machine.signer_uri, machine.environ)


def checkpoint_signer(machine: Machine) -> Signer:
    """The signer of the log's checkpoints: the key that COUNTERSIGN_CHECKPOINT names, or a key of
    this machine, made on first use.
    """
    address = machine.environ.get(ELSEWHERE)
    if not address:
        return stored_signer(machine.keys, CHECKPOINT)
    return person_signer(address, machine.environ, None, ELSEWHERE)


def known_signer(machine: Machine, service: Mapping[str, str]) -> Signer:
    """The signer, if its evidence will count: a development key, or one that policies name
    (`Policies.keys`). Raises `ConfigError` for another key.
    """
    chosen = signer(machine)
    if machine.signer_uri is not None and chosen.keyid not in service:
        found = f"its evidence would not count: policies do not name the key {chosen.keyid[:16]}"
        fix = f"policies/policy.yaml: a principal with this key:\n{chosen.public_pem.strip()}"
        raise ConfigError(found, where="COUNTERSIGN_SIGNER", fix=fix)
    return chosen


def log_of(machine: Machine, checkpoint_signer: Signer | None = None) -> Log:
    """The log at this machine's address, also an empty one. Nothing is verified. Raises
    `ConfigError`.
    """
    if on_server(machine):
        from governance.log.mirror import MirrorLog, Server  # only where it is used

        environ, folder = machine.environ, machine.state / "mirror"
        account = environ.get("COUNTERSIGN_USER", "")
        server = Server(machine.log_uri, account, environ.get("COUNTERSIGN_PASSWORD", ""))
        pin = environ.get("COUNTERSIGN_ORIGIN") or None
        return MirrorLog(server, machine.project, folder, checkpoint_keys, pin, Progress())
    return database_log(machine.log_uri, machine.project, checkpoint_signer, heads(machine))


def database_log(
    uri: str, project: str, checkpoint_signer: Signer | None = None, heads: Heads | None = None
) -> SqlLog:
    """The log in a database. Nothing is verified. Raises `ConfigError`."""
    scheme = uri.partition("://")[0].partition("+")[0]
    if scheme in ("postgresql", "postgres"):
        from governance.log.postgres import PostgresLog  # only where it is used: the extra `server`

        return PostgresLog(uri, project, checkpoint_signer, heads)
    return SqliteLog(_sqlite_path(uri), project, checkpoint_signer, heads)


def on_server(machine: Machine) -> bool:
    """Whether the log stands on a server, which holds the checkpoint key and records policies."""
    return is_server(machine.log_uri)


def open_log(machine: Machine, policies: Policies, now: Callable[[], datetime]) -> Log:
    """The project's log, for appending. On first use its origin is written; changed policies are
    recorded.

    Raises here, before any work, where this machine could not add evidence that counts.
    """
    if on_server(machine):
        log = log_to_add_to(machine)
        known_signer(machine, policies.keys)
        return log
    if log_of(machine).size():
        _check_development_key(machine, log_to_add_to(machine))
    author = known_signer(machine, policies.keys)
    log = log_of(machine, checkpoint_signer(machine))
    moment = instant(now())
    run = Run(started=moment, finished=moment, seconds=0.0, requested_by=machine.requester)
    if log.size() == 0:
        own_keys = [author.public_pem] if machine.signer_uri is None else []
        begin(machine, log, author, policies, run, own_keys)
    recorded_digest = evidence.policy_in_force(log)
    if recorded_digest != policies.digest:
        change = PolicyChange(previous=recorded_digest, run=run, files=dict(policies.files))
        evidence.record(log, author, "policy", [policy_subject(policies.digest)], change)
    follow_current_rules(log, author, run)
    return log


def follow_current_rules(log: Log, author: Signer, run: Run) -> None:
    """Records that the next entries are judged by this program's version of the rules, where the
    log follows an older one. Raises `VerificationError` where it follows a newer one.
    """
    if rule_versions(log).at(log.size()) < CURRENT:
        name = f"rules {CURRENT}"
        subject = Artifact(role="rules", name=name, sha256=sha256_bytes(name.encode()))
        evidence.record(log, author, "rules", [subject], RulesChange(version=CURRENT, run=run))


def begin(
    machine: Machine, log: Log, author: Signer, policies: Policies, run: Run, development: list[str]
) -> None:
    """Writes entry 0: the policies, and the keys to trust. `development`: public keys (PEM)."""
    origin = Origin(
        project=machine.project,
        policy=policies.digest,
        checkpoint_key=checkpoint_signer(machine).public_pem,
        development_keys=development,
        run=run,
        files=dict(policies.files),
        rules=CURRENT,
    )
    evidence.record(log, author, "origin", [policy_subject(policies.digest)], origin)


def policy_subject(digest: str) -> Artifact:
    """The subject of statements about policies."""
    return Artifact(role="policy", name="policies", sha256=digest)


def begun(log: Log) -> Log:
    """The log, if it has entries. Nothing else is verified. Raises `StorageError`."""
    if log.size() == 0:
        fix = "run `make repro`, or set COUNTERSIGN_HOME or COUNTERSIGN_LOG to where it is"
        raise StorageError("there is no log yet", where=log.where, fix=fix)
    return log


def read_log(machine: Machine) -> Log:
    """The project's log, for reading. Raises `StorageError` where there is none."""
    log = begun(log_of(machine))
    keys = checkpoint_keys(log)
    check_head(log, machine)
    own = None if on_server(machine) else own_checkpoint_key(machine)
    if own is not None and own not in (pem for _, pem in keys):
        found = "the log's checkpoints are not signed with this machine's key"
        fix = "point COUNTERSIGN_HOME or COUNTERSIGN_LOG at the log that belongs to the keys"
        raise VerificationError(found, where=log.where, fix=fix)
    return log


def log_to_add_to(machine: Machine) -> Log:
    """The project's log, for adding entries. It must have begun. Raises `StorageError`,
    `VerificationError`.
    """
    log = begun(log_of(machine))
    check_head(log, machine)
    if on_server(machine):
        return log  # the server appends
    check_checkpoint_key(machine, log)
    return log_of(machine, checkpoint_signer(machine))


def check_head(log: Log, machine: Machine) -> None:
    """`evidence.check_head` with the keys that sign checkpoints by now; and the log continues the
    last head that this machine knows. Raises `VerificationError`.
    """
    name = parse_checkpoint(log.checkpoint(), where="the log's checkpoint")[0].origin

    def head() -> Checkpoint:
        return evidence.check_head(log, machine.project, checkpoint_keys(log))

    heads(machine).check(name, head, log.consistency_proof)
    missing = missing_head(machine, log)
    if missing:
        _warn_once(missing)


def missing_head(machine: Machine, log: Log) -> str:
    """What is wrong where this machine signs the log's checkpoints, and the last one is not kept
    here: somebody took it away, or an older version of Countersign wrote the log. Empty where all
    is well.
    """
    head = parse_checkpoint(log.checkpoint())[0]
    place = heads(machine).place(head.origin)
    if on_server(machine) or place.exists():
        return ""
    if own_checkpoint_key(machine) not in [pem for _, pem in checkpoint_keys(log)]:
        return ""
    return (
        f"this machine signs the log's checkpoints, but {place} is missing: the {head.size} entries"
        " are accepted as they are; if you did not move it away, compare the log with a checkpoint"
        " kept elsewhere (countersign verify --checkpoint FILE)"
    )


@cache
def _warn_once(text: str) -> None:
    Progress().warn(text)


def heads(machine: Machine) -> Heads:
    """The last head of each log that this machine signed or verified."""
    return Heads(machine.state / "last_checkpoint")


def check_pin(log: Log, pin: str | None) -> None:
    """Raises `VerificationError` where a pin is given that is neither the digest of entry 0 nor the
    id of its checkpoint key.
    """
    first = log.entry(0).leaf_hash.hex()
    keyid = public_key(evidence.origin(log).checkpoint_key).keyid
    if pin is not None and pin not in (first, keyid):
        found = f"this is another log: it begins with {first}, signed by checkpoint key {keyid}"
        raise VerificationError(found, where=f"the pinned origin of {log.where}", expected=pin)


def checkpoint_keys(log: Log) -> tuple[tuple[int, str], ...]:
    """The keys that sign checkpoints: the entry from which each signs, and its public key (PEM)."""
    if next(iter(log.by_kind(("checkpoint_key",))), None) is None:
        return ((0, evidence.origin(log).checkpoint_key),)
    return read_authority(log).checkpoint_keys


def model_index(machine: Machine, log: Log, model: str) -> str:
    """The index of a model at the log's present size, signed by its checkpoint key: by this
    machine, or by the server that keeps the log.

    Raises `StorageError` where neither has the key, `OfflineError`, `VerificationError`.
    """
    if on_server(machine):
        from governance.log.mirror import MirrorLog

        if not isinstance(log, MirrorLog):
            raise StorageError("the log's server is asked over its own copy", where=log.where)
        return log.model_index(model)
    check_checkpoint_key(machine, log)
    return ModelEntries().signed(log, model, checkpoint_signer(machine))


def check_checkpoint_key(machine: Machine, log: Log) -> None:
    """Raises `StorageError` unless this machine has the key that signs the log's checkpoints."""
    keys, own = [pem for _, pem in checkpoint_keys(log)], own_checkpoint_key(machine)
    if own == keys[-1]:
        return
    where, fix = str(machine.keys / f"{CHECKPOINT}.pem"), _RESTORE
    found = f"the {CHECKPOINT} key this log was begun with is not here"
    if own in keys:
        found = "this machine signs checkpoints with a key that was replaced"
        fix = "countersign checkpoint-key use"
    if machine.environ.get(ELSEWHERE):
        where, fix = ELSEWHERE, f"set {ELSEWHERE} to the address of the log's key"
    raise StorageError(found, where=where, fix=fix)


def own_checkpoint_key(machine: Machine) -> str | None:
    """The public key (PEM) this machine signs checkpoints with; None where it never began a log."""
    exists = machine.environ.get(ELSEWHERE) or (machine.keys / f"{CHECKPOINT}.pem").exists()
    return checkpoint_signer(machine).public_pem if exists else None


def last_seen(machine: Machine, log: Log) -> dict[str, str]:
    """The last checkpoint of this log that this machine signed or verified, by its place; empty
    where there is none.
    """
    try:
        head, _ = parse_checkpoint(log.checkpoint())
    except VerificationError:
        return {}  # the log has no checkpoint that can be read: verification says so
    known = heads(machine)
    with suppress(VerificationError):  # the caller's verification says it with more detail
        known.check(
            head.origin, lambda: parse_checkpoint(log.checkpoint())[0], log.consistency_proof
        )
    shown = f"the checkpoint this machine last signed or verified ({known.place(head.origin)})"
    note = known.last(head.origin)
    return {shown: note} if note else {}


def remember(machine: Machine, note: str) -> None:
    """Keeps a verified checkpoint, so that a log that is rolled back later is detected. Raises
    `StorageError`.
    """
    heads(machine).keep(note)


def trusted_witnesses(machine: Machine, note: str) -> Requirement | None:
    """What this machine last saw policy ask of witnesses, in the log of this checkpoint, which it
    verified; None where it saw nothing. Raises `StorageError`, `VerificationError`.
    """
    path = _witnesses_kept(machine, note)
    try:
        if not path.exists():
            return None
        value = json.loads(path.read_text(encoding="utf-8"))
        keys = tuple(read_vkey(text) for text in value["witnesses"])
        return Requirement(keys, int(value["quorum"]), timedelta(hours=value["hours"]))
    except (OSError, ValueError, LookupError, TypeError, ConfigError):
        found = "the witnesses kept here cannot be read"
        raise StorageError(found, where=str(path)) from None


def remember_witnesses(machine: Machine, note: str, required: Requirement) -> None:
    """Keeps what the policies in force of a verified log ask of witnesses. Raises
    `StorageError`.
    """
    path = _witnesses_kept(machine, note)
    if required.quorum or path.exists():
        value = {
            "witnesses": [str(key) for key in required.witnesses],
            "quorum": required.quorum,
            "hours": required.grace / timedelta(hours=1),
        }
        write_state(path, json.dumps(value, indent=2).encode())


def _witnesses_kept(machine: Machine, note: str) -> Path:
    return heads(machine).place(parse_checkpoint(note)[0].origin).with_suffix(".witnesses")


def exposed_keys(machine: Machine) -> list[Path]:
    """Private keys of this machine that other accounts can read."""
    return [path for path in sorted(machine.keys.glob("*.pem")) if path.stat().st_mode & 0o077]


def _check_development_key(machine: Machine, log: Log) -> None:
    """Raises `StorageError` where a development key signs, and it is not the one that the log's
    origin names. Evidence signed by a new key would count as missing.
    """
    if machine.signer_uri is not None:
        return
    path = machine.keys / f"{DEVELOPMENT}.pem"
    development_keys = evidence.origin(log).development_keys
    if not development_keys:
        found = "this log was begun by people and takes no development keys"
        fix = "export COUNTERSIGN_SIGNER=file2:/path/to/the/service's/key.pem"
        raise ConfigError(found, where="COUNTERSIGN_SIGNER", fix=fix)
    own = stored_signer(machine.keys, DEVELOPMENT).public_pem if path.exists() else ""
    if own not in development_keys:
        found = f"the {DEVELOPMENT} key this log was begun with is not here"
        raise StorageError(found, where=str(path), fix=_RESTORE)


def _sqlite_path(uri: str) -> Path:
    if not uri.startswith(f"{_SQLITE}/"):
        found = f"not an address of a log: {uri.partition('://')[0][:40]!r} and more"
        expected = "sqlite:////PATH, postgresql://USER@HOST/DATABASE, or https://SERVER"
        raise ConfigError(found, where="COUNTERSIGN_LOG", expected=expected)
    return Path(uri.removeprefix(_SQLITE))


def _artifact_root(state: Path) -> Path:
    """Where the server of this machine was last told to keep files (`countersign server
    --artifacts`); else here.
    """
    named = state / SERVED_FILES
    try:
        if not named.exists():
            return state / "artifacts"
        return Path(named.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        fix = "use the account whose folder it is, or set COUNTERSIGN_HOME to one of your own"
        raise StorageError(f"it cannot be read: {reason}", where=str(named), fix=fix) from None


def _requester(environ: Mapping[str, str]) -> Requester:
    name = environ.get("COUNTERSIGN_REQUESTER")
    if not name:
        try:
            name = getpass.getuser()
        except (KeyError, OSError):
            name = f"uid {os.getuid()}"
    return Requester(name=name, authenticated=False)
