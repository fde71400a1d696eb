"""Logs are an interface: one line a thing, whatever strangers sent."""

import asyncio
import io
import json
import logging
import os
import unicodedata

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from journal.quantity import Secret
from server.log import configure, write_out

AT = 1_600_108_957.25
ID = "01931c5e-7b2a-7c3d-9e4f-0123456789ab"
WORDS = ("source", "peer", "reason", "detail", "service", "error")


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Local time is UTC; what was set up before comes back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setenv("TZ", "UTC")
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def logging_to(out, *, people=False, level="info"):
    configure(out, people=people, level=level, now=lambda: AT)
    return structlog.get_logger()


def logged(*things, people=False, level="info"):
    """What comes out when these are said: (level, event, fields)."""
    out = io.BytesIO()
    log = logging_to(out, people=people, level=level)
    for how, event, fields in things:
        getattr(log, how)(event, **fields)
    return out.getvalue()


ACCEPTED = (
    "info",
    "callback.accepted",
    {
        "event_id": ID,
        "source": "tellabot",
        "peer": "192.0.2.7",
        "bytes": 207,
        "type": "sms.received",
        "service": "Google",
        "to": "+1850***4729",
        "sinks": ["log"],
        "request_id": "5f",
    },
)


def attempted(**over):
    fields = {
        "event_id": ID,
        "sink": "log",
        "attempt": 1,
        "outcome": "delivered",
        "status": None,
        "error": None,
        "took_ms": 3.2,
        "since_ms": 4.1,
        "due_at": None,
    }
    return ("info", "delivery.attempted", fields | over)


# For machines


def test_a_line_is_json_with_time_level_and_name_first():
    line = logged(("info", "service.stopping", {"pid": 7, "error": None}))

    assert line == (
        b'{"ts":"2020-09-14T18:42:37.250000Z","level":"info","event":"service.stopping","pid":7}\n'
    )


@given(st.dictionaries(st.sampled_from(WORDS), st.text(), min_size=1))
@example({"reason": "\x7f\x1b[2J\x9b\u2028\n"})
@example({"reason": "x" * 201})
def test_any_text_is_one_line_of_ascii_that_reads_back(fields):
    """Mutant: `ensure_ascii=False`, or a line that is cut at a line separator."""
    line = logged(("warning", "callback.rejected", fields))

    assert line.endswith(b"\n")
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    said = json.loads(line)
    assert {name: text[:200] for name, text in fields.items()} == {
        name: said[name].removesuffix("…") if len(fields[name]) > 200 else said[name]
        for name in fields
    }


def test_a_long_value_is_cut():
    said = json.loads(logged(("info", "callback.accepted", {"service": "x" * 10_000})))

    assert said["service"] == "x" * 200 + "…"


def test_what_json_does_not_know_is_named_by_its_kind_alone():
    """Mutant: `default=repr`."""
    said = json.loads(logged(("info", "x.happened", {"key": Secret("s3cret"), "b": b"s3cret"})))

    assert (said["key"], said["b"]) == ("<Secret>", "<bytes>")


def test_what_is_below_the_level_is_not_said():
    line = logged(("info", "a.b", {}), ("warning", "c.d", {}), level="warning")

    assert [json.loads(text)["event"] for text in line.splitlines()] == ["c.d"]


# Libraries


def test_of_a_library_is_told_where_and_not_what():
    """Mutant: its message, which may quote a request; its traceback, which shows values."""
    out = io.BytesIO()
    logging_to(out)
    try:
        int("t0ken")
    except ValueError:
        logging.getLogger("some.library").exception("GET /in/tellabot/%s", "t0ken")

    said = json.loads(out.getvalue())

    assert (said["level"], said["event"]) == ("error", "library.complained")
    assert (said["logger"], said["error"]) == ("some.library", "ValueError")
    assert said["where"].startswith(__file__)
    assert b"t0ken" not in out.getvalue()


@pytest.mark.parametrize(("number", "level"), [(30, "warning"), (35, "warning"), (50, "error")])
def test_a_level_of_a_librarys_own_is_one_of_ours(number, level):
    """Mutant: structlog's names of levels, among which there is no 35."""
    out = io.BytesIO()
    logging_to(out)

    logging.getLogger("some.library").log(number, "text")

    assert json.loads(out.getvalue())["level"] == level


