"""Log lines: each event is one line, also with texts of strangers."""

import asyncio
import contextlib
import fcntl
import io
import json
import logging
import os
import pty
import sys
import time
import unicodedata
import warnings

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from core.secret import Secret
from httpd import exchange
from server.log.setup import configure, forward_stderr, say, write_out

AT = 1_600_108_957.25
ID = "01931c5e-7b2a-7c3d-9e4f-0123456789ab"
WORDS = ("source", "peer", "reason", "detail", "service", "error")


def logging_to(out, *, people=False, level="info"):
    configure(out, people=people, level=level, now=lambda: AT)
    return structlog.get_logger()


def logged(*things, people=False, level="info"):
    """Return the log after these events: (level, event, fields)."""
    out = io.BytesIO()
    log = logging_to(out, people=people, level=level)
    for how, event, fields in things:
        getattr(log, how)(event, **fields)
    assert write_out(10)
    return out.getvalue()


def lines_of(out):
    """Return the lines that were written to `out`, as JSON."""
    assert write_out(10)
    return [json.loads(line) for line in out.getvalue().splitlines()]


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


def test_line_is_json_with_time_level_and_name_first():
    line = logged(("info", "service.stopping", {"pid": 7, "error": None}))

    assert line == (
        b'{"ts":"2020-09-14T18:42:37.250000Z","level":"info","event":"service.stopping","pid":7}\n'
    )


@given(st.dictionaries(st.sampled_from(WORDS), st.text(), min_size=1))
@example({"reason": "\x7f\x1b[2J\x9b\u2028\n"})
@example({"reason": "x" * 201})
def test_any_text_is_one_line_of_ascii(fields):
    """Mutant: `ensure_ascii=False`, or a line separator ends the line."""
    line = logged(("warning", "callback.rejected", fields))

    assert line.endswith(b"\n")
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    said = json.loads(line)
    assert {name: text[:200] for name, text in fields.items()} == {
        name: said[name].removesuffix("…") if len(fields[name]) > 200 else said[name]
        for name in fields
    }


def test_long_value_is_cut():
    said = json.loads(logged(("info", "callback.accepted", {"service": "x" * 10_000})))

    assert said["service"] == "x" * 200 + "…"


def test_value_unknown_to_json_is_shown_by_its_type():
    """Mutant: `default=repr`."""
    said = json.loads(logged(("info", "x.happened", {"key": Secret("s3cret"), "b": b"s3cret"})))

    assert (said["key"], said["b"]) == ("<Secret>", "<bytes>")


def test_event_below_the_level_is_not_logged():
    line = logged(("info", "a.b", {}), ("warning", "c.d", {}), level="warning")

    assert [json.loads(text)["event"] for text in line.splitlines()] == ["c.d"]


# Libraries


def test_line_of_a_library_has_its_place_without_its_text():
    """Mutants: its message, which may quote a request; its traceback, which shows values."""
    out = io.BytesIO()
    logging_to(out)
    try:
        int("t0ken")
    except ValueError:
        logging.getLogger("some.library").exception("GET /in/tellabot/%s", "t0ken")

    [said] = lines_of(out)

    assert (said["level"], said["event"]) == ("error", "library.complained")
    assert (said["logger"], said["error"]) == ("some.library", "ValueError")
    assert said["where"].startswith(__file__)
    assert b"t0ken" not in out.getvalue()


def test_failure_of_the_app_has_its_place_without_its_text():
    """Litestar raises another exception from what fails within an answer.

    Mutants: the place of the logging call; the exception that Litestar raised.
    """
    out = io.BytesIO()
    logging_to(out)
    try:
        try:
            int("t0ken")
        except ValueError as exc:
            raise RuntimeError("an answer had begun") from exc
    except RuntimeError as exc:
        exchange.log.error("Exception in ASGI application\n", exc_info=exc)

    [said] = lines_of(out)

    assert (said["event"], said["error"]) == ("library.complained", "ValueError")
    assert said["where"].startswith(__file__)
    assert b"t0ken" not in out.getvalue()


