"""The pages for programs: the receiver of one runs, the files of the other start the tools."""

import asyncio
import json
import re
import signal
import subprocess
import sys

import live
import pytest
from mcp_clients import over_http, over_stdio
from pages import DOCS, WHSEC, blocks

from server.mcp.tools import TOOLS

RECEIVER, TOOLS_PAGE = "how-to/develop-a-receiver.md", "how-to/use-over-mcp.md"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("service")) as running:
        yield running


def test_receiver_of_the_page_verifies_a_forwarded_event(service, tmp_path, unused_tcp_port):
    """Mutants: the page names another option, or verifies with another secret."""
    [program] = blocks(RECEIVER, "python")
    _, _, listen = blocks(RECEIVER, "sh")
    [shown] = [block for block in blocks(RECEIVER, "") if "signing secret" in block]
    port = str(unused_tcp_port)
    assert "--secret $SMSHOOK_SECRET" in listen
    words = listen.splitlines()[-1].replace("3000", port).replace("$SMSHOOK_SECRET", WHSEC)

    (tmp_path / "receiver.py").write_text(program.replace("3000", port))
    environment = service.environment() | {"SMSHOOK_SECRET": WHSEC}
    started = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with (
        subprocess.Popen(
            [sys.executable, tmp_path / "receiver.py"], env=environment, **started
        ) as receiver,
        subprocess.Popen(
            [live.command(), *words.split()[1:]],
            cwd=service.folder,
            env=service.environment(),
            **started,
        ) as listening,
    ):
        try:
            head = [listening.stdout.readline() for _ in range(2)]
            service.post(live.sms(1, to="18503814729"))
            line = listening.stdout.readline()
            if "refused" in line:  # it was still starting
                service.post(live.sms(2, to="18503814729"))
                line = listening.stdout.readline()
            printed = receiver.stdout.readline()
            listening.send_signal(signal.SIGINT)
            assert listening.wait(20) == 0
        finally:
            receiver.terminate()
            listening.kill()

    assert printed.startswith("sms.received ZQ7-91800000")
    expected = [shape(text) for text in shown.splitlines()[:3]]
    assert [shape(text.rstrip("\n")) for text in (*head, line)] == expected


def shape(line):
    """Return a line of the command without what differs each time."""
    line = re.sub(r"localhost:\d+|127\.0\.0\.1:\d+", "HOST", line)
    return re.sub(r"^\d\d:\d\d:\d\d|whsec_\S+|\d+ ms$", "…", line)


async def test_files_of_the_page_start_the_tools(service):
    """Mutants: a field, a variable, an argument or a path that differs from the code."""
    stdio, http = (
        json.loads(block)["mcpServers"]["smshook"] for block in blocks(TOOLS_PAGE, "json")
    )
    assert (stdio["command"], stdio["args"]) == ("smshook", ["mcp"])
    assert set(stdio["env"]) == {"SMSHOOK_URL", "SMSHOOK_API_KEY"}
    url, _, path = http["url"].rpartition("/")
    assert (url, path) == (stdio["env"]["SMSHOOK_URL"], "mcp")
    assert http["headers"] == {"Authorization": "Bearer YOUR_KEY"}

    anywhere = DOCS  # no configuration is there
    async with (
        over_stdio(anywhere, live.KEY, SMSHOOK_URL=service.admin_url) as one,
        over_http(service.admin_url, live.KEY) as other,
    ):
        first, second = await asyncio.gather(one.call("list_events"), other.call("list_events"))

    assert first["events"] == second["events"]


def test_table_of_the_page_lists_each_tool():
    """Mutant: a tool that the page does not name."""
    page = (DOCS / TOOLS_PAGE).read_text()

    named = dict(re.findall(r"(?m)^\| `(\w+)` \| .* \| `([\w:]+)` \|$", page))

    assert list(named) == [tool.tool for tool in TOOLS]
    for tool in TOOLS:
        if "scope" in tool.__doc__:
            assert named[tool.tool] in tool.__doc__ or tool.tool == "list_events"
