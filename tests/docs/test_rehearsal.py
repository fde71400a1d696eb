"""The scripts and tables of the page about rehearsal match the code."""

import asyncio
import json
import os
import re
import shlex
import subprocess
from datetime import datetime

import live
import pytest
from developing import Developing
from live import eventually
from pages import DOCS, blocks
from rehearsing import running

from rehearsal.account import Fate
from rehearsal.providers import SIMULATED

PAGE = (DOCS / "rehearsal.md").read_text()


def printed(text):
    environment = os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    done = subprocess.run(
        ["sh", "-euc", text], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout


async def test_script_of_the_page_takes_and_polls_a_message():
    """Mutant: a field or a path renamed in the code only."""
    _, script, fault = blocks("rehearsal.md", "sh")

    async with running("tellabot") as (simulation, client):
        simulation.account.key = "rehearsal"
        here = str(client.base_url).rstrip("/")
        said = await asyncio.to_thread(printed, script.replace("http://127.0.0.1:8090", here))
        failing = await asyncio.to_thread(printed, fault.replace("http://127.0.0.1:8090", here))

    order, message, polled = (json.loads(text) for text in re.split(r"(?<=\})(?=\{\")", said)[:3])
    assert (order["id"], message["order_id"]) == ("10000001", "10000001")
    at = datetime.fromisoformat(message["at"])
    [row] = polled["message"]
    assert (row["reply"], row["pin"], row["to"], row["timestamp"]) == (
        *("G-4711 is your code.", "G-4711", "18505550100"),
        str(int(at.timestamp())),
    )
    wanted = {"fault": "rate_limit", "times": 3, "command": None, "seconds": 20}
    assert json.loads(failing) == wanted


def test_script_beside_dev_lists_the_event(tmp_path):
    """Mutant: another address on the page."""
    [script, *_] = blocks("rehearsal.md", "sh")

    sending, listing = script.split("smshook ")
    with Developing(tmp_path, "--output", "json") as dev:
        printed(sending.replace("http://127.0.0.1:8090/", dev.said["page"]))
        typed = f"cd {shlex.quote(str(tmp_path))}\n{live.command()} {listing}"
        listed = eventually(lambda: dev.events() and printed(typed))

    [row] = listed.splitlines()[1:]
    assert re.search(r"sms\.received +tellabot +Google +\+18505550\d{3} +4711 ", row)


def test_page_names_every_fault_and_provider():
    """Mutant: a fault added to the code only."""
    rows = re.findall(r"(?m)^\| `(\w+)` \|", PAGE)

    assert rows == [*Fate.__args__, *SIMULATED]


@pytest.mark.parametrize("name", [name for name in SIMULATED if SIMULATED[name].schedule])
def test_page_counts_the_attempts(name):
    """Mutant: one more attempt in the code."""
    [attempts] = re.findall(rf"(?m)^\| `{name}` \| [^|\d]*(\d+)", PAGE)

    assert len(SIMULATED[name].schedule.waits) + 1 == int(attempts)


@pytest.mark.parametrize("name", ["tellabot", "sms_activate", "herosms", "smsbower", "smspins"])
def test_page_names_the_answered_commands(name):
    """Mutant: an answered command that the page does not name."""
    [commands] = re.findall(rf"(?m)^\| `{name}` \| [^|]* \| `([^`]+)` \|$", PAGE)
    provider = SIMULATED[name](None)

    assert commands.split() == list(provider._commands)
