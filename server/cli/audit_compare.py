"""Compares the journal with its audit log: each event, attempt and key has its line."""

import sqlite3
from collections import Counter
from datetime import datetime

import msgspec

from journal.audit.lines import Action
from journal.commitments import Commitments
from journal.keyring import Keyring
from journal.seal import Kind, Opener, Opening, Reason
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
    c: str | None = None
    sink: str | None = None
    attempt: int = 0
    outcome: str = ""
    probes: int = 0
    record: str | None = None
    id: str | None = None
    kind: str | None = None
    before: str | None = None


class _Said(msgspec.Struct):
    """What the log says."""

    #: By event: its last commitment.
    events: dict[str, str | None] = {}
    #: How many attempts, by event, sink, number and outcome.
    attempts: Counter[tuple[str, str, int, str]] = msgspec.field(default_factory=Counter)
    #: Ids of keys that were made and not revoked.
    keys: set[str] = set()
    #: (time, everything): when it began to record everything, or stopped to.
    records: list[tuple[float, bool]] = []
    #: Events from before may be removed.
    pruned_before: float = 0.0
    #: Lines from before are removed; 0 if none is. None: no line has a time.
    begins: float | None = None


def compare(conn: sqlite3.Connection, keys: Keyring) -> Comparison:
    """Compare in one state of the journal. `keys` open what is sealed."""
    said, found = _read(conn), Comparison()
    found.is_complete = any(everything for _, everything in said.records)
    _compare_events(conn, keys, said, found)
    _compare_attempts(conn, said, found)
    for id_, name, at in conn.execute("select id, name, created_at from api_keys"):
        found.keys += 1
        if id_ not in said.keys and said.records and at >= (said.begins or 0.0):
            found.differs(f"key {name}: no line says that it was made")
    return found


def _read(conn: sqlite3.Connection) -> _Said:
    said, decode = _Said(), msgspec.json.Decoder(_Line).decode
    for place, text in audit_lines.lines_at(conn, 0, audit_lines.end_of(conn)):
        line = decode(text)
        if said.begins is None and line.at:
            said.begins = _seconds(line.at) if place else 0.0
        if line.do in ("callback.accepted", "event.gained") and line.event is not None:
            said.events[line.event] = line.c
            if not said.records and line.do == "callback.accepted":
                # The line that said so is removed.
                said.records.append((_seconds(line.at), True))
        elif line.do == "delivery.attempted" and not line.probes:
            said.attempts[str(line.event), str(line.sink), line.attempt, line.outcome] += 1
        elif line.do == "key.made" and line.id is not None:
            said.keys.add(line.id)
        elif line.do == "key.revoked" and line.id is not None:
            said.keys.discard(line.id)
        elif line.do == "retention.pruned" and line.kind == "events" and line.before is not None:
            said.pruned_before = max(said.pruned_before, _seconds(line.before))
        everything = line.record == "all"
        if line.record is not None and (not said.records or said.records[-1][1] != everything):
            said.records.append((_seconds(line.at), everything))
    return said


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _compare_events(
    conn: sqlite3.Connection, keys: Keyring, said: _Said, found: Comparison
) -> None:
    (identity,) = conn.execute("select value from meta where name = 'identity'").fetchone()
    opener, commitments = Opener(keys, journal=identity), Commitments(keys)
    left = dict(said.events)
    for at, *columns in conn.execute(f"select recorded_at, {BODY} from events order by seq"):  # noqa: S608 - our words
        stored = stored_body(columns)
        found.events += 1
        if stored.id not in left:
            if _is_recorded(said, at):
                found.differs(f"event {stored.id}: no line says that it was accepted")
            continue
        c = left.pop(stored.id)
        opened = opener.open(stored, _COMPARED)
        fits = None
        if c is not None and stored.erased_at is None and not opened.erased:
            fits = commitments.could_be(c, stored.id, opened.body, at)
        if fits is None:
            found.erased += 1
        elif not fits:
            found.differs(f"event {stored.id}: the journal and the log say different things")
    for (id_,) in conn.execute("select id from pruned_events"):
        left.pop(id_, None)
    if said.pruned_before == 0.0:
        for id_ in left:
            found.differs(f"event {id_}: it was accepted, but the journal does not have it")


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
        if said.attempts[event, sink, n, outcome] < count:
            found.differs(f"event {event}: no line says that attempt {n} at {sink} was {outcome}")
