"""The tools, over each transport, with the client of the official SDK and a real service."""

import asyncio
import itertools
import json
import time

import live
import pytest
import pytest_asyncio
from mcp.shared.exceptions import MCPError
from mcp_clients import GROWTH, KINDS, PEER, READER, Connections

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.uncounted]

ABSENT = "01931c5e-0000-7000-8000-000000000000"
numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connect(service):
    connections = Connections(service)
    yield connections.get
    await connections.close()


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


async def receive(service, number, code):
    """Send TellABot's callback of an SMS; return the id of the event."""
    body = live.sms(number, reply=f"{code} is your code", pin=code)
    return (await asyncio.to_thread(service.post, body)).json()["events"][0]


async def receive_other(service, number, code):
    """The same of the source that the key `growth` sees."""
    text = f"{code} is your code"
    body = json.dumps({"activationId": number, "service": "go", "text": text, "code": code})
    headers = {"Content-Type": "application/json"}
    answer = await asyncio.to_thread(
        service.post, body.encode(), source="smsactivate", headers=headers
    )
    return answer.json()["events"][0]


async def test_tools_have_schemas_and_descriptions(connect, kind):
    tools = await connect(kind)
    listed = {tool.name: tool for tool in (await tools.client.list_tools()).tools}

    assert list(listed) == ["register_order", "wait_for_code", "list_events", "why"]
    assert listed["register_order"].input_schema["required"] == ["source"]
    assert listed["wait_for_code"].input_schema["properties"]["timeout"] == {
        "description": "Seconds to wait, at most 600.",
        "type": "number",
        "minimum": 0,
        "maximum": 600,
        "default": 50.0,
    }
    assert [tool.annotations.read_only_hint for tool in listed.values()] == [
        False,
        True,
        True,
        True,
    ]
    for tool in listed.values():
        assert len(tool.description) > 80
        assert all("description" in it for it in tool.input_schema["properties"].values())


async def test_order_gets_its_code_and_the_next_one(connect, service, kind):
    """Mutants: no report while it waits; the first code again after "send again"."""
    number, reports, waits = next(numbers), [], asyncio.Event()

    async def progress(passed, total, _message):
        reports.append((passed, total))
        if passed > 1:
            waits.set()

    tools = await connect(kind)
    registered = await tools.call(
        "register_order", source="tellabot", request_id=10_000_000 + number, reference="a test"
    )
    wait = dict(registered["wait"])
    waiting = asyncio.create_task(tools.call("wait_for_code", progress, **wait, timeout=30))
    await asyncio.wait_for(waits.wait(), 20)
    id_ = await receive(service, number, "482913")
    first = await waiting
    waits.clear()
    wait["after"] = first["cursor"]
    waiting = asyncio.create_task(tools.call("wait_for_code", progress, **wait, timeout=30))
    await asyncio.wait_for(waits.wait(), 20)
    await receive(service, number, "771020")
    second = await waiting
    why = await tools.call("why", event_id=id_)

    assert registered["order"]["reference"] == "a test"
    named = {"source": "tellabot", "request_id": str(10_000_000 + number)}
    assert registered["wait"] == named
    assert (first["code"], second["code"]) == ("482913", "771020")
    assert (first["event_id"], first["number"]) == (id_, f"+1850555{number:04d}")
    assert [report[1] for report in reports[:2]] == [30, 30]
    assert 0 <= reports[0][0] < reports[1][0]
    assert why["id"] == id_
    assert [delivery["sink"] for delivery in why["deliveries"]] == ["log"]


async def test_cancelled_wait_ends_in_the_service(connect, service, kind):
    """The key may have one wait at a time. Mutant: the wait goes on after its program left."""
    waits = asyncio.Event()

    async def progress(*_):
        waits.set()

    asked = {"reference": f"nobody-{kind}", "timeout": "0"}
    tools = await connect(kind)
    waiting = asyncio.create_task(
        tools.call("wait_for_code", progress, reference="nobody", timeout=300)
    )
    await asyncio.wait_for(waits.wait(), 20)
    await until(service, asked, 429)
    waiting.cancel()
    await asyncio.wait([waiting])
    await until(service, asked, 204)


