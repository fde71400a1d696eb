"""Messages of an outage are fetched from the provider, and each arrives once.

For each provider: the service is killed, the provider sends and gives up, the service starts again.
"""

import asyncio
import json
from collections import Counter

import live
import pytest
from outage import Outage, configured
from rehearsing import running

from rehearsal.providers import SIMULATED
from rehearsal.simulation import NewOrder


def texts(provider):
    """Return the texts of each order before the outage, and those during it."""
    before = [["Your code is 111101"], ["Your code is 111102"]]
    # For the newest order, some providers list only the code.
    during = [["Your code is 222201"], ["Your code is 222202"], ["Your code is 222203"]]
    if provider in ("sms_activate", "herosms", "tellabot"):
        during[2].append("Your code is 222204")
    return before, during


#: They are polled by the code of `sms_activate` and `smsbower`.
ALIKE = {"daisysms", "grizzlysms", "herosms"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "provider",
    [
        *sorted(SIMULATED.keys() - ALIKE),
        *(pytest.param(provider, marks=pytest.mark.nightly) for provider in sorted(ALIKE)),
    ],
)
async def test_messages_of_an_outage_arrive_once(provider, tmp_path, unused_tcp_port, capsys):
    """Mutants: registered orders are not asked for; a callback has no copy, so that the poll's
    message is a new event; list entries with and without a text are read alike."""
    before, during = texts(provider)
    port = unused_tcp_port
    callback = f"http://127.0.0.1:{port}/in/theirs/{live.TOKEN}"
    async with running(provider, callback=callback, speed=100_000.0) as (simulation, client):
        service = live.Live(tmp_path, configured(provider, client, port))
        outage = Outage(service, simulation, provider)
        try:
            await asyncio.to_thread(service.start)
            orders = [await outage.order() for _ in during]
            for order, some in zip(orders, before, strict=False):
                for text in some:
                    outage.message(order, text)
            came = sum(map(len, before)) if provider != "smspins" else 0
            await outage.eventually(came)
            await asyncio.to_thread(
                live.eventually, lambda: not service.stats()["deliveries"]["sending"]
            )
            await asyncio.to_thread(service.kill)
            for order, some in zip(orders, during, strict=True):
                for text in some:
                    outage.message(order, text)
                    await outage.given_up()
            await asyncio.to_thread(service.start)
            run = await outage.run()
            expected = Counter(code(text) for some in (*before, *during) for text in some)
            await outage.eventually(expected.total())
            events = await outage.events()
            await asyncio.to_thread(
                live.eventually, lambda: len(service.delivered()) >= expected.total()
            )
            delivered = service.delivered()
            assert await asyncio.to_thread(service.stop) == 0
        finally:
            service.__exit__(None)

    writes = [asked.command for asked in simulation.account.asked if asked.writes]
    assert Counter(event["data"]["code"] for event in events) == expected
    assert Counter(event["id"] for event in delivered) == Counter(e["id"] for e in events)
    assert (run["error"], writes) == (None, [])
    with capsys.disabled():
        print(  # noqa: T201 - figures for the person who runs it
            f"\n{provider}: {json.dumps({n: run[n] for n in ('asked', 'new', 'known')})}"
        )


def code(text):
    return text.rpartition(" ")[2]


#: The number of SMS to a rental in the outage. TellABot lists the newest three of each.
RENTALS = {"sms_activate": 12, "tellabot": 3}


@pytest.mark.slow
@pytest.mark.parametrize("provider", sorted(RENTALS))
async def test_rental_messages_of_an_outage_arrive_once(provider, tmp_path, unused_tcp_port):
    """Also more than a page, and a message that came both ways. Mutant: only the first page."""
    callback = f"http://127.0.0.1:{unused_tcp_port}/in/theirs/{live.TOKEN}"
    async with running(provider, callback=callback, speed=100_000.0) as (simulation, client):
        service = live.Live(tmp_path, configured(provider, client, unused_tcp_port))
        outage = Outage(service, simulation, provider)
        try:
            await asyncio.to_thread(service.start)
            rental = simulation.order(NewOrder(kind="rental"))
            outage.message(rental, "Your code is 111101")
            await outage.eventually(1)
            await asyncio.to_thread(service.kill)
            for number in range(RENTALS[provider]):
                outage.message(rental, f"Your code is {222201 + number}")
                await outage.given_up()
            await asyncio.to_thread(service.start)
            run = await outage.run()
            events = await outage.events()
        finally:
            service.__exit__(None)

    codes = ["111101", *(str(222201 + number) for number in range(RENTALS[provider]))]
    assert Counter(event["data"]["code"] for event in events) == Counter(codes)
    assert {event["subject"] for event in events} == {f"rental/{rental.id}"}
    assert len({event["data"]["to"] for event in events}) == 1
    assert run["error"] is None
