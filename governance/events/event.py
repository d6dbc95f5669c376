"""What an event says.

1. It holds types, codes, digests, the name and version of a model, positions in the log and a link.
   It holds no text that a person or a model wrote, and no name of a person, account, dataset or
   stage. What does not look like a name of a model, a version or a code is left out.
2. The same fact has the same id: a receiver that gets an event twice recognizes it.
"""

from __future__ import annotations

import re
from datetime import datetime

from pydantic import Field

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.base.model import SLUG, Model, Sha256, empty
from governance.base.time import instant

TYPES = {
    "approval.wanted": "Somebody is asked to approve a packet, policies, a key, a registration, an"
    " input of a training, or a move.",
    "approval.late": "The second signature of a move that one person made alone is late.",
    "packet.wanted": "A version has no packet yet, or its evidence changed since it was frozen.",
    "request.wanted": "A version is approved, and nobody has asked for the move.",
    "promotion.done": "An alias was given to a version.",
    "promotion.refused": "A promotion was refused; `codes` says why.",
    "rollback.done": "An alias was given back to an earlier version.",
    "rollback.refused": "A rollback was refused.",
    "retirement.done": "A version was taken out of service.",
    "retirement.refused": "A retirement was refused.",
    "gate.refused": "A gate did not let a stage train.",
    "generation.refused": "Data was not allowed to be generated.",
    "call.refused": "A rule of the server refused a call on a governed model.",
    "incident.opened": "A person opened an incident of a version.",
    "incident.updated": "A person said more about an open incident.",
    "incident.closed": "A person closed an incident.",
    "clock.started": "A legal clock (`code`) of an incident runs, or waits for its trigger.",
    "clock.due": "A legal clock ends within 24 hours.",
    "clock.late": "A legal clock has ended, and nothing was filed.",
    "waiver.ending": "A waiver ends within 14 days.",
    "waiver.due": "A waiver ends within 24 hours.",
    "waiver.ended": "A waiver has ended.",
    "authorization.ending": "An authorization to run in a person's name ends within an hour.",
    "authorization.ended": "An authorization to run in a person's name has ended.",
    "erasure.wanted": "Records are to be erased, or a live version has seen erased records.",
    "erasure.due": "The deadline of an erasure ends within 24 hours.",
    "erasure.late": "The deadline of an erasure is over.",
    "review.wanted": "The periodic review of a version in use is due within 14 days.",
    "review.due": "The periodic review of a version in use is due within 24 hours.",
    "review.late": "A version in use was not reviewed in time.",
    "monitoring.breached": "A version in use does not keep a limit of policy in service; `code`.",
    "rollout.wanted": "A canary rollout waits for its start or its next step.",
    "rollout.unanswered": "The service that observes a rollout has to narrow, abort or pass it.",
    "task.wanted": "Another task waits for somebody; `reason` names its kind.",
    "task.due": "The deadline of another task ends within 24 hours.",
    "task.late": "The deadline of another task is over.",
    "countersign.test": "Somebody ran `countersign events test`. It needs no answer but a 2xx.",
}
"""Each type, and what it means."""
TEST = "countersign.test"
_VERSION = r"[0-9]{1,18}"
_CODE = r"[A-Z][A-Z0-9_]{0,63}"
_NAME = SLUG.strip("^$")


class Data(Model):
    """The content of an event."""

    project: str
    origin: Sha256
    """Digest of entry 0: which log it is."""
    entries: int
    """How many entries the log had when it became known. It never decreases from one event to the
    next.
    """
    entry: int | None = None
    """The entry that it is about."""
    statement: Sha256 | None = None
    """Digest of the statement of that entry."""
    digest: Sha256 | None = None
    """Of what a person is asked to sign."""
    reason: str = Field("", exclude_if=empty)
    """The kind of a task, as in `countersign pending --json`."""
    model: str | None = None
    version: str | None = None
    alias: str | None = None
    codes: list[str] = Field([], exclude_if=empty)
    """Codes of findings."""
    code: str | None = None
    """The name of a legal clock in policy, or the code of the finding that a waiver accepts."""
    severity: str | None = None
    """Of an incident."""
    due: str | None = None
    """Until when."""
    link: str | None = None
    """The page of the server."""


class Event(Model):
    """One event. `body` is what a receiver gets."""

    id: str
    type: str
    timestamp: str
    data: Data

    @property
    def body(self) -> bytes:
        """The JSON text that is sent and signed, the same at each attempt."""
        return canonical.dumps(self.model_dump(mode="json", exclude_none=True))


def event(kind: str, key: list[str], at: datetime, data: Data) -> Event:
    """(2) An event of a type. `key` and the log identify the fact."""
    identity = canonical.dumps([data.origin, kind, *key])
    made = f"evt_{sha256_bytes(identity)[:40]}"
    return Event(id=made, type=kind, timestamp=instant(at), data=data)


def model_name(text: str | None) -> str | None:
    """(1) The name of a model or alias; None for what cannot be one."""
    return _if(_NAME, text)


def version_name(text: str | None) -> str | None:
    """(1) The version; None for what cannot be one."""
    return _if(_VERSION, text)


def code_name(text: str | None) -> str | None:
    """(1) A finding's code or the name of a clock; None for what cannot be one."""
    return _if(_CODE, text) or _if(_NAME, text)


def link(server: str | None, model: str | None, version: str | None) -> str | None:
    """The page of a version, of a model, or of the server."""
    if server is None:
        return None
    page = f"{server.rstrip('/')}/"
    if model is not None:
        page += f"#/models/{model}"
        page += f"/versions/{version}" if version is not None else ""
    return page


def _if(pattern: str, text: str | None) -> str | None:
    return text if text is not None and re.fullmatch(pattern, text, re.ASCII) else None
