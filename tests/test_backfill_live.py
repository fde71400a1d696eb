"""Sources are polled in time and on request; errors are logged, and no event is sent twice."""

import asyncio
import base64
import contextlib
import json
import time
from datetime import datetime

import live
import pytest
from journals import shell
from outage import Outage, configured
from rehearsing import KEY as PROVIDER_KEY
from rehearsing import running

from core.clock import rfc3339
from rehearsal.account import Fault
from rehearsal.exchange import Answer
from rehearsal.simulation import NewMessage, NewOrder

WRONG = "k3y-that-nobody-knows"


@contextlib.asynccontextmanager
async def asked(folder, provider, port, **options):
    """A service that polls the simulated provider."""
    callback = f"http://127.0.0.1:{port}/in/theirs/{live.TOKEN}"
    async with running(provider, callback=callback, speed=100_000.0) as (simulation, client):
        service = live.Live(folder, configured(provider, client, port, **options))
        try:
            await asyncio.to_thread(service.start)
            yield Outage(service, simulation, provider)
        finally:
            service.__exit__(None)


def source(service):
    return service.api("/sources").json()["data"][0]


async def test_source_without_callbacks_is_polled_by_timer(tmp_path, unused_tcp_port):
    """Mutant: no timer."""
    async with asked(tmp_path, "smspins", unused_tcp_port, every="200ms") as outage:
        await outage.run()
        outage.message(await outage.order(), "Your code is 111101")
        await outage.eventually(1)
        [event] = await outage.events()
        shown = await asyncio.to_thread(source, outage.service)

    assert (event["data"]["code"], event["data"]["channel"]) == ("111101", "poll")
    assert (shown["backfill"]["run"]["why"], shown["last_callback_at"]) == ("timer", None)
    assert shown["state"] == "polled"


async def test_repeated_poll_result_counts_as_one_duplicate(tmp_path, unused_tcp_port):
    """Mutants: another duplicate in each run; a line in the log for each."""
    async with asked(tmp_path, "sms_activate", unused_tcp_port) as outage:
        await outage.run()
        outage.message(await outage.order(), "Your code is 111101")
        await outage.eventually(1)
        runs = []
        for _ in range(3):
            result = await asyncio.to_thread(
                outage.service.run, "backfill", "theirs", "--output", "json"
            )
            runs.append(result)
        [event] = await outage.events()
        shown = await asyncio.to_thread(outage.service.api, f"/events/{event['id']}")
        stats = await asyncio.to_thread(outage.service.stats)
        logged = outage.service.logged()

    assert [copy["channel"] for copy in shown.json()["duplicates"]] == ["poll"]
    assert event["data"]["to"] == f"+{outage.simulation.account.messages[0].to}"
    assert (stats["events"], stats["duplicates"]) == (1, 1)
    assert [line["event"] for line in logged].count("callback.duplicate") == 0
    assert stats["deliveries"] == {
        "pending": 0, "sending": 0, "delivered": 1, "dead": 0, "expired": 0
    }  # fmt: skip


async def test_row_with_two_messages_is_stored_once(tmp_path, unused_tcp_port):
    """Mutant: the whole row with each of its events."""
    async with asked(tmp_path, "smspins", unused_tcp_port, every="200ms") as outage:
        await outage.run()
        order = await outage.order()
        for text in ("Your code is 111101", "Your code is 222202"):
            outage.simulation.receive(order.id, NewMessage(text=text, same_check=True))
        await outage.eventually(2)
        events = await outage.events()
        raw = [
            await asyncio.to_thread(outage.service.api, f"/events/{event['id']}?raw=true")
            for event in events
        ]
        with shell(tmp_path / "smshook.db") as conn:
            rows = conn.execute("select 1 from callbacks where channel = 'poll'").fetchall()
    [body] = {answer.json()["raw"]["body"] for answer in raw}

    assert {event["data"]["code"] for event in events} == {"111101", "222202"}
    assert len(rows) == 1
    assert json.loads(base64.b64decode(body))["smses"] == "Your code is 111101|Your code is 222202"


