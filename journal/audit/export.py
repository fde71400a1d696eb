"""What an export of the audit log consists of, besides its lines: beginnings, tiles and proofs."""

import base64
import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from .lines import leaf_of
from .note import Checkpoint, Note
from .tree import (
    TILE_HEIGHT,
    TILE_WIDTH,
    HashAt,
    HashesAt,
    frontier_at,
    prove_inclusion,
    root_of_row,
)

#: The files of an export.
ENTRIES = "entries.jsonl"
CHECKPOINTS = "checkpoints"
CHECKPOINT = "checkpoint"
LOG_KEY = "log.vkey"
PRUNED = "pruned.json"

_PROOF = "c2sp.org/tlog-proof@v1"


class EndedEpoch(msgspec.Struct, frozen=True):
    """The line that named the next key, and the checkpoint that closed its epoch."""

    n: int
    line: bytes
    #: The first checkpoint that has the line, signed with the key of the epoch: a whole note.
    checkpoint: str
    #: The inclusion proof of the line in that checkpoint.
    proof: tuple[bytes, ...]


class Beginning(msgspec.Struct, frozen=True):
    """What an export has in place of the lines before its first one.

    `pruned.json` holds it: `{"size", "frontier": [hash], "epochs": [{"line", "checkpoint",
    "proof": [hash]}]}`, with base64 for hashes. Nothing is left out if `size` is 0.
    """

    #: How many lines are left out: the `n` of the first line.
    size: int = 0
    #: The roots of their complete subtrees, the largest first.
    frontier: tuple[bytes, ...] = ()
    #: The epochs whose last line is left out, in order.
    epochs: tuple[EndedEpoch, ...] = ()

    @staticmethod
    def read(text: str | bytes) -> "Beginning":
        """Read `pruned.json`. Raises ValueError and the like if it is damaged."""
        data = json.loads(text)
        epochs = tuple(
            EndedEpoch(
                json.loads(one["line"])["n"],
                one["line"].encode("ascii"),
                one["checkpoint"],
                _decoded(one["proof"]),
            )
            for one in data["epochs"]
        )
        return Beginning(data["size"], _decoded(data["frontier"]), epochs)

    def json(self) -> str:
        """Return the text of `pruned.json`."""
        epochs = [
            {
                "line": epoch.line.decode("ascii"),
                "checkpoint": epoch.checkpoint,
                "proof": _encoded(epoch.proof),
            }
            for epoch in self.epochs
        ]
        data = {"size": self.size, "frontier": _encoded(self.frontier), "epochs": epochs}
        return json.dumps(data, indent=1) + "\n"


def end_epoch(n: int, line: bytes, checkpoint: str, hash_at: HashAt) -> EndedEpoch:
    """Return the proof of an epoch's last line. `checkpoint` is the note that closed the epoch."""
    size = Checkpoint.parse(Note.parse(checkpoint).text).size
    return EndedEpoch(n, line, checkpoint, tuple(prove_inclusion(n, size, hash_at)))


def begin_at(size: int, ended: Sequence[EndedEpoch], hash_at: HashAt) -> Beginning:
    """Return the beginning of a log or export whose first line is `size`.

    `ended` are all epochs of the log that ended. `hash_at` needs the hashes left of `size`.
    """
    edge = frontier_at(size, hash_at).hashes
    return Beginning(size, edge, tuple(epoch for epoch in ended if epoch.n < size))


def encode_proof(index: int, proof: Sequence[bytes], checkpoint: str, extra: bytes = b"") -> str:
    """Return a proof that a line is in a log (c2sp.org/tlog-proof).

    `checkpoint` is a whole note. Whoever reads `extra` must not trust it.
    """
    lines = [_PROOF, *([f"extra {base64.b64encode(extra).decode()}"] if extra else [])]
    return "".join(f"{line}\n" for line in [*lines, f"index {index}", *_encoded(proof), ""]) + (
        checkpoint
    )


