"""Streams and waits of a real service: cut, stopped, killed, slow, and read with curl."""

import asyncio
import itertools
import json
import random
import signal
import subprocess
import time
import urllib.parse
from pathlib import Path

import httpx
import live
import load
import pytest
import tools
from streams import Reader


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("service")) as running:
        yield running


def admin(service):
    parts = urllib.parse.urlsplit(service.admin_url)
    return parts.hostname, parts.port


async def seen(check):
    async with asyncio.timeout(20):
        while not check():  # noqa: ASYNC110 - another process makes it so
            await asyncio.sleep(0.01)


def listed(service):
    """Return the ids of all events in their order."""
    found, after = [], {}
    while True:
        page = service.api("/events", params={"limit": 1000, **after}).json()
        found += [item["event"]["id"] for item in page["data"]]
        if not page["has_more"]:
            return found
        after = {"after": page["next_cursor"]}


numbers = itertools.count(1)


async def loaded(service, work):
    """Send callbacks while `work` runs."""
    stop = asyncio.Event()
    path = service.callback_url().removeprefix(service.url)
    sent = itertools.takewhile(lambda _: not stop.is_set(), numbers)
    messages = ((n, live.sms(n, at=1_700_000_000 + n)) for n in sent)
    sending = asyncio.create_task(load.send(service.address(), path, messages, clients=8))
    try:
        return await work
    finally:
        stop.set()
        await sending


@pytest.mark.parametrize("cuts", [50, pytest.param(1_000, marks=pytest.mark.nightly)])
def test_stream_cut_anywhere_has_each_event_once_and_in_order(service, cuts):
    """Mutants: it goes live before it has caught up; the event of the cursor comes again (its
    place less one, in `server/api/stream.py`).
    """
    chance = random.Random(cuts)
    known = len(listed(service))
    reader = Reader(admin(service), live.KEY, "after=start")

    async def cut():
        for _ in range(cuts):
            await reader.read(int(2 ** chance.uniform(4, 16)))

    asyncio.run(loaded(service, cut()))
    stored = listed(service)
    asyncio.run(reader.until(len(stored)))

    assert reader.ids == stored
    assert len(stored) > known + cuts / 4


def test_stream_of_a_killed_service_resumes(tmp_path):
    with live.Live(tmp_path) as service:
        reader = Reader(admin(service), live.KEY, "after=start")

        async def killed():
            reading = asyncio.create_task(reader.read())
            await seen(lambda: len(reader.ids) > 20)
            await asyncio.to_thread(service.kill)
            await asyncio.wait([reading])

        asyncio.run(loaded(service, killed()))
    with live.Live(tmp_path) as service:
        service.post(live.sms(next(numbers)))
        stored = listed(service)
        reader.address = admin(service)
        asyncio.run(reader.until(len(stored)))

    assert reader.ids == stored


def test_streams_and_waits_end_when_the_service_stops(tmp_path):
    """Mutant: readers are cut off only at the end of the grace period."""
    with live.Live(tmp_path) as service:

        async def stopped():
            reader = Reader(admin(service), live.KEY)
            async with httpx.AsyncClient(
                base_url=service.admin_url, headers=bearer(), trust_env=False, timeout=30
            ) as client:
                reading = asyncio.create_task(reader.read())
                waiting = asyncio.create_task(client.get("/v1/events/wait?since=1s"))
                await seen(lambda: reader.status is not None)
                await asyncio.sleep(0.2)  # so that the wait has begun, too
                service.process.send_signal(signal.SIGTERM)
                began = time.monotonic()
                answer = await waiting
                await reading
            return reader, answer, time.monotonic() - began

        reader, answer, took = asyncio.run(stopped())
        code = service.process.wait(20)

    assert (code, answer.status_code, answer.json()["code"]) == (0, 503, "reader_ended")
    assert answer.headers["retry-after"] == "5"
    assert reader.ended
    assert took < 5


def bearer():
    return {"Authorization": f"Bearer {live.KEY}"}


def test_reader_that_reads_nothing_costs_little_memory(service):
    """The kernel counts its resident memory. Mutant: each stream queues its events."""

    async def flooded():
        writers = []
        for _ in range(40):
            _, writer = await asyncio.open_connection(*admin(service), limit=1024)
            writer.transport.pause_reading()
            writer.write(Reader(admin(service), live.KEY)._request())
            writers.append(writer)
        await asyncio.sleep(0.5)
        before = resident(service)
        await loaded(service, asyncio.sleep(3))
        grown = resident(service) - before
        for writer in writers:
            writer.transport.abort()
        return grown

    assert asyncio.run(flooded()) < 40_000_000


def resident(service):
    lines = Path(f"/proc/{service.process.pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def curl(service, path, *options):
    words = ["curl", "-s", *options, "-H", f"Authorization: Bearer {live.KEY}"]
    return subprocess.Popen([*words, f"{service.admin_url}/v1{path}"], stdout=subprocess.PIPE)


def test_curl_reads_a_stream_and_waits(service):
    tools.require(tools.missing("curl"))
    with curl(service, "/events/stream?reference=none", "-N") as streaming:
        begun = streaming.stdout.readline()
        streaming.kill()
    number = next(numbers)
    waiting = curl(service, f"/events/wait?request_id={10_000_000 + number}")
    service.post(live.sms(number))

    answer = json.loads(waiting.communicate(timeout=30)[0])
    assert begun == b":\n", "sent at once, though no event came"
    assert answer["event"]["data"]["code"] == live.code(number)


async def test_client_that_leaves_early_keeps_no_stream(service):
    """Mutant: the app asks for the end of a connection after its end, and is never called."""
    host, port = admin(service)
    after = service.api("/events", params={"limit": 1}).json()["next_cursor"]
    for path in (f"events/stream?after={after}", f"events/wait?after={after}") * 20:
        _, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET /v1/{path} HTTP/1.1\r\nHost: {host}\r\n".encode())
        writer.write(f"Authorization: Bearer {live.KEY}\r\n\r\n".encode())
        await writer.drain()
        writer.transport.abort()

    def is_over():
        text = httpx.get(f"{service.admin_url}/metrics").text
        return 'smshook_streams{kind="api"} 0\n' in text and "smshook_waits 0\n" in text

    await seen(is_over)
