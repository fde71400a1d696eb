"""`smshook dev`: the service and simulated providers in an empty folder, as one process."""

import json
import re
import shlex
import shutil
import socket
import subprocess

import httpx
import live
import pytest
import structlog
from developing import ENVIRONMENT, PORTS, Developing
from live import eventually
from piped import Piped
from services import configured

from core.secret import Secret
from server.cli.dev_page import KEY_NAME, Log, beside, with_key
from server.config.options import Api, ApiKey

FILES = {
    *(".gitignore", "events.jsonl", "smshook.erased", "smshook.yaml"),
    *("smshook.keys", "smshook.root"),
    *("smshook-dev.db", "smshook-dev.db.lock"),
}


PROVIDERS = [
    "tellabot",
    "sms_activate",
    "herosms",
    "smsbower",
    "sms_online",
    "daisysms",
    "grizzlysms",
    "smspins",
]


class FirstRun:
    """A folder where `dev` ran once, with a message of each provider."""

    def __init__(self, folder):
        self.folder = folder
        with Developing(folder, "--output", "json") as dev:
            self.said = dev.said
            self.index = httpx.get(dev.said["page"], follow_redirects=True, trust_env=False).text
            for name in PROVIDERS:
                order = dev.post(f"{name}/rehearsal/orders", id="1")
                path = f"{name}/rehearsal/orders/{order['id']}/messages"
                dev.post(path, text=f"{name}: 4711")
            # Some providers are polled, each every five seconds.
            self.events = eventually(
                lambda: len(found := dev.events()) == len(PROVIDERS) and found, within=15
            )

    def copied(self, folder):
        """The same folder again, for another run."""
        shutil.copytree(self.folder / ".smshook-dev", folder / ".smshook-dev")
        return folder


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return FirstRun(tmp_path_factory.mktemp("dev"))


def test_message_sent_on_the_page_becomes_an_event(first):
    """Mutants: a callback to another source; unsigned, and so no sample; a file elsewhere."""
    written = first.folder / ".smshook-dev"

    arrived = {
        event["source"]: (event["type"], event["data"]["text"], event["data"]["sample"])
        for event in first.events
    }
    # Polled events have no signature.
    assert arrived == {
        name: ("sms.received", f"{name}: 4711", name != "smspins") for name in PROVIDERS
    }
    assert re.findall('href="../../([^"]*)/rehearsal/"', first.index) == PROVIDERS
    assert [path.name for path in first.folder.iterdir()] == [".smshook-dev"]
    assert {path.name for path in written.iterdir()} == FILES
    assert {path.stat().st_mode & 0o077 for path in written.iterdir()} == {0}
    assert (written / ".gitignore").read_text() == "*\n"


def test_dev_prints_commands_to_paste(tmp_path):
    """Mutants: the command without the key; that of the console without the configuration."""
    with Developing(tmp_path) as dev:
        [curl] = re.findall(r"(?m)^ +(curl .*)$", dev.text)
        [key] = re.findall(r"Its key: +(\S+)$", dev.text, re.MULTILINE)
        answer = subprocess.run(
            [*shlex.split(curl), "--noproxy", "*"], capture_output=True, text=True, check=True
        )
        [console] = re.findall(r"(?m)^ +\S+ (--config .* console)$", dev.text)
        opened = subprocess.run(
            [live.command(), *shlex.split(console), "--print"],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env=ENVIRONMENT,
        )

    assert json.loads(answer.stdout) | {"next_cursor": ""} == {
        "data": [],
        "next_cursor": "",
        "has_more": False,
    }
    assert f"Bearer {key}'" in curl
    [address] = re.findall(r"Web console: +(\S+)$", dev.text, re.MULTILINE)
    assert opened.stdout.startswith(f"{address}enter#")
    assert "http://127.0.0.1:" in dev.text
    assert dev.rest.endswith(" stopped; 0 deliveries pending\n")


