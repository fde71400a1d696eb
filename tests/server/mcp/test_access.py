"""Who reaches the tools, and what happens when the service is not there or stops."""

import asyncio
import contextlib
import socket
import time

import httpx
import live
import pytest
from mcp import Client
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_clients import READER, Tools, over_http, over_stdio
from prompt import be_in, run

from server.api.mcp import mcp
from server.mcp.http import McpApp
from server.mcp.protocol import make_server

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


@pytest.mark.parametrize("version", ["2025-06-18", "2099-01-01"])
def test_client_that_leaves_in_its_body_is_no_fault(service, version):
    """Mutant: the SDK gets the disconnect. It logs an error, or raises one."""
    assert ask(service, authorization=f"Bearer {live.KEY}").status_code == 400  # they have started
    host, port = service.admin_url.removeprefix("http://").split(":")
    before = len(service.logged())
    request = (
        f"POST /mcp HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {live.KEY}\r\n"
        "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"
        f'MCP-Protocol-Version: {version}\r\nContent-Length: 100\r\n\r\n{{"jsonrpc"'
    )
    with socket.create_connection((host, int(port)), 10) as client:
        client.sendall(request.encode())
        time.sleep(0.2)
    time.sleep(0.5)

    assert service.logged()[before:] == []


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
    assert answer.content[0].text.startswith("503 reader_ended: the service is stopping")
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
