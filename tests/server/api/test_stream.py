"""`GET /v1/events/stream`."""

import contextlib
import json

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from server.api import stream
from server.api.reading import write
from server.api.stream import encode

PATH = "/v1/events/stream"


async def test_stream_gives_new_events_as_they_are_listed(service):
    await service.sms()
    async with service.call(PATH) as call:
        await call.begun()
        assert await call.frame() == b":"
        second, third = await service.sms(), await service.hero()
        frames = await call.frames(2)

    listed = (await service.ask("/v1/events")).json()["data"][1:]
    assert [(cursor, event) for cursor, _, event in frames] == [
        (item["cursor"], item["event"]) for item in listed
    ]
    assert [event["id"] for _, _, event in frames] == [second, third]
    assert {kind for _, kind, _ in frames} == {"sms.received"}
    assert {name: call.headers[name] for name in ("content-type", "x-accel-buffering")} == {
        "content-type": "text/event-stream; charset=utf-8",
        "x-accel-buffering": "no",
    }
    assert call.headers["cache-control"] == "no-store"


async def test_events_of_several_commits_are_one_write(service, monkeypatch):
    """So 20 streams of 1,000 events a second need far fewer than 20,000 writes a second.

    Mutant: a write for each commit.
    """
    monkeypatch.setattr(stream, "GATHER", 0.5)
    writes = []

    async def counted(send, part, *, more=False):
        writes.append(part.count(b"data: "))
        await write(send, part, more=more)

    monkeypatch.setattr(stream, "write", counted)
    async with service.call(PATH) as call:
        await call.begun()
        assert await call.frame() == b":"
        ids = [await service.sms() for _ in range(5)]
        frames = await call.frames(5)

    assert [event["id"] for _, _, event in frames] == ids
    assert 0 < len([count for count in writes if count]) <= 3


async def test_stream_begins_at_the_oldest_event(service):
    ids = [await service.sms() for _ in range(3)]

    async with service.call(f"{PATH}?after=start") as call:
        await call.begun()
        frames = await call.frames(3)

    assert [event["id"] for _, _, event in frames] == ids


async def test_stream_resumes_after_a_cursor(service):
    """Mutant: `after` comes before the header, which a browser sends when it reconnects."""
    ids = [await service.sms() for _ in range(4)]
    first, second, *_ = (await service.ask("/v1/events")).json()["data"]

    for by in ("header", "parameter", "both"):
        query = {"header": "", "parameter": f"?after={second['cursor']}"}.get(
            by, f"?after={first['cursor']}"
        )
        headers = {} if by == "parameter" else {"Last-Event-ID": second["cursor"]}

        async with service.call(PATH + query, headers=headers) as call:
            await call.begun()
            frames = await call.frames(2)

        assert [event["id"] for _, _, event in frames] == ids[2:], by


#: The events of a stream, by key and query.
SHOWN = {
    ("admin", "?service=amazon"): "b",
    ("admin", "?source=herosms"): "c",
    ("admin", "?number=18505554729&code=true"): "ab",
    ("admin", "?type=rental.billed"): "",
    ("admin", "?since=1h&until=10m"): "",
    ("growth", ""): "ab",
    ("growth", "?service=go&service=google"): "a",
}


async def test_stream_shows_events_of_its_filter_and_key(service):
    """Mutants: the `when` of the key, or a filter, is not used for new events."""
    async with contextlib.AsyncExitStack() as stack:
        all_ = await stack.enter_async_context(service.call(f"{PATH}?after=start"))
        live = {}
        for key, query in SHOWN:
            live[key, query] = await stack.enter_async_context(service.call(PATH + query, key))
            await live[key, query].begun()
        # The hidden one first: then its place in the stream would be taken.
        names = {
            await service.hero(): "c",
            await service.sms(): "a",
            await service.sms(service="Amazon"): "b",
        }
        frames = {call: await live[call].frames(len(shown)) for call, shown in SHOWN.items()}
        await all_.begun()
        assert len(await all_.frames(3)) == 3

    again = {}
    for (key, query), shown in SHOWN.items():
        later = f"{PATH}{query}{'&' if query else '?'}after=start"
        async with service.call(later, key) as stored:
            await stored.begun()
            again[key, query] = await stored.frames(len(shown))

    found = {
        call: "".join(names[event["id"]] for _, _, event in those) for call, those in frames.items()
    }
    assert found == SHOWN
    assert again == frames