def test_second_start_keeps_events_and_gets_new_ones(first, tmp_path):
    """Mutants: another key at each start; repeated message ids, which are duplicates."""
    with Developing(first.copied(tmp_path), "--output", "json") as second:
        assert second.said["key"] == first.said["key"]
        second.post("daisysms/rehearsal/orders", id="1")
        second.post("daisysms/rehearsal/orders/1/messages")
        count = len(PROVIDERS) + 1
        events = eventually(lambda: len(found := second.events()) == count and found)

    assert events[:-1] == first.events


def test_dev_ignores_the_real_configuration(tmp_path):
    """Mutant: the environment is used, and the journal of the real service with it."""
    (tmp_path / "smshook.yaml").write_text("no: configuration")
    environment = {
        "SMSHOOK_CONFIG": "smshook.yaml",
        "SMSHOOK_JOURNAL__URL": f"sqlite:///{tmp_path}/real.db",
    }

    with Developing(tmp_path, "--output", "json", environment=environment):
        pass

    assert {path.name for path in tmp_path.iterdir()} == {"smshook.yaml", ".smshook-dev"}
    assert (tmp_path / "smshook.yaml").read_text() == "no: configuration"


def test_source_added_by_the_user_is_simulated(first, tmp_path):
    """Mutant: the sources are those of the first start."""
    first.copied(tmp_path)
    path = tmp_path / ".smshook-dev" / "smshook.yaml"
    mine = "  mine: {provider: herosms, tokens: [a-token-of-mine-0123]}\nsinks:"
    path.write_text(path.read_text().replace("sinks:", mine, 1))

    with Developing(tmp_path, "--output", "json") as dev:
        order = dev.post("mine/rehearsal/orders")
        dev.post(f"mine/rehearsal/orders/{order['id']}/messages")
        count = len(PROVIDERS) + 1
        event = eventually(lambda: len(found := dev.events()) == count and found[-1])

    assert (event["source"], event["data"]["provider"]) == ("mine", "herosms")


@pytest.mark.parametrize("option", ["--providers-listen", "--admin-listen"])
def test_taken_port_is_named_with_its_option(tmp_path, option):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        taken = f"127.0.0.1:{sock.getsockname()[1]}"
        command = [live.command(), "dev", *PORTS, option, taken]
        process = Piped(command, tmp_path, ENVIRONMENT)
        out, errors = process.communicate()

    assert (process.returncode, out) == (1, "")
    assert f"cannot listen on {taken}: " in errors
    assert option in errors


def test_config_option_is_refused(tmp_path):
    command = [live.command(), "dev", "--config", "smshook.yaml"]
    process = Piped(command, tmp_path, ENVIRONMENT)
    out, errors = process.communicate()

    assert (process.returncode, out) == (2, "")
    assert ".smshook-dev/smshook.yaml" in errors
    assert list(tmp_path.iterdir()) == []


def test_page_reads_with_a_key_that_sees_no_codes(tmp_path):
    """Mutants: the key of an administrator; the keys of the user are gone."""
    mine = ApiKey(key=Secret("mine-0123456789abcd"), scopes=("admin",))
    config = configured(tmp_path, api=Api(keys={"mine": mine}))

    keys = with_key(config, "page-0123456789abcd").api.keys

    assert {name: key.scopes for name, key in keys.items()} == {
        "mine": ("admin",),
        KEY_NAME: ("events:read",),
    }


async def test_page_says_that_the_service_does_not_answer(tmp_path):
    """Mutants: the error ends the page; the log is left out; it begins with its oldest line."""
    before = structlog.get_config()
    log = Log(lambda: 0)
    structlog.get_logger().info("sink.paused", sink="crm", reason="test")
    structlog.get_logger().info("service.started")  # has no words
    structlog.get_logger().info("sink.resumed", sink="crm")
    structlog.configure(**before)
    around = beside(configured(tmp_path), "http://127.0.0.1:9", "key", log)

    seen = await around.seen("tellabot")

    assert list(seen.events) == []
    assert [line[9:] for line in seen.log[1:]] == ["crm resumed", "crm paused (test)"]
    assert seen.log[0] == "the API does not answer: ConnectError"
