"""The lines of streams in the audit log: one a second and stream, at any rate of events."""

import asyncio
import itertools
import math
import re
import time
import urllib.parse
from collections import Counter

import live
import load
import pytest
from streams import Reader

from journal.audit.lines import read_ranges

#: Seconds between two lines of a stream.
EVERY = 1.0
#: Events a second that reach 20 streams while other tests run: half of what two cores did then.
#: Without other load they did 860, and the readers and the sender of this file were the limit.
LEAST = 130
#: Seconds between two groups of callbacks.
STEP = 0.05

numbers = itertools.count(1)


class Counting(Reader):
    """Counts the events of a stream: to decode them would take most of the time."""

    count = 0

    def on_body(self, body):
        *frames, self._rest = (self._rest + body).split(b"\n\n")
        events = [frame for frame in frames if not frame.startswith(b":")]
        self.count += len(events)
        if events:
            self.cursor = re.search(rb"(?m)^id: (.*)$", events[-1])[1].decode()

    async def keep_reading(self):
        """Read until cancelled: on a busy machine, the service ends a stream that is slow."""
        while True:
            await self.read()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("service")) as running:
        yield running


async def stream(service, streams, rate, seconds):
    """Open the streams, send callbacks, and cut the streams; return the events and the time."""
    admin = urllib.parse.urlsplit(service.admin_url)
    readers = [Counting((admin.hostname, admin.port), live.KEY) for _ in range(streams)]
    reading = [asyncio.create_task(reader.keep_reading()) for reader in readers]
    path = service.callback_url().removeprefix(service.url)
    async with asyncio.timeout(120 + seconds):
        while any(reader.status is None for reader in readers):  # noqa: ASYNC110 - another process answers
            await asyncio.sleep(0.01)
        began, sent = time.monotonic(), 0
        while (passed := time.monotonic() - began) < seconds:
            due = math.ceil(rate * passed) - sent
            messages = [(n, live.sms(n)) for n in itertools.islice(numbers, due)]
            answers = await load.send(service.address(), path, messages)
            assert all(answer.status == 200 for answer in answers)
            sent += due
            await asyncio.sleep(STEP)
        while min(reader.count for reader in readers) < sent:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        took = time.monotonic() - began
    for task in reading:
        task.cancel()
    await asyncio.wait(reading)
    return sent, took


def lines_after(service, n, do):
    """Return the lines of one action with a later number."""
    page = {"do": do, "limit": 1000, "order": "desc"}
    found, after = [], {}
    while True:
        answer = service.api("/audit", params=page | after).json()
        lines = [item["leaf"] for item in answer["data"]]
        found += [line for line in lines if line["n"] > n]
        if not answer["has_more"] or lines[-1]["n"] <= n:
            return found
        after = {"after": answer["next_cursor"]}


def measured(service, streams, rate, seconds):
    """Return the events and the lines of a second, after a look at what the lines say."""
    [newest] = service.api("/audit", params={"limit": 1, "order": "desc"}).json()["data"]
    n = newest["leaf"]["n"]
    sent, took = asyncio.run(stream(service, streams, rate, seconds))
    opened = len(lines_after(service, n, "stream.opened"))
    live.eventually(lambda: len(lines_after(service, n, "stream.closed")) == opened)
    read = [line for line in lines_after(service, n, "code.read") if line["how"] == "stream"]
    places = Counter(place for line in read for run in read_ranges(line["places"]) for place in run)

    print(f"{streams} streams, {sent / took:.0f} events/s: {len(read) / took:.1f} lines/s")  # noqa: T201 - the rate that was reached
    assert sent == len(places)
    # A stream that ends early has given more than its reader got.
    assert streams <= min(places.values()) <= max(places.values()) <= opened
    # The first and the last line of a stream are of a part of a second.
    assert len(read) <= streams * (took / EVERY + 2) + 2 * (opened - streams)
    return sent / took, len(read) / took


def test_rate_of_events_changes_no_rate_of_lines(service):
    """Each event is named for each stream.

    Mutant: what streams gave is recorded each 50 ms.
    """
    (_, slow), (_, fast) = (measured(service, 4, rate, 3) for rate in (20, 160))

    assert fast <= slow * 1.5 + 1


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_20_streams_of_1000_events_a_second_cost_20_lines_a_second(service):
    """A slow machine sends fewer events: the output shows the rate."""
    events, lines = measured(service, 20, 1_000, 20)

    assert events >= LEAST
    assert lines <= 23