@pytest.mark.parametrize(("number", "level"), [(30, "warning"), (35, "warning"), (50, "error")])
def test_unknown_level_of_a_library_becomes_one_of_ours(number, level):
    """Mutant: structlog's names of levels, which lack 35."""
    out = io.BytesIO()
    logging_to(out)

    logging.getLogger("some.library").log(number, "text")

    assert [line["level"] for line in lines_of(out)] == [level]


# For people


def test_event_is_one_line_after_its_delivery_attempt():
    lines = logged(ACCEPTED, attempted(), people=True).decode()

    assert lines == "18:42:37 sms.received tellabot Google +1850***4729 → log ok 4 ms\n"


def test_expired_order_is_one_line():
    """Mutant: only events of callbacks are remembered."""
    expired = ("info", "order.expired", {**ACCEPTED[2], "type": "order.expired"})

    lines = logged(expired, attempted(), people=True).decode()

    assert lines == "18:42:37 order.expired tellabot Google +1850***4729 → log ok 4 ms\n"


def test_low_balance_is_shown_in_words():
    """Mutant: a line of names and values."""
    said = {"source": "herosms", "amount": "4.20", "currency": "USD", "threshold": "5"}
    low = ("warning", "account.low", said | {"event_id": "1", "type": "account.low", "sinks": []})
    unreadable = ("warning", "balance.unreadable", {"source": "herosms"})

    lines = logged(low, unreadable, people=True).decode().splitlines()

    assert lines == [
        "18:42:37 ! herosms: balance 4.20 USD is below 5",
        "18:42:37 ! herosms: the balance is not a number",
    ]


