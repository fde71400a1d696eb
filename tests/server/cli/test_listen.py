"""`smshook listen`: a real service, the command as a process, and a real endpoint."""

import asyncio
import contextlib
import itertools
import json
import re
import signal

import live
import pytest
from endpoint import endpoint, reply
from piped import Piped
from prompt import be_in, run
from standardwebhooks import Webhook, WebhookVerificationError

MASKED = "k3y-of-a-reader-0123456789"
CONFIG = live.CONFIG.replace(
    "scopes: [admin]}", f"scopes: [admin]}}, reader: {{key: {MASKED}, scopes: [events:read]}}"
)
WHSEC = "whsec_Y3JtLXNlY3JldC0wMTIzNDU2Nzg5LTAxMjM0NTY3"
#: Seconds for a line of the command, or a request of it.
PATIENCE = 20
numbers = itertools.count(1)


class Listening:
    """The command in the folder of a service."""

    def __init__(self, process):
        self.process = process

    async def line(self):
        """Return the next line of its output."""
        return (await read(self.process.stdout)).rstrip()

    async def end(self):
        """Press Ctrl-C; return the exit code, and the rest of its output and errors."""
        self.process.send_signal(signal.SIGINT)
        out, errors = await asyncio.wait_for(asyncio.to_thread(self.process.communicate), PATIENCE)
        return self.process.returncode, out, errors


async def read(stream):
    """Return the next line of a stream."""
    return await asyncio.wait_for(asyncio.to_thread(stream.readline), PATIENCE)


@contextlib.asynccontextmanager
async def listening(service, end, *arguments, **environment):
    """Run the command until it reads the stream; yield it and its secret."""
    command = [live.command(), "listen", "--forward", f"{end}/hook", *arguments]
    process = Piped(command, service.folder, service.environment() | environment)
    head = process.stderr if "json" in arguments else process.stdout
    try:
        for begin in ("forwarding events of", "signing secret: "):
            line = await read(head)
            assert line.startswith(begin), process.communicate()[1]
        yield Listening(process), line.removeprefix("signing secret: ").rstrip()
    finally:
        if not process.stdout.closed:
            process.kill()
            process.communicate()


async def receive(service, **over):
    """Send the callback of an SMS; return the id of its event."""
    body = live.sms(next(numbers), **over)
    return (await asyncio.to_thread(service.post, body)).json()["events"][0]


def sinks_body(service, event_id):
    """Return the event as the sink `log` has it."""

    def found():
        lines = (service.folder / "events.jsonl").read_bytes().splitlines()
        return [line for line in lines if event_id.encode() in line]

    [body] = live.eventually(found)
    return body


async def test_event_is_forwarded_as_a_sink_would(service):
    """Mutants: a signature over other bytes than those sent; another encoding of the event; a
    line with the whole number or the code."""
    async with endpoint() as end, listening(service, end.url) as (command, secret):
        id_ = await receive(service, to="18503814729", reply="Código 482913 ✓", pin="482913")
        line = await command.line()
        code, out, errors = await command.end()

    [request] = end.requests
    assert request.body == sinks_body(service, id_)
    assert (request.method, request.target) == ("POST", "/hook")
    sent = {name: request.headers[name] for name in ("content-type", "webhook-id")}
    assert sent == {"content-type": "application/json", "webhook-id": id_}
    assert request.headers["smshook-attempt"] == "1"
    Webhook(secret).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(WHSEC).verify(request.body, request.headers)
    line = re.sub(r"^\d\d:\d\d:\d\d |\d+ ms$", "", line)
    assert line == "sms.received tellabot Google +1850***4729 → 200 "
    assert (code, out, errors) == (0, "forwarded 1 event: 1 delivered, 0 failed\n", "")


async def test_failed_event_is_shown_and_not_sent_again(service):
    """Mutant: a retry."""
    arguments = ("--output", "json", "--secret", WHSEC)
    async with endpoint() as end, listening(service, end.url, *arguments) as (command, secret):
        end.says(reply(500), reply(410))
        failed, refused = [await receive(service) for _ in range(2)]
        lines = [json.loads(await command.line()) for _ in range(2)]
        code, out, errors = await command.end()

    shown = ("event_id", "outcome", "status", "error", "to")
    number = re.compile(r"\+1850\*\*\*\d{4}")
    assert [tuple(line[name] for name in shown[:-1]) for line in lines] == [
        (failed, "failed", 500, "status"),
        (refused, "refused", 410, "gone"),
    ]
    assert all(number.fullmatch(line["to"]) for line in lines)
    assert [request.headers["webhook-id"] for request in end.requests] == [failed, refused]
    assert secret == WHSEC
    Webhook(WHSEC).verify(end.requests[0].body, end.requests[0].headers)
    assert (code, out, errors) == (0, "", "forwarded 2 events: 0 delivered, 2 failed\n")


async def test_key_without_codes_forwards_none(service):
    """Mutant: the key of the configuration in place of the given one."""
    given = {"SMSHOOK_API_KEY": MASKED}
    async with endpoint() as end, listening(service, end.url, **given) as (command, _):
        await receive(service, pin="482913", reply="482913 is your code")
        await receive(service, pin="482913", reply="482913 is your code")
        lines = [await command.line() for _ in range(3)]

    assert lines[0] == "note: the key has no codes:read: texts and codes are masked"
    assert all("→ 200" in line for line in lines[1:])
    assert [json.loads(request.body)["data"]["code"] for request in end.requests] == ["***"] * 2
    assert b"482913" not in b"".join(request.body for request in end.requests)


async def test_only_matching_events_are_forwarded(service):
    """Mutant: a filter that is not sent."""
    number, other = "18503810001", "18503810002"
    filters = ("--number", number, "--type", "sms.received")
    async with endpoint() as end, listening(service, end.url, *filters) as (command, _):
        await receive(service, to=other)
        id_ = await receive(service, to=number)
        await command.line()

    assert [request.headers["webhook-id"] for request in end.requests] == [id_]


async def test_unreachable_program_is_shown_by_our_word(service, unused_tcp_port):
    async with listening(service, f"http://127.0.0.1:{unused_tcp_port}") as (command, _):
        await receive(service)
        line = await command.line()

    assert re.fullmatch(r"\S+ sms.received tellabot Google \S+ → refused \d+ ms", line)


async def test_restart_of_the_service_loses_and_repeats_nothing(tmp_path):
    """Mutants: the place is that of the reconnection; the last event again."""
    with live.Live(tmp_path) as service:
        async with endpoint() as end, listening(service, end.url) as (command, _):
            ids = [await receive(service)]
            await command.line()
            assert await asyncio.to_thread(service.stop) == 0
            await asyncio.to_thread(service.start)
            ids += [await receive(service), await receive(service)]
            lines = [await command.line() for _ in range(2)]

    assert [request.headers["webhook-id"] for request in end.requests] == ids
    assert all("→ 200" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--forward", "localhost:3000"), "--forward: not a URL to send to; write http://"),
        (
            ("--forward", "http://localhost:3000", "--secret", "whsec_short"),
            "--secret: not whsec_ and base64 of 24 to 64 bytes",
        ),
    ],
)
def test_wrong_option_is_an_error_of_the_command_line(arguments, words):
    result = run("listen", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert "short" not in result.stderr


def test_stopped_service_is_an_error(tmp_path, monkeypatch):
    be_in(tmp_path, monkeypatch)
    (tmp_path / "smshook.yaml").write_text(live.CONFIG)

    result = run("listen", "--forward", "http://localhost:3000/hook")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "smshook is not running here" in result.stderr
