"""`events tail` and `events wait`, and `consumers`, at a real service."""

import json
import re

import live
import pytest
from endpoint import endpoint, reply, reset
from piped import Piped
from prompt import printed, read, run

from server.cli import following
from server.cli.connection import Address

READER = "reader-key-0123456789"
CONFIG = live.CONFIG.partition("api:")[0] + (
    f'api: {{keys: {{admin: {{key: "{live.KEY}", scopes: [admin]}}, '
    f'reader: {{key: "{READER}", scopes: ["events:read"]}}}}}}\n'
)

pytestmark = pytest.mark.usefixtures("here")


class Tail:
    """A running `smshook events tail`."""

    def __init__(self, service, *arguments):
        command = [live.command(), "events", "tail", *arguments]
        self.process = Piped(command, service.folder, service.environment())

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.process.kill()
        self.process.communicate()

    def line(self):
        return self.process.stdout.readline().rstrip("\n")


def test_tail_follows_events_and_masks_codes(service):
    """Mutant: codes are masked only if the key has no codes:read."""
    service.accept(1)
    start = read("events", "list")[-1]["cursor"]
    with Tail(service, "--after", start, "--service", "Google") as tailing:
        event_id = service.accept(2)
        line = tailing.line()

    clock, *cells, end = line.split()
    assert re.fullmatch(r"\d\d:\d\d:\d\d", clock)
    assert cells == ["sms.received", "tellabot", "Google", "+18505550002", "***"]
    assert end == event_id[-8:]


def test_tail_reveals_codes_as_lines_of_json(service):
    service.accept(10)
    start = read("events", "list")[-1]["cursor"]
    with Tail(service, "--after", start, "--reveal", "--output", "json") as tailing:
        event_id = service.accept(3)
        event = json.loads(tailing.line())

    assert (event["id"], event["data"]["code"]) == (event_id, live.code(3))


def test_tail_continues_after_a_restart_of_the_service(tmp_path):
    """Mutants: it ends with the stream; it begins at the newest event after the restart."""
    with (
        live.Live(tmp_path) as service,
        Tail(service, "--output", "json", "--after", "start") as tailing,
    ):
        first = service.accept(1)
        seen = [json.loads(tailing.line())["id"]]
        service.kill()
        service.start()
        second, third = service.accept(2), service.accept(3)
        seen += [json.loads(tailing.line())["id"] for _ in range(2)]
        ended = tailing.process.poll()

    assert (seen, ended) == ([first, second, third], None)


async def test_follower_connects_again_while_the_service_stops(monkeypatch):
    """Mutants: a 503 ends it; a lost connection ends it."""
    monkeypatch.setattr(following, "_AGAIN", 0)
    at = "2026-09-14T18:42:36Z"
    event = {"id": "2", "source": "s", "type": "t", "time": at, "recordedtime": at, "data": {}}
    stream = f"id: b\nevent: t\ndata: {json.dumps(event)}\n\n".encode()
    async with endpoint() as end:
        end.says(
            reply(503, b'{"code": "reader_ended"}'),
            reset,
            reply(200, stream, headers={"Content-Type": "text/event-stream"}),
        )
        followed = following.follow(lambda: Address(end.url, "a key"), {}, "a")
        item = await anext(followed)
        await followed.aclose()

    assert (item.cursor, item.event.body) == ("b", event)
    assert [request.target for request in end.requests] == ["/v1/events/stream?after=a"] * 3


def test_tail_of_an_unknown_cursor_fails(service):
    result = run("events", "tail", "--after", "nonsense")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("400 bad_parameter: after: not a cursor of this list")
    assert service.process.poll() is None


def test_wait_prints_the_code_alone(service):
    service.accept(4)

    assert printed("events", "wait", "--request-id", "10000004", "--field", "data.code") == (
        f"{live.code(4)}\n"
    )


def test_wait_without_an_event_fails():
    result = run("events", "wait", "--number", "18509999999", "--timeout", "0.1")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "no event came within 0.1 s\n"


def test_wait_for_an_alert_begins_now(service):
    """Mutant: `around` returns no filter, and the newest SMS stands before an old alert."""
    service.accept(9)
    kind = "system.disk_low"
    assert service.api("/alerts/disk_low/test", method="POST").status_code == 200

    result = run("events", "wait", "--type", kind, "--timeout", "0.1")
    old = read("events", "wait", "--type", kind, "--since", "1h")

    assert (result.exit_code, result.stdout) == (1, "")
    assert old["event"]["type"] == kind


def test_wait_gets_the_first_event_after_a_cursor(service):
    ids = [service.accept(number) for number in (5, 6, 7)]
    cursor = next(
        item["cursor"] for item in read("events", "list") if item["event"]["id"] == ids[0]
    )

    assert read("events", "wait", "--after", cursor)["event"]["id"] == ids[1]


def test_consumers_are_listed_moved_and_deleted(service):
    service.accept(8)
    newest = read("events", "list")[-1]["cursor"]

    assert printed("consumers", "list", stderr="no consumers\n") == ""
    assert printed("consumers", "seek", "crm", "--cursor", newest) == "crm moved, 0 events behind\n"
    moved = read("consumers", "seek", "crm", "--time", "1h")
    [listed] = read("consumers", "list")
    assert moved["behind"] == listed["behind"] > 0
    assert printed("consumers", "delete", "crm") == "crm deleted\n"
    missing = run("consumers", "delete", "crm")
    assert (missing.exit_code, missing.stderr) == (
        2,
        "no consumer is named 'crm'; there are no consumers\n",
    )


@pytest.mark.parametrize("arguments", [(), ("--time", "1h", "--cursor", "x")])
def test_seek_needs_a_cursor_or_a_time(arguments):
    result = run("consumers", "seek", "crm", *arguments)

    assert (result.exit_code, result.stderr) == (2, "write --cursor or --time\n")
