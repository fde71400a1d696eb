"""Long runs of a real service against sinks that answer with every fault."""

import asyncio
import os
import random
from pathlib import Path

import live
import pytest
from endpoint import endpoint, reply
from hostile import FAULTS

from sinks.http.answer import BODY_PATIENCE

EVENTS = 400
#: The schedule of the hostile sink: one more attempt after the first.
ATTEMPTS = 2
TIMEOUT = 1.0


def resident(service):
    """Return the bytes that the service has in memory."""
    pages = Path(f"/proc/{service.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.nightly
@pytest.mark.timeout(1800)
async def test_hostile_sink_costs_only_its_own_deliveries(tmp_path):
    """Every fault, many times, eight at once, while a second sink delivers everything.

    The mutants are those of tests/sinks/http/test_faults.py, which meets each fault once.
    """
    chance = random.Random(2026)

    async def wrong(request, connection):
        fault, _ = chance.choice(list(FAULTS.values()))
        await fault(request, connection)

    async with endpoint() as end:
        end.usual = wrong
        crm = (
            f"crm: {{type: http, url: '{end.url}', timeout: {TIMEOUT:g}s, "
            "retry: {schedule: [0s, 100ms]}}"
        )
        text = live.CONFIG.replace("sinks:\n", f"sinks:\n  {crm}\n")
        text = text.replace("[log]", "[log, crm]")
        service = live.Live(tmp_path, text)
        try:
            await asyncio.to_thread(service.start)
            await send(service, range(50))
            await ended(service, 50)
            before = service.descriptors(), resident(service)

            await send(service, range(50, EVENTS))
            log = [event["id"] for event in await delivered(service, EVENTS)]
            await ended(service, EVENTS)
            after = service.descriptors(), resident(service)

            end.usual = reply(200)
            requests = len(end.requests)
            await send(service, [EVENTS])
            await ended(service, EVENTS + 1)

            assert len(set(log)) == EVENTS
            assert EVENTS <= requests <= EVENTS * ATTEMPTS + EVENTS
            assert len(end.requests) > requests
            assert after[0] < before[0] + 64
            assert after[1] < before[1] + 64 * 1024**2
            assert await asyncio.to_thread(service.stop) == 0
        finally:
            await asyncio.to_thread(service.__exit__)


async def send(service, numbers):
    for number in numbers:
        answer = await asyncio.to_thread(service.post, live.sms(number), timeout=60)
        assert answer.status_code == 200


async def delivered(service, count):
    """Return what the file sink has once it has everything."""
    async with asyncio.timeout(300):
        while len(found := service.delivered()) < count:  # noqa: ASYNC110 - the file sends no event
            await asyncio.sleep(0.1)
    return found


async def ended(service, events):
    """Wait until both sinks have nothing pending."""
    async with asyncio.timeout(60 + events * (TIMEOUT + BODY_PATIENCE)):
        while True:
            stats = await asyncio.to_thread(service.stats)
            states = stats["deliveries"]
            if stats["events"] >= events and not states["pending"] + states["sending"]:
                return
            await asyncio.sleep(0.2)
