"""How a command that gives content out asks whether the person at this machine may read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from governance.attest.keys import Signer
from governance.base.errors import ConfigError
from governance.commands.session import Call
from governance.history.state import LogState
from governance.log.evidence import origin
from governance.log.port import Entry
from governance.machine.machine import log_of, signer
from governance.release.reading import Reading, Rights, Wanted, admit, checked_purpose


def rights_of(call: Call, now: LogState | None) -> Rights:
    """The policies that decide here: of the log, and of this folder."""
    return Rights(now.authority if now else None, call.own_policies)


def state_here(call: Call) -> LogState | None:
    """The log of this machine; None before it has begun."""
    return call.read() if log_of(call.machine).size() else None


def reader_of(call: Call, now: LogState | None) -> Signer:
    """The person's key where they gave one, else the key that signs on this machine. Raises
    `ConfigError` where there is none, in a log that takes no development keys.
    """
    is_service = call.machine.signer_uri is not None
    takes_any = now is not None and bool(origin(now.log).development_keys)
    if call.has_key or not (is_service or takes_any):
        return call.signer  # raises where no key is given
    return signer(call.machine)


def admitted(
    call: Call, command: str, now: LogState | None, wanted: Callable[[], Sequence[Wanted]]
) -> Entry | None:
    """Records that the content is read, before it is given out; the entry. None where no policy
    says who may read.

    Raises as `governance.release.reading.admit`, and `ConfigError` for a bundle: its log takes no
    entry.
    """
    rights = rights_of(call, now)
    if not rights.restricted:
        return None
    if call.bundle is not None:
        found = "a read must be recorded in the log, and a bundle takes no entries"
        raise ConfigError(found, where=str(call.bundle), fix="leave --bundle out")
    checked_purpose(rights, call.purpose)
    key = reader_of(call, now)
    is_development = now is not None and key.public_pem in origin(now.log).development_keys
    asked = call.machine.requester
    reading = Reading(key, is_development, command, call.purpose, asked, call.now)
    return admit(rights, reading, wanted(), lambda: call.log)
