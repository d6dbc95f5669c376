"""Which steps the person at this machine may look into."""

from __future__ import annotations

from collections.abc import Iterable

from governance.commands.admitting import reader_of, rights_of
from governance.commands.session import Call
from governance.history.contents import Contents
from governance.history.state import LogState
from governance.release.reading import Wanted, refused
from pipelines.trace.steps import Step, wanted


def allowed_and_closed(
    call: Call, now: LogState, steps: Iterable[Step]
) -> tuple[list[Wanted], set[str]]:
    """What of these steps the person may read, and the digests of what they may not. Both are empty
    where no policy says who may read.
    """
    rights = rights_of(call, now)
    if not rights.restricted:
        return [], set()
    known, keyid = Contents(now.view), reader_of(call, now).keyid
    asked = {wanted(step, known) for step in steps}
    closed = {
        each
        for each in asked
        if refused(rights, lambda policies: rights.of_key(policies, keyid, call.now), [each])
    }
    return sorted(asked - closed, key=lambda each: each.sha256), {each.sha256 for each in closed}
