"""Journals of millions of events, filled in bulk and kept between runs."""

import fcntl
import hashlib
import os
import random
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import msgspec

from core.clock import rfc3339
from core.event import Event
from core.order import Order, OrderState
from journal.sqlite.event_search import FIELDS
from journal.sqlite.event_search import fields as searched_fields
from journal.sqlite.orders import INSERT as INSERT_ORDER
from journal.sqlite.orders import order_values
from journal.sqlite.read_only import open_read_only
from journal.sqlite.schema import migrate
from receiver.callback import Callback, Key
from receiver.decode import decode
from receiver.providers.tellabot.callbacks import TellABot
from server.runtime.identity import Identity

from .processes import ROOT

#: A configuration for such a journal must use these names.
SOURCE, ROUTE, SINK = "tellabot", "everything", "crm"
#: Seconds between two events: ten million take most of a year.
EVERY = 3
#: Seconds between the last event and the filling.
SINCE_THE_LAST = 3600
#: Subjects count from here. TellABot's requests have as many digits today.
FIRST_REQUEST = 10_000_001
#: One of RARE events has this source and this service, and its delivery is dead.
RARE, RARE_SOURCE, RARE_SERVICE = 2003, "herosms", "Telegram"
#: One of QUARANTINED events adds a callback in quarantine. One of MALFORMED of these is not JSON.
QUARANTINED, MALFORMED = 1009, 20
#: In the older half, one of ORDERED events answers an order. One of UNANSWERED orders gets no
#: message, and one of CANCELLED of these is cancelled.
ORDERED, UNANSWERED, CANCELLED = 10, 100, 5
#: A journal that grew by more than this part is filled again. Five repetitions add less to a
#: million events, and hardly anything to ten million.
MOST_GROWTH = 0.1
#: Bytes an event, with a margin. The disk must have as many free.
ROOM_PER_EVENT = 3000
#: Rows of each table in one transaction.
_TOGETHER = 20_000
#: Transactions prepared in advance.
_AHEAD = 3
#: KiB of SQLite's cache while filling.
_CACHE = 500_000
#: The range of phone numbers. The tests reserve some above it.
_LOWEST_NUMBER, _NUMBERS = 12_000_000_000, 6_000_000_000
#: Keys count the seconds from here.
_FIRST_SECOND = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp())

_HEADERS = (
    ("host", "hooks.example.com"),
    ("user-agent", "GuzzleHttp/7"),
    ("content-type", "application/x-www-form-urlencoded"),
)
_PEER, _TOKEN_NAME = "203.0.113.7", "0123456789ab"
#: Outcome, status and error of attempts.
_DELIVERED, _REFUSED = ("delivered", 200, None), ("refused", 410, "gone")
#: Seconds from an order to its message, and to its end.
_TAKES, _LASTS = 11.0, 900.0
#: The values that differ between callbacks, as in the callback behind the templates.
_MARK_ID, _MARK_NUMBER, _MARK_CODE = "98765432", "18505550142", "731946"
_MARK_SECOND = 1_700_000_042


class NoRoom(Exception):
    """The disk cannot hold the journal."""


class _Templates(NamedTuple):
    """Templates of a callback's body and its event, as the product writes them."""

    callback: str
    event: str
    #: The searched fields after the number.
    searched: tuple[object, ...]


class _FilledEvent(NamedTuple):
    """One event, as the tables store it."""

    seq: int
    at: float
    id: str
    source: str
    key: bytes
    callback: bytes
    event: str
    number: str
    searched: tuple[object, ...]

    @property
    def is_rare(self) -> bool:
        return self.source == RARE_SOURCE


def cache() -> Path:
    """The folder of kept journals: SMSHOOK_BENCH_CACHE, or .bench-cache in the checkout."""
    named = os.environ.get("SMSHOOK_BENCH_CACHE")
    return Path(named).absolute() if named else ROOT / ".bench-cache"


def is_kept(events: int) -> bool:
    """Whether `journal` can return one without filling it."""
    path = _path(events)
    if not path.exists():
        return False
    with closing(open_read_only(path)) as conn:
        (now,) = conn.execute("select max(seq) from events").fetchone()
    return bool(now / events - 1 <= MOST_GROWTH)


