"""Which model serves, and its files as they were registered: from the log, never from the
registry's tables.

1. A name (`MODEL/VERSION`, `MODEL@ALIAS`, `models:/...`) is resolved by the log: the last move
   allowed, and the registration of exactly the digest that was decided on. `latest` names nothing.
2. The files are copied once into a folder that nobody else writes, and the copy is held against the
   registration's manifest (`governance.models.folder`): what is handed out is what was hashed.

The log at hand is verified first, wholly; give its origin (entry 0), or a machine that began it, to
know it is yours.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from governance.attest.keys import public_key
from governance.attest.predicates import Promotion, Registration
from governance.base.errors import ConfigError, InputError, VerificationError
from governance.base.http_client import is_server
from governance.history.state import LogState, no_version
from governance.history.verify import TrustAnchors, verify_log
from governance.log.evidence import Evidence, origin
from governance.log.port import Log
from governance.machine.machine import Machine, on_server, own_checkpoint_key, read_log
from governance.models import folder as modelfolder
from governance.models.artifacts import in_artifact_root
from governance.models.folder import Fetch
from governance.policy.authority import read_authority
from governance.registry import rest

_SLUG = r"[a-z][a-z0-9_-]{0,62}"
_REFERENCE = re.compile(
    rf"(?:models:/)?(?P<model>{_SLUG})(?:/(?P<version>[1-9][0-9]{{0,8}})|@(?P<alias>{_SLUG}))"
)


@dataclass(frozen=True)
class Reference:
    """A version by number, or by the alias it holds."""

    model: str
    version: str | None = None
    alias: str | None = None


@dataclass(frozen=True)
class Served:
    """A registered version, and why it is the one that was meant."""

    registration: Registration
    entry: int
    """Of the registration."""
    development: bool
    """Whether a key made without ceremony signed it."""
    alias: str | None = None
    move: Promotion | None = None
    """The decision that gave it the alias, where it was asked for by one."""
    incident: str | None = None
    """Why an incident is open on these bytes, where one is."""

    @property
    def name(self) -> str:
        """MODEL/VERSION"""
        return f"{self.registration.model}/{self.registration.version}"


def parse(text: str) -> Reference:
    """A name of a version. Raises `ConfigError`: it is ASCII and lower case, and `latest` is
    none.
    """
    found = _REFERENCE.fullmatch(text)
    if found is None or found["alias"] == "latest":
        raise ConfigError(
            f"{text[:120]!r} names no version",
            expected=(
                "MODEL/VERSION or MODEL@ALIAS, e.g. support-desk/1 or models:/support-desk@champion"
            ),
            fix=(
                "`latest` goes around every approval: name the version or an alias"
                if "latest" in text
                else ""
            ),
        )
    return Reference(**found.groupdict())


def resolve(now: LogState, text: str) -> Served:
    """(1) Raises `InputError` where the log has no such version, or nobody holds the alias."""
    asked = parse(text)
    if asked.alias is None:
        item = _registered(now, asked.model, str(asked.version))
        return _served(now, item)
    now.must_know(asked.model)
    held = now.holder(asked.model, asked.alias)
    if held is None:
        raise InputError(
            f"nobody holds {asked.alias} of {asked.model}, says the log",
            fix=f"countersign history {asked.model}",
        )
    return _served(
        now, _registered(now, asked.model, held.version, held.model_digest), asked.alias, held
    )


@contextmanager
def private_copy(
    served: Served, fetch: Fetch | Path, scratch: Path | None = None
) -> Iterator[Path]:
    """(2) A folder with the version's files, verified, for as long as the block lasts. Raises
    `VerificationError`.

    `fetch` is where they come from: a folder, whose other content is refused too, or what fetches
    one file.
    """
    said = served.registration
    with tempfile.TemporaryDirectory(prefix="countersign-model-", dir=scratch) as name:
        into = Path(name) / "model"
        if isinstance(fetch, Path):
            modelfolder.copied(fetch, said.files, said.model_digest, into)
        else:
            modelfolder.take(said.files, said.model_digest, fetch, into)
        yield into


def where(machine: Machine, served: Served) -> Fetch | Path:
    """Where this machine finds the version's files: the registry's folder, or the server. Raises
    `InputError`.
    """
    said = served.registration
    if is_server(machine.registry_uri):
        return rest.from_server(machine.registry_uri, said.model, said.version, machine.environ)
    folder = in_artifact_root(machine.artifact_root)(served.registration)
    if folder is None or not folder.is_dir():
        raise InputError(
            f"the files of {served.name} are not on this machine",
            where=str(folder or machine.artifact_root),
            fix="set COUNTERSIGN_REGISTRY to the server that has them, or name the folder",
        )
    return folder


def serving_log(machine: Machine, pinned: str | None = None, *, quick: bool = False) -> Log:
    """The log, verified from entry 0, so that no entry was hidden or moved; its origin as far as
    anything pins it.

    `pinned` (else COUNTERSIGN_ORIGIN): hash of entry 0, or id of the checkpoint key. `quick`: the
    head alone, which does not show an entry that somebody with the database took away. Raises
    `VerificationError`.
    """
    log = read_log(machine)
    pin = pinned or machine.environ.get("COUNTERSIGN_ORIGIN") or None
    if quick:
        if pin not in (
            None,
            log.entry(0).leaf_hash.hex(),
            public_key(origin(log).checkpoint_key).keyid,
        ):
            raise VerificationError(
                "this is another log", expected=f"one with origin {pin}", where=log.where
            )
        return log
    own = None if on_server(machine) else own_checkpoint_key(machine)
    report = verify_log(
        log, machine.project, read_authority(log).keys, TrustAnchors(origin=pin, checkpoint_key=own)
    )
    if report.broken is not None:
        raise VerificationError(
            f"the log does not verify: {report.broken}",
            where=log.where,
            fix="countersign verify; serve nothing from it",
        )
    return log


def _registered(
    now: LogState, model: str, version: str, digest: str | None = None
) -> Evidence[Registration]:
    """The version's last registration; of this digest, where one was decided on."""
    found = [
        item
        for item in now.view.all(Registration)
        if (item.predicate.model, item.predicate.version) == (model, version)
    ]
    mine = [item for item in found if digest in (None, item.predicate.model_digest)]
    if not found:
        raise no_version(now, model, version)
    if not mine:
        raise InputError(
            f"the log has no version {version} of {model} with sha256 {str(digest)[:12]}"
        )
    digests = {item.predicate.model_digest for item in mine}
    if len(digests) > 1:
        raise VerificationError(
            f"{model}/{version} was registered with different bytes:"
            f" {', '.join(sorted(one[:12] for one in digests))}",
            where=f"entries {', '.join(str(item.index) for item in mine)}",
            expected="one model under one name",
            fix="name it by the alias that was decided on, e.g. " + f"{model}@champion",
        )
    return mine[-1]


def _served(
    now: LogState,
    item: Evidence[Registration],
    alias: str | None = None,
    move: Promotion | None = None,
) -> Served:
    said = item.predicate
    return Served(
        said, item.index, item.development, alias, move, open_incident(now, said.model_digest)
    )


def open_incident(now: LogState, digest: str) -> str | None:
    """Why something is wrong with these bytes, as somebody who may speak last said; None where
    nothing is.
    """
    opened = [item.predicate for item in now.timeline.open_incidents(digest)]
    return (
        f"{opened[-1].reason} (since {opened[-1].at}, by {opened[-1].principal})"
        if opened
        else None
    )
