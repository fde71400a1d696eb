"""The commands of the README run, and print what it shows."""

import asyncio
import json
import re
import signal
import subprocess
from pathlib import Path

import live
import pytest
import yaml
from endpoint import endpoint
from standardwebhooks import Webhook

#: The shell replaces it by the output of the command.
PRINTED_URL = "$(.venv/bin/smshook sources url tellabot)"
README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)


def blocks(language):
    return [text for name, text in BLOCKS if name == language]


@pytest.fixture
def started(tmp_path):
    """Start a service as `make run` does in a fresh clone, on free ports."""
    subprocess.run([live.command(), "init"], cwd=tmp_path, check=True, capture_output=True)
    ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    service = subprocess.Popen(
        [live.command(), "serve", *ports], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    try:
        live.eventually(lambda: live.holder_of(tmp_path), within=20)
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        (tmp_path / ".venv" / "bin" / "smshook").symlink_to(live.command())
        yield tmp_path
    finally:
        service.terminate()
        service.wait(15)


def url_of(folder):
    """Return the callback URL that `sources url` prints, without another start of the command."""
    config = yaml.safe_load((folder / "smshook.yaml").read_text())
    [token] = config["sources"]["tellabot"]["tokens"]
    return f"{live.holder_of(folder).url}/in/tellabot/{token}"


def typed(command, folder):
    run = subprocess.run(
        ["bash", "-euc", command], cwd=folder, capture_output=True, text=True, check=True
    )
    return run.stdout


def test_first_commands_are_in_the_makefile():
    commands = [line.partition("#")[0].strip() for line in blocks("sh")[0].splitlines()]
    assert commands == ["make run", "make test"]
    assert blocks("sh")[1] == ".venv/bin/smshook send tellabot\n"
    makefile = README.with_name("Makefile").read_text()
    assert all(re.search(rf"^{name}:", makefile, re.MULTILINE) for name in ("run", "test"))
    assert "smshook init" in makefile


def test_install_commands_are_those_of_the_wheel_tests():
    """See tests/packaging/test_wheel.py."""
    commands = [line.partition("#")[0].strip() for line in blocks("sh")[3].splitlines()]

    assert commands == [
        "python3 -m build",
        "uv tool install dist/smshook-*.whl",
        "smshook init && smshook serve",
        "smshook dev",
    ]


def test_commands_of_the_readme_print_what_it_shows(started):
    _, send, _, _, curl, listing, dialect, order = blocks("sh")
    answered, shown = (json.loads(block) for block in blocks("json"))
    folder = started

    answer = json.loads(typed(curl, folder))
    again = json.loads(typed(curl.replace(PRINTED_URL, url_of(folder)), folder))
    [line] = live.eventually(lambda: (folder / "events.jsonl").read_text().splitlines())
    event = json.loads(line)

    assert set(answer) == set(answered)
    assert (answer["status"], again) == (
        "accepted",
        {"status": "duplicate", "events": answer["events"]},
    )
    assert event["id"] == answer["events"][0]
    minted = ("id", "recordedtime", "dedupekey")
    assert {k: v for k, v in event.items() if k not in minted} == {
        k: v for k, v in shown.items() if k not in minted
    }
    assert list(event) == list(shown)
    assert list(event["data"]) == list(shown["data"])
    assert [len(event[name]) for name in minted] == [len(shown[name]) for name in minted]
    typed(send, folder)
    assert json.loads(typed(dialect, folder))["status"] == "accepted"
    typed(order, folder)
    live.eventually(lambda: len((folder / "events.jsonl").read_text().splitlines()) == 3)
    listed = json.loads(typed(f"{listing.strip()} --output json", folder))
    found = [item["event"]["data"] for item in listed]
    [joined] = [data for data in found if data["activation_id"] == "635468024"]
    assert "+18503814729" in [data["to"] for data in found]
    assert (joined["to"], joined["price"]["amount"]) == ("+6281234567890", "0.20")


async def test_events_are_forwarded_in_the_first_minute(started):
    """Mutant: an option or a key that must be given."""
    _, send, listen, *_ = blocks("sh")
    words = listen.split()
    assert words[-1] == "http://localhost:3000/hook"

    async with endpoint() as end:
        process = await asyncio.create_subprocess_exec(
            *words[:-1], f"{end.url}/hook", cwd=started, stdout=asyncio.subprocess.PIPE
        )
        head = [await asyncio.wait_for(process.stdout.readline(), 20) for _ in range(2)]
        await asyncio.to_thread(typed, send, started)
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0

    secret = head[1].decode().removeprefix("signing secret: ").rstrip()
    [request] = end.requests
    assert request.target == "/hook"
    assert Webhook(secret).verify(request.body, request.headers)["type"] == "sms.received"
    shown = line.decode()
    assert re.search(r"sms\.received tellabot \S+ \+1850\*\*\*\d{4} → 200 \d+ ms", shown)


def test_linked_pages_exist():
    targets = re.findall(r"\]\(([^)#:]+)\)", README.read_text())

    assert targets
    assert [t for t in targets if not (README.parent / t).exists()] == []
