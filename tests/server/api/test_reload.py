"""`POST /v1/reload`: what changes takes effect, the rest goes on, and a fault changes nothing."""

import asyncio
import contextlib
import itertools
import json
import threading
import time

import httpx
import msgspec
import pytest
import structlog
from endpoint import endpoint, reply
from services import key
from worlds import until

from core.errors import Unavailable
from core.secret import Secret
from core.units import Rate
from journal.writes import ChangeFilters, IndexVisible
from receiver.polling.options import Backfill
from receiver.providers.tellabot.callbacks import TellABot
from routes.table import Route
from server.config.load import ConfigError
from server.config.options import Api, ApiKey, JournalOptions, Retention, Server, Subscribing
from server.runtime import subscriptions as subscriptions_module
from server.runtime.reload import NotReloaded
from sinks.file.sink import File
from sinks.http.client import Tls
from sinks.http.sink import Http
from sinks.sink import Unusable

TOKEN = "tellabot-token-01"
NEW_TOKEN = "tellabot-token-02"
STREAM = "/v1/events/stream"


async def status(service, text):
    headers = {"Authorization": f"Bearer {text}"}
    return (await service.ask("/v1/me", None, headers=headers)).status_code


async def seen(service, text):
    """Return the ids of the events that the key lists."""
    answer = await service.ask("/v1/events", None, headers={"Authorization": f"Bearer {text}"})
    return [item["event"]["id"] for item in answer.json()["data"]]


def access(service, name):
    return {known.access.name: known.access for known in service.parts.keys.known()}[name]


async def indexed(service):
    """Index all that is to be indexed; return the number of filters."""
    while await service.journal.submit(IndexVisible()):
        pass
    [(count,)] = await service.journal._reader.ask(
        lambda conn: conn.execute("select count(*) from visible_filters").fetchall()
    )
    return count


