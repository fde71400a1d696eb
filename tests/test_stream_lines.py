"""The lines of streams in the audit log: one a second and stream, at any rate of events."""

import asyncio
import itertools
import math
import time
import urllib.parse

import live
import load
import pytest
from streams import Reader

from journal.audit.lines import read_ranges

#: Seconds between two lines of a stream.
EVERY = 1.0
#: Seconds between two groups of callbacks.
STEP = 0.05

numbers = itertools.count(1)


class Counting(Reader):
    """Counts the events of a stream: to decode them would take most of the time."""

    count = 0

    def on_body(self, body):
        *frames, self._rest = (self._rest + body).split(b"\n\n")
        self.count += sum(not frame.startswith(b":") for frame in frames)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("service")) as running:
        yield running


async def stream(service, streams, rate, seconds):
    """Open the streams, send callbacks, and cut the streams; return the events and the time."""
    admin = urllib.parse.urlsplit(service.admin_url)
    readers = [Counting((admin.hostname, admin.port), live.KEY) for _ in range(streams)]
    reading = [asyncio.create_task(reader.read()) for reader in readers]
    path = service.callback_url().removeprefix(service.url)
    async with asyncio.timeout(60 + seconds):
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
    """Return the lines of a second, after a look at what they say."""
    [newest] = service.api("/audit", params={"limit": 1, "order": "desc"}).json()["data"]
    n = newest["leaf"]["n"]
    sent, took = asyncio.run(stream(service, streams, rate, seconds))
    live.eventually(lambda: len(lines_after(service, n, "stream.closed")) == streams)
    read = [line for line in lines_after(service, n, "code.read") if line["how"] == "stream"]
    places = {line["stream"]: [] for line in read}
    for line in read:
        places[line["stream"]] += itertools.chain(*read_ranges(line["places"]))

    assert streams == len(places) == len(lines_after(service, n, "stream.opened"))
    assert {sent} == {len(its) for its in places.values()} == {
        len(set(its)) for its in places.values()
    }
    print(f"{streams} streams, {sent / took:.0f} events/s: {len(read) / took:.1f} lines/s")
    # The first and the last line of a stream are of a part of a second.
    assert streams * (took / EVERY / 2 - 1) <= len(read) <= streams * (took / EVERY + 2)
    return len(read) / took


def test_rate_of_events_changes_no_rate_of_lines(service):
    """Each event is named once for each stream.

    Mutants: a line for each event; a line for each batch that a stream sends.
    """
    slow, fast = (measured(service, 4, rate, 4) for rate in (20, 160))

    assert fast <= slow * 1.5


@pytest.mark.nightly
@pytest.mark.timeout(180)
def test_20_streams_of_1000_events_a_second_cost_20_lines_a_second(service):
    """A slow machine sends fewer events: the output shows the rate."""
    assert measured(service, 20, 1_000, 20) <= 22
