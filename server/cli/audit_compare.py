"""Compares the journal with its audit log: each event, attempt and key has its line."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from journal.audit.lines import Action
from journal.commitments import Commitments
from journal.seal import Kind, Opener, Opening, PeriodKeys, Reason
from journal.sqlite import audit_lines
from journal.sqlite.sealed import BODY, stored_body

#: Seconds around a change of `audit.record` in which an event may have a line or none, and of a
#: commit after the acceptance.
AROUND = 10.0
#: Differences that are named.
MOST = 20
_COMPARED = Opening((Kind.CODES, Kind.PEOPLE), Reason.COMPARE)


class Comparison(msgspec.Struct):
    """What was compared, and what differs."""

    events: int = 0
    #: Those of them with erased content: what they said cannot be compared.
    erased: int = 0
    attempts: int = 0
    keys: int = 0
    #: Whether the log ever recorded callbacks and deliveries.
    is_complete: bool = False
    #: In words, at most MOST.
    differences: list[str] = []

    def differs(self, text: str) -> None:
        if len(self.differences) < MOST:
            self.differences.append(text)


class _Line(msgspec.Struct, frozen=True):
    """The fields of a line that are compared."""

    do: Action | None = None
    at: str = ""
    event: str | None = None
    place: int = 0
    c: str | None = None
    sink: str | None = None
    attempt: int = 0
    outcome: str = ""
    probes: int = 0
    record: str | None = None
    id: str | None = None
    kind: str | None = None
    count: int = 0
    to: int = 0


class _Accepted(NamedTuple):
    """What the log says of an event."""

    #: Its place in the journal; 0: its first line is gone.
    place: int
    #: The last commitment.
    c: str | None


class _Said(msgspec.Struct):
    """What the log says."""

    events: dict[str, _Accepted] = {}
    #: How many attempts, by event, sink, number and outcome.
    attempts: Counter[tuple[str, str, int, str]] = msgspec.field(default_factory=Counter)
    #: Ids of keys that were made and not revoked.
    keys: set[str] = set()
    #: (time, everything): when it began to record everything, or stopped to.
    records: list[tuple[float, bool]] = []
    #: Lines from before are removed; 0 if none is. None: no line has a time.
    begins: float | None = None
    #: How many events retention has removed, and the place up to which.
    pruned: int = 0
    pruned_to: int = 0
    #: Ids of events and keys with an erased line.
    erased: set[str] = set()
    #: Places of lines that are no JSON.
    damaged: list[int] = []


def compare(conn: sqlite3.Connection, keys: PeriodKeys) -> Comparison:
    """Compare in one state of the journal. `keys` open what is sealed."""
    said, found = _read(conn), Comparison()
    for place in said.damaged:
        found.differs(f"line {place} of the log is damaged")
    found.is_complete = any(everything for _, everything in said.records)
    _compare_events(conn, keys, said, found)
    _compare_attempts(conn, said, found)
    for id_, name, at in conn.execute("select id, name, created_at from api_keys"):
        found.keys += 1
        has_line = id_ in said.keys or id_ in said.erased
        if not has_line and said.records and at >= (said.begins or 0.0):
            found.differs(f"key {name}: no line says that it was made")
    return found


def _lines(conn: sqlite3.Connection, said: _Said) -> Iterator[tuple[int, _Line]]:
    """Yield the lines with their places, and note those that are damaged."""
    decode = msgspec.json.Decoder(_Line).decode
    for place, text in audit_lines.lines_at(conn, 0, audit_lines.end_of(conn)):
        try:
            yield place, decode(text)
        except msgspec.DecodeError:
            said.damaged.append(place)


def _read(conn: sqlite3.Connection) -> _Said:
    said = _Said()
    for place, line in _lines(conn, said):
        if said.begins is None and line.at:
            said.begins = _seconds(line.at) if place else 0.0
        if line.event is not None and line.do in ("callback.accepted", "event.gained"):
            _read_event(said, line)
        elif line.do == "delivery.attempted" and not line.probes:
            said.attempts[str(line.event), str(line.sink), line.attempt, line.outcome] += 1
        elif line.do == "key.made" and line.id is not None:
            said.keys.add(line.id)
        elif line.do == "key.revoked" and line.id is not None:
            said.keys.discard(line.id)
        elif line.do == "retention.pruned" and line.kind == "events":
            said.pruned += line.count
            said.pruned_to = max(said.pruned_to, line.to)
        elif line.do == "audit.erased":
            said.erased.update(id_ for id_ in (line.event, line.id) if id_ is not None)
        everything = line.record == "all"
        if line.record is not None and (not said.records or said.records[-1][1] != everything):
            said.records.append((_seconds(line.at), everything))
    return said


def _read_event(said: _Said, line: _Line) -> None:
    event = str(line.event)
    if line.do == "callback.accepted":
        said.events[event] = _Accepted(line.place, line.c)
        if not said.records:
            # The line that said so is removed.
            said.records.append((_seconds(line.at), True))
    else:
        before = said.events.get(event)
        said.events[event] = _Accepted(before.place if before else 0, line.c)


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _compare_events(
    conn: sqlite3.Connection, keys: PeriodKeys, said: _Said, found: Comparison
) -> None:
    (identity,) = conn.execute("select value from meta where name = 'identity'").fetchone()
    opener, commitments = Opener(keys, journal=identity), Commitments(keys)
    left = dict(said.events)
    for at, *columns in conn.execute(f"select recorded_at, {BODY} from events order by seq"):  # noqa: S608 - our words
        stored = stored_body(columns)
        found.events += 1
        if stored.id not in left:
            if _is_recorded(said, at) and stored.id not in said.erased:
                found.differs(f"event {stored.id}: no line says that it was accepted")
            continue
        c = left.pop(stored.id).c
        opened = opener.open(stored, _COMPARED)
        fits = None
        if c is not None and stored.erased_at is None and not opened.erased:
            fits = commitments.could_be(c, stored.id, opened.body, at)
        if fits is None:
            found.erased += 1
        elif not fits:
            found.differs(f"event {stored.id}: the journal and the log say different things")
    _compare_missing(conn, left, said, found)


def _compare_missing(
    conn: sqlite3.Connection, missing: Mapping[str, _Accepted], said: _Said, found: Comparison
) -> None:
    """Compare the events that are gone with the lines that say so.

    The journal knows the ids of removed events for a while, the log only their number and place.
    """
    known = {id_: seq for seq, id_ in conn.execute("select seq, id from pruned_events")}
    oldest = min(known.values(), default=said.pruned_to + 1)
    removed = 0
    for id_, event in missing.items():
        if event.place > said.pruned_to or (event.place >= oldest and id_ not in known):
            found.differs(f"event {id_}: it was accepted, but the journal does not have it")
        else:
            removed += 1
    if removed > said.pruned:
        found.differs(f"{removed} events are gone, but retention removed only {said.pruned}")


def _is_recorded(said: _Said, at: float) -> bool:
    """Return whether an event of that time must have a line."""
    if any(abs(at - changed) < AROUND for changed, _ in said.records[1:]):
        return False
    before = [everything for changed, everything in said.records if changed <= at]
    return bool(before) and before[-1]


def _compare_attempts(conn: sqlite3.Connection, said: _Said, found: Comparison) -> None:
    stored: Counter[tuple[str, str, int, str]] = Counter()
    for event, sink, n, outcome, at, took in conn.execute(
        "select events.id, sink, n, outcome, at, took_ms from attempts"
        " join deliveries on deliveries.id = attempts.delivery"
        " join events on events.seq = deliveries.event"
    ):
        found.attempts += 1
        # A delivery that was given up had no attempt, and another line.
        is_given_up = outcome == "refused" and took == 0.0
        if not is_given_up and _is_recorded(said, at):
            stored[event, sink, n, outcome] += 1
    for (event, sink, n, outcome), count in stored.items():
        if said.attempts[event, sink, n, outcome] < count and event not in said.erased:
            found.differs(f"event {event}: no line says that attempt {n} at {sink} was {outcome}")
