"""Every POST takes an `Idempotency-Key`: a repeated call is done once."""

import asyncio
import json
import sqlite3

from server.runtime.calls import KEPT, forget_calls
from sinks.sink import Receipt

SINKS = {"json": {"sinks": ["log"]}}


async def call(service, path, idempotency_key, key="admin", **sent):
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    return await service.ask(path, key, method="POST", headers=headers, **sent)


async def replays(service, event_id):
    """Return the ids of all replays of an event."""
    whole = (await service.ask(f"/v1/events/{event_id}")).json()
    return [one["id"] for one in whole["deliveries"][1:]]


def result(answer):
    return answer.status_code, answer.json()


def problem(answer):
    return answer.status_code, answer.json()["code"]


async def test_repeated_replay_makes_nothing_twice(run, tmp_path):
    """Also after a restart. Mutants: stored in memory; stored before the act."""
    async with run(tmp_path) as service:
        event_id = await service.sms()
        path = f"/v1/events/{event_id}/replay"
        first = await call(service, path, "once", **SINKS)
        again = await call(service, path, "once", **SINKS)
        other = await call(service, path, "twice", **SINKS)
        without = await call(service, path, None, **SINKS)
    async with run(tmp_path) as service:
        later = await call(service, path, "once", **SINKS)
        made = await replays(service, event_id)

    assert result(first) == result(again) == result(later)
    assert made == [one.json()["deliveries"][0] for one in (first, other, without)]


async def test_key_for_another_request_is_422(service):
    """Mutants: only the path is compared; only the body."""
    one, two = await service.sms(), await service.sms()
    await call(service, f"/v1/events/{one}/replay", "once", **SINKS)

    answers = [
        await call(service, f"/v1/events/{two}/replay", "once", **SINKS),
        await call(service, f"/v1/events/{one}/replay", "once"),
        await call(service, "/v1/sinks/log/pause", "once"),
    ]

    assert {problem(answer) for answer in answers} == {(422, "idempotency_key_reused")}
    assert len(await replays(service, one)) == 1
    assert await replays(service, two) == []


async def test_key_belongs_to_an_api_key(service):
    """Mutant: the second client gets the first one's answer and its own call is not done."""
    event_id = await service.sms()
    path = f"/v1/events/{event_id}/replay"

    answers = [await call(service, path, "once", name, **SINKS) for name in ("admin", "writer")]

    made = [answer.json()["deliveries"][0] for answer in answers]
    assert made == await replays(service, event_id)


async def test_simultaneous_calls_are_done_once(service):
    """Mutant: a second call looks the key up before the first is stored."""
    event_id = await service.sms()
    path = f"/v1/events/{event_id}/replay"

    answers = await asyncio.gather(*(call(service, path, "once", **SINKS) for _ in range(5)))
    other = await asyncio.gather(
        *(call(service, path, "other", json={"sinks": name}) for name in (["log"], None))
    )

    [done] = [answer for answer in answers if answer.status_code == 200]
    waiting = [answer for answer in answers if answer is not done]
    assert {problem(answer) for answer in waiting} == {(409, "in_progress")}
    assert {answer.headers["retry-after"] for answer in waiting} == {"1"}
    assert sorted(answer.status_code for answer in other) == [200, 422]
    assert len(await replays(service, event_id)) == 2


async def test_cut_off_call_that_is_written_later_is_done_once(service):
    """The client gave up while the disk was slow, and asks again before the write.

    Mutant: the journal does not look for the key.
    """
    event_id = await service.sms()
    path = f"/v1/events/{event_id}/replay"
    submit, held = service.journal.submit, []
    service.journal.submit = lambda write: held.append(write) or asyncio.Future()
    cut_off = asyncio.create_task(call(service, path, "once", **SINKS))
    async with asyncio.timeout(10):
        while not held:  # noqa: ASYNC110 - the write has no event
            await asyncio.sleep(0)
    cut_off.cancel()
    await asyncio.gather(cut_off, return_exceptions=True)
    first = []

    def behind(write):
        first.append(submit(held[0]))
        return submit(write)

    service.journal.submit = behind
    again = await call(service, path, "once", **SINKS)
    service.journal.submit = submit
    last = await call(service, path, "once", **SINKS)

    assert problem(again) == (409, "in_progress")
    assert last.json()["deliveries"] == await replays(service, event_id)
    assert len(last.json()["deliveries"]) == 1
    assert len((await first[0]).ids) == 1


async def test_failed_call_can_be_repeated(service):
    """It made nothing, so nothing is stored."""
    path = f"/v1/events/{await service.sms()}/replay"

    answers = [
        await call(service, path, "once", json={"sinks": [name]}) for name in ("none", "log")
    ]

    assert [answer.status_code for answer in answers] == [422, 200]


async def test_repeated_retry_does_not_restart_the_schedule(service):
    event_id = await service.sms()
    await service.attempted()
    [delivery] = await service.data("/v1/deliveries", event=event_id)
    path = f"/v1/deliveries/{delivery['id']}/retry"

    first = await call(service, path, "once")
    service.now += 60
    again = await call(service, path, "once")
    other = await call(service, path, "other")

    assert first.status_code == again.status_code == 200
    assert again.json()["accepted_at"] == first.json()["accepted_at"]
    assert other.json()["accepted_at"] > first.json()["accepted_at"]


