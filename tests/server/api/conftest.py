"""A whole service without sockets: a journal in a file, the door, the API, a sink that fails."""

import asyncio
import contextlib
import copy
import json
import re
import secrets
import threading
from pathlib import Path
from urllib.parse import urlencode

import canary
import httpx
import msgspec
import pytest
from asgi import Call
from counting import uncounted
from described import Described
from doors import in_front_of
from journals import prepared
from period_keys import KEYS_OF
from services import clock_of, configured, key

from core.delivery import State
from core.secret import Secret
from journal.keyring import Keyring
from journal.reads import Deliveries, DeliveryById, DeliveryFilter
from journal.writes import OnBehalf
from receiver.providers.sms_activate.profiles import HeroSms
from receiver.providers.tellabot.callbacks import TellABot
from routes.table import Route
from server.api.app import create_api
from server.api.openapi import document
from server.config.load import Loaded
from server.config.options import Api
from server.runtime.identity import Identity
from server.service import admin_app, assemble, open_journal, public_app, public_door
from sinks.file.sink import File
from sinks.sink import Failed

TOKENS = {"tellabot": "tellabot-token-01", "herosms": "herosms-token-0001"}
OLD_TOKEN = "tellabot-token-00"
#: 2026-09-21T14:13:20.25Z
BEGIN = 1_790_000_000.25


KEYS = {
    "admin": key("admin", "admin"),
    "reader": key("reader", "events:read"),
    "coder": key("coder", "codes:read"),
    "nothing": key("nothing"),
    "writer": key("writer", "deliveries:write", "subscriptions:write"),
    "growth": key("growth", "codes:read", when={"data.labels.team": "growth"}),
    "guesser": key("guesser", "events:read", when={"data.code": {"$startsWith": "77"}}),
    "boss": key("boss", "admin", when={"data.labels.team": "growth"}),
}


