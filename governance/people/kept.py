"""The pages and reports that people signed, on this machine, by digest: what was shown can be read
again as it was.

A statement names the sha256 of its page. The page is rendered from the log, so the same version of
Countersign gives the same bytes again; a later one need not, and therefore the bytes are kept when
somebody signs.
"""

from __future__ import annotations

import re
from pathlib import Path

from governance.attest.digests import sha256_bytes
from governance.base.errors import ConfigError, CountersignError, InputError
from governance.base.storage import write_atomic
from governance.log.evidence import Evidence
from governance.log.port import Log
from governance.machine.machine import Machine
from governance.people import page, review
from governance.release.promotion import State

_SHA256 = re.compile(r"[0-9a-f]{64}")
HERE, AGAIN = "kept when it was signed", "made again from the log"


def keep(machine: Machine, content: bytes) -> Path:
    """Keeps what somebody is about to sign; where it is."""
    path = _path(machine, sha256_bytes(content))
    if read(machine, path.name) != content:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(path, content)
    return path


def read(machine: Machine, sha256: str) -> bytes | None:
    """What is kept here under a digest; whether it still has it is the caller's to see."""
    try:
        return _path(machine, sha256).read_bytes()
    except OSError:
        return None


def find(machine: Machine, log: Log, now: State, sha256: str) -> tuple[bytes, str]:
    """The page with this digest, and where it is from. Raises `ConfigError`, `InputError` where it
    is not here.
    """
    if not _SHA256.fullmatch(sha256):
        raise ConfigError(
            f"{sha256[:80]!r} is no sha256", where="--page", expected="64 hexadecimal digits"
        )
    spoiled = ""
    content = read(machine, sha256)
    if content is not None:
        if sha256_bytes(content) == sha256:
            return content, HERE
        spoiled = "; the file kept here under that digest was changed"
    for item in _packets(now, sha256):
        made = _again(log, item)
        if made is not None and sha256_bytes(made) == sha256:
            return made, AGAIN
    raise InputError(
        f"the page {sha256[:12]} is not here, and no packet of the log gives it again{spoiled}",
        expected=(
            "a page that was signed on this machine, or that this version of Countersign renders"
            " from the log"
        ),
        fix=(
            f"ask {_signers(now, sha256)} for the file from their machine; its sha256 shows that it"
            " is the one"
        ),
    )


def _packets(now: State, sha256: str) -> list[Evidence]:
    """Packets whose page it may be: those that were signed with it first."""
    signed = {
        one.subjects[0].sha256
        for one in now.evidence.all("approval")
        if one.predicate.page == sha256
    }
    found = list(now.evidence.all("packet"))
    return sorted(found, key=lambda item: (item.subjects[0].sha256 not in signed, -item.index))


def _again(log: Log, item: Evidence) -> bytes | None:
    try:
        return page.html(review.review(log, item))
    except CountersignError:
        return None


def _signers(now: State, sha256: str) -> str:
    signed = [one.predicate for one in now.evidence.all("approval") if one.predicate.page == sha256]
    return ", ".join(dict.fromkeys(one.principal for one in signed)) or "whoever signed it"


def _path(machine: Machine, sha256: str) -> Path:
    return machine.state / "pages" / sha256