async def test_reload_polls_by_the_changed_options(tmp_path, unused_tcp_port):
    """Mutants: the source stays stopped; the key of the start; each reload polls; a new source not.

    A source with another name is a new one, and the former one is polled no more.
    """
    async with asked(tmp_path, "smspins", unused_tcp_port, key=WRONG) as outage:
        service, file = outage.service, tmp_path / "smshook.yaml"
        refused = await outage.run()
        text = file.read_text()

        def reload(changed):
            file.write_text(changed)
            assert service.api("/reload", method="POST").status_code == 200

        def run(number, name):
            shown = source(service)
            found = shown["backfill"]["run"]
            is_it = shown["name"] == name and found and found["number"] == number
            return found if is_it and found["finished_at"] else None

        labelled = text.replace("provider: smspins", "provider: smspins\n    labels: {a: b}")
        await asyncio.to_thread(reload, labelled)
        right = labelled.replace(WRONG, PROVIDER_KEY)
        await asyncio.to_thread(reload, right)
        polled = await asyncio.to_thread(live.eventually, lambda: run(2, "theirs"), within=20)
        renamed = right.replace("theirs:", "others:")
        await asyncio.to_thread(reload, renamed)
        first = await asyncio.to_thread(live.eventually, lambda: run(1, "others"), within=20)

    assert (refused["number"], refused["error"]) == (1, "bad_key")
    assert (polled["error"], first["error"]) == (None, None)
    assert [line["source"] for line in service.logged("backfill.finished")] == [
        "theirs",
        "theirs",
        "others",
    ]


@pytest.mark.parametrize(("option", "times"), [("", 0), ("auto_check: true", 1)])
async def test_auto_check_is_sent_only_if_configured(tmp_path, unused_tcp_port, option, times):
    """Once a day for each telephone. Mutants: in each run; without the option."""
    async with asked(tmp_path, "smspins", unused_tcp_port, every="200ms", more=option) as outage:
        await outage.order()
        first = (await outage.run())["number"]
        enough = first + 3
        await asyncio.to_thread(
            live.eventually, lambda: source(outage.service)["backfill"]["run"]["number"] > enough
        )
        written = [one.command for one in outage.simulation.account.asked if one.writes]

    assert written == ["bulk_sms/autocheck"] * times


async def test_bad_key_stops_polling_until_a_manual_backfill(tmp_path, unused_tcp_port):
    """Mutants: the timer still polls; the key in the log or on stderr."""
    async with asked(tmp_path, "herosms", unused_tcp_port, every="200ms", key=WRONG) as outage:
        run = await outage.run()
        before = len(outage.simulation.account.asked)
        await asyncio.sleep(0.7)
        after = len(outage.simulation.account.asked)
        shown = (await asyncio.to_thread(source, outage.service))["backfill"]
        result = await asyncio.to_thread(outage.service.run, "backfill", "theirs", check=False)
        listed = await asyncio.to_thread(outage.service.run, "sources", "list")
        again = len(outage.simulation.account.asked)
        logged = outage.service.logged("backfill.finished")
        written = outage.service.log.read_text() + outage.service.errors.read_text()

    assert (run["error"], shown["state"], shown["next_at"]) == ("bad_key", "stopped", None)
    assert before == after < again
    assert "stopped: bad_key" in listed.stdout
    assert {(line["level"], line["error"]) for line in logged} == {("error", "bad_key")}
    assert (result.returncode, "bad_key" in result.stderr) == (1, True)
    assert WRONG not in written + result.stdout + result.stderr


async def test_rate_limited_source_waits_as_long_as_asked(tmp_path, unused_tcp_port):
    """Mutant: `every` alone decides."""
    async with asked(tmp_path, "sms_online", unused_tcp_port, every="200ms") as outage:
        await outage.run()
        outage.simulation.account.faults.append(Fault(fault="rate_limit", seconds=300))
        begin = time.time()

        def busy():
            run = source(outage.service)["backfill"]["run"]
            return run["error"] == "busy" and run["finished_at"]

        await asyncio.to_thread(live.eventually, busy)
        shown = (await asyncio.to_thread(source, outage.service))["backfill"]
        refused = await asyncio.to_thread(
            outage.service.api, "/sources/theirs/backfill", method="POST", json={}
        )
        logged = outage.service.logged("backfill.finished")

    assert (refused.status_code, refused.json()["code"]) == (409, "left_alone")
    assert shown["state"] == "waiting"
    assert datetime.fromisoformat(shown["next_at"]).timestamp() >= begin + 300
    assert (logged[-1]["level"], logged[-1]["error"]) == ("warning", "busy")


async def test_logs_hold_neither_api_key_nor_texts(tmp_path, unused_tcp_port):
    async with asked(tmp_path, "tellabot", unused_tcp_port) as outage:
        outage.message(await outage.order(), "Your code is 111101")
        await outage.eventually(1)
        result = await asyncio.to_thread(
            outage.service.run, "--config", "smshook.yaml", "backfill", "theirs", "--since", "3d"
        )
        written = outage.service.log.read_text() + outage.service.errors.read_text()

    assert "asked" in result.stdout
    assert not [word for word in (PROVIDER_KEY, "111101", "Your code") if word in written]


