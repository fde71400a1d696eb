"""Records what readers could have got when the service was killed, such as by kill -9.

Streams and waits record what they gave within a second after it left. For those that were open, the
next start records all that they could have got: never less than they did.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from journal import Journal
from journal.audit.lines import Fact, read_ranges
from journal.facts import FOUND
from journal.reads import AuditLines, EventFilter, Events, LineFilter, LinesFoundBy, MarksAt

#: Seconds of the last lines of a stream. It writes one in each second in which it gave an event.
STREAMS = 120.0
#: Seconds in which the line of a wait stands for it: those of its line, and of its longest call.
WAITS = 720.0
#: A place after all events.
_END = (1 << 63) - 1
_PAGE = 1000


class _Line(msgspec.Struct, frozen=True):
    at: str = ""
    do: str = ""
    by: str = ""
    peer: str | None = msgspec.field(name="from", default=None)
    stream: str = ""
    clear: bool = False
    after: int = 0
    places: str = ""


_decode = msgspec.json.Decoder(_Line).decode


async def interrupted_reads(journal: Journal, ended_at: float) -> Sequence[Fact]:
    """Return the lines `code.read` of readers that were open when the last run ended.

    They have `at_most`. `ended_at` is the last time at which it is known to have run, in seconds
    since the epoch. Raises Unavailable.
    """
    starts = await journal.ask(LinesFoundBy((FOUND["service.started"],)))
    begun = starts[-1][0] if starts else 0
    recent = await _recent_lines(journal, begun, ended_at - WAITS)
    streams: dict[str, _Line] = {}
    for _, text in await journal.ask(LinesFoundBy((FOUND["stream.opened"],), since=begun)):
        line = _decode(text)
        if line.do == "stream.closed":
            streams.pop(line.stream, None)
        elif line.clear:
            streams[line.stream] = line
    waits = {(one.by, one.peer): one for one in recent if one.do == "code.wait"}
    if not streams and not waits:
        return ()
    newest = await newest_place(journal)
    # An event that a stream or a wait was given as it came, or that is older in a stream that
    # began a short time ago.
    late = await _place_before(journal, ended_at - STREAMS, newest)
    last = {
        one.stream: max(run.stop - 1 for run in read_ranges(one.places))
        for one in recent
        if one.stream and one.places
    }
    begins = {
        id_: last.get(id_, max(one.after, late) if _is_old(one, ended_at) else one.after)
        for id_, one in streams.items()
    }
    found = [
        (one, {"how": "stream", "stream": id_}, begins[id_]) for id_, one in streams.items()
    ] + [(one, {"how": "wait"}, late) for one in waits.values()]
    return [
        Fact(
            "code.read",
            {
                "by": one.by,
                **({} if one.peer is None else {"from": one.peer}),
                **its,
                "at_most": True,
                "places": f"{after + 1}-{newest}",
            },
        )
        for one, its, after in found
        if after < newest
    ]


def _is_old(opened: _Line, ended_at: float) -> bool:
    return datetime.fromisoformat(opened.at).timestamp() < ended_at - STREAMS


async def _recent_lines(journal: Journal, begun: int, since: float) -> Sequence[_Line]:
    """Return the lines about readings since a time, from the last run."""
    wanted = LineFilter(do=("code.wait", "code.read"), since=since)
    found: list[_Line] = []
    after: int | None = None
    while True:
        page = await journal.ask(AuditLines(filter=wanted, after=after, limit=_PAGE))
        found += [_decode(line) for place, line in page.items if place >= begun]
        if not page.has_more:
            return found
        after = page.next_seq


async def newest_place(journal: Journal) -> int:
    """Return the place of the newest event; 0: there is none. Raises Unavailable."""
    marks = await journal.ask(MarksAt("events", (_END,)))
    return marks.beside.get(_END, (0, ""))[0]


async def _place_before(journal: Journal, at: float, newest: int) -> int:
    """Return the place before the first event since a time."""
    page = await journal.ask(Events(filter=EventFilter(since=at), limit=1))
    return page.items[0][0] - 1 if page.items else newest
