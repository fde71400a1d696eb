"""`smshook dev`: the service and simulated providers in an empty folder, as one process."""

import json
import re
import shlex
import socket
import subprocess

import httpx
import live
import pytest
from developing import ENVIRONMENT, PORTS, Developing
from live import eventually

FILES = {".gitignore", "events.jsonl", "smshook-dev.db", "smshook-dev.db.lock", "smshook.yaml"}


def test_a_message_that_is_sent_on_the_page_is_an_event_with_nothing_configured(tmp_path):
    """Mutants: a callback to another source; unsigned, and so no sample; a file elsewhere."""
    providers = [
        "tellabot",
        "sms_activate",
        "herosms",
        "smsbower",
        "sms_online",
        "daisysms",
        "grizzlysms",
    ]
    providers.append("smspins")

    with Developing(tmp_path, "--output", "json") as dev:
        index = httpx.get(dev.said["page"], trust_env=False).text
        for name in providers:
            order = dev.post(f"{name}/rehearsal/orders")
            path = f"{name}/rehearsal/orders/{order['id']}/messages"
            dev.post(path, text=f"{name}: 4711")
        events = eventually(lambda: len(found := dev.events()) == len(providers) and found)

    arrived = {
        event["source"]: (event["type"], event["data"]["text"], event["data"]["sample"])
        for event in events
    }
    # What is asked for has nobody's signature.
    assert arrived == {
        name: ("sms.received", f"{name}: 4711", name != "smspins") for name in providers
    }
    assert re.findall('href="([^"]*)/rehearsal/"', index) == providers
    assert [path.name for path in tmp_path.iterdir()] == [".smshook-dev"]
    assert {path.name for path in (tmp_path / ".smshook-dev").iterdir()} == FILES
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / ".smshook-dev").iterdir()} == {0}
    assert (tmp_path / ".smshook-dev" / ".gitignore").read_text() == "*\n"


def test_it_prints_a_line_that_can_be_pasted(tmp_path):
    """Mutant: the key left out of the line."""
    with Developing(tmp_path) as dev:
        [curl] = re.findall(r"(?m)^ +(curl .*)$", dev.text)
        [key] = re.findall(r"Its key: +(\S+)$", dev.text, re.MULTILINE)
        answer = subprocess.run(
            [*shlex.split(curl), "--noproxy", "*"], capture_output=True, text=True, check=True
        )

    assert json.loads(answer.stdout) | {"next_cursor": ""} == {
        "data": [],
        "next_cursor": "",
        "has_more": False,
    }
    assert f"Bearer {key}'" in curl
    assert "http://127.0.0.1:" in dev.text
    assert dev.rest.endswith(" stopped; 0 deliveries pending\n")


def test_what_was_there_is_there_at_the_next_start_and_what_comes_is_new(tmp_path):
    """Mutants: another key at each start; ids of messages begin anew, and are duplicates."""
    sent = "daisysms/rehearsal/orders/1/messages"

    with Developing(tmp_path, "--output", "json") as first:
        first.post("daisysms/rehearsal/orders", id="1")
        first.post(sent)
        [event] = eventually(first.events)
    with Developing(tmp_path, "--output", "json") as second:
        assert second.said["key"] == first.said["key"]
        second.post("daisysms/rehearsal/orders", id="1")
        second.post(sent)
        events = eventually(lambda: len(found := second.events()) == 2 and found)

    assert events[0] == event


def test_a_configuration_in_earnest_is_left_alone(tmp_path):
    """Mutant: the environment counts, and with it the journal of the real service."""
    (tmp_path / "smshook.yaml").write_text("no: configuration")
    environment = {
        "SMSHOOK_CONFIG": "smshook.yaml",
        "SMSHOOK_JOURNAL__URL": f"sqlite:///{tmp_path}/real.db",
    }

    with Developing(tmp_path, "--output", "json", environment=environment):
        pass

    assert {path.name for path in tmp_path.iterdir()} == {"smshook.yaml", ".smshook-dev"}
    assert (tmp_path / "smshook.yaml").read_text() == "no: configuration"


def test_a_source_of_ones_own_is_simulated_too(tmp_path):
    """Mutant: the sources are those of the first start."""
    with Developing(tmp_path, "--output", "json"):
        pass
    path = tmp_path / ".smshook-dev" / "smshook.yaml"
    mine = "  mine: {provider: herosms, tokens: [a-token-of-mine-0123]}\nsinks:"
    path.write_text(path.read_text().replace("sinks:", mine, 1))

    with Developing(tmp_path, "--output", "json") as dev:
        order = dev.post("mine/rehearsal/orders")
        dev.post(f"mine/rehearsal/orders/{order['id']}/messages")
        [event] = eventually(dev.events)

    assert (event["source"], event["data"]["provider"]) == ("mine", "herosms")


@pytest.mark.parametrize("option", ["--providers-listen", "--admin-listen"])
def test_a_port_that_is_taken_is_named_with_the_option(tmp_path, option):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        taken = f"127.0.0.1:{sock.getsockname()[1]}"
        done = subprocess.run(
            [live.command(), "dev", *PORTS, option, taken],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            env=ENVIRONMENT,
            check=False,
        )

    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot listen on {taken}: " in done.stderr
    assert option in done.stderr


def test_another_configuration_is_refused(tmp_path):
    done = subprocess.run(
        [live.command(), "dev", "--config", "smshook.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        env=ENVIRONMENT,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert ".smshook-dev/smshook.yaml" in done.stderr
    assert list(tmp_path.iterdir()) == []
