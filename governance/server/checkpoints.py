"""The key that signs the log's checkpoints: at each append the one that the log itself names.

Owners may approve a successor while a server runs. From the next entry on it signs, where this machine holds it; where
it does not, nothing is appended: a checkpoint by the key before would be refused by whoever verifies.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from governance.errors import UnsignedError
from governance.keys import CHECKPOINT, Signer, public_key, stored_signer
from governance.log.port import Log
from governance.machine import checkpoint_keys
from governance.people.keys import NEXT, use_successor


@dataclass(frozen=True)
class CheckpointSigner:
    """See `governance.keys.Signer`. It is asked within the transaction of an append, so the log stands still."""

    keys: Path
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
        """See `Signer`."""
        return self._now().sign(payload)

    def _now(self) -> Signer:
        """Raises `UnsignedError`."""
        since, wanted = checkpoint_keys(self.log)[-1]
        if self._holds(NEXT, wanted):
            use_successor(self.keys)
        if self._holds(CHECKPOINT, wanted):
            return stored_signer(self.keys, CHECKPOINT)
        key = public_key(wanted)
        raise UnsignedError(
            f"checkpoints are signed by key {key.keyid[:12]} since entry {since}, and the server does not hold it",
            expected=f"{key.fingerprint} in its folder of keys, as {NEXT}.pem",
            fix="nothing was appended; whoever runs the server brings the key there, and it is taken up at once",
        )

    def _holds(self, name: str, wanted: str) -> bool:
        return (self.keys / f"{name}.pem").exists() and stored_signer(self.keys, name).public_pem == wanted
