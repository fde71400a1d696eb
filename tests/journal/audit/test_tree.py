"""The tree against the definitions of RFC 6962 and against published roots and proofs."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.audit.tree import (
    EMPTY_ROOT,
    Frontier,
    TreeHash,
    frontier_at,
    hash_from_tiles,
    is_included,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
)

#: The test data of Certificate Transparency: github.com/google/certificate-transparency,
#: cpp/merkletree/merkle_tree_test.cc.
LEAVES = [
    bytes.fromhex(data)
    for data in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
SIZES = st.integers(0, 300)


def is_consistent(old, old_root, size, root, proof):
    """Whether a proof shows that one tree is the beginning of the other (RFC 9162, 2.1.4.2)."""
    if old == size:
        return not proof and old_root == root
    if old == 0:
        return size > 0 and not proof and old_root == EMPTY_ROOT
    if not 0 < old < size or not proof:
        return False
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    n, last = old - 1, size - 1
    while n & 1:
        n, last = n >> 1, last >> 1
    first = second = path[0]
    for hash_ in path[1:]:
        if last == 0:
            return False
        if n & 1 or n == last:
            first, second = node_hash(hash_, first), node_hash(hash_, second)
            while n and not n & 1:
                n, last = n >> 1, last >> 1
        else:
            second = node_hash(second, hash_)
        n, last = n >> 1, last >> 1
    return last == 0 and first == old_root and second == root


def leaves(count):
    return [leaf_hash(b"leaf %d" % n) for n in range(count)]


def grown(hashes):
    frontier = Frontier()
    for hash_ in hashes:
        frontier.append(hash_)
    return frontier


def mth(hashes):
    """Return the Merkle Tree Hash exactly as section 2.1 of RFC 6962 defines it."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return hashlib.sha256(b"\1" + mth(hashes[:k]) + mth(hashes[k:])).digest()


def reader(hashes):
    return lambda level, n: mth(hashes[n << level : (n + 1) << level])


@pytest.mark.parametrize("size", range(1, 9))
def test_root_equals_published_root(size):
    """Mutant: a leaf is hashed without its zero byte."""
    hashes = [leaf_hash(data) for data in LEAVES[:size]]

    assert ROOTS[size - 1] == grown(hashes).root().hex()
    assert ROOTS[size - 1] == frontier_at(size, reader(hashes)).root().hex()


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proof_equals_published_proof(index, size):
    proof = prove_inclusion(index, size, reader([leaf_hash(data) for data in LEAVES]))

    assert INCLUSION[index, size] == [hash_.hex() for hash_ in proof]


@pytest.mark.parametrize(("old", "size"), CONSISTENCY)
def test_consistency_proof_equals_published_proof(old, size):
    proof = prove_consistency(old, size, reader([leaf_hash(data) for data in LEAVES]))

    assert CONSISTENCY[old, size] == [hash_.hex() for hash_ in proof]


@given(SIZES)
def test_root_follows_its_definition(size):
    """Mutant: `root` joins the smallest subtrees last."""
    hashes = leaves(size)

    frontier = grown(hashes)

    assert mth(hashes) == frontier.root() == frontier_at(size, reader(hashes)).root()
    assert frontier_at(size, reader(hashes)).hashes == frontier.hashes
    assert (EMPTY_ROOT == frontier.root()) == (size == 0)


@given(SIZES, st.integers(0, 50))
def test_stored_frontier_grows_as_the_first_one(size, more):
    hashes = leaves(size + more)

    stored = Frontier.from_bytes(grown(hashes[:size]).to_bytes())
    for hash_ in hashes[size:]:
        stored.append(hash_)

    assert mth(hashes) == stored.root()


@pytest.mark.parametrize("data", [b"", b"1234567", b"\0" * 8 + b"x" * 32, b"\0" * 7 + b"\1x"])
def test_damaged_frontier_is_an_error(data):
    with pytest.raises(ValueError):
        Frontier.from_bytes(data)


def test_hash_of_another_length_is_an_error():
    with pytest.raises(ValueError, match="a hash has 32 bytes"):
        Frontier(1, [b"short"])


