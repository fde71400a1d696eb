"""kill -9 while sinks deliver: `ordered_by` and rotation hold. Oracles are outside the process."""

import asyncio
import contextlib
import gzip
import json
import random
import sqlite3
import sys
from pathlib import Path

import httpx
import live
import load
import pytest
from endpoint import endpoint, reply

MUTANTS = Path(__file__).parent / "mutants" / "kills.py"
VALUES = 8
#: Rounds in CI, and every night.
ROUNDS = [2, pytest.param(100, marks=pytest.mark.nightly)]


def mutant(name):
    return [sys.executable, str(MUTANTS), name]


def config(sinks):
    """Return the usual configuration with these lines as its sinks."""
    text = live.CONFIG.replace("log: {type: file, path: events.jsonl}", "\n  ".join(sinks))
    names = ", ".join(sink.partition(":")[0] for sink in sinks)
    return text.replace("[log]", f"[{names}]")


class Moment:
    """The moment of a kill: after some steps, so that each round has steps on a busy machine."""

    def __init__(self, chance, steps):
        self._left, self._wait = chance.randint(*steps), chance.uniform(0, 0.05)
        self._come = asyncio.Event()
        self.is_over = False

    def step(self):
        self._left -= 1
        if self._left <= 0:
            self._come.set()

    async def kill(self, service, senders):
        """Run `senders`, kill the service meanwhile, and wait for the senders."""
        sending = asyncio.gather(*senders)
        coming = asyncio.create_task(self._come.wait())
        await asyncio.wait((sending, coming), return_when=asyncio.FIRST_COMPLETED)
        coming.cancel()
        await asyncio.sleep(self._wait)  # steps end with an answer; kill at any moment
        await asyncio.to_thread(service.kill)
        self.is_over = True
        await sending


# Ordered deliveries


class Ordered:
    """Callers that send one message after another, each about its own number.

    Each message is sent until it is acknowledged. Only then the next one is sent. So the order of
    acceptance is known without the journal.
    """

    def __init__(self, service, end, chance):
        self.service, self.end, self.chance = service, end, chance
        self.answered = {f"+1850555{value:04d}": [] for value in range(VALUES)}
        self.confirmed = []  # (number, event id) of each 2xx of the endpoint
        end.usual = self._answer

    async def _answer(self, request, connection):
        """Fail one request in five: the order must survive retries."""
        await asyncio.sleep(self.chance.uniform(0, 0.02))
        fails = self.chance.random() < 0.2
        if not fails:
            event = json.loads(request.body)
            self.confirmed.append((event["data"]["to"], event["id"]))
        await reply(500 if fails else 200)(request, connection)

    async def run(self, rounds):
        for _ in range(rounds):
            await asyncio.to_thread(self.service.start)
            moment = Moment(self.chance, (10, 150))
            await moment.kill(self.service, [self._send(to, moment) for to in self.answered])

    async def _send(self, number, moment):
        url, answered = self.service.callback_url(), self.answered[number]
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=60) as client:  # noqa: S501 - plain HTTP
            with contextlib.suppress(httpx.TransportError):
                while True:
                    # Send the same body until it is acknowledged.
                    body = live.sms(
                        int(number[-7:]) * 100_000 + len(answered), at=1_700_000_000, to=number[1:]
                    )
                    answered += (await client.post(url, content=body)).json()["events"]
                    moment.step()

    def written(self):
        return [(event["data"]["to"], event["id"]) for event in self.service.delivered()]

    def missing(self):
        """Return, for each sink, the acknowledged event ids that did not arrive."""
        answered = {event_id for ids in self.answered.values() for event_id in ids}
        return [answered - {event_id for _, event_id in each} for each in self._arrivals()]

    def disordered(self):
        """Return numbers with events that first arrived in another order than accepted."""
        return [
            number
            for arrivals in self._arrivals()
            for number, answered in self.answered.items()
            if not is_in_order(arrivals, number, answered)
        ]

    def _arrivals(self):
        return self.confirmed, self.written()


def is_in_order(arrivals, number, answered):
    """Return whether the first arrivals of a number are a prefix of `answered`.

    One more event may follow: it was accepted, but not acknowledged before the kill.
    """
    first = list(dict.fromkeys(event_id for to, event_id in arrivals if to == number))
    return first[: len(answered)] == answered[: len(first)] and len(first) <= len(answered) + 1


@contextlib.asynccontextmanager
async def ordered(folder, **named):
    """Yield the oracle of a service with two sinks, an endpoint and a file, ordered by number."""
    async with endpoint() as end:
        log = "log: {type: file, path: events.jsonl, ordered_by: data.to}"
        retry = f"{{schedule: [0s{', 50ms' * 20}]}}"
        crm = f"crm: {{type: http, url: '{end.url}', ordered_by: data.to, retry: {retry}}}"
        service = live.Live(folder, config([log, crm]), **named)
        try:
            yield Ordered(service, end, random.Random(2026))
        finally:
            await asyncio.to_thread(service.__exit__)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rounds", ROUNDS)
