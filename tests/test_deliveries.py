"""Promises 3 and 4 with real processes: each event arrives, with its id, and delays no other."""

import asyncio
import collections
import contextlib
import sqlite3
import sys
from pathlib import Path

import endpoint
import httpx
import live
import pytest
from serving import free_port

KILL_AT = Path(__file__).parent / "failpoints" / "kill_at.py"
STEPS = ("recorded", "begun", "sent", "settling", "settled")
#: Kills in CI, and every night.
KILLS = [1, pytest.param(3, marks=pytest.mark.nightly)]
SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cywgbG9uZyBlbm91Z2g="

CONFIG = live.CONFIG.replace(
    """sinks:
  log: {type: file, path: events.jsonl}
routes:
  everything: {to: [log]}
""",
    """sinks:
@SINKS@
routes:
  everything: {to: [@NAMES@]}
""",
)


def config(**sinks):
    lines = "\n".join(f"  {name}: {options}" for name, options in sinks.items())
    return CONFIG.replace("@SINKS@", lines).replace("@NAMES@", ", ".join(sinks))


def http(url, more=""):
    return f'{{type: http, url: "{url}", secrets: ["{SECRET}"]{more}}}'


@contextlib.asynccontextmanager
async def running(folder, text, **named):
    service = live.Live(folder, text, **named)
    await asyncio.to_thread(service.start)
    try:
        yield service
    finally:
        await asyncio.to_thread(service.__exit__)


async def accepted(service, client, number, **said):
    """Send one callback, and return the id of its event."""
    answer = await client.post(service.callback_url(), content=live.sms(number, **said))
    assert answer.json()["status"] == "accepted"
    return answer.json()["events"][0]


async def eventually(check, within):
    async with asyncio.timeout(within):
        while not check():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.02)


def arrived(end):
    """Return the ids in the order of arrival."""
    return [request.headers["webhook-id"] for request in end.requests]


# A sink that is down


@pytest.mark.slow
async def test_pending_deliveries_arrive_after_a_sink_is_back(tmp_path):
    """One sink hangs, one refuses connections, one answers 500. The fourth is not delayed.

    All callbacks are answered while a sink hangs. The benchmarks measure how fast.

    Mutants: a door that waits for a sink; one queue for all sinks; a recovered sink is found only
    by the schedule; a success makes no other delivery due; no order; a new id for each attempt.
    """
    port, back = free_port(), asyncio.Event()

    received = {"hangs": [], "fails": []}

    def until_back(name, answer):
        async def usual(request, connection):
            if not back.is_set():
                return await answer(request, connection)
            received[name].append(request.headers["webhook-id"])
            return await endpoint.reply(200)(request, connection)

        return usual

    async with (
        endpoint.endpoint() as hangs,
        endpoint.endpoint() as fails,
        endpoint.endpoint() as works,
    ):
        hangs.usual = until_back("hangs", endpoint.hang)
        fails.usual = until_back("fails", endpoint.reply(500))
        text = config(
            hangs=http(f"{hangs.url}/a", ", timeout: 1s"),
            refuses=http(f"http://127.0.0.1:{port}/b"),
            fails=http(f"{fails.url}/c", ", ordered_by: data.to"),
            works=http(f"{works.url}/d"),
        )
        async with running(tmp_path, text) as service, httpx.AsyncClient(trust_env=False) as client:
            ids = []
            for number in range(30):
                to = f"1850555000{number % 3}"
                ids.append(await accepted(service, client, number, to=to))
                await asyncio.sleep(0.1)
            await eventually(lambda: set(arrived(works)) == set(ids), 30)
            at_the_fourth = arrived(works)

            async with endpoint.endpoint(port=port) as refuses:
                back.set()
                await eventually(
                    lambda: all(
                        set(got) == set(ids) for got in (arrived(refuses), *received.values())
                    ),
                    within=30,
                )
                await asyncio.to_thread(
                    live.eventually,
                    lambda: service.stats()["deliveries"]["delivered"] == 4 * len(ids),
                )
                stats = service.stats()

    assert at_the_fourth == ids
    assert stats["deliveries"] == {
        "pending": 0, "sending": 0, "delivered": 4 * len(ids), "dead": 0, "expired": 0,
    }  # fmt: skip
    for first in range(3):
        line = ids[first::3]
        assert [one for one in received["fails"] if one in line] == line


# kill -9 between each pair of steps


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("rounds", KILLS)
async def test_delivery_killed_at_any_step_is_made(tmp_path, step, rounds):
    """Each event is delivered with its id. There is at most one duplicate for each kill."""
    sent, kills, got = await killed_and_restarted(tmp_path, step, rounds=rounds)

    counted = collections.Counter(got)
    assert set(counted) == set(sent)
    assert kills == rounds
    assert sum(counted.values()) - len(sent) <= kills


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("rounds", KILLS)
async def test_killed_service_keeps_the_order_of_a_number(tmp_path, step, rounds):
    """Mutant: at the next start queued deliveries are sent by due time, not by acceptance."""
    ordered = ", ordered_by: data.to"

    sent, _, got = await killed_and_restarted(tmp_path, step, rounds=rounds, more=ordered)

    assert list(dict.fromkeys(got)) == sent


