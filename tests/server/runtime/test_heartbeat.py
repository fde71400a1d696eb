"""The heartbeat: a request while the service is ready."""

import httpx
import pytest
from endpoint import endpoint, reply
from msgspec.structs import replace
from services import configured
from structlog.testing import capture_logs

from core.secret import Secret
from core.units import Duration
from server.config.alerting import Heartbeat
from server.runtime.heartbeat import HeartbeatSender, get

URL = "https://hc-ping.com/a-secret-id"


class World:
    """A sender with a clock, and answers that a test names."""

    def __init__(self, folder, *answers):
        self.at, self.ready, self.sent = 0.0, True, []
        self.answers = list(answers)
        self.config = configured(folder, heartbeat=Heartbeat(url=Secret(URL), every=Duration(60)))
        self.sender = HeartbeatSender(ready=lambda: self.ready, ticks=lambda: self.at, get=self.get)
        self.sender.use(self.config)

    async def get(self, url):
        self.sent.append((self.at, url.reveal()))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def look_at(self, *times):
        for self.at in times:
            await self.sender.look()


async def test_heartbeat_is_sent_in_its_time_while_ready(tmp_path):
    """Mutants: sent at each look; sent while it is not ready; missed ones are sent later."""
    world = World(tmp_path)
    await world.look_at(0, 1, 59, 60)
    world.ready = False
    await world.look_at(120, 200)
    world.ready = True
    await world.look_at(201, 202)

    assert world.sent == [(0, URL), (60, URL), (201, URL)]


async def test_changed_url_is_used_at_once(tmp_path):
    """Mutant: the URL of the start stays."""
    world = World(tmp_path)
    await world.look_at(0)
    other = Heartbeat(url=Secret("https://example.com/2"), every=Duration(60))
    world.sender.use(replace(world.config, heartbeat=other))
    await world.look_at(1)
    world.sender.use(replace(world.config, heartbeat=Heartbeat()))
    await world.look_at(100)

    assert world.sent == [(0, URL), (1, "https://example.com/2")]


@pytest.mark.parametrize(
    ("failure", "word"),
    [(500, "status 500"), (httpx.ConnectError(URL), "ConnectError"), (OSError(), "OSError")],
)
async def test_failure_is_logged_once_without_the_url(tmp_path, failure, word):
    """Mutants: each failure is logged; the text of the library is logged."""
    world = World(tmp_path, failure, failure, 200, 204)
    with capture_logs() as logs:
        await world.look_at(0, 60, 120, 180)

    assert [(line["event"], line.get("error")) for line in logs] == [
        ("heartbeat.failed", word),
        ("heartbeat.recovered", None),
    ]
    assert "secret" not in str(logs)


async def test_get_returns_the_status():
    async with endpoint() as end:
        end.says(reply(204, b""))
        assert await get(Secret(f"{end.url}/id")) == 204

    assert [(one.method, one.target) for one in end.requests] == [("GET", "/id")]