async def changed(service, **options):
    """Reload with these options; return the answer."""
    answer = await service.reload(**options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def tellabot(*tokens, **options):
    return TellABot(tokens=tuple(map(Secret, tokens)), **options)


def keys_of(service, **changes):
    """The configured keys; None: without it."""
    keys = {**service.config.api.keys, **changes}
    return Api(keys={name: one for name, one in keys.items() if one is not None})


async def door(service, token, source="tellabot"):
    return await service.public.get(f"/in/{source}/{token}")


async def ended(call):
    """Wait for the end of a stream."""
    while await call.frame() is not None:
        pass


async def test_answer_names_differences_and_the_log_too(service, tmp_path):
    """Mutants: values in it; the answer of the reload before."""
    sinks = {"log": File(path=str(tmp_path / "other.jsonl")), "new": File(path="/nowhere/x")}
    routes = {"google": Route(to=("log", "new"), when={"data.code": "secret-code"})}
    with structlog.testing.capture_logs() as logged:
        answer = await changed(service, sinks=sinks, routes=routes)
        again = await changed(service)

    differences = {
        "added": ["sinks.new"],
        "changed": ["sinks.log.path", "routes.google.to", "routes.google.when"],
        "removed": ["routes.amazon"],
    }
    none = {"added": [], "changed": [], "removed": [], "needs_restart": [], "warnings": []}
    assert answer == none | differences
    assert again == none
    assert logged == [
        {"event": "config.reloaded", "log_level": "info", **differences, "leaf": 0},
        {"event": "config.reloaded", "log_level": "info", "leaf": 1},
    ]


async def test_fixed_options_are_named_and_the_rest_is_taken(service):
    """Mutants: the reload is refused; the cursors are those of the new secret."""
    cursor = (await service.ask("/v1/events")).json()["next_cursor"]
    server = Server(secret=Secret("x" * 32), listen="127.0.0.1:9", max_body=5)
    with structlog.testing.capture_logs() as logged:
        answer = await changed(service, server=server)

    fixed = ["server.listen", "server.secret"]
    assert (answer["changed"], answer["needs_restart"]) == (["server.max_body"], fixed)
    assert logged[0]["log_level"] == "warning"
    assert logged[0]["needs_restart"] == fixed
    assert (await service.ask(f"/v1/events?after={cursor}")).status_code == 200
    assert (await service.public.post(f"/in/tellabot/{TOKEN}", content=b"x" * 6)).status_code == 413


# What is wrong


FAULTS = [
    (ConfigError(("smshook.yaml:3: sinks.log.type: 'fiel' is not one of file",)), 422),
    (Unusable(), 503),
    (OSError("text of a library"), 503),
]


@pytest.mark.parametrize(("fault", "expected"), FAULTS)
async def test_wrong_configuration_changes_nothing_and_is_logged(service, fault, expected):
    """Mutants: half of it in force; a text of a library in the log."""
    before = service.config
    service.config = fault
    with structlog.testing.capture_logs() as logged:
        headers = {"Authorization": f"Bearer {before.api.keys['admin'].key.reveal()}"}
        answer = await service.ask("/v1/reload", None, method="POST", headers=headers)
    service.config = before

    problem = answer.json()
    complaints = list(getattr(fault, "complaints", ()))
    assert answer.status_code == expected
    assert problem.get("complaints", []) == complaints
    assert problem["code"] == ("config_rejected" if complaints else "unavailable")
    line, alert = logged
    assert (alert["event"], alert["name"]) == ("alert.raised", "config_rejected")
    assert (line["event"], line["log_level"]) == ("config.rejected", "error")
    assert line.get("complaints", ()) == tuple(complaints)
    assert "library" not in str(logged) + answer.text
    assert service.parts.config is before
    await service.sms()


async def test_unavailable_journal_changes_nothing(service, monkeypatch):
    """Mutant: the key is in force, and its filter is not indexed."""
    keys = keys_of(service, new=key("new", "events:read", when={"data.code": "1"}))
    before = service.parts.config

    def submit(_write, then=None, line=None):  # noqa: ARG001 - as the journal's
        failed = asyncio.get_running_loop().create_future()
        failed.set_exception(Unavailable("disk full"))
        return failed

    with monkeypatch.context() as context:
        context.setattr(service.journal, "submit", submit)
        answer = await service.reload(api=keys)

    assert (answer.status_code, answer.json()["detail"]) == (503, "disk full")
    assert service.parts.config is before
    assert await status(service, "new-key-0123456789") == 401


async def test_service_that_ends_is_not_reloaded(service):
    """Mutant: sinks are opened during the end."""
    service.parts.intake.drain()

    answer = await service.reload(routes={})

    assert (answer.status_code, answer.json()["detail"]) == (503, "the service stops")
    assert service.parts.config.routes


async def test_reloads_happen_one_after_another(service):
    """Each reads the configuration after it was asked for. Mutant: no lock."""
    inside, most, count = 0, 0, 0
    load = service.load

    def counted():
        nonlocal inside, most, count
        inside, count = inside + 1, count + 1
        most = max(most, inside)
        time.sleep(0.01)
        try:
            return load()
        finally:
            inside -= 1

    service.parts.reloads._load = counted
    answers = await asyncio.gather(*(service.reload() for _ in range(5)))

    assert [answer.status_code for answer in answers] == [200] * 5
    assert (count, most) == (5, 1)


async def test_callbacks_are_answered_while_the_configuration_is_read(service):
    """Mutant: it is read in the event loop."""
    begun, answered, load = threading.Event(), threading.Event(), service.load

    def slow():
        begun.set()
        assert answered.wait(5)
        return load()

    service.parts.reloads._load = slow
    reload = asyncio.create_task(service.reload())
    await until(begun.is_set)
    answer = await door(service, TOKEN)
    answered.set()

    assert answer.status_code < 500
    assert (await reload).status_code == 200


async def test_warnings_are_logged_and_answered(service):
    """Mutants: only answered; repeated in the line that names the changes."""
    load, warning = service.load, "smshook.yaml:7: sinks.log: no route names it"
    service.parts.reloads._load = lambda: msgspec.structs.replace(load(), warnings=(warning,))
    with structlog.testing.capture_logs() as logged:
        answer = await changed(service)

    assert answer["warnings"] == [warning]
    lines = [line for line in logged if line["event"].startswith("config.")]
    assert [(line["event"], line.get("warning")) for line in lines] == [
        ("config.warning", warning),
        ("config.reloaded", None),
    ]
    assert "warnings" not in lines[1]


async def test_many_signals_are_few_reloads(service):
    """Mutants: one reload each; a signal during a reload is lost."""
    begun, go_on, count = asyncio.Event(), asyncio.Event(), itertools.count(1)
    done = 0

    async def reload():
        nonlocal done
        done = next(count)
        begun.set()
        await go_on.wait()
        if done == 1:
            raise NotReloaded("wrong")

    service.parts.reloads.reload = reload
    running = asyncio.create_task(service.parts.reloads.run())
    for _ in range(3):
        service.parts.reloads.request()
    await begun.wait()
    for _ in range(3):
        service.parts.reloads.request()
    go_on.set()
    async with asyncio.timeout(5):
        while done < 2:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.02)
    running.cancel()

    assert done == 2


