"""Look up the stored rows that a batch needs: one query for each kind."""

import json
import sqlite3
from collections.abc import Collection, Iterator

import msgspec

from core.erasure import NUMBER
from core.order import BY_NUMBER, GRACE, RegisteredBy

from ..decide import ALIKE, COMPARED
from ..decide_orders import may_change, order_name
from ..rows import EventRow, LookedUp, Needs
from ..seal import Opener
from . import replays, sealed
from .bulk import Row, search
from .orders import COLUMNS, FIRST_AWAITED, read_order
from .sealed import find_indexes, find_subjects

#: The newest events that are searched for a number, which has no index; and the most events that
#: are found by an id, which has an index. Both are limited because callbacks wait meanwhile.
LOOKED_THROUGH = 5_000
FOUND_MOST = 1_000

_KEYS = """
    select keys.source, keys.key, event
    from wanted cross join keys on keys.source = wanted.source and keys.key = wanted.key
"""
# `cross join` keeps the order of the tables: only the wanted rows are few.
_POSSIBLE_COPIES = f"""
    select distinct seq from wanted cross join events on seq in (
      select seq from events
      where subject = wanted.its_subject and source = wanted.its_source and type in (one, other)
        and not exists (select 1 from twins where event = seq and twins.form = wanted.form)
      order by seq desc limit {COMPARED})
"""  # noqa: S608 - our words
#: Events that an order may take. A user's order also takes those of a provider's order.
_FREE = """
    not exists (select 1 from order_events join orders on orders.seq = order_seq
                where order_events.event = events.seq and (origin = 'user' or not by_user))
"""
_OF_SUBJECT = f"""
    select seq from wanted cross join events on seq in (
      select seq from events
      where (subject = its_subject or also = its_subject) and source = its_source and {_FREE}
      order by seq desc limit {FOUND_MOST})
"""  # noqa: S608 - our words
_OF_NUMBER = f"""
    select seq from wanted cross join events on seq > place and recorded_at >= since
      and source = its_source and instr(body, text) and {_FREE}
"""  # noqa: S608 - our words
_OF_INDEX = f"""
    select events.seq from wanted cross join event_fields as fields
      on fields.seq > place and fields.number = its_index
    cross join events on events.seq = fields.seq
      and recorded_at >= since and source = its_source and {_FREE}
"""  # noqa: S608 - our words
_OF_ORDER = """
    select event from wanted cross join orders on id = its_id
    cross join order_events on order_seq = orders.seq
"""
_EVENTS = f"""
    select {sealed.BODY}, events.seq, events.source, type, subject, also, recorded_at,
      callbacks.channel, orders.id, taken,
      (select count(*) from duplicates where event = events.seq),
      exists (select 1 from duplicates where event = events.seq and channel = 'poll'),
      events.erased_at is not null
    from wanted cross join events on events.seq = place
    join callbacks on callbacks.id = events.callback
    left join order_events on order_events.event = events.seq
    left join orders on orders.seq = order_seq
    order by events.seq
"""  # noqa: S608 - our words
_PRUNED = "select seq, id from wanted cross join pruned_events on seq = place"
_ORDERS = f"""
    select {", ".join(f"its.{column}" for column in COLUMNS.split(", "))}, seq, recorded_at
    from (select {COLUMNS}, ({FIRST_AWAITED}) as first from wanted cross join orders on {{}}) as its
    left join events on seq = first
"""  # noqa: S608 - our words
_ORDERS_BY_ID = _ORDERS.format("id = its_id")
_ORDERS_BY_NAME = _ORDERS.format(
    "orders.seq = (select max(seq) from orders"
    " where name = its_name and kind = its_kind and source = its_source)"
)
_UNFINISHED = """
    select its_sink, its_ordering from wanted where exists (
      select 1 from deliveries
      where sink = its_sink and ordering = its_ordering and state in ('pending', 'sending'))
"""
_QUARANTINED = "select source, fingerprint, id from wanted cross join quarantine on "
_API_KEYS = "select id, name from wanted cross join api_keys on id = its_name or name = its_name"
_REJECTIONS = """
    select reason, source, peer from wanted cross join rejections
    on reason = its_reason and source = its_source and peer = its_peer
"""


def look_up(conn: sqlite3.Connection, needs: Needs, opener: Opener) -> LookedUp:
    """Return the needed rows, in the transaction of the caller."""
    last = dict(conn.execute("select name, seq from sqlite_sequence"))
    found = LookedUp(
        last_event=last.get("events", 0),
        last_callback=last.get("callbacks", 0),
        last_delivery=last.get("deliveries", 0),
    )
    wanted_keys = [(source, bytearray(key)) for source, key in needs.keys]
    for source, key, place in search(conn, "wanted(source, key)", _KEYS, wanted_keys):
        found.keys[source, key] = place
    places = set(found.keys.values())
    if needs.copies:
        plans = [
            (subject, event.source, event.type, ALIKE.get(event.type), copy.form)
            for plan in needs.copies
            if (event := plan.event) and (copy := plan.copy)
            if not any((event.source, key) in found.keys for key in (*plan.keys, *plan.older_keys))
            for subject in find_subjects(opener, event.subject)
        ]
        columns = "wanted(its_subject, its_source, one, other, form)"
        places.update(place for (place,) in search(conn, columns, _POSSIBLE_COPIES, plans))
    if needs.registered:
        places.update(_find_events_of_orders(conn, needs, found, opener))
    if needs.events:
        sql = "select seq from wanted cross join events on id = its_id"
        wanted = [(id_,) for id_ in needs.events]
        places.update(place for (place,) in search(conn, "wanted(its_id)", sql, wanted))
    if places:
        _read_events(conn, places, found, opener, forms=bool(needs.copies))
        gone = [(place,) for place in places - found.events.keys()]
        found.pruned.update(search(conn, "wanted(place)", _PRUNED, gone))
    owners = {row.order for row in found.events.values() if row.order is not None}
    if ids := needs.orders | owners:
        wanted = [(id_,) for id_ in ids - found.orders.keys()]
        _read_orders(conn, "wanted(its_id)", _ORDERS_BY_ID, wanted, found, opener)
    if needs.orderings:
        columns = "wanted(its_sink, its_ordering)"
        found.unfinished.update(search(conn, columns, _UNFINISHED, needs.orderings))
    found.replays.update(replays.look_up(conn, needs.replays))
    if needs.fingerprints or needs.quarantined or needs.rejections or needs.balances:
        _look_up_others(conn, needs, found)
    if needs.api_keys:
        wanted = [(one,) for one in needs.api_keys]
        found.api_keys.update(search(conn, "wanted(its_name)", _API_KEYS, wanted))
    return found


