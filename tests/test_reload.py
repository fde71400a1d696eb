"""Reloads of a real service: under load, by signal, by command, and killed meanwhile."""

import asyncio
import contextlib
import http.client
import itertools
import json
import random
import signal
import socket
import threading
import urllib.parse
from collections import Counter

import httpx
import live
import load
import pytest
from endpoint import endpoint, hang, reply
from streams import Reader

READER = "reader-key-0123456789"
CONFIG = """
sources:
  tellabot: {{provider: tellabot, tokens: [{tokens}]}}
sinks:
  log: {{type: file, path: events.jsonl}}
  crm: {{type: http, url: "{url}", concurrency: {slots}, ordered_by: {path}, retry: {retry}}}
{sinks}
routes:
  everything: {{to: [log, crm{also}]{more}}}
server: {{secret: "{secret}", listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0"{server}}}
journal: {{url: "sqlite:///smshook.db"}}
{seal}api:
  keys:
    admin: {{key: "{key}", scopes: [admin]}}
    reader: {{key: "{reader}", scopes: ["codes:read"]}}
"""


def config(url="http://127.0.0.1:9", **changed):
    fields = {
        "tokens": f'"{live.TOKEN}"',
        "slots": 8,
        "path": "data.to",
        "retry": "{schedule: [0s, 100ms, 100ms, 100ms, 100ms, 100ms, 100ms, 100ms, 100ms, 1s]}",
        "sinks": "",
        "also": "",
        "more": "",
        "server": "",
        "seal": live.SEAL,
    }
    return CONFIG.format(
        url=url, secret=live.SECRET, key=live.KEY, reader=READER, **fields | changed
    )


def write(service, text):
    (service.folder / "smshook.yaml").write_text(text)


def reloaded(service, text=None):
    """Reload by the API; return the answer."""
    if text is not None:
        write(service, text)
    answer = service.api("/reload", method="POST")
    assert answer.status_code == 200, answer.text
    return answer.json()


def is_so(service, event, count):
    """Whether the log has that many lines of an event. Its last line may be half written."""
    return service.log.read_text().count(f'"event":"{event}"') >= count


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("service"), config()) as running:
        yield running


# Under load


class Checked:
    """Endpoints that keep the ids they confirmed. One request in ten fails."""

    def __init__(self, *ends):
        self.chance, self.confirmed = random.Random(2026), []
        for end in ends:
            end.usual = self._answer

    async def _answer(self, request, connection):
        await asyncio.sleep(self.chance.uniform(0, 0.01))
        fails = self.chance.random() < 0.1
        if not fails:
            event = json.loads(request.body)
            self.confirmed.append((event["data"]["to"], event["id"]))
        await reply(500 if fails else 200)(request, connection)


def texts(one, other, **kept):
    """Configurations that differ in all that a reload changes, but for what is `kept`."""
    new = f'"another-token-0123456789", "{live.TOKEN}"'
    return itertools.cycle(
        [
            config(other.url, slots=4, **kept),
            config(other.url, slots=4, path="data.service.key", **kept),
            config(one.url, tokens=new, server=", max_body: 1MiB, keep_alive: 60s", **kept),
            config(one.url, path="null", more=", when: {type: sms.received}", **kept),
            config(one.url, server=', trusted_proxies: ["10.0.0.0/8"], connections: 300', **kept),
            config(one.url, **kept),
        ]
    )


