"""What is asked of SQLite while it is being written: through connections that cannot write."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from . import (
    Arrival,
    Duplicate,
    Kept,
    KeptDelivery,
    Page,
    Quarantine,
    Rejection,
    Stats,
    TokenUse,
    Wanted,
)
from .commit import Unavailable
from .event import SUBJECTS, Attempt, State
from .sqlite_write import error_name

T = TypeVar("T")
#: SQL and its values.
Condition = tuple[str, tuple[object, ...]]

#: Events looked at for one page, where no index helps: a page is quick at any size, and empty
#: pages say where to go on.
WINDOW = 50_000

_QUARANTINE = "seq, id, source, reason, detail, peer, at, count, last_at, token, headers, body"


class Reader:
    """A few threads, each with a read-only connection of its own."""

    def __init__(self, path: Path, *, threads: int = 2) -> None:
        self._path = path
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="journal-read")
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._closed = False

    async def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """The answer to a question; runs in one of the threads. Raises Unavailable."""
        if self._closed:
            raise Unavailable("the journal is closed")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, lambda: question(self._connection()))
        except sqlite3.Error as exc:
            raise Unavailable(error_name(exc)) from exc

    def close(self) -> None:
        self._closed = True
        self._threads.shutdown()
        for conn in self._open:
            conn.close()

    def _connection(self) -> sqlite3.Connection:
        conn: sqlite3.Connection | None = getattr(self._local, "conn", None)
        if conn is None:
            # mode=ro: a second connection that writes or checkpoints at the same instant is how
            # SQLite before 3.51.3 loses its log (sqlite.org/wal.html#walresetbug).
            conn = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False
            )
            self._local.conn = conn
            self._open.append(conn)
        return conn


def stats(conn: sqlite3.Connection) -> Stats:
    counts = dict(conn.execute("select name, value from counters"))
    return Stats(
        events=counts["events"],
        duplicates=counts["duplicates"],
        quarantine=counts["quarantine"],
        deliveries={state.value: counts[f"deliveries.{state}"] for state in State},
    )


def owed(conn: sqlite3.Connection) -> Mapping[str, int]:
    # Two questions, because each of the partial indexes answers one.
    return dict(
        conn.execute(
            "select sink, count(*) from ("
            " select sink from deliveries where state = 'pending'"
            " union all select sink from deliveries where state = 'sending') group by sink"
        )
    )


def next_due(conn: sqlite3.Connection, sink: str) -> float | None:
    (due_at,) = conn.execute(
        "select min(due_at) from deliveries where sink = ? and state = 'pending'", (sink,)
    ).fetchone()
    return None if due_at is None else float(due_at)


def events(
    conn: sqlite3.Connection, wanted: Wanted, *, after: int | None, limit: int, desc: bool
) -> Page:
    """One page, found by looking at WINDOW events at the most unless an index leads to them."""
    (newest,) = conn.execute("select coalesce(max(seq), 0) from events").fetchone()
    where, values, indexed = _conditions(wanted)
    begin = (newest + 1 if desc else 0) if after is None else after
    first, last = _window(begin, newest, desc=desc, whole=indexed)
    rows = conn.execute(
        f"select seq, body from events where seq between ? and ? {where}"  # noqa: S608 - our words
        f" order by seq {'desc' if desc else 'asc'} limit ?",
        (first, last, *values, limit + 1),
    ).fetchall()
    items = tuple((seq, body.encode()) for seq, body in rows[:limit])
    if len(rows) > limit:
        return Page(items=items, next_seq=items[-1][0], has_more=True)
    looked_at = first if desc else last
    if desc:
        return Page(items=items, next_seq=max(looked_at, 1), has_more=looked_at > 1)
    return Page(items=items, next_seq=max(looked_at, begin), has_more=looked_at < newest)


def _window(begin: int, newest: int, *, desc: bool, whole: bool) -> tuple[int, int]:
    if desc:
        last = min(begin - 1, newest)
        return (1 if whole else max(1, last - WINDOW + 1)), last
    first = begin + 1
    return first, (newest if whole else min(newest, first + WINDOW - 1))


def _conditions(wanted: Wanted) -> tuple[str, list[object], bool]:
    """SQL, its values, and whether an index leads to what is wanted."""
    parts = [
        *_any_of(("type",), wanted.type),
        *_any_of(("source",), wanted.source),
        *_any_of(("subject",), wanted.subject),
        *_any_of((_data("to"),), wanted.number),
        *_any_of(tuple(_data(f"service.{name}") for name in ("id", "name", "key")), wanted.service),
        *_any_of((_data("reference"),), wanted.reference),
    ]
    named = list(_named(wanted))
    if wanted.code is not None:
        parts.append((f"{_data('code')} is {'not ' * wanted.code}null", ()))
    if wanted.since is not None:
        parts.append(("recorded_at >= ?", (wanted.since,)))
    if wanted.until is not None:
        parts.append(("recorded_at < ?", (wanted.until,)))
    parts += named
    sql = "".join(f" and {part}" for part, _ in parts)
    values = [value for _, given in parts for value in given]
    return sql, values, bool(wanted.subject or named) or not parts


def _named(wanted: Wanted) -> Iterator[Condition]:
    """What was asked for by an id: subjects are indexed, ids are not."""
    for kind, name in SUBJECTS.items():
        ids = getattr(wanted, name)
        yield from _any_of((_data(name),), ids)
        yield from _any_of(("subject", "also"), tuple(f"{kind}/{id_}" for id_ in ids))


def _any_of(expressions: Sequence[str], allowed: Sequence[object]) -> Iterator[Condition]:
    """One of these is one of those; where nothing is asked for, no condition."""
    if allowed:
        slots = ", ".join("?" * len(allowed))
        either = " or ".join(f"{expression} in ({slots})" for expression in expressions)
        yield f"({either})", tuple(allowed) * len(expressions)


def _data(path: str) -> str:
    return f"json_extract(body, '$.data.{path}')"


def event(conn: sqlite3.Connection, event_id: str) -> Kept | None:
    row = conn.execute("select seq, body, routes from events where id = ?", (event_id,)).fetchone()
    if row is None:
        return None
    seq, body, routes = row
    return Kept(
        seq=seq,
        body=body.encode(),
        routes=tuple(json.loads(routes)),
        duplicates=tuple(
            Duplicate(at=at, channel=channel, peer=peer)
            for at, channel, peer in conn.execute(
                "select at, channel, peer from duplicates where event = ? order by n", (seq,)
            )
        ),
        deliveries=_deliveries(conn, seq),
    )


def _deliveries(conn: sqlite3.Connection, seq: int) -> tuple[KeptDelivery, ...]:
    rows = conn.execute(
        "select id, sink, state, due_at from deliveries where event = ? order by id", (seq,)
    ).fetchall()
    return tuple(
        KeptDelivery(
            id=id_, sink=sink, state=State(state), due_at=due_at, attempts=_attempts(conn, id_)
        )
        for id_, sink, state, due_at in rows
    )


def _attempts(conn: sqlite3.Connection, delivery: int) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(at=at, outcome=outcome, status=status, error=error, took_ms=took_ms)
        for at, outcome, status, error, took_ms in conn.execute(
            "select at, outcome, status, error, took_ms from attempts"
            " where delivery = ? order by n",
            (delivery,),
        )
    )


def callback(conn: sqlite3.Connection, event_id: str) -> Arrival | None:
    row = conn.execute(
        "select c.source, c.channel, c.token, c.peer, c.at, c.headers, c.body from events"
        " join callbacks c on c.id = events.callback where events.id = ?",
        (event_id,),
    ).fetchone()
    if row is None:
        return None
    source, channel, token, peer, at, headers, body = row
    return Arrival(
        source=source,
        channel=channel,
        token=token,
        peer=peer,
        at=at,
        headers=_headers(headers),
        body=body,
    )


def quarantined(
    conn: sqlite3.Connection, *, after: int | None, limit: int, desc: bool
) -> list[Quarantine]:
    rows = conn.execute(
        f"select {_QUARANTINE} from quarantine {_beyond(after, desc=desc)} limit ?",  # noqa: S608
        (*(() if after is None else (after,)), limit),
    )
    return [_quarantine(row) for row in rows]


def quarantined_one(conn: sqlite3.Connection, quarantine_id: str) -> Quarantine | None:
    row = conn.execute(
        f"select {_QUARANTINE} from quarantine where id = ?",  # noqa: S608 - our words
        (quarantine_id,),
    ).fetchone()
    return None if row is None else _quarantine(row)


def _quarantine(row: tuple[object, ...]) -> Quarantine:
    named = dict(zip(_QUARANTINE.split(", "), row, strict=True))
    return Quarantine(**{**named, "headers": _headers(str(named["headers"]))})  # type: ignore[arg-type]


def rejections(
    conn: sqlite3.Connection, *, after: int | None, limit: int, desc: bool
) -> list[tuple[int, Rejection]]:
    rows = conn.execute(
        "select seq, reason, source, peer, count, first_at, last_at from rejections"  # noqa: S608
        f" {_beyond(after, desc=desc)} limit ?",
        (*(() if after is None else (after,)), limit),
    )
    return [
        (
            seq,
            Rejection(
                reason=reason,
                source=source,
                peer=peer,
                count=count,
                first_at=first_at,
                last_at=last_at,
            ),
        )
        for seq, reason, source, peer, count, first_at, last_at in rows
    ]


def token_uses(conn: sqlite3.Connection) -> list[TokenUse]:
    return [
        TokenUse(source=source, token=token, callbacks=callbacks, last_at=last_at)
        for source, token, callbacks, last_at in conn.execute(
            "select source, token, callbacks, last_at from token_uses"
        )
    ]


def _beyond(after: int | None, *, desc: bool) -> str:
    order = "order by seq desc" if desc else "order by seq"
    if after is None:
        return order
    return f"where seq {'<' if desc else '>'} ? {order}"


def _headers(kept: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in json.loads(kept))
