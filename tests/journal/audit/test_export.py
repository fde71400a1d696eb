"""Beginnings, tiles and proofs of exports."""

import base64
import json
import struct

import pytest
from audit_logs import HonestLog, week
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from journal.audit.export import Beginning, Tiles, encode_proof, entry_bundle, tile_path
from journal.audit.lines import Fact
from journal.audit.tree import is_included, leaf_hash, prove_inclusion


@pytest.mark.parametrize(
    ("level", "n", "width", "path"),
    [  # The examples of c2sp.org/tlog-tiles
        (0, 0, 256, "tile/0/000"),
        (0, 1234067, 256, "tile/0/x001/x234/067"),
        (1, 5, 17, "tile/1/005.p/17"),
        (None, 0, 256, "tile/entries/000"),
        (None, 1000, 1, "tile/entries/x001/000.p/1"),
    ],
)
def test_tile_has_the_path_of_the_specification(level, n, width, path):
    """Mutant: the last group of digits has an `x`."""
    assert path == tile_path(level, n, width)


def test_bundle_has_lengths_before_lines():
    assert b"\0\x03abc\0\0\x01\x00" + b"x" * 256 == entry_bundle([b"abc", b"", b"x" * 256])


def tiles_of(log, start=0):
    tiles = Tiles(start, log.hashes_at if start else None)
    made = [tile for line in log.lines[start:] for tile in tiles.append(line)]
    return dict([*made, *tiles.rest()])


def long_log(size):
    log = HonestLog()
    for n in range(size):
        log.add(Fact("code.read", {"event": str(n)}))
    return log


def expected(log, size):
    """Return the tiles as the specification defines them."""
    found = {}
    for level in range(3):
        count = size >> 8 * level
        for n in range(0, count, 256):
            width = min(256, count - n)
            data = b"".join(log.hash_at(8 * level, n + at) for at in range(width))
            found[tile_path(level, n // 256, width)] = data
            if level == 0:
                lines = log.lines[n : n + width]
                found[tile_path(None, n // 256, width)] = b"".join(
                    struct.pack(">H", len(line)) + line for line in lines
                )
    return found


@given(st.integers(0, 1100))
@settings(max_examples=examples(20))
def test_tiles_are_those_of_the_specification(size):
    """Mutant: a full tile stays at the right edge, too."""
    log = long_log(size)

    assert expected(log, size) == tiles_of(log)


def test_tiles_of_a_large_log_reach_level_2():
    log = long_log(256 * 256 + 300)

    tiles = tiles_of(log)

    assert expected(log, len(log.lines)) == tiles
    assert 32 == len(tiles["tile/2/000.p/1"])


@pytest.mark.parametrize("start", [256, 512, 768])
def test_tiles_of_a_pruned_log_are_the_same(start):
    """Upper tiles also have the roots of pruned tiles. Mutant: they begin empty."""
    log = long_log(1000)
    whole = tiles_of(log)

    tiles = tiles_of(log, start)

    gone = {path for path in whole if path not in tiles}
    assert {path: whole[path] for path in tiles} == tiles
    assert {tile_path(level, n) for level in (0, None) for n in range(start // 256)} == gone


@pytest.mark.parametrize(("start", "hashes"), [(255, HonestLog().hashes_at), (256, None)])
def test_tiles_cannot_begin_anywhere(start, hashes):
    with pytest.raises(ValueError, match="tiles begin at line 0 or a multiple of 256"):
        Tiles(start, hashes)


def test_beginning_is_read_as_written():
    log = week()
    log.prune(500)
    beginning = log.beginning

    assert beginning == Beginning.read(beginning.json())
    assert Beginning() == Beginning.read(Beginning().json())
    assert [211, 423] == [epoch.n for epoch in beginning.epochs]


def test_beginning_has_a_proof_for_each_ended_epoch():
    """Mutant: the proof is of the newest checkpoint."""
    log = week()
    log.prune(700)

    for epoch in log.beginning.epochs:
        root = base64.b64decode(epoch.checkpoint.split("\n")[2])
        size = int(epoch.checkpoint.split("\n")[1])
        assert is_included(leaf_hash(epoch.line), epoch.n, size, root, epoch.proof)


def test_empty_beginning_is_plain():
    assert {"size": 0, "frontier": [], "epochs": []} == json.loads(Beginning().json())


def test_proof_has_the_form_of_the_specification():
    """c2sp.org/tlog-proof. Mutant: no empty line before the checkpoint."""
    log = week()
    size = len(log.lines)
    proof = prove_inclusion(17, size, log.hash_at)
    hashes = [base64.b64encode(hash_).decode() for hash_ in proof]

    assert "\n".join(["c2sp.org/tlog-proof@v1", "index 17", *hashes, "", log.newest]) == (
        encode_proof(17, proof, log.newest)
    )
    assert ["c2sp.org/tlog-proof@v1", "extra a2V5", "index 17"] == (
        encode_proof(17, proof, log.newest, b"key").split("\n")[:3]
    )
