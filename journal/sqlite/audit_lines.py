"""Reads of the audit log: its lines, the hashes over them, and its signed states."""

import json
import sqlite3
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain

import msgspec

from ..audit.export import Beginning, EndedEpoch, begin_at, end_epoch
from ..audit.lines import leaf_of
from ..audit.tree import (
    HASH_SIZE,
    TILE_WIDTH,
    Frontier,
    HashAt,
    frontier_at,
    hash_from_tiles,
    prove_consistency,
    prove_inclusion,
)
from ..reads import (
    AuditLines,
    AuditLog,
    AuditLogs,
    Checkpoints,
    ConsistencyProof,
    HashesAt,
    InclusionProof,
    LeavesAt,
    LineFilter,
    LinesFoundBy,
    LogBeginning,
    Page,
    StoredCheckpoint,
)

#: The first byte of a packed row (RFC 1950). A line begins with a brace.
_PACKED = b"\x78"
#: The level of compression: higher ones take up to twice the time, for rows a twentieth smaller.
_LEVEL = 1
_EPOCH_ENDS = "audit.epoch"


class Line(msgspec.Struct, frozen=True):
    """The fields of a line that are searched."""

    at: str | None = None
    do: str = ""
    by: str = ""
    #: The event that it names, and the id of a key or the like.
    event: str | None = None
    id: str | None = None
    #: The hash of the line that was here, in base64; only in an erased line.
    erased: str | None = None


decode_line = msgspec.json.Decoder(Line).decode


# --- rows ---------------------------------------------------------------------------------------


def pack(lines: Sequence[bytes]) -> bytes:
    return zlib.compress(b"\n".join(lines), _LEVEL)


def is_packed(row: bytes) -> bool:
    return row[:1] == _PACKED


def text_of(row: bytes) -> bytes:
    """Return the lines of a row, joined. A damaged one is a line that no checkpoint fits."""
    try:
        return zlib.decompress(row) if is_packed(row) else row
    except zlib.error:
        return row


def unpack(row: bytes) -> list[bytes]:
    return text_of(row).split(b"\n")


def end_of(conn: sqlite3.Connection) -> int:
    """Return the place of the next line."""
    row = conn.execute("select n + count from audit order by n desc limit 1").fetchone()
    if row is None:  # all lines may be pruned
        row = conn.execute("select coalesce(max(first + pruned), 0) from audit_logs").fetchone()
    return int(row[0])


def rows(
    conn: sqlite3.Connection, low: int, high: int, *, desc: bool = False
) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the rows with lines of the places from `low` on and before `high`.

    Of each: the place of its first line, and all of its lines.
    """
    (begin,) = conn.execute("select max(n) from audit where n <= ?", (low,)).fetchone()
    found = conn.execute(
        "select n, lines from audit where n >= ? and n < ?"  # noqa: S608 - our words
        f" order by n {'desc' if desc else ''}",
        (low if begin is None else begin, high),
    )
    for n, row in found:
        yield n, unpack(row)


def lines_at(conn: sqlite3.Connection, low: int, high: int) -> Iterator[tuple[int, bytes]]:
    """Yield places with their lines, in order."""
    for n, run in rows(conn, low, high):
        for place, line in enumerate(run, n):
            if low <= place < high:
                yield place, line


def time_of(line: bytes) -> float | None:
    """Return the time of a line, in seconds since the epoch; None: it is erased."""
    at = decode_line(line).at
    return None if at is None else datetime.fromisoformat(at).timestamp()


def last_time(run: Sequence[bytes]) -> float | None:
    """Return the time of the last line that is not erased."""
    return next((at for at in map(time_of, reversed(run)) if at is not None), None)


# --- the tree -----------------------------------------------------------------------------------


def hashes(conn: sqlite3.Connection, read: HashesAt) -> Sequence[bytes]:
    if read.level == 0:
        begin = read.log + read.n
        return [leaf_of(line) for _, line in lines_at(conn, begin, begin + read.count)]
    found = conn.execute(
        "select hash from audit_hashes where log = ? and level = ? and n >= ? and n < ? order by n",
        (read.log, read.level, read.n, read.n + read.count),
    )
    return [hash_ for (hash_,) in found]


def hash_at(conn: sqlite3.Connection, log: int) -> HashAt:
    """Return a reader of the hashes of a log's tree."""
    return hash_from_tiles(lambda level, n, count: hashes(conn, HashesAt(log, level, n, count)))


