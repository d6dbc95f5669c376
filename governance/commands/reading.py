"""What `export` and `control` share: a version's records, from this machine's log or a bundle."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from governance.commands import session

if TYPE_CHECKING:
    from governance.exports.records import Records


def records_of(name: tuple[str, str], bundle: Path | None, origin: str | None, time: datetime | None = None) -> Records:
    """The version's verified records. Raises `VerificationError` where they do not verify."""
    from governance.exports.records import at_hand, read

    sources = at_hand(session.here(), Path.cwd()) if bundle is None else session.carried(bundle, origin).sources
    return read(sources, name, time)
