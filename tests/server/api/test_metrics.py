"""`/metrics` shows true figures, in a form that Prometheus reads."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families as parse

from core.delivery import Attempt
from core.errors import Unavailable
from core.meters import Histogram
from core.secret import Secret
from journal.reads import OldestPending
from journal.writes import EndDeliveries
from receiver.polling.options import Backfill
from receiver.providers.tellabot.callbacks import TellABot
from routes.table import Route
from server.api import metrics
from server.metrics import METRICS, Exposition, Metric
from sinks.file.sink import File
from sinks.sink import Failed, Receipt, Refused


async def scrape(service, client=None, **options):
    answer = await (client or service.admin).get("/metrics", **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return answer.text


def samples(text):
    """Return the value of each sample, by name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in parse(text)
        for sample in family.samples
    }


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(first=TEXTS, second=TEXTS, value=st.floats(-1e9, 1e9) | st.integers(0, 10**15))
def test_label_values_survive_the_parser(first, second, value):
    """Mutants: a quote, a backslash or a line end is not escaped."""
    found = Exposition((Metric("a", "gauge", "one two", "A help."),))
    found.add("a", value, first, second)

    [family] = parse(found.text())
    [sample] = family.samples
    assert (sample.labels, sample.value) == ({"one": first, "two": second}, value)


@given(values=st.lists(st.floats(0, 20), max_size=20))
def test_histogram_counts_values_up_to_each_bound(values):
    """Mutants: a bound excludes its own value; buckets are not cumulative."""
    bounds = (0.5, 1, 2.5, 10)
    histogram = Histogram(bounds)
    for value in (*values, *bounds):
        histogram.add(value)
    found = Exposition((Metric("a", "histogram", "", "A help."),))
    found.add_histogram("a", histogram)

    got = samples(found.text())
    every = [*values, *bounds]
    assert got["a_count",] == got["a_bucket", "+Inf"] == len(every)
    assert got["a_sum",] == pytest.approx(sum(every))
    for bound in bounds:
        assert got["a_bucket", f"{bound:g}"] == sum(value <= bound for value in every)


async def test_readers_and_the_codes_they_read_are_counted(service):
    """Mutants: a masked event counts; an event without a code counts; a stream stays open."""
    await service.sms(reply="Your code is 4711", pin="4711")
    await service.sms(reply="Welcome", pin="")
    [item, _] = await service.data("/v1/events", "coder")
    await service.data("/v1/events", "reader")
    await service.ask(f"/v1/events/{item['event']['id']}", "coder")
    await service.ask("/v1/events/wait?since=1h&code=true", "coder")
    await service.ask("/v1/consumers/crm/commit", "coder", method="POST", json=after(item))
    async with service.call("/v1/events/stream?after=start", "coder") as call:
        await call.begun()
        while (await call.frame()).startswith(b":"):
            pass
        during = samples(await scrape(service))
    got = samples(await scrape(service))

    read = {
        labels: value for labels, value in got.items() if labels[0].endswith("codes_read_total")
    }
    name = "smshook_codes_read_total"
    assert read == {(name, "coder", how): 1 for how in ("list", "event", "wait", "stream")}
    assert (during["smshook_streams", "api"], during["smshook_waits",]) == (1, 0)
    assert got["smshook_streams", "api"] == 0
    assert got["smshook_consumer_behind", "crm"] == 1


async def test_series_of_consumers_are_limited(service, monkeypatch):
    """Mutants: a series for each; the others are left out; the newest have series."""
    monkeypatch.setattr(metrics, "MOST_CONSUMERS", 2)
    await service.sms()
    await service.sms()
    first, second = await service.data("/v1/events")
    for name, item in (("z", second), ("b", second), ("c", first), ("a", second)):
        service.now += 1
        path = f"/v1/consumers/{name}/commit"
        await service.ask(path, "coder", method="POST", json=after(item))
    got = samples(await scrape(service))

    name = "smshook_consumer_behind"
    behind = {labels[1]: value for labels, value in got.items() if labels[0] == name}
    assert behind == {"z": 0, "b": 0, "*": 1}