def frontier(conn: sqlite3.Connection, log: int) -> Frontier:
    """Return the right edge of a log's tree, from its full tiles and the lines after them."""
    (tiles,) = conn.execute(
        "select coalesce(max(n) + 1, 0) from audit_hashes where log = ? and level = 8", (log,)
    ).fetchone()
    edge = frontier_at(tiles * TILE_WIDTH, hash_at(conn, log))
    for _, line in lines_at(conn, log + edge.size, end_of(conn)):
        edge.append(leaf_of(line))
    return edge.copy()


def consistency(conn: sqlite3.Connection, read: ConsistencyProof) -> Sequence[bytes] | None:
    try:
        return prove_consistency(read.old, read.size, hash_at(conn, read.log))
    except (IndexError, ValueError):  # a row of pruned lines is short
        return None


def inclusion(conn: sqlite3.Connection, read: InclusionProof) -> Sequence[bytes] | None:
    try:
        return prove_inclusion(read.n, read.size, hash_at(conn, read.log))
    except (IndexError, ValueError):  # as above, or no such line
        return None


# --- answers ------------------------------------------------------------------------------------


def logs(conn: sqlite3.Connection, _read: AuditLogs) -> Sequence[AuditLog]:
    found = conn.execute(
        "select origin, key, signer, first, pruned from audit_logs order by first"
    ).fetchall()
    ends = [first for *_, first, _ in found[1:]] + [end_of(conn)]
    return [
        AuditLog(
            origin=origin, key=key, signer=signer, first=first, size=end - first, pruned=pruned
        )
        for (origin, key, signer, first, pruned), end in zip(found, ends, strict=True)
    ]


def leaves(conn: sqlite3.Connection, read: LeavesAt) -> Sequence[bytes]:
    begin = read.log + read.n
    end = begin + read.count
    parts = [run[max(begin - n, 0) : end - n] for n, run in rows(conn, begin, end)]
    return [*chain.from_iterable(parts)]


def checkpoints(conn: sqlite3.Connection, read: Checkpoints) -> Sequence[StoredCheckpoint]:
    found = conn.execute(
        "select size, at, note, closes from audit_checkpoints where log = ?"
        " order by seq desc limit ?",
        (read.log, 1 if read.newest else -1),
    ).fetchall()
    return [
        StoredCheckpoint(size=size, at=at, note=note, closes=bool(closes))
        for size, at, note, closes in reversed(found)
    ]


def beginning(conn: sqlite3.Connection, read: LogBeginning) -> Beginning:
    log, start = read.log, read.start
    if start == 0:
        return Beginning()
    found = hash_at(conn, log)
    ended = []
    for size, note in conn.execute(
        "select size, note from audit_checkpoints where log = ? and closes and size <= ?"
        " order by seq",
        (log, start),
    ).fetchall():
        n = size - 1
        kept = conn.execute("select line, proof from audit_kept where n = ?", (log + n,)).fetchone()
        if kept is None:
            [line] = leaves(conn, LeavesAt(log, n, 1))
            ended.append(end_epoch(n, line, note, found))
        else:
            line, proof = kept
            path = [proof[at : at + HASH_SIZE] for at in range(0, len(proof), HASH_SIZE)]
            ended.append(EndedEpoch(n, line, note, tuple(path)))
    return begin_at(start, ended, found)


