import asyncio
import contextlib
import json
import string
from datetime import datetime, timedelta, timezone
from urllib.parse import quote
from uuid import UUID

import httpx
import hypothesis
import pytest
import structlog
from hypothesis import strategies as st

from core.instants import Instant
from httpd.body_time import BodyTime
from server.api.errors import Problem
from server.api.events import EventParameters
from server.api.handlers import MOST_BODY
from server.api.paging import Paging
from server.api.parameters import read

LISTS = ["events", "deliveries", "orders", "sinks", "quarantine", "rejections", "sources", "routes"]
CALLS = [
    *[("GET", f"/v1/{name}") for name in LISTS],
    ("GET", "/v1/events/00000000-0000-7000-8000-000000000000"),
    ("GET", "/v1/events/stream"),
    ("GET", "/v1/events/wait"),
    ("GET", "/v1/consumers"),
    ("GET", "/v1/consumers/none/events"),
    *[("POST", f"/v1/consumers/none/{verb}") for verb in ("commit", "seek")],
    ("DELETE", "/v1/consumers/none"),
    ("POST", "/v1/events/00000000-0000-7000-8000-000000000000/replay"),
    ("GET", "/v1/deliveries/none"),
    ("POST", "/v1/deliveries/none/retry"),
    ("POST", "/v1/orders"),
    ("GET", "/v1/orders/none"),
    ("DELETE", "/v1/orders/none"),
    *[("POST", f"/v1/sinks/none/{verb}") for verb in ("test", "pause", "resume")],
    ("GET", "/v1/stats"),
    ("GET", "/v1/quarantine/none"),
    ("POST", "/v1/quarantine/none/replay"),
    ("DELETE", "/v1/quarantine/none"),
]


async def test_largest_order_fits_and_a_larger_body_is_413(service):
    """Mutants: the limit of the framework, 10 MB; its error; a limit below the largest order."""
    wide = "\U0001d7da"  # JSON may write it in twelve bytes
    labels = {f"{number:02}{wide * 253}": wide * 255 for number in range(32)}
    order = {"source": "tellabot", "request_id": "7", "reference": wide * 255, "labels": labels}
    sent = json.dumps(order)
    headers = {"Content-Type": "application/json"}
    fits = await service.ask("/v1/orders", method="POST", content=sent, headers=headers)
    for path in (
        "/v1/orders",
        "/v1/replays",
        "/v1/keys",
        "/v1/subscriptions",
    ):
        body = b"x" * (MOST_BODY + 1)
        answer = await service.ask(path, method="POST", content=body)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large"), path
        assert answer.json()["detail"] == "the body is larger than 256 KiB"

    assert (fits.status_code, len(sent) > 190_000) == (201, True)


async def test_unknown_parameter_is_refused_by_name(service):
    """Mutant: a call that never reads its parameters."""
    for query in ("limt=5", "event_type=sms.received", "waits", "=1", "Limit=1"):
        answers = [
            (await service.ask(f"{path}?{query}", method=method)).json() for method, path in CALLS
        ]

        refused = f"{query.partition('=')[0]}: no such parameter"
        found = {
            (answer["status"], answer["code"], answer["detail"].partition(";")[0])
            for answer in answers
        }
        assert found == {(400, "bad_parameter", refused)}


async def test_nearest_parameter_is_suggested(service):
    answer = await service.ask("/v1/rejections?limt=5")

    assert answer.json()["detail"] == (
        "limt: no such parameter; did you mean limit?; there are limit, order, after"
    )


