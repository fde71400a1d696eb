"""What was sent while the service was down is fetched from the provider, and comes once.

For each provider: the service is killed, the provider sends and gives up, the service returns.
"""

import asyncio
import json
from collections import Counter

import live
import pytest
from rehearsing import KEY as PROVIDER_KEY
from rehearsing import running

from rehearsal import SIMULATED
from rehearsal.simulation import NewMessage, NewOrder

#: How an order of each is told to us.
IDS = {"tellabot": "request_id"}
#: Those that have no list of what is ordered: without our orders nobody knows what to ask for.
TOLD = {"tellabot", "smsbower", "daisysms"}
CONFIG = """
sources:
  theirs:
    provider: {provider}
    {tokens}
    backfill: {{user: me, api_key: "{key}", every: 1h, min_interval: 0s, api_url: "{api_url}"}}
sinks:
  log: {{type: file, path: events.jsonl}}
routes:
  everything: {{to: [log]}}
server: {{secret: "{secret}", listen: "127.0.0.1:{port}", admin_listen: "127.0.0.1:0"}}
journal: {{url: "sqlite:///smshook.db"}}
api: {{keys: {{admin: {{key: "{admin}", scopes: [admin]}}}}}}
"""


def configured(provider, client, port):
    tokens = "" if provider == "smspins" else f'tokens: ["{live.TOKEN}"]'
    return CONFIG.format(
        provider=provider,
        tokens=tokens,
        key=PROVIDER_KEY,
        api_url=f"{str(client.base_url).rstrip('/')}{SIMULATED[provider].path}",
        secret=live.SECRET,
        admin=live.KEY,
        port=port,
    )


class Outage:
    """A service and the provider that calls it; what is slow runs beside the provider's loop."""

    def __init__(self, service, simulation, provider):
        self.service, self.simulation, self.provider = service, simulation, provider

    async def order(self):
        order = self.simulation.order(NewOrder(id=None))
        if self.provider in TOLD:
            body = {"source": "theirs", IDS.get(self.provider, "activation_id"): order.id}
            answer = await asyncio.to_thread(self.service.api, "/orders", method="POST", json=body)
            assert answer.status_code == 201, answer.text
        return order

    def message(self, order, text):
        self.simulation.receive(order.id, NewMessage(text=text))

    async def events(self):
        answer = await asyncio.to_thread(self.service.api, "/events")
        return [item["event"] for item in answer.json()["data"]]

    async def eventually(self, number):
        def enough():
            return len(self.service.api("/events").json()["data"]) >= number

        await asyncio.to_thread(live.eventually, enough)

    async def run(self):
        """The round of questions that it began with, when it has ended."""

        def ended():
            run = self.service.api("/sources").json()["data"][0]["backfill"]["run"]
            return run and run["finished_at"] and run

        return await asyncio.to_thread(live.eventually, ended, within=20)

    async def given_up(self):
        """The provider has no attempt to make any more."""
        while self.simulation._tasks:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)


def texts(provider):
    """By order: what came before the outage, and what came in it."""
    before = [["Your code is 111101"], ["Your code is 111102"]]
    # Of the newest alone, some say nothing but the code.
    during = [["Your code is 222201"], ["Your code is 222202"], ["Your code is 222203"]]
    if provider in ("sms_activate", "herosms", "tellabot"):
        during[2].append("Your code is 222204")
    return before, during


@pytest.mark.slow
@pytest.mark.parametrize("provider", sorted(SIMULATED))
async def test_what_was_sent_in_an_outage_comes_once(provider, tmp_path, unused_tcp_port, capsys):
    """Mutants: no round at the start; a polled copy that is paired with nothing; the first round
    looks back to its own beginning."""
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
        print(  # noqa: T201 - figures for whoever runs it
            f"\n{provider}: {json.dumps({n: run[n] for n in ('asked', 'new', 'known')})}"
        )


def code(text):
    return text.rpartition(" ")[2]
