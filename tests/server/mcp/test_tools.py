"""The tools, over each transport, with the client of the official SDK and a real service."""

import asyncio
import contextlib
import itertools
import json
import time

import httpx
import live
import pytest
from mcp import Client
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp_clients import KINDS, Tools, over_http, over_stdio, tools_of
from prompt import be_in, run

from server.api.mcp import mcp
from server.mcp.http import McpApp
from server.mcp.protocol import make_server

READER, GROWTH = "k3y-of-a-reader-0123456789", "k3y-of-growth-0123456789"
CONFIG = live.CONFIG.replace("api: {keys:", "api: {waits: 2, keys:").replace(
    "scopes: [admin]}",
    f"""scopes: [admin]}}, reader: {{key: {READER}, scopes: [events:read]}},
      growth: {{key: {GROWTH}, scopes: [codes:read], when: {{source: smsactivate}}}}""",
)
ABSENT = "01931c5e-0000-7000-8000-000000000000"
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("service"), CONFIG) as running:
        yield running


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


async def test_tools_have_schemas_and_descriptions(service, kind):
    async with tools_of(kind, service) as tools:
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


async def test_order_gets_its_code_and_the_next_one(service, kind):
    """Mutants: no report while it waits; the first code again after "send again"."""
    number, reports, waits = next(numbers), [], asyncio.Event()

    async def progress(passed, total, _message):
        reports.append((passed, total))
        if passed > 1:
            waits.set()

    async with tools_of(kind, service) as tools:
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
    assert (first["event_id"], first["number"]) == (id_, f"+1850{number:07d}")
    assert [report[1] for report in reports[:2]] == [30, 30]
    assert 0 <= reports[0][0] < reports[1][0]
    assert why["id"] == id_
    assert [delivery["sink"] for delivery in why["deliveries"]] == ["log"]


async def test_cancelled_wait_ends_in_the_service(service, kind):
    """The key may have one wait at a time. Mutant: the wait goes on after its program left."""
    waits = asyncio.Event()

    async def progress(*_):
        waits.set()

    asked = {"reference": f"nobody-{kind}", "timeout": "0"}
    async with tools_of(kind, service) as tools:
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


async def test_key_without_codes_gets_none(service, kind):
    """Mutant: the key of the configuration, or of another call."""
    number = next(numbers)
    await receive(service, number, "482913")
    named = {"request_id": str(10_000_000 + number)}

    async with tools_of(kind, service, READER) as tools:
        listed = await tools.call("list_events", **named)
        waited = await tools.error("wait_for_code", **named, timeout=5)
        refused = await tools.error("register_order", source="tellabot", request_id="1")

    [item] = listed["events"]
    assert (item["event"]["data"]["code"], item["event"]["data"]["text"]) == ("***", "***")
    assert waited == "the code is masked: the API key needs the scope codes:read"
    assert refused == "403 missing_scope: the key needs the scope subscriptions:write"


async def test_key_with_when_sees_only_its_events(service, kind):
    """Mutant: a tool that reads with a key of its own."""
    hidden, number = next(numbers), next(numbers)
    id_ = await receive(service, hidden, "482913")
    seen = await receive_other(service, number, "771020")

    async with tools_of(kind, service, GROWTH) as tools:
        listed = await tools.call("list_events", limit=100)
        code = await tools.call("wait_for_code", since="10m", timeout=5)
        waited = await tools.error("wait_for_code", request_id=10_000_000 + hidden, timeout=0)
        why = await tools.error("why", event_id=id_)
        absent = await tools.error("why", event_id=ABSENT)

    assert {item["event"]["source"] for item in listed["events"]} == {"smsactivate"}
    assert (code["event_id"], code["code"]) == (seen, "771020")
    assert waited.startswith("no code came within 0 s; to go on waiting, call wait_for_code again")
    assert why == absent == "404 not_found: no such event"


async def test_list_continues_with_its_cursor(service, kind):
    """Mutant: the first page again."""
    ids = [await receive_other(service, 500 + KINDS.index(kind), f"48{n}913") for n in (1, 2, 3)]
    named = {"activation_id": str(500 + KINDS.index(kind)), "limit": 2}

    async with tools_of(kind, service) as tools:
        first = await tools.call("list_events", **named, code=True)
        rest = await tools.call("list_events", **named, code=True, after=first["next_cursor"])

    shown = [item["event"]["id"] for item in (*first["events"], *rest["events"])]
    assert (shown, first["has_more"], rest["has_more"]) == (ids[::-1], True, False)


async def test_wrong_arguments_are_explained_without_their_values(service, kind):
    async with tools_of(kind, service) as tools:
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


# stdio


async def test_configured_key_is_used_over_stdio(service):
    async with over_stdio(service.folder, None) as tools:
        assert (await tools.call("list_events"))["has_more"] in {True, False}


