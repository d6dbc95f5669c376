"""The key that signs the log's checkpoints: at each append the key that the log names.

Owners may approve a successor while a server runs. It signs from the next entry on, if this machine
has it. If not, nothing is appended, because a checkpoint by the old key does not verify. Nothing is
appended either where the entries are not those of the last checkpoint: a signature would confirm
rewritten entries.
"""

from __future__ import annotations

from dataclasses import dataclass

from governance.attest.keys import Signer, public_key
from governance.base.errors import UnsignedError
from governance.log.port import Log
from governance.machine.machine import (
    ELSEWHERE,
    Machine,
    check_head,
    checkpoint_keys,
    checkpoint_signer,
)
from governance.machine.signers import CHECKPOINT, stored_signer
from governance.people.policies import NEXT, use_successor


@dataclass(frozen=True)
class CheckpointSigner:
    """See `governance.attest.keys.Signer`. It signs within the transaction of an append, so the log
    does not change meanwhile.
    """

    machine: Machine
    log: Log
    """The log that it signs, for reading."""

    @property
    def keyid(self) -> str:
        """See `Signer`."""
        return self._now().keyid

    @property
    def public_pem(self) -> str:
        """See `Signer`."""
        return self._now().public_pem

    def sign(self, payload: bytes) -> bytes:
        """See `Signer`. Raises `VerificationError` where the log's entries are not those of its
        last checkpoint.
        """
        check_head(self.log, self.machine.project)
        return self._now().sign(payload)

    def _now(self) -> Signer:
        """Raises `UnsignedError`."""
        since, public_pem = checkpoint_keys(self.log)[-1]
        if self.machine.environ.get(ELSEWHERE):
            signer = checkpoint_signer(self.machine)
            if signer.public_pem == public_pem:
                return signer
        if self._holds(NEXT, public_pem):
            use_successor(self.machine.keys)
        if self._holds(CHECKPOINT, public_pem):
            return stored_signer(self.machine.keys, CHECKPOINT)
        key = public_key(public_pem)
        raise UnsignedError(
            f"checkpoints are signed by key {key.keyid[:12]} since entry {since}, and the server"
            " does not hold it",
            expected=f"{key.fingerprint} as {NEXT}.pem in its folder of keys, or by {ELSEWHERE}",
            fix="nothing was appended; bring the key there, and the server uses it at once",
        )

    def _holds(self, name: str, public_pem: str) -> bool:
        keys = self.machine.keys
        is_there = (keys / f"{name}.pem").exists()
        return is_there and stored_signer(keys, name).public_pem == public_pem