#: The detail of the error, by query.
SENSELESS = {
    "limit=0": "limit: write a number from 1 to 1000",
    "limit=1001": "limit: write a number from 1 to 1000",
    "limit=-1": "limit: write a number from 1 to 1000",
    "limit=ten": "limit: write a number from 1 to 1000",
    "limit=1.0": "limit: write a number from 1 to 1000",
    "limit=%D9%A1": "limit: write a number from 1 to 1000",
    "limit=": "limit: write a number from 1 to 1000",
    "limit=5&limit=5": "limit: given more than once; it takes one value",
    "order=up": "order: write asc or desc",
    "order=ASC": "order: write asc or desc",
    "order=asc&order=desc": "order: given more than once; it takes one value",
    "after=": "after: empty; write a value, or leave it out",
    "after=x": "after: not a cursor of this list; use a next_cursor unchanged",
    "after=%00": "after: not a cursor of this list; use a next_cursor unchanged",
    "after=x&after=x": "after: given more than once; it takes one value",
}
TIME = "write a time such as 2020-09-14T18:42:36Z, or how long ago: 200ms, 30s, 10m, 7d"
NO_TIMES = (
    "",
    "yesterday",
    "10",
    "-10m",
    "10 m",
    "1600108956",
    "2020-09-14",
    "2020-09-14T18:42:36",
    "2020-09-14T18:42Z",
    "2020-02-30T18:42:36Z",
    "2020-09-14T24:42:36Z",
    "2020-09-14T18:42:36%2B99:00",
    "2020-09-14T18:42:36Z ",
    "%D9%A2020-09-14T18:42:36Z",
    "9" * 400 + "d",
)
SENSELESS_OF_EVENTS = {
    "code=yes": "code: write true or false",
    "code=": "code: write true or false",
    "code=true&code=true": "code: given more than once; it takes one value",
    "type=sms": "type: write a whole type, such as sms.received",
    "type=sms.*": "type: write a whole type, such as sms.received",
    "type=sms.received,call.received": "type: write a whole type, such as sms.received",
    "number=twelve": "number: write a number with its country's code, such as 18503814729",
    "number=": "number: write a number with its country's code, such as 18503814729",
    "source=": "source: empty; write a value, or leave it out",
    "source=tellabot&source=": "source: empty; write a value, or leave it out",
    **{f"{name}={text}": f"{name}: {TIME}" for name in ("since", "until") for text in NO_TIMES},
    "since=5m&since=6m": "since: given more than once; it takes one value",
    "since=5m&until=10m": "until: before since, so nothing can match",
}


async def test_every_list_refuses_wrong_paging(service):
    for name in LISTS:
        assert await details(service, name, SENSELESS) == SENSELESS, name


async def test_first_of_several_wrong_parameters_is_named(service):
    """Mutant: unknown parameters are searched before any value is read."""
    queries = {
        "limit=0&limt=5": "limit: write a number from 1 to 1000",
        "order=up&limit=0": "order: write asc or desc",
    }

    assert await details(service, "sinks", queries) == queries


async def test_events_refuse_wrong_filters(service):
    assert await details(service, "events", SENSELESS_OF_EVENTS) == SENSELESS_OF_EVENTS


async def test_deliveries_refuse_wrong_filters(service):
    states = "state: write one of pending, sending, delivered, dead, expired, failing"
    queries = {
        "state=": states,
        "state=DEAD": states,
        "state=dead,expired": states,
        "state=dead&state=gone": states,
        "sink=": "sink: empty; write a value, or leave it out",
        "event=": "event: empty; write a value, or leave it out",
    }

    assert await details(service, "deliveries", queries) == queries


async def details(service, name, queries):
    answers = {query: await service.ask(f"/v1/{name}?{query}") for query in queries}
    assert {(answer.status_code, answer.json()["code"]) for answer in answers.values()} == {
        (400, "bad_parameter")
    }
    return {query: answer.json()["detail"] for query, answer in answers.items()}


async def test_raw_is_true_or_false_once(service):
    queries = {
        "raw=1": "raw: write true or false",
        "raw=": "raw: write true or false",
        "raw=true&raw=true": "raw: given more than once; it takes one value",
    }

    assert await details(service, "events/00000000-0000-7000-8000-000000000000", queries) == queries


@pytest.mark.parametrize("query", [b"a=%FF", b"a=\xff", b"%FF=1", b"a=&" * 1001])
def test_unreadable_query_is_refused(query):
    with pytest.raises(Problem) as caught:
        read({"query_string": query}, Paging)

    assert caught.value.detail == "not UTF-8, or more than 1000 parameters"


async def test_error_does_not_repeat_a_value(service):
    """A key in the wrong parameter must not appear in a log of answers."""
    answers = [
        await service.ask(f"/v1/{name}?{query}")
        for name in LISTS
        for query in ("limit=pa55word", "after=pa55word", "order=pa55word", "key=pa55word")
    ]

    assert {answer.status_code for answer in answers} == {400}
    assert not any("pa55word" in answer.text for answer in answers)