class Service:
    """A service and its clients. `now` is its clock: tests set it."""

    #: The number of its messages.
    number = f"{canary.NUMBER}4729"

    def __init__(self, config, journal, identity, period_keys=None):
        self.journal, self.identity = journal, identity
        #: The configuration that the next reload reads, or the error that it raises.
        self.config = config
        self.now, self.is_ready, self.sent = BEGIN, True, 0
        clock = clock_of(lambda: self.now)
        parts = assemble(
            *(config, journal, identity),
            load=self.load,
            clock=clock,
            chance=lambda: 0.0,
            period_keys=period_keys,
        )
        self.parts = msgspec.structs.replace(parts, ready=lambda: self.is_ready)
        self.sources, self.workers = parts.sources, parts.workers
        self.orders, self.rejections = parts.orders, parts.rejections
        self.hub = parts.hub
        parts.current.follow(self._open_door)
        self.api = built(admin_app, self.parts)
        self.described = described(self.parts)
        self.admin = client(self.api, self.described)

    def load(self):
        if isinstance(self.config, Exception):
            raise self.config
        return Loaded(config=self.config, warnings=())

    def _open_door(self, _config):
        self.public = public(self.parts)

    async def reload(self, key="admin", **changed):
        """Change options of the configuration, and reload it; return the answer."""
        if changed:
            self.config = msgspec.structs.replace(self.config, **changed)
        return await self.ask("/v1/reload", key, method="POST")

    def behind_the_door(self):
        """The door and the API on one listener, as with `admin_listen: same`."""
        server = msgspec.structs.replace(self.config.server, admin_listen="same")
        current = copy.copy(self.parts.current)
        current.config = msgspec.structs.replace(self.config, server=server)
        return public(msgspec.structs.replace(self.parts, current=current))

    async def ask(self, path, key="admin", *, method="GET", headers=(), **sent_with):
        """Make a call. `key` is its name in the configuration; None: no key is sent."""
        sent = dict(headers)
        if key is not None:
            sent["Authorization"] = f"Bearer {self.config.api.keys[key].key.reveal()}"
        return await self.admin.request(method, path, headers=sent, **sent_with)

    def call(self, path, key="admin", *, headers=(), method="GET"):
        """Make a call that lasts: `async with service.call("/v1/events/stream") as call`."""
        sent = dict(headers)
        if key is not None:
            sent["Authorization"] = f"Bearer {self.config.api.keys[key].key.reveal()}"
        return Call(self.api, path, headers=sent, method=method)

    async def waiting(self, count=1):
        """Wait until that many readers have read the journal, and wait for new events."""

        async def are_live():
            live = [one for one in self.hub._inboxes if one._waiting is not None]
            return len(live) >= count

        await until(are_live)

    async def data(self, path, key="admin", **params):
        answer = await self.ask(path, key, params=params or None)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def named(self, number):
        """Return the public id of the delivery with that number."""
        return self.identity.delivery_id(int(number))

    def numbered(self, data):
        """Return the answer with the number of each delivery in place of its id."""

        def number(name):
            found = self.identity.delivery_number(name[0].strip('"'))
            return name[0] if found is None else f'"{found}"'

        return json.loads(re.sub('"[0-9a-f]{32}"', number, json.dumps(data)))

    async def stalled(self, kind, call):
        """Make a call with a disk that does not answer its write of that kind; return the answer.

        Afterwards the disk answers.
        """
        commits, answers = self.journal._commits, threading.Event()
        write = commits._write

        def is_one(op):
            return isinstance(op.write if isinstance(op, OnBehalf) else op, kind)

        def wait(ops):
            if any(map(is_one, ops)):
                answers.wait(30)
            return write(ops)

        async def is_waiting():
            return any(is_one(entry.op) for entry in commits._in_flight)

        commits._write = wait
        calling = asyncio.create_task(call)
        await until(is_waiting)
        commits._stall()
        answer = await calling
        commits._write = write
        answers.set()
        return answer

    async def post(self, body, source="tellabot", *, token=None, headers=()):
        token = TOKENS[source] if token is None else token
        path = f"/in/{source}/{token}"
        return (await self.public.post(path, content=body, headers=dict(headers))).json()

    async def sms(self, **fields):
        """Send another message as TellABot; return the id of its event."""
        self.sent += 1
        sent = {
            "event": "incoming_message",
            "id": 10_000_000 + self.sent,
            "timestamp": 1_789_990_000 + self.sent,
            "from": "22000",
            "to": self.number,
            "service": "Google",
            "reply": f"Your code is {4000 + self.sent}",
            "pin": str(4000 + self.sent),
        }
        answer = await self.post(urlencode(sent | fields))
        assert answer["status"] == "accepted", answer
        return answer["events"][0]

    async def hero(self, **fields):
        """Send a message as HeroSMS, without a team; return the id of its event."""
        self.sent += 1
        sent = {"activationId": 445_000 + self.sent, "service": "go", "text": f"t {self.sent}"}
        body = httpx.Request("POST", "http://x", json=sent | fields).content
        return (await self.post(body, "herosms"))["events"][0]

    @contextlib.asynccontextmanager
    async def delivering(self, send, sink="log"):
        """Deliver to that sink by `send`, while the context is entered."""
        running = asyncio.create_task(self.workers[sink].run(send))
        await asyncio.sleep(0)  # until it runs
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def settled(self, send, sink="log"):
        """Send the due deliveries of that sink by `send`; wait until the outcomes are stored.

        A due one has no owner yet if it waited for its turn. In a paused sink it stays so.
        """
        pending = DeliveryFilter(sink=(sink,), state=(State.PENDING,))
        worker = self.workers[sink]

        async def is_settled():
            page = await self.journal.ask(Deliveries(filter=pending))
            rests = worker.paused is not None
            return all(
                kept.owner is None and (rests or kept.due_at is None or kept.due_at > self.now)
                for _, kept in page.items
            )

        async with self.delivering(send, sink):
            await until(is_settled)
            await worker._idle.wait()  # the state of the sink follows

    async def became(self, delivery_id, state):
        async def is_so():
            return (await self.journal.ask(DeliveryById(int(delivery_id)))).state == state

        await until(is_so)

    async def attempted(self):
        """Attempt the first pending delivery only; the sink fails."""
        sent = asyncio.Event()

        async def send(_outgoing):
            sent.set()
            raise Failed("refused", status=503)

        running = asyncio.create_task(self.workers["log"].run(send))
        await sent.wait()
        await self.workers["log"].close()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def until(check):
    async with asyncio.timeout(30):
        while not await check():  # noqa: ASYNC110 - what is on disk has no event
            await asyncio.sleep(0.01)