# Rights


@pytest.mark.parametrize(
    ("name", "expected"), [(None, 401), ("reader", 403), ("writer", 403), ("boss", 403)]
)
async def test_reload_needs_a_whole_admin_key(service, name, expected):
    assert (await service.reload(name)).status_code == expected


async def test_local_key_may_reload_and_nothing_else(service):
    """The lock file has it. Mutants: it is an admin key; a reload replaces it."""
    keys = service.parts.keys
    headers = {"Authorization": f"Bearer {keys.local_key}"}
    for _ in range(2):
        answer = await service.ask("/v1/reload", None, method="POST", headers=headers)
        assert answer.status_code == 200
    for path in ("/v1/me", "/v1/events", "/v1/sources", "/v1/keys", STREAM):
        assert (await service.ask(path, None, headers=headers)).status_code == 403

    await keys.write_uses()
    assert keys.local not in [known.access for known in keys.known()]
    assert not any("local" in name for name in keys._used)


# Sources


async def test_rotated_token_is_accepted_and_then_unknown(service):
    """Mutants: the removed token goes on; its 404 differs from that of an unknown source."""
    sources = service.config.sources
    await changed(service, sources=sources | {"tellabot": tellabot(NEW_TOKEN, TOKEN)})
    both = [(await door(service, token)).status_code for token in (NEW_TOKEN, TOKEN)]

    await changed(service, sources=sources | {"tellabot": tellabot(NEW_TOKEN)})
    new, old = await door(service, NEW_TOKEN), await door(service, TOKEN)
    unknown = await door(service, TOKEN, "no-such-source")

    assert both == [200, 200]
    assert (new.status_code, old.status_code) == (200, 404)
    assert old.content == unknown.content


async def test_state_of_a_source_goes_on(service):
    """Mutants: the health starts over with each reload; a full bucket after each reload."""
    slow = tellabot(TOKEN, rate=Rate(count=2, per=3600), labels={"a": "b"})
    sources = {**service.config.sources, "tellabot": slow}
    await changed(service, sources=sources)
    unchanged = service.sources["herosms"]
    await service.sms()
    health = service.sources["tellabot"].health
    last = health._last_at
    more = msgspec.structs.replace(slow, labels={"c": "d"})

    await changed(service, sources={**sources, "tellabot": more})
    await service.sms()
    limited = await service.public.post(f"/in/tellabot/{TOKEN}", content=b"x")

    assert service.sources["tellabot"].health is health
    assert health._last_at >= last
    assert service.sources["herosms"] is unchanged
    assert limited.status_code == 429
    newest = (await service.data("/v1/events", order="desc"))[0]["event"]
    assert newest["data"]["labels"] == {"c": "d"}


async def test_added_and_removed_sources_are_listed(service):
    """Mutants: the lists are those of the start; orders of the old region."""
    sources = {"other": tellabot("other-token-0123456789"), **service.config.sources}
    del sources["herosms"]
    await changed(service, sources=sources)

    assert [one["name"] for one in await service.data("/v1/sources")] == ["other", "tellabot"]
    for name, expected in (("other", 201), ("herosms", 422)):
        body = {"source": name, "number": "+18505554729"}
        answer = await service.ask("/v1/orders", method="POST", json=body)
        assert answer.status_code == expected
    assert (await door(service, "other-token-0123456789", "other")).status_code == 200
    assert 'smshook_source_silent{source="other"}' in (await service.ask("/metrics")).text


