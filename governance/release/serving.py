"""Finds the version that a name means and verifies its files, from the log and never from the
registry's tables.

1. The log resolves a name (`MODEL/VERSION`, `MODEL@ALIAS`; also after `models:/` or
   `countersign://`): the last allowed move, and the registration of exactly the digest that was
   decided on. `latest` is no name.
2. The decisions that lead to the alias are repeated from the entries before each. A version by its
   number is refused, too, while it holds a governed alias by a decision that the log does not give.
   An alias is refused if policy owners approved another registration of its version since.
3. A row of the registry that says something else of the version or alias is refused, where the
   registry is at hand.
4. A version whose periodic review has lapsed is refused, where policy then stops serving it.
5. The files are copied once into a folder that nobody else writes. The copy is compared with the
   registration's manifest (`governance.models.folder`). So the caller gets the bytes that were
   hashed.

The whole log is verified first, with all that this machine trusts of it: its origin, its last head,
and the witnesses of the client's own policies (`governance.machine.trust`).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from governance.attest.predicates import CANDIDATE, Finding, Promotion, Registration
from governance.base.errors import (
    ConfigError,
    InputError,
    RefusedError,
    StorageError,
    VerificationError,
)
from governance.base.model import SLUG
from governance.history.contents import Contents
from governance.history.reviews import Review
from governance.history.state import LogState
from governance.log.http_client import is_server
from governance.log.port import Log
from governance.log.rules import CHECKED_CONFIGS, ONE_DIGEST
from governance.machine import trust
from governance.machine.machine import Machine, read_log
from governance.models import folder as modelfolder
from governance.models.folder import Fetch
from governance.policy.policies import Policies
from governance.policy.readers import Content
from governance.registry.rest import RegistryServer
from governance.release.artifacts import in_artifact_root
from governance.release.reading import Wanted
from governance.release.reconcile import differing
from governance.release.retrospect import check_moves, check_settled, open_incident

_NAME = SLUG.strip("^$")
_REFERENCE = re.compile(
    rf"(?:models:/|countersign://)?(?P<model>{_NAME})(?:/(?P<version>[1-9][0-9]{{0,8}}|latest)|@(?P<alias>{_NAME}))"
)


COPY = "countersign-model-"
"""How the name of a folder with a private copy begins. The folder of a killed process stays."""


@dataclass(frozen=True)
class Served:
    """A registered version, and the move by which an alias means it."""

    registration: Registration
    entry: int
    """The entry of the registration."""
    development: bool
    """Whether a development key signed the registration."""
    move: Promotion | None
    """The decision that gave it the alias, if the name had an alias."""
    incident: str | None
    """The open incident on these bytes, in words; None without one."""
    configs: bool = True
    """Whether its configuration files must be of the permitted kinds. Versions that were registered
    under the first rules are judged as then.
    """
    review: str | None = None
    """That its periodic review is overdue, in words; None where it is not, or nobody asked."""

    @property
    def alias(self) -> str | None:
        """The alias in the name."""
        return self.move.alias if self.move else None

    @property
    def name(self) -> str:
        """MODEL/VERSION"""
        return f"{self.registration.model}/{self.registration.version}"


def parse(text: str) -> tuple[str, str | None, str | None]:
    """Model, and version or alias, of a name. Raises `ConfigError`: names are ASCII and lower case,
    and `latest` is no name.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None or "latest" in (match["version"], match["alias"]):
        fix = "`latest` goes around every approval: name the version or an alias" if match else ""
        expected = "MODEL/VERSION or MODEL@ALIAS, e.g. models:/support-desk@champion"
        raise ConfigError(f"{text[:120]!r} names no version", expected=expected, fix=fix)
    return match["model"], match["version"], match["alias"]


def resolve(now: LogState, text: str) -> Served:
    """(1) The version that a name means: its last registration; with an alias, the last one of the
    bytes that were decided on. Raises `InputError` if the log has no such version or no version
    holds the alias, `VerificationError` for a decision that the log does not give (2).
    """
    model, version, alias = parse(text)
    move = None
    if alias is not None:
        now.must_know(model)
        tenure = now.timeline.holders.get((model, alias))
        if tenure is None:
            found = f"nobody holds {alias} of {model}, says the log"
            raise InputError(found, fix=f"countersign history {model}")
        move, version = tenure.given.predicate, tenure.version
        check_moves(now, tenure.given)  # (2)
        check_settled(now, tenure.given)
    standing = now.registration(model, str(version)).predicate  # raises where there is none
    is_settled = (
        now.authority.rules >= ONE_DIGEST
        and (model, str(version)) not in now.timeline.registered_twice
    )
    digest = standing.model_digest if is_settled else None
    if move is not None:
        digest = move.model_digest
    fitting = [
        statement
        for statement in now.view.all(Registration)
        if (statement.predicate.model, statement.predicate.version) == (model, version)
        and digest in (None, statement.predicate.model_digest)
    ]
    if not fitting:
        raise InputError(f"the log has no version {version} of {model} with sha256 {digest}")
    digests = {statement.predicate.model_digest for statement in fitting}
    if len(digests) > 1:
        raise VerificationError(
            f"{model}/{version} was registered with different bytes:"
            f" {', '.join(sorted(sha256[:12] for sha256 in digests))}",
            where=f"entries {', '.join(str(statement.index) for statement in fitting)}",
            fix=f"name it by the alias that was decided on, e.g. {model}@champion",
        )
    for held in now.timeline.held_by(model, str(version)) if move is None else ():
        if held.alias != CANDIDATE:
            check_moves(now, held.given)  # (2)
    last = fitting[-1]
    incident = open_incident(now, last.predicate.model_digest)
    configs = now.authority.rules_at(last.index) >= CHECKED_CONFIGS
    return Served(last.predicate, last.index, last.development, move, incident, configs)


