"""A registered version of this project's own log as the source of a base: `models:/MODEL/VERSION`.

1. The log resolves the name, and the files are compared with the registration, as for serving
   (`governance.release.serving`). An alias names no version for good, so it is refused.
2. A version that was retired, or has an open incident, is no base.
3. Where policy says who may read the model, the key that signs here needs the right.

The import's statement has the digest of the version. Lineage goes by digest, so what is trained
from it has the version's whole chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from governance.base.errors import InputError
from governance.history.lineage import model_node
from governance.history.state import LogState, state
from governance.log.views import EvidenceView
from governance.machine.machine import Machine, known_signer
from governance.machine.trust import own_policies
from governance.release.reading import Rights, require
from governance.release.serving import (
    Served,
    content_of,
    private_copy,
    resolve,
    serving_log,
    where,
)


@contextmanager
def version_files(source: str, root: Path, machine: Machine, at: datetime) -> Iterator[Path]:
    """A folder with the verified files of a version, which exists as long as the block. Raises
    `InputError`, `VerificationError`, or `RefusedError` without the right to read it.
    """
    own = own_policies(root)
    now = state(serving_log(machine, at, own))
    served = resolve(now, source)
    _require_usable(now, served)
    rights = Rights(now.authority, own)
    if rights.restricted:
        keyid = known_signer(machine, own.keys if own else {}).keyid
        require(rights, keyid, [content_of(now, served)], source, at)
    with private_copy(served, where(machine, served)) as folder:
        yield folder


def trained_by(view: EvidenceView, sha256: str) -> str | None:
    """The method by which a model was trained, as the log says; None if it was trained
    elsewhere.
    """
    train = model_node(view, sha256).train
    return train.predicate.method if train else None


def _require_usable(now: LogState, served: Served) -> None:
    """(2) Bytes are retired, whatever their number."""
    moves = now.timeline.retirements.values()
    retired = served.registration.model_digest in {move.predicate.model_digest for move in moves}
    if retired or served.incident:
        found = f"{served.name} {'was retired' if retired else 'has an open incident'}"
        fix = f"see `countersign history {served.registration.model}`, and name another version"
        raise InputError(found, where=f"models:/{served.name}", fix=fix)
