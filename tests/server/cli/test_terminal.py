"""Commands on a real terminal of 80 columns: each row of each list is one line."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import termios

import forked
import live
import pytest
from piped import Piped

from server.cli.table import width_of

LONG = "a-name-that-is-as-long-as-names-may-be-" + "x" * 24
SINK = f"sinks:\n  {LONG}: {{type: http, url: 'http://127.0.0.1:9/x'}}\n"
CONFIG = (
    live.CONFIG.replace("smsactivate:", f"{LONG}:")
    .replace("sinks:\n", SINK)
    .replace("to: [log]", f"to: [log, {LONG}]")
)
LISTS = {
    "events list": "sms.received",
    "events list --limit 2": "sms.received",
    "deliveries list": "pending",
    "sinks list": "failing",
    "sources list": "receiving",
    "quarantine list": "unknown_event",
    "rejections": "token",
    "orders list": "waiting",
    "report": "tellabot",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("service"), CONFIG) as running:
        for number in range(3):
            body = live.sms(number, service="漢字漢字漢字漢字漢字漢字", text="漢字" * 30)
            assert running.post(body).status_code == 200
        sms = {"activationId": 1, "service": "go", "text": "code 4711"}
        assert running.post(json.dumps(sms), source=LONG).status_code == 200
        running.post(b"event=new_kind&id=77")
        live.exchange(
            running.address(),
            b"POST /in/a/b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
        order = {"source": "tellabot", "request_id": "9", "reference": "r" * 50}
        body = json.dumps(order | {"service": "s" * 50})
        assert running.api("/orders", method="POST", content=body).status_code == 201
        yield running


def on_terminal(service, command, **environment):
    """The output on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    inherited = {"TERM": "xterm", **service.environment()}
    inherited.pop("NO_COLOR", None)
    arguments, errors = [live.command(), *command.split()], service.folder / "errors.log"
    process = forked.Forked(
        arguments, service.folder, inherited | environment, os.ttyname(theirs), errors
    )
    text = b""
    while process.poll() is None or select.select([ours], [], [], 0)[0]:
        if select.select([ours], [], [], 0.02)[0]:
            text += os.read(ours, 65536)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0, errors.read_text()
    return text.decode().replace("\r\n", "\n")


def without_colours(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("command", LISTS)
def test_each_row_is_one_line_of_80_columns(service, command):
    """Mutant: a column that is never shortened."""
    text = on_terminal(service, command)

    lines = without_colours(text).splitlines()
    assert len(lines) >= 2
    assert max(map(width_of, lines)) <= 80
    assert any(LISTS[command] in line for line in lines)


@pytest.mark.parametrize("command", ["events list", "deliveries list"])
def test_columns_variable_sets_the_width_of_a_pipe(service, command):
    environment = service.environment() | {"COLUMNS": "80"}
    arguments = [live.command(), *command.split()]

    printed, _ = Piped(arguments, service.folder, environment).communicate()

    assert "\x1b" not in printed
    assert max(map(width_of, printed.splitlines())) <= 80


def test_colours_can_be_turned_off(service):
    """Mutants: NO_COLOR or --no-color ignored; colours in a pipe."""
    coloured = on_terminal(service, "deliveries list")
    plain = [
        on_terminal(service, "deliveries list", NO_COLOR="1"),
        on_terminal(service, "deliveries list --no-color"),
        on_terminal(service, "--no-color deliveries list"),
    ]

    assert "\x1b[33mpending\x1b[0m" in coloured
    assert [text for text in plain if "\x1b" in text] == []
