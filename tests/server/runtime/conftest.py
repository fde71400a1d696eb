"""The parts of a service with one source and one sink, on a journal in a file."""

import secrets
from datetime import UTC, datetime

import live
import pytest

from core.clock import WallClock
from core.secret import Secret
from receiver.callback import Callback
from receiver.intake import Caller
from receiver.providers.tellabot.callbacks import TellABot
from routes.table import Route
from server.config.options import Config, JournalOptions, Server
from server.runtime.identity import Identity
from server.service import assemble, open_journal
from sinks.file.sink import File

NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def config(tmp_path):
    return Config(
        sources={"tellabot": TellABot(tokens=(Secret("t" * 20),), labels={"team": "a"})},
        sinks={"log": File(path=str(tmp_path / "out.jsonl"))},
        routes={"everything": Route(to=("log",))},
        server=Server(secret=Secret("x" * 32)),
        journal=JournalOptions(url=f"sqlite:///{tmp_path}/j.db"),
        path=tmp_path / "smshook.yaml",
    )


@pytest.fixture
async def parts(config):
    identity = Identity(config.server.secret.reveal(), secrets.token_bytes)
    journal = await open_journal(config, identity, now=0.0)
    clock = WallClock(wall=NOW.timestamp, ticks=lambda: 0.0)
    yield assemble(config, journal, identity, clock=clock, chance=lambda: 0.0)
    await journal.close()


@pytest.fixture
def caller():
    return Caller(source="tellabot", token="fingerprint", request_id="r1")


@pytest.fixture
def callback():
    """Make a callback from its body."""

    def made(body, **fields):
        return Callback(headers=(), body=body, peer="192.0.2.1", received=NOW, **fields)

    return made


@pytest.fixture
def sms(callback):
    """Make the callback of the message with that number."""
    return lambda number=1: callback(live.sms(number, at=int(NOW.timestamp())))