async def test_order_does_not_expire_before_the_first_poll(tmp_path, unused_tcp_port):
    """An SMS that came while the service was down is in time. Mutant: orders end at the start."""
    async with asked(tmp_path, "sms_activate", unused_tcp_port) as outage:
        await outage.run()
        order = outage.simulation.order(NewOrder())
        body = {"source": "theirs", "activation_id": order.id, "expires": "1s"}
        answer = await asyncio.to_thread(outage.service.api, "/orders", method="POST", json=body)
        await asyncio.to_thread(outage.service.kill)
        outage.message(order, "Your code is 111101")
        await outage.given_up()
        await asyncio.sleep(1.1)
        await asyncio.to_thread(outage.service.start)
        await outage.eventually(1)
        await outage.run()
        await asyncio.sleep(0.5)
        events = await outage.events()
        kept = await asyncio.to_thread(outage.service.api, f"/orders/{answer.json()['id']}")

    assert [event["type"] for event in events] == ["sms.received"]
    assert kept.json()["state"] == "received"


@pytest.mark.parametrize(
    ("path", "body", "key", "status", "code"),
    [
        ("/sources/nobody/backfill", {}, live.KEY, 404, "not_found"),
        ("/sources/tellabot/backfill", {}, live.KEY, 409, "not_configured"),
        ("/sources/tellabot/backfill", {"since": "yesterday"}, live.KEY, 400, "bad_body"),
        ("/sources/tellabot/backfill", {"since": "2000000d"}, live.KEY, 400, "bad_body"),
        ("/sources/tellabot/backfill", {"from": "2d"}, live.KEY, 400, "bad_body"),
        ("/sources/tellabot/backfill", {}, "another-key-0123456789", 401, "unauthorized"),
    ],
)
def test_impossible_backfill_is_refused(resting, path, body, key, status, code):
    answer = resting.api(path, method="POST", json=body, key=key)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.fixture(scope="module")
def resting(tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("resting")) as service:
        yield service


async def test_run_after_a_failed_run_asks_for_the_same_time(tmp_path, unused_tcp_port):
    """Only an event names the order. Mutant: the next run looks at new events alone."""
    async with asked(tmp_path, "smsbower", unused_tcp_port, every="200ms") as outage:
        order = outage.simulation.order(NewOrder())
        outage.message(order, "Your code is 111101")
        await outage.eventually(1)
        await asyncio.to_thread(outage.service.kill)
        age(tmp_path, by=3600)
        outage.message(order, "Your code is 222201")
        await outage.given_up()
        answer_nonsense_once(outage.simulation)
        await asyncio.to_thread(outage.service.start)
        await outage.eventually(2)
        events = await outage.events()
        runs = outage.service.logged("backfill.finished")

    assert [event["data"]["code"] for event in events] == ["111101", "222201"]
    assert "unreadable" in [run.get("error") for run in runs]


def answer_nonsense_once(simulation):
    """Make the next answer one that no document has."""
    answer = simulation.answer

    async def nonsense(_request):
        simulation.answer = answer
        return Answer(status=200, content_type="text/plain", body=b"?")

    simulation.answer = nonsense


def age(folder, *, by):
    """Move the event `by` seconds into the past, and drop the last sign of life."""
    with shell(folder / "smshook.db") as conn:
        [(seq, body)] = conn.execute("select seq, body from events").fetchall()
        event = json.loads(body)
        then = datetime.fromisoformat(event["recordedtime"]).timestamp() - by
        event["recordedtime"] = rfc3339(then)
        conn.execute(
            "update events set recorded_at = ?, body = ? where seq = ?",
            (then, json.dumps(event), seq),
        )
        conn.execute("delete from moments where name = 'alive'")


async def test_last_run_in_the_future_is_ignored(tmp_path, unused_tcp_port):
    """Mutant: the source is not polled until that time has come."""
    async with asked(tmp_path, "sms_online", unused_tcp_port) as outage:
        await outage.run()
        await asyncio.to_thread(outage.service.stop)
        with shell(tmp_path / "smshook.db") as conn:
            conn.execute("update moments set at = at + 86400")
        await asyncio.to_thread(outage.service.start)
        run = await outage.run()

    since = datetime.fromisoformat(run["since"]).timestamp()
    assert since == pytest.approx(time.time() - 2 * 86400, abs=60)