async def test_callback_under_way_is_stored_when_its_source_goes(service):
    """Its head was admitted before. Mutants: a KeyError; its secret header is stored in clear."""
    sources = service.config.sources
    begun = service.public
    await changed(service, sources={"herosms": sources["herosms"]})

    answer = await begun.post(
        f"/in/tellabot/{TOKEN}",
        content=b"event=incoming_message&id=10000001&timestamp=1789990001&from=1&to=18505554729"
        b"&service=Google&reply=code+4001&pin=4001",
        headers={"Authorization": "Bearer of-the-provider"},
    )

    [event_id] = answer.json()["events"]
    raw = (await service.ask(f"/v1/events/{event_id}?raw=true")).text
    assert "of-the-provider" not in raw


async def test_backfill_follows_the_source(service):
    """Mutants: a removed one goes on; a known one starts over and forgets its Retry-After."""
    backfills, sources = service.parts.backfills, service.config.sources
    polled = tellabot(TOKEN, backfill=Backfill(user=Secret("u"), api_key=Secret("k" * 16)))
    await changed(service, sources={**sources, "tellabot": polled})
    first = backfills.of("tellabot")
    labelled = msgspec.structs.replace(polled, labels={"a": "b"})
    await changed(service, sources={**sources, "tellabot": labelled})
    again = backfills.of("tellabot")
    await changed(service, sources=sources)

    assert first is not None
    assert again is first
    assert backfills.of("tellabot") is None


# Routes and sinks


async def test_routes_decide_about_the_next_event(service):
    """Mutants: the routes of the start; a reload changes what is owed already."""
    first = await service.sms()
    await changed(
        service, routes={"amazon": Route(to=("log",), when={"data.service.key": "amazon"})}
    )
    second = await service.sms()
    third = await service.sms(service="Amazon")

    shown = [(await service.ask(f"/v1/events/{id_}")).json() for id_ in (first, second, third)]
    assert [len(one["deliveries"]) for one in shown] == [1, 0, 1]
    assert [one["name"] for one in await service.data("/v1/routes")] == ["amazon"]
    why = (await service.ask(f"/v1/events/{second}/why")).json()
    assert [(one["name"], one["matches"]) for one in why["routes"]] == [("amazon", False)]
    assert [one["name"] for one in shown[0]["routes"]] == ["amazon", "google"]


async def test_route_to_a_new_sink_plans_its_deliveries(service, tmp_path):
    """Mutant: the routes are in force before the sinks: a KeyError answers the callback."""
    sinks = {**service.config.sinks, "new": File(path=str(tmp_path / "new"), ordered_by="data.to")}
    await changed(service, sinks=sinks, routes={"all": Route(to=("new",))})
    event_id = await service.sms()

    deliveries = await service.data("/v1/deliveries", event=event_id)
    assert [one["sink"] for one in deliveries] == ["new"]
    names = [one["name"] for one in await service.data("/v1/sinks")]
    assert names == ["log", "new"]
    # The event's data was read, which this route alone does not need.
    [(ordering,)] = await service.journal._reader.ask(
        lambda conn: conn.execute("select ordering from deliveries").fetchall()
    )
    assert ordering == service.journal.opener.hash_line('"+18505554729"')


async def test_order_of_a_changed_sink_holds_for_new_events(service):
    """Its worker gets the options when its attempts have ended. Mutant: no data for the plan."""
    log = msgspec.structs.replace(service.config.sinks["log"], ordered_by="data.to")
    await changed(service, sinks={"log": log}, routes={"all": Route(to=("log",))})
    service.workers["log"].change(log)
    await service.sms()

    [(ordering,)] = await service.journal._reader.ask(
        lambda conn: conn.execute("select ordering from deliveries").fetchall()
    )
    assert ordering == service.journal.opener.hash_line('"+18505554729"')


async def test_replaced_certificate_is_a_change_of_its_sink(service, tmp_path):
    """Mutant: a reload that takes it says that nothing changed."""
    ca = tmp_path / "ca.pem"
    ca.write_text("one")
    crm = Http(url=Secret("https://crm.example.com/"), tls=Tls(ca_file=str(ca)))
    sinks = {**service.config.sinks, "crm": crm}
    added = await changed(service, sinks=sinks)
    same = await changed(service)
    ca.write_text("two")
    replaced = await changed(service)

    assert [one["changed"] for one in (added, same, replaced)] == [
        [],
        [],
        ["sinks.crm.tls.ca_file"],
    ]