# For people


def test_an_event_is_one_line_when_its_delivery_was_attempted():
    lines = logged(ACCEPTED, attempted(), people=True).decode()

    assert lines == "18:42:37 sms.received tellabot Google +1850***4729 → log ok 4 ms\n"


def test_an_order_that_expired_is_one_line_too():
    """Mutant: only what came by a callback is remembered."""
    expired = ("info", "order.expired", {**ACCEPTED[2], "type": "order.expired"})

    lines = logged(expired, attempted(), people=True).decode()

    assert lines == "18:42:37 order.expired tellabot Google +1850***4729 → log ok 4 ms\n"


def backfilled(level="info", **fields):
    said = {"source": "herosms", "why": "timer", "new": 0, "known": 3}
    return (level, "backfill.finished", said | fields)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (backfilled(), ""),
        (backfilled(new=2), "18:42:37 herosms: its provider was asked: 2 new, 3 known\n"),
        (
            backfilled("warning", why="start", notices={"auto_check_off": 2}),
            "18:42:37 ! herosms: its provider was asked: 0 new, 3 known (auto_check_off)\n",
        ),
        (
            backfilled("error", error="bad_key", detail="getStatus: not taken"),
            "18:42:37 !! herosms: its provider was asked and bad_key: getStatus: not taken\n",
        ),
    ],
)
def test_a_round_that_brought_nothing_in_time_is_no_line(said, line):
    """Mutant: a line every thirty seconds."""
    assert logged(said, people=True).decode() == line


@pytest.mark.parametrize(
    ("things", "line"),
    [
        ([attempted(attempt=3)], f"{ID} → log ok 4 ms, attempt 3"),
        (
            [ACCEPTED, attempted(outcome="failed", error="timeout", due_at=AT + 5.4)],
            "sms.received tellabot Google +1850***4729 → log failed: timeout, again in 5 s",
        ),
        (
            [attempted(outcome="refused", error="gone", status=410)],
            f"{ID} → log refused: gone 410, given up",
        ),
        (
            [("info", "callback.accepted", {**ACCEPTED[2], "sinks": [], "to": None})],
            "sms.received tellabot Google → no route takes it; kept",
        ),
        (
            [ACCEPTED, ("info", "callback.duplicate", {"event_id": ID, "source": "tellabot"})],
            "sms.received tellabot Google +1850***4729 came again: duplicate",
        ),
        (
            [attempted(outcome="failed", error="missing", due_at=AT + 0.2)],
            f"{ID} → log failed: its folder is missing, again in 0.2 s",
        ),
        ([attempted(outcome="failed", error="io", due_at=AT + 0.96)],
         f"{ID} → log failed: io, again in 1 s"),
        (
            [("warning", "callback.rejected", {"reason": "token", "request_id": "5f"})],
            "! turned away: token",
        ),
        (
            [("warning", "callback.rejected", {"reason": "token", "source": "tellabot",
                                               "peer": "127.0.0.1"})],
            "! turned away: token (tellabot, 127.0.0.1)",
        ),
        (
            [("warning", "callback.rejected", {"reason": "path", "source": "", "peer": "::1"})],
            "! turned away: path (::1)",
        ),
        (
            [("warning", "callback.quarantined", {
                "source": "tellabot", "peer": "::1", "bytes": 3, "reason": "unknown_event",
                "detail": "event", "quarantine_id": ID, "new": True})],
            ("! tellabot: a callback was not understood (unknown_event); "
            f"smshook quarantine show {ID}"),
        ),
        (
            [("warning", "callback.quarantined", {
                "source": "tellabot", "peer": "::1", "reason": "address", "quarantine_id": ID})],
            ("! tellabot: a callback came from ::1, which allow_from does not name; it is kept; "
            f"smshook quarantine show {ID}"),
        ),
        ([("warning", "journal.sqlite_old", {"version": "3.40.1"})],
         "! SQLite 3.40.1 is old; safe here, see docs/operations.md"),
        ([("warning", "sink.readable_by_others", {"path": "/e.jsonl"})],
         "! others can read /e.jsonl; chmod 600 keeps it to you"),
        ([("warning", "sink.mended", {"path": "/e.jsonl", "bytes": 9})],
         ("! /e.jsonl: a last line that was cut short is taken off (9 bytes); "
         "what was in it is sent again")),
        ([("error", "journal.error", {"error": "full"})], "!! journal.error error=full"),
    ],
)  # fmt: skip
def test_what_else_happens_is_one_line_too(things, line):
    assert logged(*things, people=True).decode() == f"18:42:37 {line}\n"