_DESCRIBED, _BUILT = [], []


def described(parts):
    """Return the document of the API. It is the same for all services."""
    if not _DESCRIBED:
        _DESCRIBED.append(Described(document(create_api(parts))))
    return _DESCRIBED[0]


def built(make, parts):
    """Make an app of a service. Coverage, which doubles the work, counts the first of each kind."""
    kind = make, parts.config.server
    if kind in _BUILT:
        with uncounted():
            return make(parts)
    _BUILT.append(kind)
    return make(parts)


def public(parts):
    """Return a client of the public listener."""
    apps = []

    async def behind(scope, receive, send):
        """Few tests get past the door, so the app is made for the first call that does."""
        if not apps:
            apps.append(built(public_app, parts))
        await apps[0](scope, receive, send)

    return client(in_front_of(behind, public_door(parts)))


def client(app, described=None):
    """Return a client; with a document, it refuses answers that the document does not have."""

    async def check(response):
        body = await response.aread()
        canary.check_problem(response)
        # Mutant: a parameter of the media type is there twice.
        assert response.headers.get("content-type", "").count("charset") < 2
        # 500: tests of faults break the service.
        if described is not None and response.status_code != 500:
            path = response.request.url.path
            described.check(
                response.request.method, path, response.status_code, response.headers, body
            )

    transport = httpx.ASGITransport(app, client=("192.0.2.7", 1), raise_app_exceptions=True)
    return httpx.AsyncClient(
        transport=transport, base_url="http://smshook", event_hooks={"response": [check]}
    )


def options(folder):
    return {
        "sources": {
            "tellabot": TellABot(
                tokens=(Secret(TOKENS["tellabot"]), Secret(OLD_TOKEN)), labels={"team": "growth"}
            ),
            "herosms": HeroSms(tokens=(Secret(TOKENS["herosms"]),)),
        },
        "sinks": {"log": File(path=str(folder / "events.jsonl"))},
        "routes": {
            "google": Route(to=("log",), when={"data.service.key": "google"}),
            "amazon": Route(to=("log",), when={"data.service.key": "amazon"}),
        },
        "api": Api(keys=KEYS),
    }


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    *,
    chance=secrets.token_bytes,
    keys=None,
    in_clear=None,
    audit=None,
    **changed,
):
    """Run a service on the journal of that folder; `changed` options replace those above.

    `keys` seal the journal, by default those of the folder. `in_clear` is the reason why it is not
    sealed. `audit` says what its audit log records; None: there is none. At the end the files are
    searched for codes and numbers.
    """
    config = configured(folder, **options(folder) | changed)
    identity = Identity(config.server.secret.reveal(), chance)
    prepared(config.journal.path)
    if not in_clear and keys is None:
        keys = KEYS_OF[folder]
    journal = await open_journal(config, identity, now=BEGIN, keys=keys, audit=audit)
    try:
        service = Service(config, journal, identity, keys if isinstance(keys, Keyring) else None)
        await service.parts.keys.load()
        yield service
    finally:
        await journal.close()
    canary.search(folder, in_clear=in_clear)


@pytest.fixture
def run():
    """`async with run(folder, sources={...}) as service`."""
    return running


@pytest.fixture
async def service(tmp_path):
    async with running(tmp_path) as service:
        yield service