async def test_repeated_pause_does_not_pause_again(service):
    """The client's retry arrives after the sink was resumed."""
    first = await call(service, "/v1/sinks/log/pause", "once")
    resumed = await call(service, "/v1/sinks/log/resume", "back")
    again = await call(service, "/v1/sinks/log/pause", "once")
    await call(service, "/v1/sinks/log/pause", "once-more")
    back = await call(service, "/v1/sinks/log/resume", "back")

    states = [answer.json()["state"] for answer in (first, resumed, again, back)]
    assert states == ["paused", "active", "active", "paused"]


async def test_repeated_test_of_a_sink_sends_nothing(service):
    sent = []

    async def send(outgoing):
        sent.append(outgoing)
        return Receipt(status=204)

    async with service.delivering(send):
        await asyncio.sleep(0)
        first, again = [await call(service, "/v1/sinks/log/test", "once") for _ in range(2)]

    assert len(sent) == 1
    assert first.json()["request"]
    assert again.json() == {**first.json(), "request": None, "answer": None}


async def test_test_of_a_sink_needs_no_journal(service, locked):
    """Mutant: a call without the header is stored."""

    async def send(_outgoing):
        return Receipt(status=204)

    async with service.delivering(send):
        await asyncio.sleep(0)
        with locked():
            answer = await call(service, "/v1/sinks/log/test", None)

    assert (answer.status_code, answer.json()["outcome"]) == (200, "delivered")


async def test_repeated_order_is_the_same_order(service):
    """With 201 again. Without the key it would be 200."""
    body = {"source": "herosms", "activation_id": "1", "reference": "a"}

    first, again = [await call(service, "/v1/orders", "once", json=body) for _ in range(2)]
    plain = await call(service, "/v1/orders", None, json=body)
    known = [await call(service, "/v1/orders", "known", json=body) for _ in range(2)]

    assert result(first) == result(again)
    assert first.status_code == 201
    assert plain.status_code == 200
    assert [answer.status_code for answer in known] == [200, 200]


async def test_repeated_replay_of_quarantine_answers_its_events(tmp_path, run):
    """The callback has left quarantine. Mutant: 404."""
    body = b'{"activationId": 7, "service": "go", "text": "t", "extra": NaN}'
    async with run(tmp_path, in_clear="its row is edited") as service:
        entry = (await service.post(body, "herosms"))["id"]
        with sqlite3.connect(service.config.journal.path) as conn:
            conn.execute("update quarantine set body = ?", (body.replace(b"NaN", b"1"),))
        conn.close()
        path = f"/v1/quarantine/{entry}/replay"

        first, again = [await call(service, path, "once") for _ in range(2)]
        without = await call(service, path, None)

    assert result(first) == result(again)
    assert first.json()["status"] == "accepted"
    assert without.status_code == 404


async def test_repeated_seek_does_not_move_a_consumer_again(service):
    """The consumer has gone on meanwhile."""
    for _ in range(3):
        await service.sms()
    cursor = (await service.data("/v1/events"))[-1]["cursor"]
    start, end = {"json": {"time": "1h"}}, {"json": {"cursor": cursor}}

    first = await call(service, "/v1/consumers/crm/seek", "once", **start)
    moved = await call(service, "/v1/consumers/crm/commit", "done", **end)
    again = await call(service, "/v1/consumers/crm/seek", "once", **start)
    await call(service, "/v1/consumers/crm/seek", "twice", **start)
    done = await call(service, "/v1/consumers/crm/commit", "done", **end)

    behind = [answer.json()["behind"] for answer in (first, moved, again, done)]
    assert behind == [3, 0, 0, 3]


async def test_repeated_creation_of_a_key_is_409(service):
    """The key cannot be shown again. Mutant: the second call makes another key."""
    body = {"name": "crm", "scopes": ["events:read"]}

    first, again = [await call(service, "/v1/keys", "once", json=body) for _ in range(2)]

    assert problem(again) == (409, "already_made")
    assert again.json()["id"] == first.json()["id"]


async def test_call_is_forgotten_after_a_day(service):
    """Mutants: kept forever; the row is removed, but not before it counts no more."""
    event_id = await service.sms()
    path = f"/v1/events/{event_id}/replay"
    await call(service, path, "once", **SINKS)
    service.now += KEPT - 1
    await call(service, path, "once", **SINKS)
    await call(service, path, "young", **SINKS)
    within = len(await replays(service, event_id))
    service.now += 2
    await call(service, path, "once", **SINKS)
    after = len(await replays(service, event_id))
    service.now += KEPT - 1
    forgetting = asyncio.create_task(forget_calls(service.journal, lambda: service.now))
    async with asyncio.timeout(30):
        while len(stored(service)) > 1:  # noqa: ASYNC110 - the disk has no event
            await asyncio.sleep(0.01)
    forgetting.cancel()

    assert (within, after) == (2, 3)


def stored(service):
    with sqlite3.connect(service.config.journal.path) as conn:
        rows = conn.execute("select key, request, answer from made_calls").fetchall()
    conn.close()
    return rows


async def test_stored_call_has_no_text_of_the_request(service):
    """Mutant: the header and the body in clear."""
    body = {"source": "herosms", "activation_id": "8675309", "number": "+18505554729"}
    await call(service, "/v1/orders", "signup-of-jane", json=body)

    [(key, request, answer)] = stored(service)

    assert len(key) == len(request) == 32
    assert list(json.loads(answer)) == ["id"]


async def test_wrong_idempotency_key_is_400(service):
    for sent in ("", "two words", "ü", "x" * 256):
        headers = {"Idempotency-Key": sent.encode()}

        answer = await service.ask("/v1/sinks/log/pause", method="POST", headers=headers)

        assert problem(answer) == (400, "bad_idempotency_key")
