"""Simulated providers on a bound socket, with the real clock, chance and network."""

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
from httpd.own_host import OwnHost

from .account import Account
from .providers import SIMULATED
from .sender import Sender
from .simulation import Simulation
from .web.app import App, create_app, create_apps

#: Seconds for what is being answered when it ends.
_GRACE = 1.0


def _unsigned(_body: bytes, /) -> Mapping[str, str]:
    return {}


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """How one provider is simulated."""

    #: A name of SIMULATED.
    provider: str
    #: What it wants to be given as API key.
    key: str
    #: Where its callbacks go.
    callback: str | None = None
    #: 60: what takes a minute takes a second, between attempts; the answer's timeout stays.
    speed: float = 1.0
    #: So many ids are not given again: a receiver may know them from an earlier run.
    skipped: int = 0
    #: The headers that a body gets beside its own, by which a receiver knows a sample.
    signed: Callable[[bytes], Mapping[str, str]] = _unsigned


@contextlib.asynccontextmanager
async def simulated(setting: Setting, sock: socket.socket) -> AsyncIterator[Simulation]:
    """It answers on `sock`, which is its own from now on."""
    async with _simulating([setting]) as [simulation], _served(create_app(simulation), sock):
        yield simulation


@contextlib.asynccontextmanager
async def all_simulated(
    settings: Mapping[str, Setting], sock: socket.socket
) -> AsyncIterator[Mapping[str, Simulation]]:
    """Each answers on `sock` under its name there."""
    async with _simulating(settings.values()) as simulations:
        named = dict(zip(settings, simulations, strict=True))
        async with _served(create_apps(named), sock):
            yield named


@contextlib.asynccontextmanager
async def _simulating(settings: Iterable[Setting]) -> AsyncIterator[list[Simulation]]:
    async with httpx.AsyncClient(trust_env=False) as client:
        simulations = [_simulation(setting, client) for setting in settings]
        try:
            yield simulations
        finally:
            for simulation in simulations:
                await simulation.close()


@contextlib.asynccontextmanager
async def _served(app: App, sock: socket.socket) -> AsyncIterator[None]:
    # Nobody needs a key here, and what is sent here becomes callbacks.
    listener = Listener(cast("Any", OwnHost(app)))
    await listener.start(sock)
    try:
        yield
    finally:
        await listener.finish(_GRACE)


def _simulation(setting: Setting, client: httpx.AsyncClient) -> Simulation:
    chance = random.Random()
    account = Account(key=setting.key, now=_now, chance=chance, skipped=setting.skipped)
    provider = SIMULATED[setting.provider](account)
    if provider.schedule is None:
        return Simulation(provider, None, url=None, sleep=asyncio.sleep)
    sender = Sender(
        client=client,
        schedule=provider.schedule,
        speed=setting.speed,
        sleep=asyncio.sleep,
        now=_now,
        chance=chance,
        signed=setting.signed,
    )
    return Simulation(provider, sender, url=setting.callback, sleep=asyncio.sleep)


def _now() -> datetime:
    return datetime.now(UTC)
