"""Frequent lines are those of structlog, and keep all promises of the log."""

import asyncio
import io
import json

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from core.delivery import SettledAttempt
from core.event import Event, Service, SmsReceived
from server.log.fields import event_fields
from server.log.frequent import Received, frequent_lines
from server.log.setup import configure, write_out
from sinks.outcome import log_attempted

AT = 1_600_108_957.25
ID = "01931c5e-7b2a-7c3d-9e4f-0123456789ab"
RECEIVED = Received("5f", "tellabot", "192.0.2.7", 207)
ATTEMPTED = SettledAttempt(
    event_id=ID,
    about={"type": "sms.received", "source": "tellabot", "service": "Google"},
    sink="log",
    delivery_id="d7",
    attempt=1,
    probe=None,
    outcome="delivered",
    state="delivered",
    status=200,
    error=None,
    took_ms=3.2,
    since_ms=4.1,
    due_at=None,
)
#: Long texts are cut; Hypothesis rarely finds them itself.
TEXT = st.text() | st.text(min_size=199, max_size=202)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)


def event(service=None, to="+18503814729"):
    data = SmsReceived(
        provider="tellabot",
        channel="callback",
        labels={},
        sample=False,
        time_from="provider",
        to=to,
        service=service,
        text="G-804036 is your code",
        code="G-804036",
    )
    times = {"time": "2020-09-14T18:42:36Z", "recordedtime": "2020-09-14T18:42:37Z"}
    return Event(
        id=ID, source="tellabot", type=data.type, subject="a", dedupekey="", data=data, **times
    )


def logged(log, *, people=False):
    """Return the log after `log()`."""
    out = io.BytesIO()
    configure(out, people=people, level="info", now=lambda: AT)
    log()
    assert write_out(10)
    return out.getvalue()


services = st.builds(Service, id=TEXT, name=st.none() | TEXT, key=st.none())
traces = st.none() | st.just(ID.replace("-", ""))
leaves = st.none() | st.integers()
requests = st.builds(
    *(Received, st.just("5f"), TEXT, TEXT, st.integers()),
    channel=st.none() | TEXT,
    trace_id=traces,
    leaf=leaves,
)


@given(st.none() | services, st.none() | TEXT, st.lists(TEXT), requests)
def test_line_of_an_accepted_event_is_that_of_structlog(service, to, sinks, received):
    """Mutants: null fields stay; long texts stay whole; names of sinks without escapes; the trace
    or the number of its line in the audit log is left out.
    """
    new = event(service, to)
    fields = {**event_fields(new, sinks), **asdict(received)}

    line = logged(lambda: frequent_lines().accepted(new, sinks, received))

    assert line == logged(lambda: structlog.get_logger().info("callback.accepted", **fields))
    assert b"804036" not in line


@given(requests)
def test_line_of_a_duplicate_is_that_of_structlog(received):
    fields = asdict(received)

    line = logged(lambda: frequent_lines().duplicate(ID, received))

    expected = logged(
        lambda: structlog.get_logger().info("callback.duplicate", event_id=ID, **fields)
    )
    assert line == expected


@given(
    st.builds(
        SettledAttempt,
        event_id=st.just(ID),
        about=st.just({})
        | st.fixed_dictionaries({"type": TEXT, "source": TEXT, "service": st.none() | TEXT}),
        sink=TEXT,
        delivery_id=st.just("d7"),
        trace_id=traces,
        leaf=leaves,
        attempt=st.integers(),
        probe=st.sampled_from([None, True]),
        outcome=st.sampled_from(["delivered", "failed"]),
        state=st.just("pending"),
        # A sink can return any object as its status and its word.
        status=st.none() | st.integers() | st.booleans() | NUMBER | TEXT,
        error=st.none() | TEXT | st.integers(),
        took_ms=NUMBER,
        since_ms=NUMBER,
        due_at=st.none() | NUMBER,
    )
)
def test_line_of_an_attempt_is_that_of_structlog(attempted):
    """Mutants: `status` as Python shows it; `probe` before `attempt`; `error` without escapes;
    the trace before `due_at`; `leaf` before the trace.
    """
    line = logged(lambda: frequent_lines().attempted(attempted))

    assert line == logged(lambda: log_attempted(attempted))


@given(st.none() | TEXT, TEXT, st.integers(), st.integers())
def test_line_of_a_reading_is_that_of_structlog(key, how, count, leaf):
    """Mutants: a key without escapes; `key` null."""
    fields = {"key": key, "how": how, "count": count, "leaf": leaf}

    line = logged(lambda: frequent_lines().read(**fields))

    assert line == logged(lambda: structlog.get_logger().info("code.read", **fields))


def test_event_has_its_line_for_people_too():
    """Mutant: JSON on a terminal."""

    def log():
        lines = frequent_lines()
        lines.accepted(event(Service(id="go", name="Google", key=None)), ["log"], RECEIVED)
        lines.attempted(ATTEMPTED)
        lines.duplicate(ID, RECEIVED)
        lines.read(None, "stream", 2, 7)

    assert logged(log, people=True).decode().splitlines() == [
        "18:42:37 sms.received tellabot Google +1850***4729 → log ok 4 ms",
        "18:42:37 sms.received tellabot Google +1850***4729 received again: duplicate",
        "18:42:37 code.read how=stream count=2 leaf=7",
    ]


@pytest.mark.parametrize(("level", "shown"), [("debug", True), ("info", True), ("warning", False)])
def test_level_hides_frequent_lines(level, shown):
    """Mutant: the lines ignore `--log-level`."""
    configure(io.BytesIO(), people=False, level=level, now=lambda: AT)

    assert (frequent_lines() is not None) == shown


async def test_dropped_frequent_lines_are_counted(stuck):
    """Mutant: lines that go around the bounded buffer."""
    configure(stuck, people=False, level="info", now=lambda: AT, buffered=1000)
    lines = frequent_lines()

    for _ in range(100):
        lines.duplicate(ID, RECEIVED)
        await asyncio.sleep(0)
    stuck.released.set()

    assert write_out(10)
    said = [json.loads(line) for line in stuck.getvalue().splitlines()]
    [dropped] = [line["lines"] for line in said if line["event"] == "log.dropped"]
    kept = sum(line["event"] == "callback.duplicate" for line in said)
    assert 0 < kept < 10
    assert kept + dropped == 100


async def test_frequent_lines_of_one_turn_are_one_write(stuck):
    """Mutant: a write for each line."""
    stuck.released.set()
    configure(stuck, people=False, level="info", now=lambda: AT)
    lines = frequent_lines()

    for number in range(3):
        lines.duplicate(str(number), RECEIVED)
    structlog.get_logger().info("service.stopping")
    before = stuck.writes
    await asyncio.sleep(0)

    assert await asyncio.to_thread(write_out, 10)
    said = [json.loads(line) for line in stuck.getvalue().splitlines()]
    assert [line.get("event_id") for line in said] == ["0", "1", "2", None]
    assert (before, stuck.writes) == (0, 1)