async def test_parts_that_sinks_share_are_made_before_the_sink(service, monkeypatch):
    """Mutant: the first HTTP sink of a service is in force, and its attempts fail."""

    async def prepare(_sink):
        raise Unusable("no certificates")

    monkeypatch.setattr(Http, "prepare", prepare)
    crm = Http(url=Secret("https://crm.example.com/"))
    answer = await service.reload(sinks={**service.config.sinks, "crm": crm})

    assert answer.status_code == 503
    assert list(service.parts.sinks.options) == ["log"]


# Keys


async def test_removed_key_ends_and_others_go_on(service):
    """Mutants: the stream of a removed key goes on; each reload ends all streams."""
    async with service.call(STREAM, "reader") as gone, service.call(STREAM, "coder") as stays:
        await gone.begun()
        await stays.begun()
        await service.waiting(2)
        keys = keys_of(service, reader=None)
        coder = access(service, "coder")
        await changed(service, api=keys)
        event_id = await service.sms()

        await ended(gone)
        [(_, _, event)] = await stays.frames(1)

    assert event["id"] == event_id
    assert access(service, "coder") is coder
    assert await status(service, "reader-key-0123456789") == 401
    assert await status(service, "coder-key-0123456789") == 200


async def test_changed_key_has_its_new_rights_at_once(service):
    """Mutants: the old rights; a stream with the old rights goes on."""
    await service.sms()
    async with service.call(STREAM, "coder") as call:
        await call.begun()
        await service.waiting()
        await changed(service, api=keys_of(service, coder=key("coder", "events:read")))
        await ended(call)

    [item] = await service.data("/v1/events", "coder")
    assert item["event"]["data"]["code"] == "***"


async def test_configured_key_shadows_a_made_one(service):
    """It ends like a revoked one, and is back with its streams when the other is removed.

    Mutants: both work; the made key never works again; its readers end at once.
    """
    body = {"name": "crm", "scopes": ["events:read"]}
    made = (await service.ask("/v1/keys", method="POST", json=body)).json()["key"]
    own = ApiKey(key=Secret("configured-crm-0123456789"), scopes=("events:read",))
    await changed(service, api=keys_of(service, crm=own))
    shadowed = await status(service, made), await status(service, "configured-crm-0123456789")
    await changed(service, api=keys_of(service, crm=None))
    back = await status(service, made), await status(service, "configured-crm-0123456789")
    headers = {"Authorization": f"Bearer {made}"}
    async with service.call(STREAM, None, headers=headers) as call:
        await call.begun()
        await service.waiting()
        event_id = await service.sms()
        [(_, _, event)] = await call.frames(1)

    assert (shadowed, back) == ((401, 200), (200, 401))
    assert event["id"] == event_id


async def test_filter_of_a_new_key_is_indexed(service):
    """Old events, events during the reload, and new ones. Mutants: not added; never
    removed; the index hears of the removal only before it.
    """
    secret = "new-key-0123456789"
    hidden, shown = await service.hero(), [await service.sms()]
    new = key("new", "events:read", when={"source": "tellabot"})
    await changed(service, api=keys_of(service, new=new))
    shown.append(await service.sms())
    before = await seen(service, secret)
    with_new = await indexed(service)
    after = await seen(service, secret)
    filters = len(service.parts.keys.filters)
    submit = service.journal.submit

    async def submitted(write, **its):
        if isinstance(write, ChangeFilters):
            service.parts.keys.changed.clear()  # the task of the index has run meanwhile
        return await submit(write, **its)

    service.journal.submit = submitted
    await changed(service, api=keys_of(service, new=None))
    is_told = service.parts.keys.changed.is_set()
    count = await indexed(service)

    assert hidden not in before
    assert before == after == shown
    assert with_new == filters
    assert is_told
    assert count == len(service.parts.keys.filters) == filters - 1


async def test_limits_of_readers_follow(service):
    """Mutant: the limits of the start."""
    api = msgspec.structs.replace(service.config.api, streams=2)
    await changed(service, api=api)
    async with service.call(STREAM) as call:
        await call.begun()
        assert (await service.ask(STREAM)).status_code == 429


# Subscriptions