class Provider:
    """Sends callbacks all the time, over some connections."""

    def __init__(self, service, clients):
        path = service.callback_url().removeprefix(service.url)
        self._numbers, self._stop = itertools.count(), asyncio.Event()
        sent = itertools.takewhile(lambda _: not self._stop.is_set(), self._numbers)
        messages = ((n, live.sms(n, at=1_700_000_000 + n, to=f"1850555{n % 40:04d}")) for n in sent)
        self._sending = asyncio.create_task(
            load.send(service.address(), path, messages, clients=clients)
        )

    async def stop(self):
        """Return the answers."""
        self._stop.set()
        return await self._sending


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("clients", "readers", "waiting", "seconds", "every", "reloads"),
    [
        (16, 5, 100, 0.1, 0.1, 12),
        pytest.param(64, 20, 1000, 5.0, 0.5, 24, marks=pytest.mark.nightly),
    ],
)
async def test_reloads_under_load_drop_and_lose_nothing(
    tmp_path, clients, readers, waiting, seconds, every, reloads
):
    """Streams are read, deliveries wait for a slow sink: each event arrives, and once.

    The reloads begin after `seconds`. The longer run reloads for more than the grace of a sink:
    attempts of `slow`, which does not change, would be cut after it.

    Mutants: a listener that is opened again; connections that are closed; streams that end; a
    queue that is dropped; a sink whose attempts are cut; all sinks opened again, also `slow`.
    """
    async with endpoint() as one, endpoint() as other, endpoint() as slow:
        checked, opened = Checked(one, other), asyncio.Event()

        async def wait(request, connection):
            await opened.wait()
            await reply()(request, connection)

        slow.usual = wait
        kept = {
            "sinks": f'  slow: {{type: http, url: "{slow.url}", timeout: 5m, concurrency: 64}}',
            "also": ", slow",
        }
        with live.Live(tmp_path, config(one.url, **kept)) as service:
            streams = [Reader(address(service.admin_url), READER) for _ in range(readers)]
            reading = [asyncio.create_task(stream.read()) for stream in streams]
            async with asyncio.timeout(10):
                while any(stream.status != 200 for stream in streams):  # noqa: ASYNC110 - they read
                    await asyncio.sleep(0.01)
            provider = Provider(service, clients)

            def pending():
                return service.stats()["deliveries"]["pending"]

            await asyncio.to_thread(live.eventually, lambda: pending() >= waiting, within=60)
            await asyncio.sleep(seconds)
            changes = []
            for text in itertools.islice(texts(one, other, **kept), reloads):
                changes.append(await asyncio.to_thread(reloaded, service, text))
                await asyncio.sleep(every)
            answers = await provider.stop()
            left = await asyncio.to_thread(pending)
            opened.set()
            accepted = [event_id for answer in answers for event_id in answer.accepted]

            def is_settled():
                return not pending() and all(len(stream.ids) >= len(accepted) for stream in streams)

            await asyncio.to_thread(live.eventually, is_settled, within=120)
            cut = [task.done() for task in reading]
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
            written = [event["id"] for event in service.delivered()]
            code = await asyncio.to_thread(service.stop)

    assert code == 0
    assert all(change["changed"] for change in changes)
    assert {answer.status for answer in answers} == {200}, "a connection was dropped"
    assert sum(answer.opened for answer in answers) == clients, "a connection was closed"
    assert len(accepted) == len(answers) > 200
    assert left >= waiting
    assert cut == [False] * readers
    stored = Counter(accepted)
    assert [Counter(stream.ids) for stream in streams] == [stored] * readers
    assert Counter(written) == stored
    assert Counter(event_id for _, event_id in checked.confirmed) == stored
    assert Counter(json.loads(request.body)["id"] for request in slow.requests) == stored


def address(url):
    parts = urllib.parse.urlsplit(url)
    return parts.hostname, parts.port


# kill -9


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rounds", [2, pytest.param(100, marks=pytest.mark.nightly)])
async def test_kill_during_a_reload_loses_nothing(tmp_path, rounds):
    """The next start has the new configuration. Mutant: a delivery that no start takes again."""
    chance = random.Random(rounds)
    async with endpoint() as one, endpoint() as other:
        checked, variants = Checked(one, other), texts(one, other)
        service = live.Live(tmp_path, config(one.url))
        accepted, numbers = set(), itertools.count()
        try:
            for _ in range(rounds):
                await asyncio.to_thread(service.start)
                stop = asyncio.Event()
                path = service.callback_url().removeprefix(service.url)
                sent = itertools.takewhile(lambda _, stop=stop: not stop.is_set(), numbers)
                messages = ((n, live.sms(n, at=1_700_000_000 + n)) for n in sent)
                sending = asyncio.create_task(
                    load.send(service.address(), path, messages, clients=4)
                )
                for text in itertools.islice(variants, chance.randint(2, 5)):
                    write(service, text)
                    service.process.send_signal(signal.SIGHUP)
                    await asyncio.sleep(chance.uniform(0.01, 0.2))
                await asyncio.to_thread(service.kill)
                stop.set()
                accepted |= {one for answer in await sending for one in answer.accepted}
            await asyncio.to_thread(service.start)

            def is_settled():
                written = {event["id"] for event in service.delivered()}
                return accepted <= written & {event_id for _, event_id in checked.confirmed}

            await asyncio.to_thread(live.eventually, is_settled, within=60)
            assert await asyncio.to_thread(service.stop) == 0
        finally:
            await asyncio.to_thread(service.__exit__)

    assert accepted