@pytest.mark.slow
async def test_oracle_catches_settling_before_sending(tmp_path):
    """This tests the test: it must notice a lost event."""
    sent, _, got = await killed_and_restarted(tmp_path, "begun", "settle_first", rounds=1)

    assert set(sent) - set(got)


async def killed_and_restarted(folder, *step, rounds, more=""):
    """Send callbacks to a service that dies at a step and starts again.

    Return the sent ids, the number of kills, and the ids that arrived.
    """
    sent, kills = [], 0
    async with endpoint.endpoint() as end:
        text = config(crm=http(f"{end.url}/hooks", f", concurrency: 1{more}"))
        dies = [sys.executable, str(KILL_AT), *step]
        for number in range(rounds):
            service = live.Live(folder, text, program=dies)
            await asyncio.to_thread(service.start)
            sent += await asyncio.to_thread(sent_before_it_dies, service, number)
            kills += await asyncio.to_thread(service.process.wait, 10) != 0
            async with running(folder, text) as restarted:
                # The deliveries from before the kill may be pending now.
                event_id = await asyncio.to_thread(restarted.accept, rounds + number)
                sent.append(event_id)
                await asyncio.to_thread(wait_until_settled, restarted)
        return sent, kills, arrived(end)


def sent_before_it_dies(service, number):
    """Return the event ids of the answer, or of the journal if there was no answer."""
    with contextlib.suppress(httpx.TransportError):
        return service.post(live.sms(number)).json()["events"]
    with sqlite3.connect(service.folder / "smshook.db") as conn:
        rows = conn.execute("select id from events order by seq desc limit 1").fetchall()
    conn.close()
    return [id_ for (id_,) in rows]


def wait_until_settled(service):
    def all_ended():
        states = service.stats()["deliveries"]
        return not states["pending"] and not states["sending"]

    live.eventually(all_ended, within=10)


# A hundred thousand


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_hundred_thousand_pending_deliveries_stay_on_disk(tmp_path):
    """Mutant: a queue without a bound (300 MiB and more)."""
    up = asyncio.Event()

    async def answers(request, connection):
        await up.wait()
        await endpoint.reply(200)(request, connection)

    async with endpoint.endpoint() as end:
        end.usual = answers
        text = config(crm=http(f"{end.url}/hooks"))
        async with running(tmp_path, text) as service:
            for number in range(100):
                await asyncio.to_thread(service.accept, number)
        add_deliveries(tmp_path / "smshook.db", 100_000)

        async with running(tmp_path, text) as service:
            held = service.stats()["deliveries"]
            await asyncio.to_thread(service.accept, 1000)
            memory = [resident(service.process.pid)]
            up.set()
            done = held["delivered"] + 1000
            await asyncio.to_thread(
                live.eventually,
                lambda: service.stats()["deliveries"]["delivered"] >= done,
                within=90,
            )
            memory.append(resident(service.process.pid))

    assert held["pending"] + held["sending"] >= 100_000
    assert max(memory) < 150 * 1024**2


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_new_event_goes_before_a_hundred_thousand_retries(tmp_path):
    """Also after a start. Mutant: it waits behind all of them."""
    async with endpoint.endpoint() as end:
        end.usual = endpoint.reply(200)
        text = config(crm=http(f"{end.url}/hooks"))
        async with running(tmp_path, text) as service:
            for number in range(100):
                await asyncio.to_thread(service.accept, number)
            await asyncio.to_thread(wait_until_settled, service)
        add_deliveries(tmp_path / "smshook.db", 100_000, attempts=1)

        async with running(tmp_path, text) as service:
            event_id = await asyncio.to_thread(service.accept, 1000)
            accepted = len(end.requests)
            await eventually(lambda: event_id in arrived(end), within=90)
            ahead = arrived(end).index(event_id) - accepted

    # Some attempts were under way, and some were made while this process was asleep.
    assert ahead < 1000


def add_deliveries(path, count, *, attempts=0):
    """Add `count` deliveries of the stored events to the sink `crm`."""
    conn = sqlite3.connect(path)
    with conn:
        each = "select value from counters where name = 'events'"
        conn.execute(
            """
            with recursive times(n) as (select 1 union all select n + 1 from times where n < ?)
            insert into deliveries (event, sink, state, attempts, due_at, accepted_at)
            select seq, 'crm', 'pending', ?, recorded_at, recorded_at from events, times
            """,
            (count // conn.execute(each).fetchone()[0], attempts),
        )
        conn.execute(
            "update counters set value = (select count(*) from deliveries where state = 'pending')"
            " where name = 'deliveries.pending'"
        )
    conn.close()


def resident(pid):
    """Return the resident memory of a process in bytes."""
    [line] = [
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    ]
    return int(line.split()[1]) * 1024
