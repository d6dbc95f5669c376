"""The published vectors of the certificate-transparency project (`merkle_tree_test.cc`), and proofs
for another size, index or root.
"""

from __future__ import annotations

import pytest

from governance.base.errors import VerificationError
from governance.log import merkle
from tests.governance.log.trees import INPUTS, ROOTS, Tree

TREE = Tree([merkle.leaf_hash(bytes.fromhex(text)) for text in INPUTS])

INCLUSION: list[tuple[int, int, list[str]]] = [
    # Leaf (from 0), size of the tree, proof
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]

CONSISTENCY: list[tuple[int, int, list[str]]] = [
    # Old size, new size, proof
    (1, 1, []),
    (1, 8, INCLUSION[1][2]),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]


def _bytes(proof: list[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in proof]


def _root(size: int) -> bytes:
    return bytes.fromhex(ROOTS[size])


@pytest.mark.parametrize(("index", "size", "proof"), INCLUSION)
def test_inclusion_proofs_are_those_published(index: int, size: int, proof: list[str]) -> None:
    assert merkle.inclusion_proof(index, size, TREE.node) == _bytes(proof)
    merkle.verify_inclusion(TREE.leaves[index], index, size, _bytes(proof), _root(size))


@pytest.mark.parametrize(("old", "new", "proof"), CONSISTENCY)
def test_consistency_proofs_are_those_published(old: int, new: int, proof: list[str]) -> None:
    assert merkle.consistency_proof(old, new, TREE.node) == _bytes(proof)
    merkle.verify_consistency(old, new, _root(old), _root(new), _bytes(proof))


def test_a_proof_is_of_the_size_that_it_names() -> None:
    """With the right root and path, the size alone is wrong: as when a smaller tree's checkpoint
    claims entries that it does not have. A path fits another size only where both trees have the
    same shape along it, as RFC 9162 (2.1.3.2) follows it.
    """
    accepted = set()
    for size in range(1, 9):
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, TREE.node)
            for claimed in range(-1, 18):
                if claimed == size:
                    continue
                try:
                    merkle.verify_inclusion(TREE.leaves[index], index, claimed, proof, _root(size))
                except VerificationError:
                    continue
                accepted.add((index, size, claimed))
    same_shape = {
        (index, size, claimed)
        for size in range(1, 9)
        for index in range(size)
        for claimed in range(index + 1, 18)
        if claimed != size and _path(index, claimed) == _path(index, size)
    }
    assert accepted == same_shape
    assert (0, 8, 16) not in accepted and (7, 8, 16) not in accepted and (0, 1, 2) not in accepted


def _path(index: int, size: int) -> list[str]:
    """On which sides the siblings of a leaf stand, from the leaf up: RFC 6962, 2.1.1."""
    if size == 1:
        return []
    split = 1
    while 2 * split < size:
        split *= 2
    if index < split:
        return [*_path(index, split), "right"]
    return [*_path(index - split, size - split), "left"]


@pytest.mark.parametrize("longer", [0, 1, 2])
def test_a_proof_with_more_or_fewer_steps_fails(longer: int) -> None:
    for index, size, proof in INCLUSION:
        steps = [*_bytes(proof), *[bytes(32)] * longer] if longer else _bytes(proof)[:-1]
        if steps == _bytes(proof):
            continue
        with pytest.raises(VerificationError):
            merkle.verify_inclusion(TREE.leaves[index], index, size, steps, _root(size))


def test_an_entry_behind_the_last_has_no_proof() -> None:
    proof = _bytes(INCLUSION[3][2])
    for index in (-1, 3, 4):
        with pytest.raises(VerificationError):
            merkle.verify_inclusion(TREE.leaves[2], index, 3, proof, _root(3))


def test_no_tree_is_consistent_with_a_shorter_one_or_with_none() -> None:
    merkle.verify_consistency(0, 8, merkle.EMPTY_ROOT, _root(8), [])
    for old, new in [(8, 6), (-1, 8), (0, 8), (6, 8), (8, 8)]:
        with pytest.raises(VerificationError):
            merkle.verify_consistency(old, new, _root(6), _root(8), [])
    with pytest.raises(VerificationError):
        merkle.verify_consistency(8, 8, _root(8), _root(8), [_root(6)])
