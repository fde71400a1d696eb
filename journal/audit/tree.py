"""The Merkle tree over the lines of the audit log (RFC 6962, section 2.1, with SHA-256).

A hash of the tree has a level and a number: level 0 has the leaves, and hash `n` of level `l`
covers the leaves from `n << l` to `(n + 1) << l`. Only such complete hashes are ever stored.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Self

#: Returns a stored hash by level and number.
HashAt = Callable[[int, int], bytes]
#: Returns hashes by level, first number and count. The level is a multiple of TILE_HEIGHT.
HashesAt = Callable[[int, int, int], Sequence[bytes]]

HASH_SIZE = 32
#: The root of a tree without leaves.
EMPTY_ROOT = hashlib.sha256().digest()
#: Levels of a tile (c2sp.org/tlog-tiles).
TILE_HEIGHT = 8
#: Hashes of a full tile, and lines of a full bundle.
TILE_WIDTH = 1 << TILE_HEIGHT

_SIZE = ">Q"


#: Hashes that begin as those of leaves and nodes do. A copy takes less time than a new one.
_LEAF, _NODE = hashlib.sha256(b"\0").copy, hashlib.sha256(b"\1").copy


def leaf_hash(line: bytes) -> bytes:
    begun = _LEAF()
    begun.update(line)
    return begun.digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    begun = _NODE()
    begun.update(left + right)
    return begun.digest()


class TreeHash(NamedTuple):
    """The root of a full tile: its level is a multiple of TILE_HEIGHT."""

    level: int
    n: int
    hash: bytes


class Frontier:
    """The right edge of a growing tree: enough to append leaves and to compute the root.

    To be able to undo a failed commit, append to a copy, and keep the copy after the commit.
    """

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """`hashes` are the roots of the complete subtrees, the largest first.

        Raises ValueError if they do not fit `size`.
        """
        if not 0 <= size < 1 << 64 or len(hashes) != size.bit_count():
            raise ValueError(f"{len(hashes)} hashes are no frontier of {size} leaves")
        if any(len(hash_) != HASH_SIZE for hash_ in hashes):
            raise ValueError(f"a hash has {HASH_SIZE} bytes")
        #: How many leaves the tree has.
        self.size = size
        #: Full tiles that were completed since this frontier was made, in order. Write them with
        #: the leaves.
        self.completed: list[TreeHash] = []
        self._hashes = list(hashes)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote. Raises ValueError."""
        begin = struct.calcsize(_SIZE)
        if len(data) < begin or (len(data) - begin) % HASH_SIZE:
            raise ValueError("not a frontier")
        (size,) = struct.unpack_from(_SIZE, data)
        return cls(size, [data[at : at + HASH_SIZE] for at in range(begin, len(data), HASH_SIZE)])

    def to_bytes(self) -> bytes:
        """Return the size as 8 bytes, big-endian, and the hashes."""
        return struct.pack(_SIZE, self.size) + b"".join(self._hashes)

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The roots of the complete subtrees, the largest first."""
        return tuple(self._hashes)

    def copy(self) -> Self:
        """Return a frontier that grows without changing this one. It has completed no tile yet."""
        copied = type(self)()
        # Not checked again: each batch of the journal begins with a copy.
        copied.size, copied._hashes = self.size, [*self._hashes]  # noqa: SLF001
        return copied

    def append(self, leaf: bytes) -> None:
        """Add a leaf by its hash."""
        self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaves by their hashes."""
        hashes = self._hashes
        for hash_ in leaves:
            n, level = self.size, 0
            while n & 1:
                # As `node_hash`: each leaf has one such node, and a call takes as long as the hash.
                node = _NODE()
                node.update(hashes.pop() + hash_)
                hash_ = node.digest()  # noqa: PLW2901
                n >>= 1
                level += 1
                if level % TILE_HEIGHT == 0:
                    self.completed.append(TreeHash(level, n, hash_))
            hashes.append(hash_)
            self.size += 1

    def root(self) -> bytes:
        """Return the root of the tree so far."""
        return _joined(self._hashes)


def hash_from_tiles(hashes: HashesAt) -> HashAt:
    """Return a reader of hashes of all levels, if only leaves and roots of full tiles are stored.

    `hashes` is asked for at most 128 hashes at a time, all of one tile.
    """

    def hash_at(level: int, n: int) -> bytes:
        above = level % TILE_HEIGHT
        return root_of_row(hashes(level - above, n << above, 1 << above))

    return hash_at


def root_of_row(row: Sequence[bytes]) -> bytes:
    """Return the root of a row of hashes. Their number is a power of two."""
    while len(row) > 1:
        row = [node_hash(*pair) for pair in zip(row[::2], row[1::2], strict=True)]
    return row[0]


def frontier_at(size: int, hash_at: HashAt) -> Frontier:
    """Return the frontier of the tree of the first `size` leaves."""
    return Frontier(size, [hash_at(level, n) for level, n in _complete(0, size)])


def prove_inclusion(index: int, size: int, hash_at: HashAt) -> Sequence[bytes]:
    """Return the audit path of a leaf in the tree of `size` leaves (RFC 6962, 2.1.1).

    The first hash is the sibling of the leaf. Raises ValueError if there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    path = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_range(middle, high, hash_at))
            high = middle
        else:
            path.append(_range(low, middle, hash_at))
            low = middle
    return path[::-1]


def prove_consistency(old: int, size: int, hash_at: HashAt) -> Sequence[bytes]:
    """Return the proof that the tree of `old` leaves is the beginning of that of `size` leaves.

    RFC 6962, section 2.1.2; empty if one is empty or both are equal. Raises ValueError if `old` is
    the larger one.
    """
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {old} leaves is no beginning of one of {size}")
    proof = []
    low, high = 0, size
    while old not in (0, high):
        middle = low + _split(high - low)
        if old <= middle:
            proof.append(_range(middle, high, hash_at))
            high = middle
        else:
            proof.append(_range(low, middle, hash_at))
            low = middle
    if low:
        proof.append(_range(low, high, hash_at))
    return proof[::-1]


def is_included(leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that the leaf with this hash is in the tree (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    hash_, n, last = leaf, index, size - 1
    for sibling in proof:
        if last == 0:
            return False
        if n & 1 or n == last:
            hash_ = node_hash(sibling, hash_)
            while n and not n & 1:
                n, last = n >> 1, last >> 1
        else:
            hash_ = node_hash(hash_, sibling)
        n, last = n >> 1, last >> 1
    return last == 0 and hash_ == root


def _split(count: int) -> int:
    """Return the largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _complete(low: int, high: int) -> Iterator[tuple[int, int]]:
    """Yield level and number of the complete subtrees of a range, the largest first.

    `low` is a multiple of the largest.
    """
    while low < high:
        level = (high - low).bit_length() - 1
        yield level, low >> level
        low += 1 << level


def _range(low: int, high: int, hash_at: HashAt) -> bytes:
    return _joined([hash_at(level, n) for level, n in _complete(low, high)])


def _joined(hashes: Sequence[bytes]) -> bytes:
    """Return the root over complete subtrees, the largest first."""
    if not hashes:
        return EMPTY_ROOT
    *others, root = hashes
    for hash_ in reversed(others):
        root = node_hash(hash_, root)
    return root