@pytest.fixture
def _quick(monkeypatch):
    monkeypatch.setattr(subscriptions_module, "LOOK_EVERY", 0.01)


class Receiver:
    """An endpoint that returns challenges and keeps events."""

    def __init__(self, end):
        self.url, self.events = f"{end.url}/hook", []
        end.usual = self._answer

    async def _answer(self, request, connection):
        body = json.loads(request.body)
        self.events += [body] if "id" in body else []
        await reply(200, body.get("challenge", "").encode())(request, connection)

    async def got(self, count):
        async with asyncio.timeout(10):
            while len(self.events) < count:  # noqa: ASYNC110 - an endpoint has no event of its own
                await asyncio.sleep(0.005)
        return self.events


@contextlib.asynccontextmanager
async def subscribed(service, name="coder"):
    """A subscription whose worker runs, and its endpoint."""
    local = Subscribing(allow_networks=("127.0.0.1",))
    keys = keys_of(service, coder=key("coder", "subscriptions:write", "codes:read"))
    await changed(service, subscriptions=local, api=keys)
    running = asyncio.create_task(service.parts.subscriptions.run(lambda: None))
    try:
        async with endpoint() as end:
            receiver = Receiver(end)
            answer = await service.ask(
                "/v1/subscriptions", name, method="POST", json={"url": receiver.url}
            )
            assert answer.status_code == 201, answer.text
            await service.sms()
            await receiver.got(1)
            yield receiver
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.usefixtures("_quick")
async def test_lost_codes_are_masked_at_once(service):
    """The worker of the subscription runs. Mutant: it goes on with the rights of its start."""
    async with subscribed(service) as receiver:
        await changed(service, api=keys_of(service, coder=key("coder", "subscriptions:write")))
        await service.sms()
        events = await receiver.got(2)

    assert [event["data"]["code"] for event in events] == ["4001", "***"]


@pytest.mark.usefixtures("_quick")
async def test_removed_network_is_blocked_at_once(service):
    """Mutants: the guard of the start; other subscriptions are cut; their sinks are never equal."""
    async with subscribed(service) as receiver:
        [live] = service.parts.subscriptions
        task = live.task
        await changed(service, subscriptions=Subscribing(allow_networks=("127.0.0.1",), per_key=1))
        same = live.task is task
        limited = await service.ask(
            "/v1/subscriptions", "coder", method="POST", json={"url": receiver.url}
        )
        await changed(service, subscriptions=Subscribing())
        await service.sms()
        async with asyncio.timeout(10):
            while not live.worker.is_failing:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.005)

    assert same
    assert (limited.status_code, limited.json()["code"]) == (409, "too_many_subscriptions")
    assert len(receiver.events) == 1


# The listener


async def test_own_names_follow(service):
    """Mutant: the names of the start."""

    async def asked():
        transport = httpx.ASGITransport(service.api)
        async with httpx.AsyncClient(transport=transport) as client:
            return (await client.get("http://hooks.example.com/v1/me")).status_code

    before = await asked()
    server = msgspec.structs.replace(service.config.server, admin_hosts=("hooks.example.com",))
    await changed(service, server=server)
    after = await asked()
    server = msgspec.structs.replace(server, admin_hosts=(), public_url="https://hooks.example.com")
    await changed(service, server=server)

    assert (before, after, await asked()) == (403, 401, 401)


async def test_changed_retention_is_in_force(run, tmp_path):
    """Mutant: the pruner does not follow the configuration."""
    async with run(tmp_path) as service:
        kept = (await service.ask("/v1/retention")).json()["kept"]
        answer = await changed(service, retention=Retention(codes=3600))
        assert answer["changed"] == ["retention.codes"]
        changed_to = (await service.ask("/v1/retention")).json()["kept"]
    assert "codes" not in kept
    assert (changed_to["codes"], changed_to["events"]) == (3600, kept["events"])


async def test_changed_free_space_is_in_force(run, tmp_path):
    """Mutant: the watch of the disk does not follow the configuration."""
    async with run(tmp_path) as service:
        url = service.parts.config.journal.url
        await changed(service, journal=JournalOptions(url=url, min_free=1 << 60))
        assert service.parts.space.is_low
        await changed(service, journal=JournalOptions(url=url))
        assert not service.parts.space.is_low
