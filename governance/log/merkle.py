"""RFC 6962 Merkle trees, section 2.1: pure functions over hashes.

`Nodes` gives the hash of any complete subtree that exists: level 0 are the leaves, and the node at
(level, position) covers leaves [position * 2**level, (position + 1) * 2**level). With those stored,
roots and proofs take O(log n) look-ups.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from governance.base.errors import VerificationError

Nodes = Callable[[int, int], bytes]
EMPTY_ROOT = hashlib.sha256(b"").digest()
MAX_PROVEN = 1 << 18
"""Nodes that `Proven` keeps, about 40 MB."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of an entry."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash over two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def completed(leaf: bytes, index: int, nodes: Nodes) -> list[tuple[int, int, bytes]]:
    """The nodes (level, position, hash) that leaf number `index` completes, itself first."""
    nodes_made = [(0, index, leaf)]
    level, position, value = 0, index, leaf
    while position % 2 == 1:
        value = node_hash(nodes(level, position - 1), value)
        level, position = level + 1, position // 2
        nodes_made.append((level, position, value))
    return nodes_made


def root(size: int, nodes: Nodes) -> bytes:
    """The root over the first `size` leaves."""
    return _range(0, size, nodes) if size else EMPTY_ROOT


@dataclass
class Range:
    """Leaves [start, size) as the hashes of the fewest complete subtrees, left to right:
    logarithmic memory.

    `start` is 0, or a multiple of a power of two that the range is no longer than.
    """

    start: int = 0
    peaks: list[tuple[int, bytes]] = field(default_factory=list)
    """Level and hash."""
    size: int = -1

    def __post_init__(self) -> None:
        self.size = max(self.size, self.start)

    def completing(self, level: int, value: bytes) -> list[tuple[int, int, bytes]]:
        """The nodes (level, position, hash) that the next subtree completes, itself first."""
        position = self.size >> level
        nodes_made = [(level, position, value)]
        for peak_level, left in reversed(self.peaks):
            if peak_level != level:
                break
            value, level, position = node_hash(left, value), level + 1, position >> 1
            nodes_made.append((level, position, value))
        return nodes_made

    def push(self, made: Sequence[tuple[int, int, bytes]]) -> None:
        """Adds the nodes that `completing` returned."""
        if len(made) > 1:
            del self.peaks[1 - len(made) :]
        self.peaks.append((made[-1][0], made[-1][2]))
        self.size += 1 << made[0][0]

    def join(self, following: Range) -> list[tuple[int, int, bytes]]:
        """Adds a range that begins where this one ends. Returns the nodes that only both together
        complete. Raises `VerificationError` where entries are missing between them.
        """
        if following.start != self.size:
            raise VerificationError(f"the entries from {self.size} on are missing")
        joined: list[tuple[int, int, bytes]] = []
        for level, value in following.peaks:
            nodes = self.completing(level, value)
            self.push(nodes)
            joined += nodes[1:]
        return joined

    def root(self) -> bytes:
        """The root over all leaves, for a range from 0."""
        if not self.peaks:
            return EMPTY_ROOT
        value = self.peaks[-1][1]
        for _, left in reversed(self.peaks[:-1]):
            value = node_hash(left, value)
        return value


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes, in one pass and logarithmic memory."""
    tree = Range()
    for leaf in leaves:
        tree.push(tree.completing(0, leaf))
    return tree.root()


def inclusion_proof(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """PATH(index, D[size]): what proves that leaf `index` is in the tree of `size` leaves."""
    if not 0 <= index < size:
        raise VerificationError(f"no entry {index} in a log of {size}")
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_range(middle, end, nodes))
            end = middle
        else:
            proof.append(_range(start, middle, nodes))
            start = middle
    return proof[::-1]


def consistency_proof(old: int, new: int, nodes: Nodes) -> list[bytes]:
    """PROOF(old, D[new]): what proves that the tree of `old` leaves is a prefix of the one of
    `new`.
    """
    if not 0 <= old <= new:
        raise VerificationError(f"a log of {new} entries has not grown from {old}")
    if old in (0, new):
        return []
    proof: list[bytes] = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(_range(middle, end, nodes))
            end = middle
        else:
            proof.append(_range(start, middle, nodes))
            start, whole = middle, False
    if not whole:
        proof.append(_range(start, end, nodes))
    return proof[::-1]


Hashes = dict[tuple[int, int], bytes]
"""Maps level and position to the node there."""
Fetch = Callable[[Sequence[tuple[int, int]]], Hashes]
"""The stored nodes at these places, as far as they are there."""


class Proven:
    """Nodes of one growing tree that were shown to lead to its root. A complete subtree never
    changes, so a proven node stays proven while the tree grows, and another hash at its place is
    refused. Threads may share it: the nodes of one call are never taken away by another.
    """

    def __init__(self) -> None:
        self._state: tuple[Hashes, int, bytes] = ({}, 0, EMPTY_ROOT)
        """The proven nodes, and the size and root with which they were compared last."""

    def has(self, leaf: bytes, index: int) -> bool:
        """Whether this leaf is proven already."""
        return self._state[0].get((0, index)) == leaf

    def prove(
        self, leaves: Sequence[tuple[int, bytes]], size: int, root: bytes, fetch: Fetch
    ) -> None:
        """Raises `VerificationError` unless these leaves (index and hash) are in the tree of this
        size and root.
        """
        proven, *compared = self._state
        if compared != [size, root] or len(proven) > MAX_PROVEN:
            proven = self._begin(proven, size, root, fetch)
        for index, _ in leaves:
            if not 0 <= index < size:
                found = "the log's checkpoint does not count this entry"
                raise VerificationError(found, where=f"entry {index}")
        missing = {place for index, _ in leaves for place in _siblings(index, proven)}
        nodes = fetch(sorted(missing))
        for index, leaf in leaves:
            _climb(index, leaf, proven, nodes)

    def _begin(self, proven: Hashes, size: int, root: bytes, fetch: Fetch) -> Hashes:
        """Compares the largest complete subtrees with the root, and with what was proven before."""
        places = _peaks(size)
        nodes = fetch(places)
        peaks = {place: _node_at(nodes, place) for place in places}
        value = EMPTY_ROOT
        for number, peak in enumerate(reversed(peaks.values())):
            value = node_hash(peak, value) if number else peak
        if value != root or any(proven.get(place, peak) != peak for place, peak in peaks.items()):
            raise VerificationError("the log's tree is not the one of its checkpoint")
        if len(proven) > MAX_PROVEN:
            proven = {}
        proven.update(peaks)
        self._state = (proven, size, root)
        return proven


def _siblings(index: int, proven: Hashes) -> Iterator[tuple[int, int]]:
    """The nodes that are needed to climb from a leaf to a proven node."""
    level, position = 0, index
    while (level, position) not in proven:
        if (level, position ^ 1) not in proven:
            yield level, position ^ 1
        level, position = level + 1, position >> 1


def _climb(index: int, leaf: bytes, proven: Hashes, nodes: Hashes) -> None:
    """Climbs from a leaf to a proven node. What lies on the way is then proven, too."""
    passed: Hashes = {}
    level, position, value = 0, index, leaf
    while (level, position) not in proven:
        place = (level, position ^ 1)
        sibling = proven.get(place) or _node_at(nodes, place)
        passed[level, position], passed[place] = value, sibling
        pair = (sibling, value) if position % 2 else (value, sibling)
        level, position, value = level + 1, position >> 1, node_hash(*pair)
    if proven[level, position] != value:
        raise VerificationError("the log's tree has another entry here", where=f"entry {index}")
    proven.update(passed)


def _node_at(nodes: Hashes, place: tuple[int, int]) -> bytes:
    if place not in nodes:
        where = f"level {place[0]}, position {place[1]}"
        raise VerificationError("a node of the log's tree is missing", where=where)
    return nodes[place]


def _peaks(size: int) -> list[tuple[int, int]]:
    """The places of the largest complete subtrees over `size` leaves, left to right."""
    levels = [level for level in reversed(range(size.bit_length())) if size >> level & 1]
    return [(level, (size >> level) - 1) for level in levels]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes
) -> None:
    """Raises `VerificationError` unless `leaf` is entry `index` of the tree with this root (RFC
    9162, 2.1.3.2).
    """
    if not 0 <= index < size:
        raise VerificationError(f"no entry {index} in a log of {size}")
    position, last, value = index, size - 1, leaf
    for step in proof:
        if last == 0:
            raise VerificationError("inclusion proof is too long")
        if position % 2 == 1 or position == last:
            value = node_hash(step, value)
            while position % 2 == 0 and position != 0:
                position, last = position >> 1, last >> 1
        else:
            value = node_hash(value, step)
        position, last = position >> 1, last >> 1
    if last != 0 or value != expected_root:
        raise VerificationError(f"entry {index} is not in the tree with this root")


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Raises `VerificationError` unless the tree of `new` leaves begins with the one of `old` (RFC
    9162, 2.1.4.2).
    """
    if old_size in (0, new_size):
        if proof or old_root != (new_root if old_size == new_size else EMPTY_ROOT):
            raise VerificationError(_ANOTHER)
        return
    if not 0 < old_size < new_size or not proof:
        raise VerificationError(
            f"no proof that a log of {new_size} entries has grown from {old_size}"
        )
    if roots_of_proof(old_size, new_size, old_root, proof) != (old_root, new_root):
        raise VerificationError(_ANOTHER)


_ANOTHER = "the log is not the one the older checkpoint was taken from"


def roots_of_proof(
    old_size: int, new_size: int, old_root: bytes, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """The old and the new root, as a consistency proof has them. Where the old size is a power of
    two, the old root is taken as given. Raises `VerificationError`.
    """
    steps = list(proof)
    if old_size & (old_size - 1) == 0:
        steps.insert(0, old_root)
    position, last = old_size - 1, new_size - 1
    while position % 2 == 1:
        position, last = position >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise VerificationError("consistency proof is too long")
        if position % 2 == 1 or position == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while position % 2 == 0 and position != 0:
                position, last = position >> 1, last >> 1
        else:
            second = node_hash(second, step)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise VerificationError("consistency proof is too short")
    return first, second


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (> 1)."""
    return 1 << ((size - 1).bit_length() - 1)


def _range(start: int, end: int, nodes: Nodes) -> bytes:
    """MTH over leaves [start, end), where start is a multiple of the largest power of two
    within.
    """
    size = end - start
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return nodes(level, start >> level)
    middle = start + _split(size)
    return node_hash(_range(start, middle, nodes), _range(middle, end, nodes))