def backfilled(level="info", **fields):
    said = {"source": "herosms", "why": "timer", "new": 0, "known": 3}
    return (level, "backfill.finished", said | fields)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (backfilled(), ""),
        (backfilled(new=2), "18:42:37 herosms: backfill finished, 2 new, 3 already stored\n"),
        (
            backfilled("warning", why="start", notices={"auto_check_off": 2}),
            "18:42:37 ! herosms: backfill finished, 0 new, 3 already stored (auto_check_off)\n",
        ),
        (
            backfilled("error", error="bad_key", detail="getStatus: not taken"),
            "18:42:37 !! herosms: backfill failed: bad_key: getStatus: not taken\n",
        ),
    ],
)
def test_empty_backfill_of_the_timer_is_no_line(said, line):
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
            # Mutant: `again in 22 s`, two seconds before the next probe.
            [attempted(outcome="failed", error="refused", due_at=AT + 22, probe=True)],
            f"{ID} → log probe failed: refused, next attempt in 22 s",
        ),
        (
            [("info", "service.gap", {"since": "2026-11-30T13:06:24+00:00"})],
            "not running since 2026-11-30T13:06:24+00:00: backfill looks for missed messages",
        ),
        (
            [attempted(outcome="refused", error="gone", status=410)],
            f"{ID} → log refused: gone 410, given up",
        ),
        (
            [("info", "callback.accepted", {**ACCEPTED[2], "sinks": [], "to": None})],
            "sms.received tellabot Google → no route matches; kept",
        ),
        (
            [ACCEPTED, ("info", "callback.duplicate", {"event_id": ID, "source": "tellabot"})],
            "sms.received tellabot Google +1850***4729 received again: duplicate",
        ),
        (
            [attempted(outcome="failed", error="missing", due_at=AT + 0.2)],
            f"{ID} → log failed: its folder is missing, again in 0.2 s",
        ),
        ([attempted(outcome="failed", error="io", due_at=AT + 0.96)],
         f"{ID} → log failed: io, again in 1 s"),
        (
            [("warning", "callback.rejected", {"reason": "token", "request_id": "5f"})],
            "! rejected: invalid token",
        ),
        (
            [("warning", "callback.rejected", {"reason": "token", "source": "tellabot",
                                               "peer": "127.0.0.1"})],
            "! rejected: invalid token (tellabot, 127.0.0.1)",
        ),
        (
            [("warning", "callback.rejected", {"reason": "path", "source": "", "peer": "::1"})],
            "! rejected: unknown path (::1)",
        ),
        (
            [("warning", "callback.rejected", {"reason": "http_431", "peer": "::1",
                                               "unlogged": 12})],
            "! rejected: http_431 (::1); 12 more not shown",
        ),
        (
            [("warning", "callback.unavailable", {"source": "tellabot", "peer": "::1"})],
            "! callback answered 503 (tellabot, ::1)",
        ),
        (
            [attempted(type="sms.received", source="tellabot", service="Google")],
            "sms.received tellabot Google → log ok 4 ms",
        ),
        (
            [attempted(since_ms=334_400.0, attempt=9)],
            f"{ID} → log ok 5 m 34 s, attempt 9",
        ),
        (
            [ACCEPTED, ("warning", "delivery.dead", {"event_id": ID, "sink": "log",
                                                     "attempt": 15, "delivery_id": "d7"})],
            ("! sms.received tellabot Google +1850***4729 → log dead after 15 attempts; "
             "smshook deliveries retry d7"),
        ),
        (
            [("warning", "delivery.expired", {"event_id": ID, "sink": "log", "attempt": 1,
                                              "delivery_id": "d7"})],
            f"! {ID} → log expired after 1 attempt",
        ),
        ([("warning", "sink.paused", {"sink": "log", "reason": "failing"})],
         "! log paused (failing)"),
        ([("info", "sink.resumed", {"sink": "log"})], "log resumed"),
        ([("warning", "config.warning", {"warning": "x.yaml: others can read it"})],
         "! x.yaml: others can read it"),
        ([("warning", "connections.full", {"most": 9})],
         "! 9 connections are open: idle ones are closed for new ones"),
        ([("warning", "log.dropped", {"lines": 1})],
         "! 1 line of this log dropped: nothing read it"),
        ([("info", "service.stopped", {"pending": 3})], "stopped; 3 deliveries pending"),
        ([("info", "service.stopped", {"pending": 1})], "stopped; 1 delivery pending"),
        ([("info", "service.stopped", {})], "stopped"),
        (
            [("warning", "callback.quarantined", {
                "source": "tellabot", "peer": "::1", "bytes": 3, "reason": "unknown_event",
                "detail": "event", "quarantine_id": ID, "new": True})],
            ("! tellabot: callback quarantined (unknown_event); "
            f"smshook quarantine show {ID}"),
        ),
        (
            [("warning", "callback.quarantined", {
                "source": "tellabot", "peer": "::1", "reason": "address", "quarantine_id": ID})],
            ("! tellabot: callback quarantined because allow_from does not name ::1; "
            f"smshook quarantine show {ID}"),
        ),
        ([("warning", "sink.readable_by_others", {"path": "/e.jsonl"})],
         "! others can read /e.jsonl; keep it private with chmod 600"),
        ([("warning", "sink.mended", {"path": "/e.jsonl", "bytes": 9})],
         ("! /e.jsonl: removed an unfinished last line (9 bytes); "
         "its deliveries are sent again")),
        ([("error", "journal.error", {"error": "full"})], "!! journal.error error=full"),
    ],
)  # fmt: skip
def test_every_other_event_is_one_line(things, line):
    assert logged(*things, people=True).decode() == f"18:42:37 {line}\n"


@pytest.mark.parametrize(
    "event", ["service.started", "service.stopping", "journal.sqlite_old", "audit.checkpoint"]
)
def test_events_for_machines_are_no_lines_for_people(event):
    assert logged(("info", event, {"pid": 7}), people=True) == b""