def _find_events_of_orders(
    conn: sqlite3.Connection, needs: Needs, found: LookedUp, opener: Opener
) -> Iterator[int]:
    """Find the events that an order of the batch has or may take."""
    columns = "wanted(its_source, its_kind, its_name)"
    # The newest is read last: a number has another keyed index on each day.
    names = [
        (source, kind, stored)
        for source, kind, name in needs.registered
        for stored in (name, *(reversed(find_indexes(opener, name)) if kind == BY_NUMBER else ()))
    ]
    _read_orders(conn, columns, _ORDERS_BY_NAME, names, found, opener)
    found.named = {order_name(order): order.id for order in found.orders.values()}
    subjects, numbers, indexes, ids = [], [], [], []
    for name, registered in needs.registered.items():
        source, kind, _ = name
        given = [write.order for write in registered]
        known = found.orders.get(found.named.get(name, ""))
        if known is not None and (
            name in needs.joined or known.id in needs.orders or may_change(known, registered)
        ):
            ids.append((known.id,))
        either = given if known is None else [*given, known]
        by_user = any(order.origin is RegisteredBy.USER for order in either)
        if kind != BY_NUMBER:
            subjects.append((given[0].subject, source, by_user))
        since = min(order.created_at for order in either) - GRACE
        # The field as encoded in a body. In the text of an SMS its quotes would be escaped.
        place = found.last_event - LOOKED_THROUGH
        for number in {order.number for order in either if order.number is not None}:
            numbers.append((source, f'"to":"{number}"', since, place, by_user))
            its = find_indexes(opener, number, since=since)
            indexes += [(source, index, since, place, by_user) for index in its]
    for columns, sql, rows in (
        ("wanted(its_id)", _OF_ORDER, ids),
        ("wanted(its_subject, its_source, by_user)", _OF_SUBJECT, subjects),
        ("wanted(its_source, text, since, place, by_user)", _OF_NUMBER, numbers),
        ("wanted(its_source, its_index, since, place, by_user)", _OF_INDEX, indexes),
    ):
        for (place,) in search(conn, columns, sql, rows):
            yield place


def _read_events(
    conn: sqlite3.Connection, places: set[int], found: LookedUp, opener: Opener, *, forms: bool
) -> None:
    wanted = [(place,) for place in sorted(places)]
    for row in search(conn, "wanted(place)", _EVENTS, wanted):
        stored = sealed.stored_body(row[: sealed.BODY_WIDTH])
        *plain, order, taken, duplicates, polled, erased = row[sealed.BODY_WIDTH :]
        seq, source, type_, subject, also, at, channel = plain
        opened = opener.open(stored, sealed.TO_JOIN)
        if stored.people is not None and subject.startswith(NUMBER):
            subject = msgspec.json.decode(opened.body)["subject"] or subject
        found.events[seq] = EventRow(
            seq=seq,
            id=stored.id,
            source=source,
            type=type_,
            subject=subject,
            also=also,
            at=at,
            body=opened.body.decode(),
            channel=channel,
            order=order,
            taken=tuple(json.loads(taken or "[]")),
            duplicates=duplicates,
            polled=bool(polled),
            stored=stored,
            erased=bool(erased or opened.erased),
        )
    if forms:
        of_events = "select event, form, second from wanted cross join twins on event = place"
        for seq, form, second in search(conn, "wanted(place)", of_events, wanted):
            found.events[seq].forms[form] = second


def _read_orders(
    conn: sqlite3.Connection,
    columns: str,
    sql: str,
    wanted: Collection[Row],
    found: LookedUp,
    opener: Opener,
) -> None:
    for row in search(conn, columns, sql, wanted):
        *said, first, at = row
        order = read_order((*said, None), opener)
        found.orders[order.id] = order
        if first is not None:
            found.received[order.id] = (first, at)


def _look_up_others(conn: sqlite3.Connection, needs: Needs, found: LookedUp) -> None:
    for columns, condition, wanted in (
        (
            "wanted(its_source, its_fingerprint)",
            "source = its_source and fingerprint = its_fingerprint",
            needs.fingerprints,
        ),
        ("wanted(its_id)", "id = its_id", [(id_,) for id_ in needs.quarantined]),
    ):
        for source, fingerprint, id_ in search(conn, columns, _QUARANTINED + condition, wanted):
            found.quarantined[source, fingerprint] = id_
    if needs.rejections:
        columns = "wanted(its_reason, its_source, its_peer)"
        found.rejections.update(search(conn, columns, _REJECTIONS, needs.rejections))
        (found.rejections_kept,) = conn.execute("select count(*) from rejections").fetchone()
    if needs.balances:
        lows = conn.execute("select source from balances where low")
        found.low.update(source for (source,) in lows)
