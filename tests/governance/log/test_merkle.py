"""RFC 6962 trees: known roots, and proofs that no other tree satisfies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.base.errors import VerificationError
from governance.log import merkle
from tests.governance.log.trees import INPUTS, ROOTS, Tree

LARGEST = 70


TREE = Tree([merkle.leaf_hash(bytes([n])) for n in range(LARGEST)])
ROOT = [TREE.root(size) for size in range(LARGEST + 1)]
sizes = st.integers(1, LARGEST)


def test_roots_are_those_of_the_standard() -> None:
    tree = Tree([merkle.leaf_hash(bytes.fromhex(text)) for text in INPUTS])
    assert [tree.root(size).hex() for size in range(9)] == ROOTS
    assert [merkle.root_of(tree.leaves[:size]).hex() for size in range(9)] == ROOTS


def test_stored_nodes_and_a_single_pass_give_the_same_roots() -> None:
    assert [merkle.root_of(TREE.leaves[:size]) for size in range(LARGEST + 1)] == ROOT


def test_every_proof_of_every_size_verifies() -> None:
    for size in range(1, LARGEST + 1):
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, TREE.node)
            merkle.verify_inclusion(TREE.leaves[index], index, size, proof, ROOT[size])
        for old in range(size + 1):
            merkle.verify_consistency(
                old, size, ROOT[old], ROOT[size], merkle.consistency_proof(old, size, TREE.node)
            )


def spoiled(proof: list[bytes], how: int) -> list[bytes]:
    """Another list of hashes: one flipped, dropped, doubled or added."""
    if not proof:
        return [bytes(32)]
    at = how % len(proof)
    flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
    variants = [
        [*proof[:at], flipped, *proof[at + 1 :]],
        proof[:at] + proof[at + 1 :],
        [*proof, bytes(32)],
        [*proof[: at + 1], *proof[at:]],
    ]
    return variants[how // len(proof) % 4]


@given(sizes, st.data())
def test_inclusion_of_anything_else_fails(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, TREE.node)
    bad = data.draw(st.sampled_from(["leaf", "index", "size", "root", "proof"]))
    case = {
        "leaf": TREE.leaves[index],
        "index": index,
        "size": size,
        "proof": proof,
        "root": ROOT[size],
    }
    match bad:
        case "leaf":
            case["leaf"] = merkle.leaf_hash(b"another")
        case "index":
            case["index"] = data.draw(st.integers(-1, LARGEST + 1).filter(lambda n: n != index))
        case "size":
            case["size"] = data.draw(st.integers(-1, LARGEST).filter(lambda n: n != size))
            case["root"] = ROOT[max(case["size"], 0)]
        case "root":
            case["root"] = merkle.leaf_hash(b"another")
        case "proof":
            case["proof"] = spoiled(proof, data.draw(st.integers(0, 200)))
    with pytest.raises(VerificationError):
        merkle.verify_inclusion(
            case["leaf"], case["index"], case["size"], case["proof"], case["root"]
        )


@given(sizes, st.data())
def test_consistency_with_anything_else_fails(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    proof = merkle.consistency_proof(old, new, TREE.node)
    another = merkle.leaf_hash(b"another")
    bad = data.draw(st.sampled_from(["old root", "new root", "proof", "swapped"]))
    cases = {
        "old root": (old, new, another, ROOT[new], proof),
        "new root": (old, new, ROOT[old], another, proof),
        "proof": (old, new, ROOT[old], ROOT[new], spoiled(proof, data.draw(st.integers(0, 200)))),
        "swapped": (new + 1, old, ROOT[new], ROOT[old], proof),
    }
    with pytest.raises(VerificationError):
        merkle.verify_consistency(*cases[bad])


def test_a_log_that_was_rewritten_has_no_proof() -> None:
    forked = Tree([*TREE.leaves[:20], merkle.leaf_hash(b"rewritten"), *TREE.leaves[21:]])
    for old in range(21, LARGEST):
        with pytest.raises(VerificationError, match="not the one"):
            merkle.verify_consistency(
                old,
                LARGEST,
                ROOT[old],
                forked.root(LARGEST),
                merkle.consistency_proof(old, LARGEST, forked.node),
            )
    merkle.verify_consistency(
        20,
        LARGEST,
        ROOT[20],
        forked.root(LARGEST),
        merkle.consistency_proof(20, LARGEST, forked.node),
    )


def test_there_is_no_proof_of_what_is_not_there() -> None:
    for index, size in [(-1, 3), (3, 3), (0, 0)]:
        with pytest.raises(VerificationError):
            merkle.inclusion_proof(index, size, TREE.node)
    with pytest.raises(VerificationError):
        merkle.consistency_proof(4, 3, TREE.node)


def test_proofs_are_short() -> None:
    assert max(len(merkle.inclusion_proof(n, LARGEST, TREE.node)) for n in range(LARGEST)) <= 7
    assert max(len(merkle.consistency_proof(n, LARGEST, TREE.node)) for n in range(1, LARGEST)) <= 8
