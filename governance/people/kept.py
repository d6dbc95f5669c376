"""Files of this machine: which page each person opened, and the bytes that people signed.

A page is rendered from the log, so the same version of Countersign makes the same bytes again. A
later version may not. So the bytes are kept when somebody signs them.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Approval, Instant, Packet
from governance.base.errors import ConfigError, CountersignError, InputError
from governance.base.model import Sha256
from governance.base.storage import write_state
from governance.base.time import exact_instant, instant_of
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.machine.machine import Machine
from governance.people import review

_OPENED = TypeAdapter(dict[Sha256, Instant])


# -- Which page a person opened --------------------------------------------------------------------
def note_opened(machine: Machine, person: str, sha256: str, at: datetime) -> None:
    """Notes when a person first opened a page; no other person's approval uses it."""
    opened = _opened(machine, person)
    if sha256 in opened:
        return
    opened[sha256] = exact_instant(at)
    write_state(_opened_path(machine, person), _OPENED.dump_json(opened, indent=1))


def opened_at(machine: Machine, person: str, sha256: str) -> str | None:
    """When a person first opened a page on this machine; None where they did not."""
    return _opened(machine, person).get(sha256)


def _opened(machine: Machine, person: str) -> dict[str, str]:
    """The pages that a person opened. An unreadable file counts as empty."""
    try:
        return _OPENED.validate_json(_opened_path(machine, person).read_bytes())
    except (OSError, ValidationError, ValueError):
        return {}


def _opened_path(machine: Machine, person: str) -> Path:
    return machine.state / "opened" / f"{person}.json"


# -- Bytes that people signed ----------------------------------------------------------------------
def keep(machine: Machine, content: bytes) -> Path:
    """Stores bytes that somebody is about to sign, under their digest."""
    path = _path(machine, sha256_bytes(content))
    if read(machine, path.name) != content:
        write_state(path, content)
    return path


def read(machine: Machine, sha256: str) -> bytes | None:
    """The bytes stored under a digest. The caller compares their digest."""
    try:
        return _path(machine, sha256).read_bytes()
    except OSError:
        return None


def find(machine: Machine, now: LogState, sha256: str) -> bytes:
    """The page with this digest, as it was kept, or rendered again from the log. Raises
    `ConfigError`, `InputError` if it is not on this machine.
    """
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ConfigError(f"{sha256[:80]!r} is not a sha256", where="--page")
    content = read(machine, sha256)
    if content is not None and sha256_bytes(content) == sha256:
        return content
    votes = [vote for vote in now.evidence.all(Approval) if vote.predicate.page == sha256]
    for vote in votes:
        rendered = page_of_vote(now, vote)
        if rendered is not None:
            return rendered
    changed = "" if content is None else "; the file kept under this digest was changed"
    signers = ", ".join(dict.fromkeys(vote.predicate.principal for vote in votes))
    found = f"the page {sha256[:12]} is not on this machine and cannot be rendered again{changed}"
    raise InputError(found, fix=f"ask {signers or 'whoever signed it'} for the file")


def page_of_vote(now: LogState, vote: Evidence[Approval]) -> bytes | None:
    """The page as the author of an approval or rejection opened it, rendered from the log. None if
    this version of Countersign renders other bytes.
    """
    before = now.before(vote.index)
    packets = before.evidence.by_subject(vote.subjects[0].sha256, Packet)
    opened = instant_of(vote.predicate.opened_at or vote.predicate.at)
    with suppress(CountersignError):
        html = review.html(review.review(before, packets[-1], opened)) if packets else b""
        return html if sha256_bytes(html) == vote.predicate.page else None
    return None


def _path(machine: Machine, sha256: str) -> Path:
    return machine.state / "pages" / sha256