async def test_codes_that_sinks_got_in_clear_are_counted(run, tmp_path):
    """Mutants: an event without a code counts; an attempt that reached no one; a masked sink."""
    sinks = {
        name: File(path=str(tmp_path / name), redact=redact)
        for name, redact in (("clear", None), ("texts", ("data.code",)), ("masked", "codes"))
    }
    routes = {"all": Route(to=tuple(sinks))}
    async with run(tmp_path, sinks=sinks, routes=routes) as service:
        lost = await service.sms()
        refused = await service.sms()
        await service.sms()
        await service.sms(reply="Welcome", pin="")

        async def answers(outgoing):
            if outgoing.event_id == lost:
                raise Failed("timeout")
            if outgoing.event_id == refused:
                raise Refused("gone", status=410)
            return Receipt()

        for sink in sinks:
            await service.settled(answers, sink)
        got = samples(await scrape(service))

    name = "smshook_codes_read_total"
    read = {labels[1:]: value for labels, value in got.items() if labels[0] == name}
    assert read == {("clear", "sink"): 2, ("texts", "sink"): 2}


def after(item):
    return {"cursor": item["cursor"]}


async def test_figures_are_true_at_the_scrape(service):
    """Mutants: a counter that is written a second later; a settled delivery counts as owed; a
    refused attempt counts as delivered; a duplicate is an event."""
    first = await service.sms()
    await service.sms(service="Amazon")
    await service.sms(service="Unheard of")
    await service.hero()
    again = "activationId=1&service=go&text=a"
    await service.post('{"activationId": 1, "service": "go", "text": "a"}', "herosms")
    await service.post('{"activationId": 1, "service": "go", "text": "a"}', "herosms")
    await service.post("no form at all")
    await service.post(again, token="wrong")
    await service.post(again, "stranger", token="wrong")

    async def answers(outgoing):
        if outgoing.event_id == first:
            raise Refused("gone", status=410)
        return Receipt()

    await service.settled(answers)
    await service.sms()
    text = await scrape(service)
    found = samples(text)

    # docs/reference/metrics.md is made from the same list.
    declared = [tuple(line.split()[2:]) for line in text.splitlines() if line[:6] == "# TYPE"]
    assert declared == [(metric.name, metric.kind) for metric in METRICS]
    assert {name[1:]: n for name, n in found.items() if name[0] == "smshook_callbacks_total"} == {
        ("tellabot", "accepted"): 4,
        ("tellabot", "duplicate"): 0,
        ("tellabot", "quarantined"): 1,
        ("tellabot", "rejected"): 1,
        ("tellabot", "unavailable"): 0,
        ("herosms", "accepted"): 2,
        ("herosms", "duplicate"): 1,
        ("herosms", "quarantined"): 0,
        ("herosms", "rejected"): 0,
        ("herosms", "unavailable"): 0,
        ("", "rejected"): 1,
    }
    assert found["smshook_callback_seconds_count", "herosms"] == 3
    assert found["smshook_rejections_total", "token", "tellabot"] == 1
    assert found["smshook_rejections_total", "token", ""] == 1
    assert found["smshook_quarantine",] == 1
    assert found["smshook_events_total", "tellabot", "sms.received"] == 4
    assert found["smshook_events_total", "herosms", "sms.received"] == 2
    assert found["smshook_events_unrouted_total", "tellabot", "sms.received"] == 1
    assert found["smshook_owed", "log"] == 1
    assert found["smshook_owed_oldest_seconds", "log"] == pytest.approx(service.now)
    assert found["smshook_deliveries_total", "log", "delivered"] == 3
    assert found["smshook_deliveries_total", "log", "dead"] == 1
    assert found["smshook_deliveries_total", "log", "expired"] == 0
    assert found["smshook_attempts_total", "log", "delivered", ""] == 3
    assert found["smshook_attempts_total", "log", "refused", "gone"] == 1
    assert found["smshook_attempt_seconds_count", "log"] == 4
    assert found["smshook_delivery_lag_seconds_count", "log"] == 3
    assert found["smshook_sink_failing_since_seconds", "log"] == 0
    assert found["smshook_sink_in_flight", "log"] == 0
    assert found["smshook_source_last_callback_seconds", "herosms"] == service.now
    assert found["smshook_journal_commits_total",] >= 6
    assert found["smshook_journal_bytes",] > 0

    stats = (await service.ask("/v1/stats")).json()
    events = [n for name, n in found.items() if name[0] == "smshook_events_total"]
    assert stats["events"] == sum(events)


