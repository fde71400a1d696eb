"""`smshook simulate` with a real service."""

import json
import os
import signal
import socket

import httpx
import live
import pytest
from live import eventually
from piped import Piped, started


class Simulated:
    """The command, and the JSON that it prints at its start."""

    def __init__(self, service, *arguments, start=Piped):
        command = [live.command(), "simulate", *arguments, "--output", "json"]
        self.process = start(command, service.folder, service.environment())

    def __enter__(self):
        text = ""
        for line in self.process.stdout:
            text += line
            if line == "}\n":
                break
        self.said = json.loads(text)
        return self

    def __exit__(self, *_exc):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0
        self.process.stdout.close()
        assert self.process.stderr.read() == ""
        self.process.stderr.close()

    def post(self, path, **body):
        answer = httpx.post(f"{self.said['page']}{path}", json=body, trust_env=False)
        assert answer.status_code == 201
        return answer.json()


def blocked(*command):
    """Start a command with signals blocked."""
    ours = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    process = started(*command)
    signal.pthread_sigmask(signal.SIG_SETMASK, ours)
    return process


def test_blocked_signals_end_the_simulation(service):
    """Mutant: the inherited mask is kept, and SIGTERM does nothing."""
    url = service.callback_url("tellabot")
    arguments = ("tellabot", "--callback", url, "--listen", "127.0.0.1:0")

    with Simulated(service, *arguments, start=blocked) as it:
        assert it.said["page"]


@pytest.mark.parametrize(
    ("provider", "source"), [("tellabot",) * 2, ("sms_activate", "smsactivate")]
)
def test_simulated_message_becomes_a_sample_event(service, provider, source):
    """Mutant: a signature for another source."""
    url = service.callback_url(source)

    with Simulated(service, provider, "--callback", url, "--listen", "127.0.0.1:0") as it:
        order = it.post("orders")
        it.post(f"orders/{order['id']}/messages", text="a code: 4711", code="4711")

        def arrived():
            events = [event for event in service.delivered() if event["source"] == source]
            return [(event["data"]["text"], event["data"]["sample"]) for event in events]

        assert eventually(arrived) == [("a code: 4711", True)]


def test_request_of_a_foreign_page_is_refused(service):
    """DNS rebinding: a foreign page would send callbacks. Mutant: no `OwnHost`."""
    callback = ("--callback", service.callback_url(), "--listen", "127.0.0.1:0")

    with Simulated(service, "tellabot", *callback) as it:
        url = f"{it.said['page']}orders"
        foreign = [
            httpx.post(url, json={}, headers=headers, trust_env=False).status_code
            for headers in (
                {"Host": "rebound.attacker.example"},
                {"Origin": "http://rebound.attacker.example"},
            )
        ]
        own = httpx.get(url, trust_env=False)

    assert (foreign, own.status_code, own.json()) == ([403, 403], 200, [])


def test_simulation_prints_its_address_without_the_token(service):
    url = service.callback_url()

    with Simulated(
        *(service, "smsbower", "--callback", url, "--listen", "127.0.0.1:0", "--speed", "60")
    ) as it:
        said = dict(it.said)

    where = said.pop("url")
    assert where.startswith("http://127.0.0.1:")
    assert said == {
        "provider": "smsbower",
        "key": "rehearsal",
        "callback": f"{service.url}/in/tellabot/***",
        "speed": 60.0,
        "retries": "2 more times: after 1 minute, then after 5 minutes",
        "page": f"{where}/rehearsal/",
        "api_url": f"{where}/stubs/handler_api.php",
    }


def test_taken_port_is_named(service):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        listen = f"127.0.0.1:{sock.getsockname()[1]}"

        done = service.run("simulate", "tellabot", "--listen", listen, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"cannot listen on {listen}: {os.strerror(98)}; choose another: --listen 127.0.0.1:8091\n"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("tellabot", "--listen", "here"), "--listen: write host:port, such as 127.0.0.1:8080"),
        (("tellabto",), "'tellabto' is not one of"),
        (("tellabot", "--speed", "0"), "Invalid value for '--speed'"),
    ],
)
def test_wrong_option_starts_nothing(service, arguments, complaint):
    done = service.run("simulate", *arguments, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