@pytest.mark.parametrize(
    ("wait", "words"),
    [
        (0, "0.0 s"),
        (0.94, "0.9 s"),
        (0.96, "1 s"),
        (59.4, "59 s"),
        (59.6, "1 m"),
        (334, "5 m 34 s"),
        (3600, "1 h"),
        (7510, "2 h 5 m"),
        (86_399.7, "1 d"),
        (97_200, "1 d 3 h"),
    ],
)
def test_duration_has_at_most_two_units(wait, words):
    """Mutant: `334 s`."""
    line = logged(attempted(outcome="failed", error="io", due_at=AT + wait), people=True)

    assert line.decode() == f"18:42:37 {ID} → log failed: io, again in {words}\n"


def test_memory_of_waiting_events_is_bounded():
    accepted = [
        ("info", "callback.accepted", {**ACCEPTED[2], "event_id": str(n)}) for n in range(1001)
    ]

    lines = logged(*accepted, attempted(event_id="0"), attempted(event_id="1"), people=True)

    assert lines.decode().splitlines() == [
        "18:42:37 0 → log ok 4 ms",
        "18:42:37 sms.received tellabot Google +1850***4729 → log ok 4 ms",
    ]


@given(st.text(), st.text())
def test_line_for_people_cannot_control_a_terminal(service, reason):
    accepted = ("info", "callback.accepted", {**ACCEPTED[2], "service": service})
    rejected = ("warning", "callback.rejected", {"reason": reason})

    text = logged(accepted, attempted(), rejected, people=True).decode()

    assert text.count("\n") == 2
    categories = {unicodedata.category(char) for char in text.replace("\n", "")}
    assert categories.isdisjoint({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


# Readers


def test_gone_reader_blocks_nothing_and_leaves_nothing():
    """Mutant: a buffer that fails again when the process ends, with exit code 120."""
    reading, writing = os.pipe()
    os.close(reading)
    with io.FileIO(writing, "w") as out:
        log = logging_to(out)

        log.info("service.stopping")
        log.info("service.stopping")

        assert write_out(10)


class Full(io.BytesIO):
    """A disk that is full after some bytes, until it gets room again."""

    room = 20

    def write(self, data):
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = min(self.room, len(data))
        self.room -= taken
        return super().write(data[:taken])


def test_torn_line_does_not_spoil_the_next():
    """Mutants: the next line continues the torn one; lost lines are not counted."""
    out = Full()
    log = logging_to(out)

    for _ in range(2):
        log.info("service.stopping")
        assert write_out(10)
    out.room = 10_000
    for event in ("delivery.dead", "sink.paused"):
        log.info(event)
        assert write_out(10)

    half, *whole = out.getvalue().splitlines()
    said = [json.loads(line) for line in whole]
    assert half == b'{"ts":"2020-09-14T18'
    assert [line["event"] for line in said] == ["delivery.dead", "log.dropped", "sink.paused"]
    assert said[1]["lines"] == 2


async def test_stuck_reader_costs_counted_lines_and_no_time(stuck):
    """Mutants: a write on the caller's thread, which never ends; a buffer without a limit."""
    configure(stuck, people=False, level="info", now=lambda: AT, buffered=1000)
    log = structlog.get_logger()

    for number in range(100):
        log.info("service.stopping", pid=number)
        await asyncio.sleep(0)
    ended = write_out(0.01)
    stuck.released.set()

    assert not ended
    said = lines_of(stuck)
    kept = [line["pid"] for line in said if line["event"] == "service.stopping"]
    [dropped] = [line["lines"] for line in said if line["event"] == "log.dropped"]
    assert kept == list(range(len(kept)))
    assert 5 < len(kept) < 20
    assert len(kept) + dropped == 100


def test_lines_continue_after_a_stuck_reader_is_back(stuck):
    """Mutant: the count is reported again and again, or never reset."""
    configure(stuck, people=True, level="info", now=lambda: AT, buffered=100)
    log = structlog.get_logger()
    for _ in range(50):
        log.warning("callback.rejected", reason="token")
    stuck.released.set()
    assert write_out(10)
    before = stuck.getvalue().decode()

    log.info("sink.resumed", sink="log")

    assert write_out(10)
    assert before.count("lines of this log dropped: nothing read it") == 1
    assert stuck.getvalue().decode() == before + "18:42:37 log resumed\n"


@contextlib.contextmanager
def non_blocking_pipe():
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETFL, os.O_NONBLOCK)
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


def test_non_blocking_pipe_loses_nothing():
    """Children of Node share such a stdout. Mutant: `write` returns None, and the line is lost."""
    with non_blocking_pipe() as (reading, writing):
        log = logging_to(io.FileIO(writing, "w", closefd=False))
        for number in range(3000):
            log.info("service.stopping", pid=number)

        text = b""
        while text.count(b"\n") < 3000:
            text += os.read(reading, 65536)

        assert write_out(10)
    assert [json.loads(line)["pid"] for line in text.splitlines()] == list(range(3000))


def test_stopped_terminal_blocks_nothing():
    """After Ctrl-S a terminal reads nothing and holds about 4 KiB."""
    ours, theirs = pty.openpty()
    try:
        log = logging_to(io.FileIO(theirs, "w", closefd=False), people=True)
        for _ in range(1000):
            log.warning("callback.rejected", reason="token")

        assert not write_out(0.01)
    finally:
        os.close(ours)  # hangs up: the writer's `write` fails
        assert write_out(10)
        os.close(theirs)


def test_text_for_people_is_printed_between_lines():
    out = io.BytesIO()
    logging_to(out)

    say("smshook is running\n  API  http://127.0.0.1:8081")

    assert write_out(10)
    assert out.getvalue() == b"smshook is running\n  API  http://127.0.0.1:8081\n"


def test_warnings_and_lost_exceptions_are_logged(monkeypatch):
    """Python prints both to stderr, which may be a full pipe. Mutant: no `forward_stderr`."""
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    out = io.BytesIO()
    logging_to(out)

    class Lost:
        def __del__(self):
            raise ValueError("s3cret")

    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        forward_stderr()
        try:
            warnings.warn("s3cret", stacklevel=1)
            Lost()
        finally:
            logging.captureWarnings(capture=False)

    said = lines_of(out)
    assert [line["event"] for line in said] == ["library.complained"] * 2
    assert [line.get("error") for line in said] == [None, "ValueError"]
    assert b"s3cret" not in out.getvalue()


# Time of writing


def written(out, count):
    """Return the lines once this number is written. A flush would wake the writer."""
    ends = time.monotonic() + 10
    while out.getvalue().count(b"\n") < count and time.monotonic() < ends:
        time.sleep(0.01)
    return [json.loads(line) for line in out.getvalue().splitlines()]


async def test_lines_of_one_turn_are_written_together_at_its_end(stuck):
    """Mutants: a write for each line; lines that wait for the next event; only the first turn wakes
    the writer.
    """
    stuck.released.set()
    log = logging_to(stuck)

    for number in range(3):
        log.info("service.stopping", pid=number)
    before = stuck.writes
    await asyncio.to_thread(written, stuck, 3)
    writes = stuck.writes
    log.info("service.stopping", pid=3)
    said = await asyncio.to_thread(written, stuck, 4)

    pids = [line["pid"] for line in said]
    assert (before, writes, stuck.writes, pids) == (0, 1, 2, [0, 1, 2, 3])


async def test_lines_before_a_sudden_end_are_written():
    """`os._exit` runs no callback of the loop. Mutant: the line with the reason is lost."""
    out = io.BytesIO()
    logging_to(out).error("journal.error", error="SQLITE_IOERR_FSYNC")

    assert write_out(10)

    assert b"SQLITE_IOERR_FSYNC" in out.getvalue()


class Ended:
    """A loop that has ended and runs no callback."""

    def call_soon(self, _callback):
        pass


def test_line_of_a_closed_loop_comes_with_the_next(monkeypatch):
    """Mutant: the log waits for a loop that has ended."""
    out = io.BytesIO()
    log = logging_to(out)

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "get_running_loop", Ended)
        log.info("service.stopping", pid=1)
    log.info("service.stopping", pid=2)

    assert [line["pid"] for line in written(out, 2)] == [1, 2]