def test_copy_leaves_the_first_frontier_as_it_was():
    """A commit that fails leaves no trace. Mutant: `copy` shares the list of hashes."""
    hashes = leaves(8)
    frontier = grown(hashes[:5])

    copy = frontier.copy()
    for hash_ in hashes[5:]:
        copy.append(hash_)

    assert (5, mth(hashes[:5])) == (frontier.size, frontier.root())
    assert (8, mth(hashes)) == (copy.size, copy.root())


def test_leaves_of_a_batch_are_added_as_one_by_one():
    """Mutants: the level of a leaf begins where the one before ended; the size grows at the end."""
    hashes = leaves(600)
    batch, single = grown(hashes[:5]), grown(hashes[:5])

    batch.extend(hashes[5:])
    for hash_ in hashes[5:]:
        single.append(hash_)

    assert (batch.size, batch.root()) == (600, mth(hashes))
    assert batch.completed == single.completed


def test_full_tiles_are_reported_as_they_complete():
    """Mutant: the number of a tile counts from the level below."""
    hashes = leaves(256 * 256 + 300)
    frontier = grown(hashes)
    rows = [TreeHash(8, n, mth(hashes[n * 256 :][:256])) for n in range(257)]

    assert [one for one in frontier.completed if one.level == 8] == rows
    assert [one for one in frontier.completed if one.level != 8] == [
        TreeHash(16, 0, mth([row.hash for row in rows[:256]]))
    ]
    assert [] == frontier.copy().completed


@given(st.integers(1, 300), st.data())
def test_inclusion_proof_is_accepted_only_whole(size, data):
    """Mutant: `is_included` does not compare the root."""
    hashes = leaves(size)
    index = data.draw(st.integers(0, size - 1))
    root = mth(hashes)

    proof = prove_inclusion(index, size, reader(hashes))

    assert is_included(hashes[index], index, size, root, proof)
    assert not is_included(leaf_hash(b"another"), index, size, root, proof)
    assert not is_included(hashes[index], index, size, leaf_hash(b"another"), proof)
    assert not is_included(hashes[index], size, size, root, proof)
    assert not is_included(hashes[index], index, size, root, [*proof, root])
    for at in range(len(proof)):
        assert not is_included(hashes[index], index, size, root, proof[:at] + proof[at + 1 :])


@given(SIZES, st.data())
def test_consistency_proof_is_accepted_only_whole(size, data):
    """Mutant: a hash of the proof is that of another range."""
    hashes = leaves(size)
    old = data.draw(st.integers(0, size))
    old_root, root = mth(hashes[:old]), mth(hashes)

    proof = prove_consistency(old, size, reader(hashes))

    assert is_consistent(old, old_root, size, root, proof)
    assert not is_consistent(old, leaf_hash(b"another"), size, root, proof)
    assert not is_consistent(size + 1, old_root, size, root, proof)
    assert not is_consistent(old, old_root, size, root, [*proof, root])
    if old:
        assert not is_consistent(old, old_root, size, leaf_hash(b"another"), proof)
    for at in range(len(proof)):
        assert not is_consistent(old, old_root, size, root, proof[:at] + proof[at + 1 :])


def test_proof_of_a_leaf_that_is_missing_is_an_error():
    with pytest.raises(ValueError, match="a tree of 8 leaves has no leaf 8"):
        prove_inclusion(8, 8, reader(leaves(8)))
    with pytest.raises(ValueError, match="is no beginning"):
        prove_consistency(9, 8, reader(leaves(8)))


@given(st.integers(1, 700), st.data())
def test_hashes_between_tiles_come_from_the_tiles_below(size, data):
    """Only leaves and full tiles are stored. Mutant: it reads the level above."""
    hashes = leaves(size)
    full = {(8, n): mth(hashes[n * 256 :][:256]) for n in range(size // 256)}

    def stored(level, first, count):
        assert count <= 128
        if level == 0:
            return hashes[first : first + count]
        return [full[level, n] for n in range(first, first + count)]

    index = data.draw(st.integers(0, size - 1))
    proof = prove_inclusion(index, size, hash_from_tiles(stored))

    assert prove_inclusion(index, size, reader(hashes)) == proof


def test_node_hash_orders_its_sides():
    assert node_hash(b"a" * 32, b"b" * 32) != node_hash(b"b" * 32, b"a" * 32)