async def test_service_that_does_not_run_is_an_error_of_each_call(tmp_path):
    """Mutant: the command ends, so that the program must be started again."""
    service = live.Live(tmp_path)
    async with over_stdio(tmp_path, None) as tools:
        missing = await tools.error("list_events")
        await asyncio.to_thread(service.start)
        with service:
            found = await tools.call("list_events")

    assert missing.startswith("smshook is not running here (no process has smshook.db)")
    assert found["events"] == []


def test_command_without_the_extra_names_it(tmp_path, monkeypatch):
    be_in(tmp_path, monkeypatch)
    monkeypatch.setattr("server.cli.mcp.is_installed", lambda: False)

    result = run("mcp")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "pip install 'smshook[mcp]'" in result.stderr


def test_command_without_a_key_is_wrong(tmp_path, monkeypatch):
    be_in(tmp_path, monkeypatch)
    (tmp_path / "smshook.yaml").write_text(live.CONFIG.partition("api:")[0])

    result = run("mcp")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "SMSHOOK_API_KEY" in result.stderr


# HTTP


def ask(service, method="POST", **headers):
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    accepted = {"accept": "application/json, text/event-stream"}
    return httpx.request(
        method,
        f"{service.admin_url}/mcp",
        json=body,
        headers=accepted | headers,
        trust_env=False,
        timeout=20,
    )


def test_http_needs_a_key_and_an_own_host(service):
    """Mutants: no guard; the guard of the API alone; a GET that stays open."""
    key = {"authorization": f"Bearer {live.KEY}"}

    unknown = ask(service, authorization="Bearer nobody")

    assert [ask(service).status_code, unknown.status_code] == [401, 401]
    assert ask(service).json()["code"] == "unauthorized"
    assert ask(service, **key, host="rebound.example").json()["code"] == "host_not_allowed"
    assert ask(service, **key, origin="http://evil.example").json()["code"] == "origin_not_allowed"
    refused = ask(service, "GET", **key)
    assert (refused.status_code, refused.headers["allow"]) == (405, "DELETE, POST")


async def test_session_belongs_to_its_key(service):
    """Mutant: sessions without an owner."""
    initialize = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "a test", "version": "1"},
        },
    }
    headers = {"accept": "application/json, text/event-stream"}
    async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=20) as http:

        def post(body, key, **more):
            headers = {"authorization": f"Bearer {key}", **more}
            return http.post(f"{service.admin_url}/mcp", json=body, headers=headers)

        begun = await post(initialize, live.KEY)
        session = {"mcp-session-id": begun.headers["mcp-session-id"]}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        own, foreign = await post(ping, live.KEY, **session), await post(ping, READER, **session)

    assert (begun.status_code, own.status_code, foreign.status_code) == (200, 200, 404)


async def test_stop_does_not_wait_for_the_tools(tmp_path):
    """Mutant: the client of the tool tries again until its time is up."""
    waits = asyncio.Event()

    async def progress(*_):
        waits.set()

    with live.Live(tmp_path) as service:
        async with over_http(service.admin_url, live.KEY) as tools:
            waiting = asyncio.create_task(
                tools.answer("wait_for_code", progress, reference="nobody", timeout=300)
            )
            await asyncio.wait_for(waits.wait(), 20)
            began = time.monotonic()
            code = await asyncio.to_thread(service.stop)
            took = time.monotonic() - began
            answer = await waiting

    assert (code, answer.is_error) == (0, True)
    assert answer.content[0].text.startswith("503 reader_ended: the service stops")
    assert took < 6


async def test_fault_of_a_tool_is_logged_without_its_values(caplog):
    """Mutant: `log.exception`, whose traceback shows the text of the error."""

    @contextlib.asynccontextmanager
    async def connect(_context):
        raise ValueError("s3cret")
        yield

    async with Client(make_server(connect)) as client:
        error = await Tools(client).error("list_events")

    assert error == "internal error of smshook: ValueError"
    [line] = [one for one in caplog.records if one.name == "server.mcp.protocol"]
    assert line.getMessage().startswith("list_events failed: ValueError at ")
    assert (line.exc_info, "s3cret" in caplog.text) == (None, False)


async def test_long_name_of_an_argument_is_cut(service):
    async with over_http(service.admin_url, live.KEY) as tools:
        error = await tools.error("list_events", **{"x" * 5_000: 1})

    assert "xxx" in error
    assert len(error) < 200


async def test_failed_start_of_the_tools_is_an_error(monkeypatch):
    """Mutant: the request waits for a start that never ends."""

    @contextlib.asynccontextmanager
    async def run(_manager):
        raise OSError("broken")
        yield

    monkeypatch.setattr(StreamableHTTPSessionManager, "run", run)
    app = McpApp(None)

    with pytest.raises(OSError, match="broken"):
        await asyncio.wait_for(app.start(), 10)
    assert app.has_ended


def test_http_is_absent_without_the_extra(monkeypatch):
    monkeypatch.setattr("server.api.mcp.is_installed", lambda: False)

    assert mcp(None) == ()
