"""A small log, a fork of it, and a witness, for tests of the protocol."""

from __future__ import annotations

from governance.attest.keys import Signer, public_key
from governance.log import merkle
from governance.log.checkpoint import Checkpoint, sign_checkpoint
from governance.log.notes import LOG_KEY, VerifierKey
from governance.witness.book import request_body, vkey
from tests.governance.keys import ONE, stranger

WITNESS = stranger(7)
NAME = "witness.example/w1"
ORIGIN = "countersign/desk/0123456789abcdef"
LOG = VerifierKey(ORIGIN, public_key(ONE.public_pem), LOG_KEY)
KEY = vkey(NAME, WITNESS)


class Tree:
    """A log's tree, and its checkpoints."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.leaves = [merkle.leaf_hash(leaf) for leaf in leaves]

    def nodes(self, level: int, position: int) -> bytes:
        if level == 0:
            return self.leaves[position]
        below = self.nodes(level - 1, 2 * position), self.nodes(level - 1, 2 * position + 1)
        return merkle.node_hash(*below)

    def root(self, size: int) -> bytes:
        return merkle.root(size, self.nodes)

    def note(self, size: int, signer: Signer = ONE) -> str:
        return sign_checkpoint(Checkpoint(ORIGIN, size, self.root(size)), signer)

    def request(self, old: int, size: int, signer: Signer = ONE) -> bytes:
        proof = merkle.consistency_proof(old, size, self.nodes)
        return request_body(old, proof, self.note(size, signer))


TREE = Tree([b"%d" % number for number in range(40)])
FORK = Tree([b"%d" % number if number < 6 else b"x%d" % number for number in range(40)])
"""The same log up to entry 5, and other entries after it."""