async def test_codes_are_masked_in_streams_and_waits(service):
    """Mutants: not masked; masked for everyone, because the forms are shared."""
    async with service.call(PATH, "reader") as reader, service.call(PATH, "coder") as coder:
        await reader.begun(), await coder.begun()
        await service.sms(pin="4711", reply="4711 is it")
        [[cursor, _, masked]] = await reader.frames(1)
        [[_, _, clear]] = await coder.frames(1)

    waited = (await service.ask("/v1/events/wait?since=1h", "reader")).json()
    assert (masked["data"]["code"], masked["data"]["text"]) == ("***", "***")
    assert clear["data"]["code"] == "4711"
    assert waited == {"cursor": cursor, "event": masked}


async def test_idle_stream_sends_comments(service, monkeypatch):
    monkeypatch.setattr(stream, "HEARTBEAT", 0.01)
    async with service.call(PATH) as call:
        await call.begun()
        comments = [await call.frame() for _ in range(4)]
        event_id = await service.sms()
        [[_, _, event]] = await call.frames(1)

    assert set(comments) == {b":"}
    assert event["id"] == event_id


@pytest.mark.parametrize("path", [PATH, "/v1/events/wait"])
async def test_cursor_that_cannot_be_resumed_is_refused(service, run, tmp_path, path):
    (tmp_path / "other").mkdir()
    async with run(tmp_path / "other") as other:
        foreign = (await other.ask("/v1/events")).json()["next_cursor"]

    bad = await service.ask(f"{path}?after=nonsense")
    gone = await service.ask(f"{path}?after={foreign}")

    assert (bad.status_code, bad.json()["code"]) == (400, "bad_parameter")
    assert (gone.status_code, gone.json()["code"]) == (410, "cursor_gone")


async def test_bad_last_event_id_is_refused_by_its_name(service):
    answer = await service.ask(PATH, headers={"Last-Event-ID": "nonsense"})

    assert (answer.status_code, answer.json()["detail"].partition(":")[0]) == (400, "Last-Event-ID")


async def test_readers_need_a_key_a_scope_and_get(service):
    calls = ((None, "GET"), ("writer", "GET"), ("admin", "POST"), ("admin", "HEAD"))
    for path in (PATH, "/v1/events/wait?since=1h"):
        statuses = [
            (await service.ask(path, key, method=method)).status_code for key, method in calls
        ]

        assert statuses == [401, 403, 405, 405]


async def test_readers_end_when_the_service_stops(service):
    """Mutant: `close` ends no wait."""
    async with (
        service.call(PATH) as call,
        service.call("/v1/events/wait?since=1h") as wait,
    ):
        await call.begun()
        assert await call.frame() == b":"
        await service.waiting(2)
        service.hub.close()

        assert await call.frame() is None
        status, problem = await wait.answer()

    after = await service.ask(PATH)
    assert (status, problem["code"]) == (503, "reader_ended")
    assert "smshook-cursor" in wait.headers
    assert (after.status_code, after.headers["retry-after"]) == (503, "5")


@settings(max_examples=examples(40))
@given(
    cursor=st.text("abc-_=", min_size=1),
    kind=st.sampled_from(["sms.received", "order.expired"]),
    event=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.text("a\x85\u2028\u2029\v\x1c"),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    indent=st.sampled_from([None, 1]),
)
def test_frame_is_read_back_as_it_was_sent(cursor, kind, event, indent):
    """Read as the HTML standard says, 9.2.6, and with `splitlines`, as libraries do.

    Mutants: line ends of the JSON stay; U+2028 and its like stay.
    """
    text = json.dumps(event, indent=indent, ensure_ascii=False).replace("\n", "\r\n")
    frame = encode(cursor, kind, text.encode("utf-8", "surrogatepass"))

    whole = frame.decode("utf-8", "surrogatepass").replace("\r\n", "\n").replace("\r", "\n")
    *lines, empty, end = whole.split("\n")
    fields = [line.split(": ", 1) for line in lines]
    assert (empty, end) == ("", "")
    assert [name for name, _ in fields] == ["id", "event", "data"]
    assert (fields[0][1], fields[1][1], json.loads(fields[2][1])) == (cursor, kind, event)
    assert whole.splitlines() == [*lines, ""]