async def until(service, asked, status):
    """Wait for that status of a further wait of the key."""
    answer, end = None, time.monotonic() + 10
    while answer != status:
        assert time.monotonic() < end, answer
        found = await asyncio.to_thread(service.api, "/events/wait", params=asked)
        answer = found.status_code
        await asyncio.sleep(0.02)


async def test_key_without_codes_gets_none(connect, service, kind):
    """Mutant: the key of the configuration, or of another call."""
    number = next(numbers)
    await receive(service, number, "482913")
    named = {"request_id": str(10_000_000 + number)}

    tools = await connect(kind, READER)
    listed = await tools.call("list_events", **named)
    waited = await tools.error("wait_for_code", **named, timeout=5)
    refused = await tools.error("register_order", source="tellabot", request_id="1")

    [item] = listed["events"]
    assert (item["event"]["data"]["code"], item["event"]["data"]["text"]) == ("***", "***")
    assert waited == "the code is masked: the API key needs the scope codes:read"
    assert refused == "403 missing_scope: the key needs the scope subscriptions:write"


async def test_key_with_when_sees_only_its_events(connect, service, kind):
    """Mutant: a tool that reads with a key of its own."""
    hidden, number = next(numbers), next(numbers)
    id_ = await receive(service, hidden, "482913")
    seen = await receive_other(service, number, "771020")

    tools = await connect(kind, GROWTH)
    listed = await tools.call("list_events", limit=100)
    code = await tools.call("wait_for_code", since="10m", timeout=5)
    waited = await tools.error("wait_for_code", request_id=10_000_000 + hidden, timeout=0)
    why = await tools.error("why", event_id=id_)
    absent = await tools.error("why", event_id=ABSENT)

    assert {item["event"]["source"] for item in listed["events"]} == {"smsactivate"}
    assert (code["event_id"], code["code"]) == (seen, "771020")
    assert waited.startswith("no code came within 0 s; to keep waiting, call wait_for_code again")
    assert why == absent == "404 not_found: no such event"


async def test_list_continues_with_its_cursor(connect, service, kind):
    """Mutants: the first page again; the audit log names the service as the one that asked."""
    ids = [await receive_other(service, 500 + KINDS.index(kind), f"48{n}913") for n in (1, 2, 3)]
    named = {"activation_id": str(500 + KINDS.index(kind)), "limit": 2}

    tools = await connect(kind)
    first = await tools.call("list_events", **named, code=True)
    rest = await tools.call("list_events", **named, code=True, after=first["next_cursor"])

    shown = [item["event"]["id"] for item in (*first["events"], *rest["events"])]
    assert (shown, first["has_more"], rest["has_more"]) == (ids[::-1], True, False)
    readers = service.api(f"/audit/who/{ids[0]}").json()["readers"]
    peer = "127.0.0.1" if kind == "stdio" else PEER
    read = {(one["by"], one["from"], one["how"]) for one in readers}
    assert ("key/admin", peer, "list") in read


async def test_wrong_arguments_are_explained_without_their_values(connect, kind):
    tools = await connect(kind)
    errors = [
        await tools.error("wait_for_code", nubmer="+18503814729"),
        await tools.error("wait_for_code", number="+18503814729"),
        await tools.error("list_events", number="my secret"),
        await tools.error("list_events", limit=1000),
        await tools.error("register_order", source="tellabot"),
    ]
    with pytest.raises(MCPError, match="no such tool; tools: register_order, wait_for_code"):
        await tools.client.call_tool("buy_number", {"secret": "4711"})

    assert errors == [
        "Object contains unknown field `nubmer`",
        (
            "400 bad_parameter: since: missing; write since or after, unless you name a subject, "
            "an id or a reference"
        ),
        "400 bad_parameter: number: write a number with its country's code, such as 18503814729",
        "Expected `int` <= 100 - at `$.limit`",
        (
            "400 bad_body: request_id, activation_id, rental_id, number: missing; "
            "give at least one to identify the order"
        ),
    ]