def test_the_start_is_told_by_the_welcome():
    assert logged(("info", "service.started", {"pid": 7}), people=True) == b""


def test_what_is_remembered_of_events_whose_delivery_waits_is_bounded():
    accepted = [
        ("info", "callback.accepted", {**ACCEPTED[2], "event_id": str(n)}) for n in range(1001)
    ]

    lines = logged(*accepted, attempted(event_id="0"), attempted(event_id="1"), people=True)

    assert lines.decode().splitlines() == [
        "18:42:37 0 → log ok 4 ms",
        "18:42:37 sms.received tellabot Google +1850***4729 → log ok 4 ms",
    ]


@given(st.text(), st.text())
def test_a_line_for_people_carries_nothing_that_drives_a_terminal(service, reason):
    accepted = ("info", "callback.accepted", {**ACCEPTED[2], "service": service})
    rejected = ("warning", "callback.rejected", {"reason": reason})

    text = logged(accepted, attempted(), rejected, people=True).decode()

    assert text.count("\n") == 2
    categories = {unicodedata.category(char) for char in text.replace("\n", "")}
    assert categories.isdisjoint({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


# Where it goes


def test_a_reader_that_has_gone_stops_nothing_and_leaves_nothing_behind():
    """Mutant: a buffer that fails again when the process ends, with exit code 120."""
    reading, writing = os.pipe()
    os.close(reading)
    with io.FileIO(writing, "w") as out:
        log = logging_to(out)

        log.info("service.stopping")
        log.info("service.stopping")


class Full(io.BytesIO):
    """A disk that takes so many bytes, then none until there is room again."""

    room = 20

    def write(self, data):
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = min(self.room, len(data))
        self.room -= taken
        return super().write(data[:taken])


def test_a_line_that_was_torn_does_not_spoil_the_next():
    """Mutant: the next line glued to the half one."""
    out = Full()
    log = logging_to(out)

    log.info("service.stopping")
    log.info("service.stopping")
    out.room = 10_000
    log.info("delivery.dead")
    log.info("sink.paused")

    half, *whole = out.getvalue().splitlines()
    assert half == b'{"ts":"2020-09-14T18'
    assert [json.loads(line)["event"] for line in whole] == ["delivery.dead", "sink.paused"]


# When it is written


class Counting(io.BytesIO):
    writes = 0

    def write(self, data):
        self.writes += 1
        return super().write(data)


async def test_what_is_said_in_one_turn_is_written_together_at_its_end():
    """Mutants: each line a write of its own; lines that wait for the next thing to be said."""
    out = Counting()
    log = logging_to(out)

    for number in range(3):
        log.info("service.stopping", pid=number)
    before = out.writes
    await asyncio.sleep(0)

    said = [json.loads(line)["pid"] for line in out.getvalue().splitlines()]
    assert (before, out.writes, said) == (0, 1, [0, 1, 2])
    log.info("service.stopping", pid=3)
    await asyncio.sleep(0)
    assert out.writes == 2


async def test_what_was_said_before_the_process_ends_at_once_is_written():
    """`os._exit` runs no callback of the loop. Mutant: the line that says why is lost."""
    out = Counting()
    logging_to(out).error("journal.error", error="SQLITE_IOERR_FSYNC")

    write_out()

    assert b"SQLITE_IOERR_FSYNC" in out.getvalue()


def test_without_a_loop_a_line_is_written_at_once():
    out = Counting()
    logging_to(out).info("service.stopping")

    assert out.writes == 1


class Ended:
    """A loop that runs nothing any more."""

    def call_soon(self, _callback):
        pass


def test_a_line_that_a_loop_never_wrote_comes_with_the_next(monkeypatch):
    """Mutant: a loop that has ended is waited for."""
    out = Counting()
    log = logging_to(out)

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "get_running_loop", Ended)
        log.info("service.stopping", pid=1)
    log.info("service.stopping", pid=2)

    assert [json.loads(line)["pid"] for line in out.getvalue().splitlines()] == [1, 2]