def journal(events: int) -> Path:
    """Return a journal of that many delivered events, which opens with any secret.

    A run writes to the journal itself, not to a copy, so the journal grows a little. After
    MOST_GROWTH it is filled again, by one process while others wait.
    Raises NoRoom.
    """
    path = _path(events)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.parent):
        if not is_kept(events):
            for old in path.parent.glob(f"journal-{events}-*"):
                old.unlink()
            needed, free = events * ROOM_PER_EVENT, shutil.disk_usage(path.parent).free
            if free < needed:
                raise NoRoom(
                    f"{path.parent}: {free / 1e9:.0f} GB are free, a journal of {events:,} events"
                    f" may take {needed / 1e9:.0f}; make room, or set"
                    " SMSHOOK_BENCH_CACHE to a folder elsewhere"
                )
            part = path.with_suffix(".part")
            fill(part, events)
            part.rename(path)
        with _writing(path) as conn:
            # Each run has a new secret. The next start seals the journal with it.
            conn.execute("delete from meta where name = 'seal'")
    return path


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock a folder; other processes wait."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def fill(path: Path, events: int) -> None:
    """Fill the journal at `path`. It is durable only at the end."""
    migrate(path)
    conn = sqlite3.connect(path, isolation_level=None)
    try:
        conn.execute("pragma journal_mode = off")
        conn.execute("pragma synchronous = off")
        conn.execute(f"pragma cache_size = -{_CACHE}")
        last_at = _fill(conn, events)
        # The counters that the product keeps beside the rows.
        conn.execute("update counters set value = ? where name = 'events'", (events,))
        conn.execute(
            "update counters set value = (select count(*) from quarantine)"
            " where name = 'quarantine'"
        )
        _recount(conn)
        conn.execute(
            "insert into token_uses values (?, ?, ?, ?)", (SOURCE, _TOKEN_NAME, events, last_at)
        )
        conn.execute("insert into sinks (name, last_success_at) values (?, ?)", (SINK, last_at))
        _check(conn, path)
        conn.execute("pragma journal_mode = wal")
    finally:
        conn.close()
    with path.open("rb") as file:
        os.fsync(file.fileno())


def make_pending(path: Path, deliveries: int) -> None:
    """Turn the last deliveries into pending ones without an attempt."""
    with _writing(path) as conn:
        (last,) = conn.execute("select max(id) from deliveries").fetchone()
        conn.execute("delete from attempts where delivery > ?", (last - deliveries,))
        conn.execute(
            "update deliveries set state = 'pending', attempts = 0, due_at = accepted_at,"
            " owner = null where id > ?",
            (last - deliveries,),
        )
        _recount(conn)


def make_failing(path: Path, deliveries: int) -> None:
    """Add a failed attempt to the last pending deliveries, and pause their sink."""
    with _writing(path) as conn:
        (last,) = conn.execute("select max(id) from deliveries").fetchone()
        conn.execute(
            "insert into attempts (delivery, n, at, outcome, status, error, took_ms)"
            " select id, 1, accepted_at, 'failed', 503, 'status', 1.2 from deliveries"
            " where id > ? and state = 'pending'",
            (last - deliveries,),
        )
        conn.execute(
            "update deliveries set attempts = 1 where id > ? and state = 'pending'",
            (last - deliveries,),
        )
        conn.execute(
            "update sinks set paused = 'operator', paused_at = last_success_at where name = ?",
            (SINK,),
        )


def make_delivered(path: Path) -> None:
    """Turn all pending deliveries into delivered ones: undo make_pending and make_failing."""
    with _writing(path) as conn:
        conn.execute(
            "delete from attempts where delivery in"
            " (select id from deliveries where state in ('pending', 'sending'))"
        )
        conn.execute(
            "insert or ignore into attempts (delivery, n, at, outcome, status, took_ms)"
            " select id, 1, accepted_at, 'delivered', 200, 1.2 from deliveries"
            " where state in ('pending', 'sending')"
        )
        conn.execute(
            "update deliveries set state = 'delivered', attempts = 1, due_at = null, owner = null"
            " where state in ('pending', 'sending')"
        )
        conn.execute("update sinks set paused = null, paused_at = null, failing_since = null")
        _recount(conn)


