"""A running service, and a simulated provider that sends callbacks to it and answers its polls."""

import asyncio

import live
from rehearsing import KEY as PROVIDER_KEY

from rehearsal.providers import SIMULATED
from rehearsal.simulation import NewMessage, NewOrder

#: The field that identifies an order when it is registered.
IDS = {"tellabot": "request_id"}
#: Providers without a list of orders: smshook can ask only for registered orders.
NEEDS_ORDERS = {"tellabot", "smsbower", "daisysms"}
CONFIG = """
sources:
  theirs:
    provider: {provider}
    {tokens}
    backfill: {{user: me, api_key: "{key}", every: {every}, min_interval: 0s, api_url: "{api_url}"}}
sinks:
  log: {{type: file, path: events.jsonl}}
routes:
  everything: {{to: [log]}}
server: {{secret: "{secret}", listen: "127.0.0.1:{port}", admin_listen: "127.0.0.1:0"}}
journal: {{url: "sqlite:///smshook.db"}}
{seal}api: {{keys: {{admin: {{key: "{admin}", scopes: [admin]}}}}}}
"""


def configured(provider, client, port, *, every="1h", key=PROVIDER_KEY, more=""):
    tokens = more if provider == "smspins" else f'tokens: ["{live.TOKEN}"]'
    return CONFIG.format(
        provider=provider,
        tokens=tokens,
        key=key,
        every=every,
        api_url=f"{str(client.base_url).rstrip('/')}{SIMULATED[provider].path}",
        secret=live.SECRET,
        seal=live.SEAL,
        admin=live.KEY,
        port=port,
    )


class Outage:
    """A service and its provider. Blocking calls run in threads, beside the provider's loop."""

    def __init__(self, service, simulation, provider):
        self.service, self.simulation, self.provider = service, simulation, provider

    async def order(self):
        order = self.simulation.order(NewOrder(id=None))
        if self.provider in NEEDS_ORDERS:
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
        """Return the first backfill run when it has finished."""

        def ended():
            run = self.service.api("/sources").json()["data"][0]["backfill"]["run"]
            return run and run["finished_at"] and run

        return await asyncio.to_thread(live.eventually, ended, within=20)

    async def given_up(self):
        """Wait until the provider has no attempt left."""
        while self.simulation._tasks:  # noqa: ASYNC110 - it has no event for this
            await asyncio.sleep(0.02)