# By signal


def test_sighup_reloads_and_a_broken_file_changes_nothing(service):
    """Mutants: the signal is ignored; the log does not say where; half of the file is taken."""
    rejected, changed = map(len, map(service.logged, ("config.rejected", "config.reloaded")))
    write(service, config(more=", when: {type: nothing}").replace("type: file", "type: fiel"))
    service.process.send_signal(signal.SIGHUP)
    live.eventually(lambda: is_so(service, "config.rejected", rejected + 1))
    event_id = service.accept(1)
    routes = service.api(f"/events/{event_id}").json()["routes"]
    write(service, config(more=", when: {type: call.received}"))
    service.process.send_signal(signal.SIGHUP)
    live.eventually(lambda: is_so(service, "config.reloaded", changed + 1))
    event_id = service.accept(2)
    later = service.api(f"/events/{event_id}").json()["routes"]
    write(service, config())
    reloaded(service)

    complaint = "smshook.yaml:5: sinks.log.type: 'fiel' is not one of "
    assert service.logged("config.rejected")[rejected]["complaints"][0].startswith(complaint)
    assert service.logged("config.reloaded")[changed]["changed"] == ["routes.everything.when"]
    assert (routes, later) == (
        [{"name": "everything", "matched": True}],
        [{"name": "everything", "matched": False}],
    )


# By command


def run(service, *arguments):
    result = service.run("reload", *arguments, check=False)
    return result.returncode, result.stdout, result.stderr


def test_command_prints_what_changed_without_a_key(service):
    """Its configuration has no key in clear. Mutants: a key needed; the exit code of a fault."""
    hidden = config().replace(f'"{live.KEY}"', '"sha256:' + "0" * 64 + '"')
    write(service, hidden.replace('listen: "127.0.0.1:0",', 'listen: "127.0.0.1:1",', 1))
    changed = run(service)
    write(service, config())
    back = run(service, "--output", "json")
    again = run(service)
    write(service, config(url="http://[").replace("type: file", "type: fiel"))
    code, out, errors = run(service)
    still = service.stats()
    write(service, config())

    text = (
        "changed api.keys.admin.key\nnot changed: server.listen; restart the service to change it\n"
    )
    assert changed == (0, text, "")
    assert (back[0], json.loads(back[1])["changed"]) == (0, ["api.keys.admin.key"])
    assert again == (0, "nothing differs\n", "")
    assert (code, out) == (2, "")
    first, second, last = errors.splitlines()
    assert first.startswith("smshook.yaml:5: sinks.log.type: ")
    assert second.startswith("smshook.yaml:6: sinks.crm.url: ")
    assert last == "nothing was changed"
    assert still["events"] >= 0


def test_command_explains_a_variable_that_is_only_set_here(service, monkeypatch):
    """The service has the variables of its start.

    Mutant: `for name in unset` without `if name in os.environ`.
    """
    missing = config().replace("path: events.jsonl", 'path: "${ONLY_HERE}"')
    write(service, missing)
    monkeypatch.setenv("ONLY_HERE", "events.jsonl")
    code, _, errors = run(service)
    monkeypatch.delenv("ONLY_HERE")
    _, _, without = run(service)
    write(service, config())

    note = "note: only a restart changes the environment of the service: ONLY_HERE"
    assert (code, errors.splitlines()[-2:]) == (2, [note, "nothing was changed"])
    assert "note: " not in without


def test_command_without_a_service_fails(tmp_path):
    idle = live.Live(tmp_path, config())

    code, out, errors = run(idle)

    assert (code, out) == (1, "")
    assert errors.startswith("smshook is not running here (no process has smshook.db); ")


def test_command_reloads_by_url_and_key(service):
    """As from another machine. Mutant: the local key is sent elsewhere."""
    here = ("--url", service.admin_url)

    assert run(service, *here, "--key", live.KEY) == (0, "nothing differs\n", "")
    assert run(service, *here, "--key", READER)[0] == 1


