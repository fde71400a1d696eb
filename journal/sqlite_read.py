"""What is asked of SQLite while it is being written: through connections that cannot write."""

import asyncio
import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from . import (
    Arrival,
    Duplicate,
    Kept,
    Page,
    Quarantine,
    Rejection,
    Stats,
    TokenUse,
    Wanted,
    sqlite_visible,
)
from .commit import Broken, Unavailable
from .event import SUBJECTS, State
from .sqlite_deliveries import of_event
from .sqlite_pages import Condition, Sought, any_of, page
from .sqlite_times import span
from .sqlite_write import NO_CALLBACK, error_name, judged

T = TypeVar("T")
#: Seconds that a question may take, with the time that it waits for a thread.
ANSWERED_WITHIN = 5.0
#: Steps of SQLite's machine after which it looks whether the time is up.
_LOOK_EVERY = 10_000
_QUARANTINE = "seq, id, source, reason, detail, peer, at, count, last_at, token, headers, body"


class _Halted(Exception):
    """No question is answered just now."""


class Reader:
    """A few threads, each with a read-only connection of its own."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 2,
        failed: Callable[[Broken], None] = lambda _exc: None,
    ) -> None:
        """`failed` is called in the loop when the file turns out to be damaged."""
        self._path, self._failed = path, failed
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="journal-read")
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._closed = False
        #: Guards what follows: how many questions are being answered, and whether more may be.
        self._counting = threading.Lock()
        self._running = 0
        self._halted = False
        self._resumed = asyncio.Event()
        self._resumed.set()

    async def ask(
        self, question: Callable[[sqlite3.Connection], T], *, within: float = ANSWERED_WITHIN
    ) -> T:
        """The answer to a question; runs in one of the threads.

        Raises Unavailable, also where there is no answer in so many seconds, and Broken.
        """
        if self._closed:
            raise Unavailable("the journal is closed")
        ends = time.monotonic() + within
        try:
            async with asyncio.timeout(within):
                return await self._answered(question, ends)
        except TimeoutError:
            raise Unavailable(f"no answer in {within:g} s") from None
        except sqlite3.Error as exc:
            verdict = judged(exc)
            if isinstance(verdict, Broken):
                self._failed(verdict)
                raise verdict from exc
            raise Unavailable(error_name(exc)) from exc

    async def _answered(self, question: Callable[[sqlite3.Connection], T], ends: float) -> T:
        loop = asyncio.get_running_loop()
        while True:
            await self._resumed.wait()
            try:
                return await loop.run_in_executor(self._threads, self._answer, question, ends)
            except _Halted:
                continue
            except sqlite3.OperationalError as exc:
                # Interrupted for the log's sake: once more, when that is done.
                if error_name(exc) != "SQLITE_INTERRUPT" or time.monotonic() >= ends:
                    raise

    @contextlib.asynccontextmanager
    async def halted(self, *, within: float) -> AsyncIterator[None]:
        """Meanwhile no question is answered; what takes longer than `within` is begun again."""
        self._resumed.clear()
        with self._counting:
            self._halted = True
        try:
            if not await self._quiet(within):
                for conn in tuple(self._open):
                    conn.interrupt()
                await self._quiet(within)
            yield
        finally:
            with self._counting:
                self._halted = False
            self._resumed.set()

    async def _quiet(self, within: float) -> bool:
        ends = time.monotonic() + within
        while self._running and time.monotonic() < ends:  # noqa: ASYNC110 - threads count it
            await asyncio.sleep(0.005)
        return not self._running

    def close(self) -> None:
        self._closed = True
        self._threads.shutdown(cancel_futures=True)
        for conn in self._open:
            conn.close()

    def _answer(self, question: Callable[[sqlite3.Connection], T], ends: float) -> T:
        """In one of the threads."""
        with self._counting:
            if self._halted:
                raise _Halted
            self._running += 1
        try:
            self._local.ends = ends
            return question(self._connection())
        finally:
            with self._counting:
                self._running -= 1

    def _connection(self) -> sqlite3.Connection:
        conn: sqlite3.Connection | None = getattr(self._local, "conn", None)
        if conn is None:
            # mode=ro: a second connection that writes or checkpoints at the same instant is how
            # SQLite before 3.51.3 loses its log (sqlite.org/wal.html#walresetbug).
            conn = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False
            )
            local = self._local
            # Whoever asked has gone by then; an endless reader would keep the log from ending.
            conn.set_progress_handler(lambda: time.monotonic() > local.ends, _LOOK_EVERY)
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


def events(
    conn: sqlite3.Connection, wanted: Wanted, *, after: int | None, limit: int, desc: bool
) -> Page[bytes]:
    conditions, indexed = _conditions(wanted)
    sought = Sought(
        *("events", "seq", "body", conditions, indexed),
        within=lambda newest: span(conn, newest, since=wanted.since, until=wanted.until),
    )
    return page(
        conn, sought, lambda row: bytes(row[0].encode()), after=after, limit=limit, desc=desc
    )


def visible_events(
    conn: sqlite3.Connection,
    shown_to: str,
    wanted: Wanted,
    *,
    after: int | None,
    limit: int,
    desc: bool,
) -> Page[bytes] | None:
    filter_ = sqlite_visible.complete(conn, shown_to)
    if filter_ is None:
        return None
    # Not max(seq) of events: that may walk them.
    (newest,) = conn.execute(
        "select coalesce(max(seq), 0) from sqlite_sequence where name = 'events'"
    ).fetchone()
    conditions, _ = _conditions(wanted)
    within = span(conn, newest, since=wanted.since, until=wanted.until)
    return sqlite_visible.page(
        conn, filter_, conditions, within, after=after, limit=limit, desc=desc
    )


def _conditions(wanted: Wanted) -> tuple[list[Condition], bool]:
    """And whether an index leads to what is wanted."""
    parts = [
        *any_of(("type",), wanted.type),
        *any_of(("source",), wanted.source),
        *any_of(("subject",), wanted.subject),
        *any_of((_data("to"),), wanted.number),
        *any_of(tuple(_data(f"service.{name}") for name in ("id", "name", "key")), wanted.service),
        *any_of(("reference",), wanted.reference),
    ]
    named = list(_named(wanted))
    if wanted.code is not None:
        parts.append((f"{_data('code')} is {'not ' * wanted.code}null", ()))
    if wanted.since is not None:
        parts.append(("recorded_at >= ?", (wanted.since,)))
    if wanted.until is not None:
        parts.append(("recorded_at < ?", (wanted.until,)))
    parts += named
    return parts, bool(wanted.subject or wanted.reference or named) or not parts


def _named(wanted: Wanted) -> Iterator[Condition]:
    """What was asked for by an id: subjects are indexed, ids are not."""
    for kind, name in SUBJECTS.items():
        ids = getattr(wanted, name)
        yield from any_of((_data(name),), ids)
        yield from any_of(("subject", "also"), tuple(f"{kind}/{id_}" for id_ in ids))


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
        deliveries=of_event(conn, seq),
    )


def callback(conn: sqlite3.Connection, event_id: str) -> Arrival | None:
    row = conn.execute(
        "select c.source, c.channel, c.token, c.peer, c.at, c.headers, c.body from events"
        " join callbacks c on c.id = events.callback"
        " where events.id = ? and c.channel <> ?",
        (event_id, NO_CALLBACK),
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


def moment(conn: sqlite3.Connection, name: str) -> float | None:
    row = conn.execute("select at from moments where name = ?", (name,)).fetchone()
    return None if row is None else float(row[0])


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
