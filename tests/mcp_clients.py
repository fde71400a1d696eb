"""Programs that use the tools: the client of the official SDK, over each transport."""

import asyncio
import contextlib
import json
import os

import httpx2
import live
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

READER, GROWTH = "k3y-of-a-reader-0123456789", "k3y-of-growth-0123456789"
CONFIG = live.CONFIG.replace("api: {keys:", "api: {waits: 2, keys:").replace(
    "scopes: [admin]}",
    f"""scopes: [admin]}}, reader: {{key: {READER}, scopes: [events:read]}},
      growth: {{key: {GROWTH}, scopes: [codes:read], when: {{source: smsactivate}}}}""",
)
#: The address of clients over HTTP.
PEER = "127.0.0.2"
#: Each transport, and for HTTP also the older protocol with its sessions.
KINDS = ("stdio", "http", "http-sessions")


@contextlib.asynccontextmanager
async def over_stdio(folder, key, **environment):
    """Yield a client of `smshook mcp`, started in that folder."""
    command = StdioServerParameters(
        command=live.command(),
        args=["mcp"],
        cwd=folder,
        env={n: v for n, v in os.environ.items() if n.startswith("COVERAGE")}
        | ({"SMSHOOK_API_KEY": key} if key else {})
        | environment,
    )
    async with Client(command) as client:
        yield Tools(client)


@contextlib.asynccontextmanager
async def over_http(url, key, *, mode="auto"):
    """Yield a client of `/mcp` at the admin listener. Its address is not that of the service."""
    headers = {"Authorization": f"Bearer {key}"}
    transport = httpx2.AsyncHTTPTransport(local_address=PEER)
    async with (
        httpx2.AsyncClient(
            headers=headers, trust_env=False, timeout=60, transport=transport
        ) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield Tools(client)


class Connections:
    """Clients that several tests share: each start of `smshook mcp` imports the SDK."""

    def __init__(self, service):
        self._service, self._held = service, {}

    async def get(self, kind, key=live.KEY):
        """Return the tools of a connected client."""
        if (kind, key) not in self._held:
            connected, ends = asyncio.get_running_loop().create_future(), asyncio.Event()
            task = asyncio.create_task(self._hold(kind, key, connected, ends))
            await asyncio.wait([connected, task], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            self._held[kind, key] = connected.result(), ends, task
        return self._held[kind, key][0]

    async def _hold(self, kind, key, connected, ends):
        """Enter and leave a client, which must happen in one task."""
        async with tools_of(kind, self._service, key) as tools:
            connected.set_result(tools)
            await ends.wait()

    async def close(self):
        for _, ends, task in self._held.values():
            ends.set()
            await task


def tools_of(kind, service, key=live.KEY):
    if kind == "stdio":
        return over_stdio(service.folder, key)
    mode = "legacy" if kind == "http-sessions" else "auto"
    return over_http(service.admin_url, key, mode=mode)


class Tools:
    """A connected program."""

    def __init__(self, client):
        self.client = client

    async def call(self, name, progress=None, **arguments):
        """Return the result of a tool, which must succeed."""
        answer = await self.answer(name, progress, **arguments)
        assert not answer.is_error, answer.content[0].text
        [content] = answer.content
        assert json.loads(content.text) == answer.structured_content
        return answer.structured_content

    async def error(self, name, **arguments):
        """Return the text of an error of a tool."""
        answer = await self.answer(name, **arguments)
        assert answer.is_error, answer.structured_content
        [content] = answer.content
        return content.text

    async def answer(self, name, progress=None, **arguments):
        called = self.client.call_tool(name, arguments, progress_callback=progress)
        return await asyncio.wait_for(called, 40)
