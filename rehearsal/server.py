"""Serves simulated providers on a socket, with the real clock, chance and network."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import msgspec

from httpd.listener import Listener
from httpd.own_host import App, OwnHost

from .account import Account
from .providers import SIMULATED
from .sender import Sender
from .simulation import Simulation
from .web.app import create_app, create_apps
from .web.beside import Beside

#: Seconds for running requests at the end.
_GRACE = 1.0
_ALONE = Beside()


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one simulated provider."""

    #: A name of SIMULATED.
    provider: str
    #: The API key that it expects.
    key: str
    #: The URL of its callbacks.
    callback: str | None = None
    #: At 60, a minute between attempts takes a second; the timeout of answers stays.
    speed: float = 1.0
    #: The number of ids to skip, because a receiver may know them from an earlier run.
    skipped: int = 0
    #: Returns more headers for a body, by which a receiver recognizes a sample.
    signed: Callable[[bytes], Mapping[str, str]] = lambda _body: {}


@contextlib.asynccontextmanager
async def run_provider(
    setting: Setting, sock: socket.socket, beside: Beside = _ALONE
) -> AsyncIterator[Simulation]:
    """Run a simulated provider on `sock`, which belongs to it from now on."""
    async with (
        _simulations([setting]) as [simulation],
        _served(create_app(simulation, beside), sock),
    ):
        yield simulation


@contextlib.asynccontextmanager
async def run_providers(
    settings: Mapping[str, Setting], sock: socket.socket, beside: Beside = _ALONE
) -> AsyncIterator[Mapping[str, Simulation]]:
    """Run several simulated providers on `sock`, each under its name in `settings`."""
    async with _simulations(settings.values()) as simulations:
        named = dict(zip(settings, simulations, strict=True))
        async with _served(create_apps(named, beside), sock):
            yield named


@contextlib.asynccontextmanager
async def _simulations(settings: Iterable[Setting]) -> AsyncIterator[list[Simulation]]:
    async with httpx.AsyncClient(trust_env=False) as client:
        simulations = []
        for setting in settings:
            chance = random.Random()
            account = Account(key=setting.key, now=_now, chance=chance, skipped=setting.skipped)
            provider = SIMULATED[setting.provider](account)
            sender = None
            if provider.schedule is not None:
                sender = Sender(
                    client=client,
                    schedule=provider.schedule,
                    speed=setting.speed,
                    sleep=asyncio.sleep,
                    now=_now,
                    chance=chance,
                    signed=setting.signed,
                )
            url = setting.callback if sender else None
            simulations.append(Simulation(provider, sender, url=url, sleep=asyncio.sleep))
        try:
            yield simulations
        finally:
            for simulation in simulations:
                await simulation.close()


@contextlib.asynccontextmanager
async def _served(app: App, sock: socket.socket) -> AsyncIterator[None]:
    # Without keys, a foreign web page could send callbacks.
    listener = Listener(cast("Any", OwnHost(app)))
    await listener.start(sock)
    try:
        yield
    finally:
        await listener.finish(_GRACE)


def _now() -> datetime:
    return datetime.now(UTC)