async def test_kills_keep_the_order_of_each_value(tmp_path, rounds):
    """Repeats are allowed. Mutants, below: `without_order` and `release_all`."""
    async with ordered(tmp_path) as oracle:
        await oracle.run(rounds)
        await asyncio.to_thread(oracle.service.start)
        async with asyncio.timeout(60 + rounds):
            while any(oracle.missing()):  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.1)
        code = await asyncio.to_thread(oracle.service.stop)

        assert code == 0
        assert sum(map(len, oracle.answered.values())) > rounds * VALUES
        assert oracle.disordered() == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name", ["without_order", pytest.param("release_all", marks=pytest.mark.nightly)]
)
async def test_order_oracle_catches_the_mutant(tmp_path, name):
    async with ordered(tmp_path, program=mutant(name)) as oracle:
        for _ in range(30):
            await oracle.run(1)
            if oracle.disordered():
                return

    pytest.fail("thirty kills of the mutant kept the order: the oracle sees nothing")


# Rotation


class Rotated:
    """A file sink that rotates every few lines, with the events that its files must hold."""

    def __init__(self, folder, *, compress, program=None):
        rotate = f"{{size: 8KiB, keep: 5000, compress: {str(compress).lower()}}}"
        text = config([f"log: {{type: file, path: events.jsonl, rotate: {rotate}}}"])
        self.service = live.Live(folder, text, program=program)
        self.folder, self.chance = folder, random.Random(2026)
        self.answered, self._sent = set(), 0

    def run(self, rounds):
        """Return ids that counted as delivered after a kill, but were in no file."""
        lost = set()
        for _ in range(rounds):
            self.service.start()
            asyncio.run(self._round(Moment(self.chance, (30, 250))))
            lost |= self._delivered() - self.written()
        return lost

    async def _round(self, moment):
        path = self.service.callback_url().removeprefix(self.service.url)

        def until_killed():
            while not moment.is_over:
                self._sent += 1
                yield self._sent, live.sms(self._sent, at=1_700_000_000)
                moment.step()

        async def send():
            address = self.service.address()
            for answer in await load.send(address, path, until_killed(), clients=8):
                self.answered.update(answer.accepted)

        await moment.kill(self.service, [send()])

    def _delivered(self):
        conn = sqlite3.connect(self.folder / "smshook.db")
        rows = conn.execute(
            "select events.id from deliveries join events on events.seq = deliveries.event"
            " where state = 'delivered'"
        ).fetchall()
        conn.close()
        return {event_id for (event_id,) in rows}

    def files(self):
        """Return decompressed contents by name, without unfinished files."""
        return {
            path.name: decompressed(path)
            for path in self.folder.glob("events.jsonl*")
            if path.suffix != ".unfinished"
        }

    def written(self):
        """Return the event ids of all whole lines. Only the current file may end in a torn line."""
        ids = set()
        for name, data in self.files().items():
            *lines, tail = data.split(b"\n")
            assert not tail or name == "events.jsonl", f"{name} ends in a torn line"
            ids.update(json.loads(line)["id"] for line in lines)
        return ids


def decompressed(path):
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""  # renamed after the listing: the next call finds it
    if path.suffix != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except EOFError:
        return b""  # truncated: its lines do not count


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("rounds", ROUNDS)
def test_kills_during_rotation_lose_no_line(tmp_path, rounds, compress):
    """Mutants, below: `confirm_first` and `compress_in_place`."""
    oracle = Rotated(tmp_path, compress=compress)
    with contextlib.ExitStack() as stack:
        stack.push(oracle.service)

        lost = oracle.run(rounds)
        oracle.service.start()
        live.eventually(lambda: oracle.answered <= oracle.written(), within=60)
        code = oracle.service.stop()

    assert (lost, code) == (set(), 0)
    files = oracle.files()
    # Lines that are written together share a file: a fast machine makes fewer files.
    assert len(files) > rounds
    assert all(data.endswith(b"\n") for data in files.values())
    assert not list(tmp_path.glob("*.unfinished"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name", ["confirm_first", pytest.param("compress_in_place", marks=pytest.mark.nightly)]
)
def test_rotation_oracle_catches_the_mutant(tmp_path, name):
    oracle = Rotated(tmp_path, compress=True, program=mutant(name))
    with contextlib.ExitStack() as stack:
        stack.push(oracle.service)
        for _ in range(30):
            if oracle.run(1):
                return

    pytest.fail("thirty kills of the mutant lost nothing: the oracle sees nothing")