async def test_states_of_sinks_and_orders_are_shown(service):
    """Mutants: an order counts twice, foreseen and stored; a paused sink is 0."""
    order = {"source": "tellabot", "request_id": "10000001", "number": "+18505554729"}
    made = await service.ask("/v1/orders", method="POST", json=order)
    await service.ask("/v1/orders", method="POST", json=order | {"request_id": "7"})
    await service.ask("/v1/orders", method="POST", json=order | {"reference": "later"})
    await service.ask(f"/v1/orders/{made.json()['id']}", method="DELETE")
    await service.ask("/v1/sinks/log/pause", method="POST")
    found = samples(await scrape(service))

    assert found["smshook_orders", "waiting"] == 1
    assert found["smshook_orders", "cancelled"] == 1
    assert found["smshook_orders_total", "tellabot", "waiting"] == 2
    assert found["smshook_orders_total", "tellabot", "cancelled"] == 1
    assert found["smshook_sink_paused", "log"] == 1

    service.now += 7
    await service.sms(id=7)
    found = samples(await scrape(service))
    assert found["smshook_orders", "waiting"] == 0
    assert found["smshook_orders", "received"] == 1
    assert found["smshook_orders_total", "tellabot", "received"] == 1
    assert found["smshook_order_code_seconds_bucket", "tellabot", "5"] == 0
    assert found["smshook_order_code_seconds_bucket", "tellabot", "10"] == 1


async def test_delivery_that_ends_during_a_scrape_is_not_old(service, monkeypatch):
    """Mutant: it is pending, and its time is 0: 1970 for a rule of Prometheus."""
    await service.sms()
    journal = service.parts.journal
    ask = journal.ask

    async def ask_late(read):
        if isinstance(read, OldestPending):
            await journal.submit(EndDeliveries("log", error="gone", at=service.now))
        return await ask(read)

    before = samples(await scrape(service))
    monkeypatch.setattr(journal, "ask", ask_late)
    found = samples(await scrape(service))

    assert before["smshook_owed", "log"] == 1
    assert (found["smshook_owed", "log"], found["smshook_owed_oldest_seconds", "log"]) == (0, 0)


async def test_journal_counters_outlive_the_process(tmp_path, run):
    """Mutant: events are counted in memory."""
    async with run(tmp_path) as service:
        await service.sms()
    async with run(tmp_path) as service:
        await service.sms(timestamp=1_789_990_500)
        found = samples(await scrape(service))

    assert found["smshook_events_total", "tellabot", "sms.received"] == 2
    assert found["smshook_owed", "log"] == 2
    assert found["smshook_callbacks_total", "tellabot", "accepted"] == 1


async def test_unavailable_callbacks_are_counted(service):
    service.parts.intake.drain()
    await service.post("event=incoming_message")
    found = samples(await scrape(service))

    assert found["smshook_callbacks_total", "tellabot", "unavailable"] == 1


async def test_metrics_of_the_process_answer_without_the_journal(service, monkeypatch):
    """Mutant: the scrape fails, just when the journal does."""

    async def ask(_read):
        raise Unavailable("stalled")

    monkeypatch.setattr(service.journal, "ask", ask)
    found = samples(await scrape(service))

    assert ("smshook_quarantine",) not in found
    assert found["smshook_sink_paused", "log"] == 0
    assert found["process_resident_memory_bytes",] > 1e6
    assert found["python_gc_collections_total", "2"] >= 0


