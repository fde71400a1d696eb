"""`smshook audit prove`: what shows an auditor that one event was not changed."""

import sqlite3
from collections.abc import Iterator

import click
import msgspec

from core.event import secrets_of
from journal.audit.export import encode_event_proof, encode_proof
from journal.audit.lines import leaf_of
from journal.audit.note import Checkpoint, Note
from journal.audit.tree import is_included, prove_inclusion
from journal.commitments import Commitments
from journal.reads import AuditLogs, Checkpoints, LinesFoundBy
from journal.seal import Kind, Opener, Opening, PeriodKeys, Reason
from journal.sqlite import audit_lines
from journal.sqlite.sealed import BODY, stored_body

from .acts import record
from .audit_log import found_keys, open_log
from .command import Command, Failure, Wrong
from .connection import configured
from .ids import choose, typed_id

_PROVED = Opening((Kind.CODES, Kind.PEOPLE), Reason.PROVE)


class EventProof(msgspec.Struct, frozen=True):
    """What an auditor gets."""

    event: str
    #: The names of its fields that only `codes:read` may see.
    fields: tuple[str, ...]
    #: JSON: see `encode_event_proof`.
    text: str


class _Line(msgspec.Struct, frozen=True):
    do: str = ""
    event: str | None = None
    c: str | None = None


_line = msgspec.json.Decoder(_Line).decode


@click.command("prove", cls=Command, example="audit prove 45d7bd81 > proof.json")
@click.argument("typed", metavar="EVENT", type=typed_id)
def prove(typed: str) -> None:
    """Print what proves one event to an auditor, as JSON.

    That is the event in clear, the key of its commitment, its line of the audit log, and the proof
    that the line is in the log. The key opens no other event. The log records who ran this. Exits
    with 1 if the content is erased: then nothing can be proved.
    """
    config = configured()
    with open_log(config.journal.path) as log:
        proof = prove_event(log.conn, found_keys(config), typed)
    if proof.fields:
        # Before it is shown: a code that left has a line, whatever happens next.
        record("code.read", how="prove", event=proof.event, fields=proof.fields)
    click.echo(proof.text, nl=False)


def prove_event(conn: sqlite3.Connection, keys: PeriodKeys, typed: str) -> EventProof:
    """Return the proof of the event with that id, or with that end of its id.

    Raises Failure if there is no such event, or if it is erased; Wrong if it cannot be proved.
    """
    found = conn.execute(
        "select id from events where substr(id, -length(:end)) = :end order by seq desc",
        {"end": typed.lower()},
    )
    id_ = choose("event", typed, (id_ for (id_,) in found))
    at, *columns = conn.execute(
        f"select recorded_at, {BODY} from events where id = ?",  # noqa: S608 - our words
        (id_,),
    ).fetchone()
    (identity,) = conn.execute("select value from meta where name = 'identity'").fetchone()
    stored = stored_body(columns)
    opened = Opener(keys, journal=identity).open(stored, _PROVED)
    key = Commitments(keys).key(id_, at)
    if key is None or opened.erased or stored.erased_at is not None:
        raise Failure(f"{id_}: its content is erased, so nothing can be proved")
    for place, line in _lines(conn, id_, at):
        c = _line(line).c
        if c is None:
            continue
        if not Commitments(keys).could_be(c, id_, opened.body, at):
            raise Wrong(f"{id_}: the journal and the log say different things: audit compare")
        proof = _proof(conn, place, line)
        text = encode_event_proof(line, proof, opened.body, key)
        return EventProof(id_, secrets_of(opened.body), text)
    raise Wrong(f"{id_}: no line commits to it: audit.record was not `all`, or the line is gone")


def _lines(conn: sqlite3.Connection, id_: str, at: float) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that commit to an event, each with its place, the newest first."""
    found = audit_lines.found_by(conn, LinesFoundBy((id_,)))
    for place, line in reversed(found):
        if _line(line).do == "event.gained":
            yield place - 1, line
    end = audit_lines.end_of(conn)
    # It was written just after the event was recorded, if the clock was not set back meanwhile.
    begin = audit_lines.place_at(conn, at, end)
    for low, high in ((begin, end), (0, begin)):
        for place, line in audit_lines.lines_at(conn, low, high):
            if id_.encode() in line and _line(line).do == "callback.accepted":
                yield place, line
                return


def _proof(conn: sqlite3.Connection, place: int, line: bytes) -> str:
    """Return the proof that a line is in the newest signed state of its log."""
    log = next(one for one in reversed(audit_lines.logs(conn, AuditLogs())) if one.first <= place)
    n = place - log.first
    stored = audit_lines.checkpoints(conn, Checkpoints(log.first, newest=True))
    state = Checkpoint.parse(Note.parse(stored[0].note).text) if stored else None
    if state is None or n >= state.size:
        raise Wrong("its line is not signed yet: try again in a minute")
    hashes = prove_inclusion(n, state.size, audit_lines.hash_at(conn, log.first))
    if not is_included(leaf_of(line), n, state.size, state.root, hashes):
        raise Wrong("the log was changed: verify an export of it")
    return encode_proof(n, hashes, stored[0].note)