def late_review(now: LogState, served: Served, at: datetime) -> Review | None:
    """The periodic review of the version, where that is overdue; None where it is not."""
    about = (served.name, served.registration.model_digest)
    late = (each for each in now.timeline.reviews(at) if each.state != "in time")
    return next((each for each in late if (each.name, each.digest) == about), None)


def reviewed(now: LogState, served: Served, at: datetime) -> Served:
    """(4) The version, with what is to be said of its periodic review. Raises `RefusedError` where
    that has lapsed and policy then stops serving the version.
    """
    late = late_review(now, served, at)
    if late is None:
        return served
    if late.stops_serving:
        raise RefusedError(
            f"{late.name} is not served: its periodic review was due on {late.due}",
            expected="a review within the days of grace (policies/policy.yaml, overdue_review)",
            where=f"REVIEW_STOPS_SERVING, last reviewed in entry {late.last.index}",
            fix=f"countersign periodic-review {late.name} --reason ...; or serve another version",
        )
    return replace(served, review=f"due on {late.due}{late.lateness}")


def content_of(now: LogState, served: Served) -> Wanted:
    """What somebody reads with a version's files: to ask whether they may."""
    registration = served.registration
    digest, own = registration.model_digest, frozenset({Content("model", registration.model)})
    return Wanted.of(digest, Contents(now.view).of_model(digest), own)


def check_registry(log: Log, machine: Machine, served: Served) -> None:
    """(3) Raises `VerificationError` where the registry says something else of version or alias
    than the log. A registry that cannot be compared, as from an offline copy of the log, is no
    fault: the files are compared with the log's registration in any case.
    """
    differences: list[Finding] = []
    with suppress(StorageError):
        differences = differing(log, machine) or []
    names = {served.name, f"{served.registration.model}@{served.alias}"}
    for difference in differences:
        if difference.subject in names:
            raise VerificationError(
                f"THE REGISTRY DIFFERS FROM THE LOG: {difference.subject}: the registry says"
                f" {difference.found}",
                expected=difference.expected,
                where=difference.code,
                fix="countersign verify shows all differences; correct the registry",
            )


@contextmanager
def private_copy(
    served: Served, fetch: Fetch | Path, scratch: Path | None = None
) -> Iterator[Path]:
    """(5) A folder with the version's verified files, which exists as long as the block. Raises
    `VerificationError`.

    `fetch`: a folder, which must contain nothing else, or a function that fetches one file.
    """
    registration, configs = served.registration, served.configs
    files, digest = registration.files, registration.model_digest
    with tempfile.TemporaryDirectory(prefix=COPY, dir=scratch) as name:
        into = Path(name) / "model"
        if isinstance(fetch, Path):
            modelfolder.copied(fetch, files, digest, into, configs=configs)
        else:
            modelfolder.take(files, digest, fetch, into, configs=configs)
        yield into


def where(machine: Machine, served: Served) -> Fetch | Path:
    """Where this machine gets the version's files: the registry's folder, or the server. Raises
    `InputError` if they are not on this machine.
    """
    registration = served.registration
    if is_server(machine.registry_uri):
        server = RegistryServer(machine.registry_uri, machine.environ)
        return server.files(registration.model, registration.version)
    folder = in_artifact_root(machine.artifact_root)(served.registration)
    if folder is None or not folder.is_dir():
        found = f"the files of {served.name} are not on this machine"
        fix = "set COUNTERSIGN_REGISTRY to the server that has them, or name the folder"
        raise InputError(found, where=str(folder or machine.artifact_root), fix=fix)
    return folder


def serving_log(
    machine: Machine,
    at: datetime,
    policies: Policies | None = None,
    pinned: str | None = None,
    *,
    quick: bool = False,
    keys: Mapping[str, str] | None = None,
    witnessed: bool = True,
) -> Log:
    """The log, verified from entry 0, so no entry is missing or changed. It continues the last head
    that this machine knows, and as many witnesses as policy asks for have cosigned it of late
    (`governance.machine.trust`). Raises `VerificationError`.

    `policies`: the client's own. `pinned` (else COUNTERSIGN_ORIGIN): hash of entry 0, or id of the
    checkpoint key; it establishes the origin. `quick`: compares only the head, the origin and the
    cosignatures. That does not show entries that somebody with access to the database removed.
    `keys`: key id to PEM of keys that count besides those of the log's own policies. `witnessed`:
    whether the quorum is required; the log's own server has to start before it can ask them.
    """
    log = read_log(machine)
    if quick:
        trust.check_witnessed(machine, log, policies, at, pinned)
        return log
    anchors = trust.trust_anchors(machine, log, policies, at, origin=pinned)
    anchors = anchors if witnessed else trust.unwitnessed(anchors)
    report = trust.verified(machine, log, policies, anchors, keys=keys)
    if report.broken is not None:
        found = f"the log does not verify: {report.broken}"
        raise VerificationError(found, where=log.where, fix="serve nothing from it")
    with suppress(StorageError):  # an account that only serves may have no right to write here
        trust.remember_verified(machine, log, report)
    return log