def _path(events: int) -> Path:
    """Return a path with a digest of the schema and this module: a change needs a new journal."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    steps = (
        step for step in files("journal.sqlite.migrations").iterdir() if step.name.endswith(".sql")
    )
    for step in sorted(steps, key=lambda step: step.name):
        digest.update(step.read_bytes())
    return cache() / f"journal-{events}-{digest.hexdigest()[:12]}.db"


def _fill(conn: sqlite3.Connection, events: int) -> float:
    """Write the rows; return when the last event was recorded."""
    began, first_at = time.monotonic(), time.time() - SINCE_THE_LAST - events * EVERY
    parts = [range(n, min(n + _TOGETHER, events)) for n in range(0, events, _TOGETHER)]
    last_at = first_at
    # A second process prepares rows while this one writes: it halves the time.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as maker:
        ahead = [maker.submit(_rows, part, first_at) for part in parts[:_AHEAD]]
        for n, part in enumerate(parts):
            rows = ahead.pop(0).result()
            ahead += [maker.submit(_rows, more, first_at) for more in parts[n + _AHEAD :][:1]]
            conn.execute("begin")
            _write(conn, rows)
            _write_orders(conn, [row for row in rows if row.seq <= events // 2])
            conn.execute("commit")
            last_at = rows[-1].at
            _show(part.stop, events, began)
    return last_at


def _rows(part: range, first_at: float) -> list[_FilledEvent]:
    identity = Identity(os.urandom(32).hex(), os.urandom)
    templates = _templates(identity, SOURCE, "Google")
    rare = _templates(identity, RARE_SOURCE, RARE_SERVICE)
    rows = []
    for n in part:
        at = round(first_at + n * EVERY + random.random(), 6)
        request, second = str(FIRST_REQUEST + n), int(at) - 1
        key = identity.dedupe_key(Key(second=second - _FIRST_SECOND, parts=("sms", request)))
        id_, number = identity.event_id(at), _LOWEST_NUMBER + int(random.random() * _NUMBERS)
        values = {
            "request": request,
            "number": number,
            "code": f"{int(random.random() * 1_000_000):06d}",
            "second": second,
            "id": id_,
            "time": f"{rfc3339(second)[:-8]}Z",
            "recorded": rfc3339(at),
            "key": key.hex(),
        }
        its = rare if n % RARE == RARE - 1 else templates
        rows.append(
            _FilledEvent(
                seq=n + 1,
                at=at,
                id=id_,
                source=RARE_SOURCE if its is rare else SOURCE,
                key=key,
                callback=(its.callback % values).encode(),
                event=its.event % values,
                number=f"+{number}",
                searched=its.searched,
            )
        )
    return rows


def _templates(identity: Identity, source_name: str, service: str) -> _Templates:
    """Let the product handle one callback, and make templates of what it writes."""
    body = urlencode(
        {
            "event": "incoming_message",
            "id": _MARK_ID,
            "timestamp": _MARK_SECOND,
            "from": "22000",
            "to": _MARK_NUMBER,
            "service": service,
            "reply": f"G-{_MARK_CODE} is your {service} verification code.",
            "pin": f"G-{_MARK_CODE}",
            "price": "1.20",
        }
    )
    at = _MARK_SECOND + 1.25
    callback = Callback(
        headers=_HEADERS,
        body=body.encode(),
        peer=_PEER,
        received=datetime.fromtimestamp(at, UTC),
    )
    source = TellABot()
    fields = decode(callback.body, content_encoding="", encodings=source.encodings)
    [happening] = source.normalize(fields, callback)
    [key] = map(identity.dedupe_key, happening.keys)
    event = Event(
        id=identity.event_id(at),
        source=source_name,
        type=happening.data.type,
        subject=happening.subject,
        time=str(happening.time),
        recordedtime=rfc3339(at),
        dedupekey=key.hex(),
        data=happening.data,
    )
    marks = {_MARK_ID: "request", _MARK_NUMBER: "number", _MARK_CODE: "code"}
    kept = {event.id: "id", event.recordedtime: "recorded", event.time: "time", key.hex(): "key"}
    return _Templates(
        callback=_template(body, {**marks, str(_MARK_SECOND): "second"}),
        event=_template(msgspec.json.encode(event).decode(), {**marks, **kept}),
        searched=searched_fields(event.data),
    )


def _template(text: str, marks: Mapping[str, str]) -> str:
    text = text.replace("%", "%%")
    for mark, name in marks.items():
        if mark not in text:
            raise AssertionError(f"the product does not write the {name} of a callback any more")
        text = text.replace(mark, f"%({name})s")
    return text


def _write(conn: sqlite3.Connection, rows: list[_FilledEvent]) -> None:
    headers, routes = msgspec.json.encode(_HEADERS).decode(), f'["{ROUTE}"]'
    _insert(
        conn,
        "callbacks (id, source, channel, token, peer, at, headers, body)",
        (
            (row.seq, row.source, "callback", _TOKEN_NAME, _PEER, row.at, headers, row.callback)
            for row in rows
        ),
    )
    _insert(
        conn,
        "events (seq, id, source, type, subject, recorded_at, callback, routes, body)",
        (
            (
                *(row.seq, row.id, row.source, "sms.received"),
                *(f"request/{FIRST_REQUEST + row.seq - 1}", row.at, row.seq, routes, row.event),
            )
            for row in rows
        ),
    )
    _insert(conn, "keys (source, key, event)", ((row.source, row.key, row.seq) for row in rows))
    _insert(conn, FIELDS, ((row.seq, row.number, *row.searched) for row in rows))
    _insert(
        conn,
        "deliveries (id, event, sink, state, attempts, accepted_at)",
        (
            (row.seq, row.seq, SINK, "dead" if row.is_rare else "delivered", 1, row.at)
            for row in rows
        ),
    )
    _insert(
        conn,
        "given_up (state, id, sink, event, event_id, source, recorded_at)",
        (
            ("dead", row.seq, SINK, row.seq, row.id, row.source, row.at)
            for row in rows
            if row.is_rare
        ),
    )
    _insert(
        conn,
        "attempts (delivery, n, at, outcome, status, error, took_ms)",
        (
            (row.seq, 1, row.at + 0.001, *(_REFUSED if row.is_rare else _DELIVERED), 1.2)
            for row in rows
        ),
    )
    _insert(
        conn,
        "quarantine (id, source, fingerprint, reason, detail, token, peer, at, last_at, headers,"
        " body)",
        (
            (
                *(row.id, row.source, row.key, *_not_understood(row.seq)),
                *(_TOKEN_NAME, _PEER, row.at, row.at, headers, b"event=order.refund"),
            )
            for row in rows
            if row.seq % QUARANTINED == 0
        ),
    )


def _not_understood(seq: int) -> tuple[str, str]:
    if seq // QUARANTINED % MALFORMED == 0:
        return "malformed", "body: not JSON"
    return "unknown_event", 'event "order.refund": unknown'


def _write_orders(conn: sqlite3.Connection, rows: list[_FilledEvent]) -> None:
    """Write orders that some of these events answer, and a few that end without an event."""
    identity = Identity(os.urandom(32).hex(), os.urandom)
    for row in rows:
        if row.seq % ORDERED:
            continue
        order = Order(
            id=identity.event_id(row.at),
            source=row.source,
            provider="tellabot",
            kind="request_id",
            name=str(FIRST_REQUEST + row.seq - 1),
            number=row.number,
            service="Google",
            created_at=row.at - _TAKES,
            expires_at=row.at + _LASTS,
            state=OrderState.RECEIVED,
        )
        place, left = divmod(row.seq, ORDERED * UNANSWERED)
        if left == 0:
            state = OrderState.EXPIRED if place % CANCELLED else OrderState.CANCELLED
            order = msgspec.structs.replace(order, state=state)
        conn.execute(INSERT_ORDER, order_values(order, None))
        if order.state is OrderState.RECEIVED:
            conn.execute(
                "insert into order_events (event, order_seq) values (?, last_insert_rowid())",
                (row.seq,),
            )


def _insert(conn: sqlite3.Connection, into: str, rows: Iterable[tuple[object, ...]]) -> None:
    slots = ", ".join("?" * (into.count(",") + 1))
    conn.executemany(f"insert into {into} values ({slots})", rows)  # noqa: S608 - words of ours


def _show(done: int, events: int, began: float) -> None:
    seconds = time.monotonic() - began
    left = seconds / done * (events - done)
    end = "\r" if sys.stderr.isatty() else "\n"
    if sys.stderr.isatty() or done % (50 * _TOGETHER) == 0 or done == events:
        print(
            f"filling a journal: {done:,} of {events:,} events, {seconds:.0f} s, {left:.0f} s left",
            end="\n" if done == events else end,
            file=sys.stderr,
            flush=True,
        )


def _recount(conn: sqlite3.Connection) -> None:
    """Count the deliveries in rare states again. All others are delivered."""
    for state, counter in (
        ("pending", "deliveries.pending"),
        ("dead", "deliveries.dead"),
        ("pending", f"pending/{SINK}"),
    ):
        conn.execute(
            "insert into counters (name, value)"
            " select ?, count(*) from deliveries where state = ?"
            " on conflict do update set value = excluded.value",
            (counter, state),
        )
    conn.execute(
        "update counters set value = (select max(id) from deliveries) - (select sum(value)"
        " from counters where name like 'deliveries.%' and name <> 'deliveries.delivered')"
        " where name = 'deliveries.delivered'"
    )


def _check(conn: sqlite3.Connection, path: Path) -> None:
    """Check the file, and that counters and rows agree."""
    for (said,) in conn.execute("pragma quick_check(1)"):
        if said != "ok":
            raise AssertionError(f"{path}: {said}")
    for counter, table in (("events", "events"), ("deliveries.*", "deliveries")):
        said, rows = conn.execute(
            f"select sum(value), (select count(*) from {table}) from counters where name glob ?",  # noqa: S608 - words of ours
            (counter,),
        ).fetchone()
        if said != rows:
            raise AssertionError(f"{path}: {counter} says {said}, {table} has {rows} rows")


@contextmanager
def _writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Run one durable transaction; closing writes the log back into the file."""
    conn = sqlite3.connect(path, isolation_level=None)
    try:
        conn.execute("pragma synchronous = full")
        conn.execute("begin immediate")
        yield conn
        conn.execute("commit")
    finally:
        conn.close()  # rolls back what was not committed
