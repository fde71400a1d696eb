"""The parts of a service with one source and one sink, on a journal in a file."""

from datetime import UTC, datetime

import live
import pytest
from services import assembled, clock_of, configured

from core.secret import Secret
from receiver.callback import Callback
from receiver.intake import Caller
from receiver.providers.tellabot.callbacks import TellABot
from routes.table import Route
from sinks.file.sink import File

NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
async def parts(tmp_path):
    config = configured(
        tmp_path,
        sources={"tellabot": TellABot(tokens=(Secret("t" * 20),), labels={"team": "a"})},
        sinks={"log": File(path=str(tmp_path / "out.jsonl"))},
        routes={"everything": Route(to=("log",))},
    )
    async with assembled(config, clock_of(NOW.timestamp, ticks=lambda: 0.0)) as parts:
        yield parts


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