# Cursors


@pytest.fixture
async def cursor(service):
    await service.sms()
    return (await service.ask("/v1/events")).json()["next_cursor"]


async def test_changed_cursor_is_refused(service, cursor):
    """Mutant: other base64 spellings of the same bytes are accepted."""
    alphabet = f"{string.ascii_letters}{string.digits}-_="
    changed = [
        cursor[:i] + other + cursor[i + 1 :]
        for i in range(len(cursor))
        for other in (alphabet if i >= len(cursor) - 2 else "A-")
        if other != cursor[i]
    ]
    changed += [cursor[:-1], cursor[1:], f"{cursor}=", f"{cursor}A", f"{cursor}\n", cursor * 2]

    statuses = {(await service.ask("/v1/events", params={"after": c})).status_code for c in changed}

    assert statuses == {400}


async def test_cursor_of_another_list_is_refused(service, cursor):
    answers = [await service.ask(f"/v1/{name}", params={"after": cursor}) for name in LISTS[1:]]

    assert {answer.status_code for answer in answers} == {400}


async def test_cursor_of_another_journal_is_gone(run, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    async with run(tmp_path / "one") as service:
        cursors = {name: (await service.ask(f"/v1/{name}")).json()["next_cursor"] for name in LISTS}
    async with run(tmp_path / "two") as service:
        answers = [
            await service.ask(f"/v1/{name}", params={"after": cursor})
            for name, cursor in cursors.items()
        ]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {
        (410, "cursor_gone")
    }


# Conversions


@hypothesis.given(st.integers())
def test_limit_is_from_1_to_1000(written):
    query = {"query_string": f"limit={written}".encode()}

    if 1 <= written <= 1000:
        assert read(query, Paging).limit == written
    else:
        with pytest.raises(Problem) as caught:
            read(query, Paging)
        assert caught.value.detail == "limit: write a number from 1 to 1000"


@hypothesis.given(
    st.datetimes(
        timezones=st.builds(timezone, st.integers(-839, 839).map(lambda m: timedelta(minutes=m)))
    )
)
@hypothesis.example(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))))
def test_time_is_read_exactly(at):
    """Mutant: an OverflowError for the first hours of year 1, read in UTC."""
    assert Instant.parse(at.isoformat()).at(0.0) == at.timestamp()


@hypothesis.given(st.text())
def test_any_text_is_read_or_refused(written):
    """Only Problem is raised."""
    for name in EventParameters.__struct_fields__:
        with contextlib.suppress(Problem):
            read({"query_string": f"{name}={quote(written)}".encode()}, EventParameters)


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("keys", b'{"name":"a","scopes":["events:read"],"scopes":["admin"]}', "scopes"),
        ("keys", b'{"name":"a","scopes":["events:read"],"when":{"type":"a","type":"b"}}', "type"),
        ("orders", b'{"source":"tellabot","request_id":"1","request_id":null}', "request_id"),
        (f"events/{UUID(int=1)}/replay", b'{"sinks":["a"],"sinks":["b"]}', "sinks"),
    ],
)
async def test_field_that_is_given_twice_is_refused(service, path, body, name):
    """Either value may be right. Mutant: the last one is taken."""
    answer = await service.ask(f"/v1/{path}", method="POST", content=body)

    detail = f"{name}: given more than once; it takes one value"
    assert (answer.status_code, answer.json()["detail"]) == (400, detail)


async def test_slow_body_is_408_and_no_fault(service):
    """Mutants: the error of the framework, a 500, with a line that asks an operator to act."""

    async def slow():
        yield b"{"
        await asyncio.sleep(0.5)
        yield b"}"

    transport = httpx.ASGITransport(BodyTime(service.api, 0.05))
    service.admin = httpx.AsyncClient(transport=transport, base_url="http://smshook")
    with structlog.testing.capture_logs() as lines:
        answer = await service.ask("/v1/orders", method="POST", content=slow())

    assert (answer.status_code, answer.json()["code"]) == (408, "body_timeout")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "api.fault" not in [line["event"] for line in lines]
