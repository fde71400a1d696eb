"""Simulated providers for tests: on real sockets, and with a clock that stands still."""

import contextlib
import json
import random
import socket
from datetime import UTC, datetime

import httpx

from rehearsal.account import Account
from rehearsal.exchange import Request
from rehearsal.providers import SIMULATED
from rehearsal.server import Setting, run_provider, run_providers
from rehearsal.simulation import NewMessage, NewOrder, Simulation

KEY = "k3y-of-the-provider"
NOW = datetime(2020, 9, 14, 18, 42, 36, tzinfo=UTC)


class OfflineProvider:
    """A simulated provider without a socket; `now` stands still until it is moved."""

    def __init__(self, provider, now=NOW):
        self.now, self.slept = now, []
        account = Account(key=KEY, now=lambda: self.now, chance=random.Random(7))
        self.simulation = Simulation(SIMULATED[provider](account), None, url=None, sleep=self.sleep)
        self.account = account

    async def sleep(self, seconds):
        self.slept.append(seconds)

    def order(self, **fields):
        return self.simulation.order(NewOrder(**fields))

    def message(self, order, **fields):
        return self.simulation.receive(order.id, NewMessage(**fields))

    async def ask(self, path, **parameters):
        """Return the complete answer."""
        request = Request(method="GET", path=path, parameters=parameters)
        return await self.simulation.answer(request)

    async def tellabot(self, cmd, **parameters):
        return await self.json(
            "/sims/api_command.php", cmd=cmd, user="test", api_key=KEY, **parameters
        )

    async def dialect(self, action, **parameters):
        answer = await self.ask("/stubs/handler_api.php", action=action, api_key=KEY, **parameters)
        text = answer.body.decode()
        return json.loads(text) if answer.content_type == "application/json" else text

    async def smspins(self, rest):
        return await self.json(f"/apiv2/{KEY}/{rest}")

    async def json(self, path, **parameters):
        return json.loads((await self.ask(path, **parameters)).body)


@contextlib.asynccontextmanager
async def running(provider, **setting):
    """Run a provider on a real socket; yield it and a client."""
    sock, client = served()
    async with run_provider(Setting(provider=provider, key=KEY, **setting), sock) as it, client:
        yield it, client


@contextlib.asynccontextmanager
async def running_all(providers):
    """Run several providers by name; yield them and one client."""
    sock, client = served()
    settings = {name: Setting(provider=it, key=KEY) for name, it in providers.items()}
    async with run_providers(settings, sock) as simulations, client:
        yield simulations, client


def served():
    """Return a bound socket and a client of its address."""
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    return sock, httpx.AsyncClient(base_url=url, trust_env=False)