def encode_event_proof(leaf: bytes, proof: str, event: bytes, key: bytes) -> str:
    """Return what proves one event to an auditor, as JSON: `{"leaf", "proof", "event", "key"}`.

    `leaf` is the line that has the commitment `c`, `proof` its proof as `encode_proof` returns it.
    `event` has the bytes as they were sent, `key` is the key of its commitment, here in base64.
    """
    values = {
        "leaf": leaf.decode("ascii"),
        "proof": proof,
        "event": event.decode(),
        "key": base64.b64encode(key).decode(),
    }
    return json.dumps(values, indent=1) + "\n"


# The layout of tiles (c2sp.org/tlog-tiles)


class Tile(NamedTuple):
    """A file of the layout: 256 hashes or lines, or fewer at the right edge."""

    #: Such as `tile/0/x001/234.p/17` or `tile/entries/000`.
    path: str
    data: bytes


def tile_path(level: int | None, n: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a tile; of an entry bundle if `level` is None."""
    *above, last = [f"{n // 1000**power % 1000:03d}" for power in range(_digits(n) - 1, -1, -1)]
    path = "/".join([*(f"x{digits}" for digits in above), last])
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{'entries' if level is None else level}/{path}{partial}"


def entry_bundle(lines: Sequence[bytes]) -> bytes:
    """Return lines with their lengths: 2 bytes each, big-endian."""
    return b"".join(struct.pack(">H", len(line)) + line for line in lines)


class Tiles:
    """Makes the tiles of a growing log."""

    def __init__(self, start: int = 0, hashes: HashesAt | None = None) -> None:
        """`start` is the first line, a multiple of 256. After 0, `hashes` reads earlier hashes.

        `hashes` is asked only for roots of full tiles. Raises ValueError for another start.
        """
        if start % TILE_WIDTH or (start and hashes is None):
            raise ValueError(f"tiles begin at line 0 or a multiple of {TILE_WIDTH}, not at {start}")
        self._next = start
        self._lines: list[bytes] = []
        #: By level of the tile, the hashes of the tile at the right edge.
        self._rows: list[list[bytes]] = [[]]
        level = 1
        while hashes is not None and start >> level * TILE_HEIGHT:
            count = start >> level * TILE_HEIGHT
            kept = count % TILE_WIDTH
            self._rows.append(list(hashes(level * TILE_HEIGHT, count - kept, kept)) if kept else [])
            level += 1

    def append(self, line: bytes) -> Iterator[Tile]:
        """Add a line; yield the tiles that are full.

        Erased lines stand in their bundles as they are: clients that hash them will object.
        """
        self._lines.append(line)
        if len(self._lines) == TILE_WIDTH:
            yield Tile(tile_path(None, self._next // TILE_WIDTH), entry_bundle(self._lines))
            self._lines = []
        self._next += 1
        hash_, n = leaf_of(line), self._next
        for level, row in enumerate(self._rows):
            row.append(hash_)
            if len(row) < TILE_WIDTH:
                return
            n //= TILE_WIDTH
            yield Tile(tile_path(level, n - 1), b"".join(row))
            hash_ = root_of_row(row)
            row.clear()
            if row is self._rows[-1]:
                self._rows.append([])

    def rest(self) -> Iterator[Tile]:
        """Yield the tiles at the right edge, which are not full."""
        if self._lines:
            n, width = divmod(self._next, TILE_WIDTH)
            yield Tile(tile_path(None, n, width), entry_bundle(self._lines))
        n = self._next
        for level, row in enumerate(self._rows):
            if row:
                yield Tile(tile_path(level, n // TILE_WIDTH, len(row)), b"".join(row))
            n //= TILE_WIDTH


def _digits(n: int) -> int:
    """Return how many groups of three digits a number has."""
    return (len(str(n)) + 2) // 3


def _encoded(hashes: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(hash_).decode() for hash_ in hashes]


def _decoded(hashes: Sequence[Any]) -> tuple[bytes, ...]:
    return tuple(base64.b64decode(text, validate=True) for text in hashes)