async def test_key_is_needed_only_on_the_public_listener(service):
    """Mutants: the public listener shows metrics to all; a key with a `when` sees all counts."""
    door = service.behind_the_door()

    def headers(name):
        return {"Authorization": f"Bearer {name}-key-0123456789"}

    assert (await door.get("/metrics")).status_code == 401
    assert (await door.get("/metrics", headers=headers("writer"))).status_code == 403
    assert (await door.get("/metrics", headers=headers("growth"))).status_code == 403
    await scrape(service, door, headers=headers("reader"))
    await scrape(service)
    assert (await service.public.get("/metrics")).status_code == 404
    assert (await service.admin.get("/metrics?a=1")).status_code == 400


async def test_no_label_comes_from_outside(service):
    """Mutants: the peer, the path or the user agent is a label; a number is one."""
    await service.sms()
    for number in range(50):
        await service.post("x", f"source{number}", token="unknown")
        await service.public.request(f"METHOD{number}", "/in/tellabot/token")
    labels = {label for name in samples(await scrape(service)) for label in name[1:]}

    written = " ".join(labels)
    for outside in ("source1", "METHOD1", "192.0.2", "1850", "4001", "tellabot-token", "unknown"):
        assert outside not in written


async def test_callback_from_another_address_is_rejected(run, tmp_path):
    """Mutant: it counts as quarantined too, because it is kept."""
    source = TellABot(tokens=(Secret("t" * 20),), allow_from=("10.0.0.0/8",))
    async with run(tmp_path, sources={"tellabot": source}) as service:
        await service.post("event=incoming_message", token="t" * 20)
        found = samples(await scrape(service))

    assert found["smshook_callbacks_total", "tellabot", "rejected"] == 1
    assert found["smshook_callbacks_total", "tellabot", "quarantined"] == 0
    assert found["smshook_quarantine",] == 1


async def test_failed_backfills_are_counted_from_zero(run, tmp_path):
    """Prometheus sees no increase in a series that begins with 1.

    Mutants: a series begins with its first failure; a refused key is shown in the counter only.
    """
    source = TellABot(tokens=(Secret("t" * 20),), backfill=Backfill(user="u", api_key=Secret("k")))
    async with run(tmp_path, sources={"tellabot": source}) as service:
        before = samples(await scrape(service))
        service.parts.backfills.of("tellabot").stopped = True
        after = samples(await scrape(service))

    runs = {labels: value for labels, value in before.items() if "smshook_backfill_total" in labels}
    outcomes = ("complete", "bad_key", "busy", "unreadable", "journal", "fault")
    assert runs == {("smshook_backfill_total", "tellabot", one): 0 for one in outcomes}
    refused = "smshook_backfill_key_refused", "tellabot"
    assert (before[refused], after[refused]) == (0, 1)


@pytest.mark.uncounted
async def test_metrics_of_many_sources_and_sinks_stay_small(run, tmp_path):
    """2,000 series, 300 KB and 10 ms. Mutant: a series for each type, source and sink."""
    sinks = {f"sink{n}": File(path=str(tmp_path / f"{n}.jsonl")) for n in range(20)}
    sources = {f"source{n}": TellABot(tokens=(Secret(f"{n:020}"),)) for n in range(20)}
    routes = {"all": Route(to=tuple(sinks))}
    async with run(tmp_path, sources=sources, sinks=sinks, routes=routes) as service:
        for n in range(20):
            body = f"event=incoming_message&id={n + 1}&reply=a&to=18505554729"
            answer = await service.post(body, f"source{n}", token=f"{n:020}")
            assert answer["status"] == "accepted", answer
        for worker in service.workers.values():
            for outcome in ("delivered", "failed", "refused"):
                for word in (None, "timeout", "status"):
                    attempt = Attempt(at=service.now, outcome=outcome, error=word, took_ms=1.0)
                    worker.meters.add(attempt, accepted_at=service.now)
        took = []
        for _ in range(20):
            began = time.process_time()
            text = await scrape(service)
            took.append(time.process_time() - began)

    assert len(samples(text)) <= 2000
    assert len(text) < 300_000
    assert min(took) < 0.030  # the client and the machine included; `make bench` measures it


def test_each_metric_has_one_name_and_form():
    names = [metric.name for metric in METRICS]

    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.kind in ("counter", "gauge", "histogram")
        assert (metric.kind == "counter") is metric.name.endswith("_total")
        assert metric.help.endswith(".")