def found_by(conn: sqlite3.Connection, read: LinesFoundBy) -> Sequence[tuple[int, bytes]]:
    marks = ",".join("?" * len(read.names))
    places = conn.execute(
        f"select distinct n from audit_events where event in ({marks}) and n >= ? order by n",  # noqa: S608 - our words
        (*read.names, read.since - 1),
    ).fetchall()
    found: list[tuple[int, bytes]] = []
    first, run = 0, list[bytes]()
    for (place,) in places:
        if place >= first + len(run):
            first, run = next(iter(rows(conn, place, place + 1)))
        found.append((place + 1, run[place - first]))  # as in pages
    return found


def page(conn: sqlite3.Connection, read: AuditLines) -> Page[bytes]:
    """Return a page of lines. It looks at a limited number of them."""
    wanted, end = read.filter, end_of(conn)
    # The time of lines never decreases.
    low = 0 if wanted.since is None else place_at(conn, wanted.since, end)
    high = end if wanted.until is None else place_at(conn, wanted.until, end)
    # Places of pages count from 1.
    if read.after is not None and read.desc:
        high = min(high, read.after - 1)
    elif read.after is not None:
        low = max(low, read.after)
    found: list[tuple[int, bytes]] = []
    seen = 0
    for n, run in rows(conn, low, high, desc=read.desc):
        seen += len(run)
        places = range(max(n, low), min(n + len(run), high))
        if _may_match(run, wanted):
            for place in reversed(places) if read.desc else places:
                if _matches(run[place - n], wanted):
                    found.append((place + 1, run[place - n]))
                    if len(found) == read.limit:
                        has_more = place > low if read.desc else place + 1 < high
                        return Page(items=tuple(found), next_seq=place + 1, has_more=has_more)
        if seen >= read.window and places:
            last = places[0] if read.desc else places[-1]
            has_more = last > low if read.desc else last + 1 < high
            return Page(items=tuple(found), next_seq=last + 1, has_more=has_more)
    last = min(low + 1, end) if read.desc else max(high, read.after or 0)
    return Page(items=tuple(found), next_seq=last, has_more=False)


def place_at(conn: sqlite3.Connection, at: float, end: int) -> int:
    """Return the place of the first line of a time or later."""

    def time_at(place: int) -> float:
        row = conn.execute(
            "select n, lines from audit where n <= ? order by n desc limit 1", (place,)
        ).fetchone()
        if row is None:
            return 0.0  # pruned
        run = unpack(row[1])
        # An erased line has about the time of its neighbours.
        before = last_time(run[: place - row[0] + 1])
        return (last_time(run) or 0.0) if before is None else before

    return bisect_left(range(end), at, key=time_at)


def _may_match(run: Sequence[bytes], wanted: LineFilter) -> bool:
    """Return whether a line of the row may match. Most rows are left out without decoding them."""
    text = b"\n".join(run)
    return (
        (not wanted.do or any(f'"do":"{do}'.encode() in text for do in wanted.do))
        and (not wanted.by or any(_field("by", by) in text for by in wanted.by))
        and (wanted.event is None or wanted.event.encode() in text)
        and (wanted.about is None or _inside(wanted.about) in text)
    )


def _matches(line: bytes, wanted: LineFilter) -> bool:
    if wanted == LineFilter(since=wanted.since, until=wanted.until):
        return True
    its = decode_line(line)
    return (
        (
            not wanted.do
            or its.do in wanted.do
            or any(do.endswith(".") and its.do.startswith(do) for do in wanted.do)
        )
        and (not wanted.by or its.by in wanted.by)
        and (wanted.event is None or json.dumps(wanted.event).encode() in line)
        and (wanted.about is None or _inside(wanted.about) in line)
    )


def _field(name: str, value: str) -> bytes:
    return f'"{name}":{json.dumps(value)}'.encode()


def _inside(text: str) -> bytes:
    """Return how a text stands within a value of a line."""
    return json.dumps(text)[1:-1].encode()