# Files and addresses


def test_secrets_in_files_are_read_again(tmp_path):
    """A token is added, then removed. Mutant: the values of the start are kept."""
    one, two = "first-token-0123456789", "second-token-0123456789"
    (tmp_path / "token").write_text(f"{one}\n")
    with live.Live(tmp_path, config(tokens='"${file:token}"')) as service:

        def status(token):
            return httpx.get(f"{service.url}/in/tellabot/{token}", trust_env=False)

        before = status(one).status_code, status(two).status_code
        (tmp_path / "token").write_text(two)
        changed = reloaded(service)["changed"]
        after = status(one), status(two)
        unknown = httpx.get(f"{service.url}/in/nothing/{two}", trust_env=False)
        (tmp_path / "token").unlink()
        fault = service.api("/reload", method="POST")

    assert before == (200, 404)
    assert changed == ["sources.tellabot.tokens"]
    assert (after[0].status_code, after[1].status_code) == (404, 200)
    assert after[0].content == unknown.content
    [complaint] = fault.json()["complaints"]
    assert complaint.startswith("smshook.yaml:3: sources.tellabot.tokens[0]: cannot read ")


def test_limits_of_the_listener_follow(service):
    """On open connections, too. Mutants: the limits of the start; other connections are closed."""
    connection = http.client.HTTPConnection(*service.address())
    connection.connect()
    connection.auto_open = 0  # it fails if the service closes it

    def post(size, **headers):
        path = urllib.parse.urlsplit(service.callback_url()).path
        connection.request("POST", path, b"x" * size, headers)
        answer = connection.getresponse()
        return answer.status, json.load(answer)

    with contextlib.closing(connection):
        before, _ = post(100)
        reloaded(service, config(server=', max_body: 99, trusted_proxies: ["127.0.0.1"]'))
        _, kept = post(99, **{"X-Forwarded-For": "192.0.2.99"})
        after, _ = post(100)
    reloaded(service, config(server=", keep_alive: 1s"))
    with socket.create_connection(service.address(), 20) as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        while idle.recv(4096):  # until the service closes it
            pass
    peer = service.api(f"/quarantine/{kept['id']}").json()["peer"]
    reloaded(service, config())

    assert (before, after) == (200, 413)
    assert peer == "192.0.2.99"


def test_reload_during_the_end_does_not_disturb_it(tmp_path):
    """Mutants: exit 1; a sink begins to send again; the process hangs."""
    with live.Live(tmp_path, config()) as service:
        service.post(live.sms(1))
        stopping = threading.Thread(target=service.stop)
        stopping.start()
        live.eventually(lambda: is_so(service, "service.stopping", 1))
        write(service, config(slots=3))
        with contextlib.suppress(httpx.HTTPError):
            assert service.api("/reload", method="POST").status_code == 503
        with contextlib.suppress(ProcessLookupError):
            service.process.send_signal(signal.SIGHUP)
        stopping.join()

    assert service.process.returncode == 0
    assert service.logged("config.reloaded") == []


def test_hanging_sink_is_replaced_within_seconds(tmp_path):
    """Its attempt is cut after the grace; other sinks deliver meanwhile. Mutant: 30 seconds."""

    async def replaced():
        async with endpoint() as hanging, endpoint() as end:
            hanging.usual = hang
            with live.Live(tmp_path, config(hanging.url)) as service:
                await asyncio.to_thread(service.post, live.sms(1))
                await asyncio.to_thread(reloaded, service, config(end.url))
                await asyncio.to_thread(service.post, live.sms(2))
                await asyncio.to_thread(live.eventually, lambda: len(service.delivered()) == 2)
                async with asyncio.timeout(20):
                    while len(end.requests) < 2:  # noqa: ASYNC110 - another process sends them
                        await asyncio.sleep(0.05)
                return [request.headers["smshook-attempt"] for request in end.requests]

    assert asyncio.run(replaced()) == ["1", "1"]


def test_note_of_commands_ends_with_the_reload(service):
    """Mutant: the lock file keeps the digest of the start."""
    write(service, config() + "# edited\n")
    edited = service.run("events", "list").stderr
    run(service)

    note = "note: smshook.yaml changed after the service read it; apply this with: "
    assert edited.startswith(note)
    assert service.run("sinks", "list").stderr == ""
