"""A real service, a real collector and a real receiver: one trace from callback to delivery."""

import asyncio
import json

import canary
import collectors
import endpoint
import httpx
import live
from test_deliveries import eventually, running

from server.config.options import Tracing

FOREIGN = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
BASIS = live.CONFIG.replace(
    "  log: {type: file, path: events.jsonl}",
    '  app: {type: http, url: "@APP@/hooks/s3cret-path?key=s3cret-query"}',
).replace("[log]", "[app]")
HEADERS = {"traceparent": f"00-{FOREIGN[0]}-{FOREIGN[1]}-01"}


def config(app, collector=None):
    tracing = f'tracing: {{endpoint: "{collector}", sample: 1}}\n' if collector else ""
    return BASIS.replace("@APP@", app) + tracing


async def test_trace_from_the_callback_to_the_reader(tmp_path):
    """Nothing secret leaves: the search is that of all files of a service.

    Mutants: a span has the path of the callback, the URL of the sink, or the body; the header does
    not go out; lines of the log have no trace.
    """
    async with endpoint.endpoint() as app, endpoint.endpoint() as collector:
        app.says(endpoint.reply(500), endpoint.reply(200))
        text = config(app.url, collector.url)
        async with running(tmp_path, text) as service:
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.post(
                    service.callback_url(), content=live.sms(1), headers=HEADERS
                )
            [event_id] = answer.json()["events"]
            await eventually(lambda: len(app.requests) == 2, within=30)
            shown = await asyncio.to_thread(service.api, f"/events/{event_id}")
            assert shown.status_code == 200
            # A service that stops sends what it has.
            assert await asyncio.to_thread(service.stop) == 0
            lines = [json.loads(line) for line in service.log.read_text().splitlines()]

    trace_id = event_id.replace("-", "")
    spans = collectors.spans(collector.requests)
    by_name = {span.name: span for span in spans}
    assert sorted(span.name for span in spans) == [
        *("accept", "callback", "commit", "deliver app", "deliver app", "read")
    ]
    assert {span.trace_id.hex() for span in spans} == {trace_id}
    assert collectors.linked(by_name["callback"]) == [FOREIGN]
    below = {span.name for span in spans if span.parent_span_id == by_name["accept"].span_id}
    assert below == {"commit", "deliver app", "read"}

    attempts = [span for span in spans if span.name == "deliver app"]
    sent_with = [request.headers["traceparent"] for request in app.requests]
    assert sent_with == [f"00-{trace_id}-{span.span_id.hex()}-01" for span in attempts]
    assert [collectors.attributes(span)["smshook.outcome"] for span in attempts] == [
        *("failed", "delivered")
    ]
    assert {collectors.attributes(span)["server.address"] for span in attempts} == {"127.0.0.1"}

    traced = [line["event"] for line in lines if line.get("trace_id") == trace_id]
    assert traced == ["callback.accepted", "delivery.attempted", "delivery.attempted"]

    received = b"\n".join(request.body for request in collector.requests)
    secrets = (*canary.RESERVED, live.TOKEN, live.KEY, "s3cret", live.code(1))
    assert canary.found(received, secrets) == []


async def test_nothing_is_traced_by_default(tmp_path, monkeypatch):
    """The variables of OpenTelemetry alone turn nothing on. Mutant: they do."""
    async with endpoint.endpoint() as app, endpoint.endpoint() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        async with running(tmp_path, config(app.url)) as service:
            async with httpx.AsyncClient(trust_env=False) as client:
                await client.post(service.callback_url(), content=live.sms(1), headers=HEADERS)
            await eventually(lambda: app.requests, within=30)
            assert await asyncio.to_thread(service.stop) == 0

    assert "traceparent" not in app.requests[0].headers
    assert collector.requests == []
    assert "trace_id" not in service.log.read_text()


async def test_unreachable_collector_delays_nothing(tmp_path):
    """Mutant: the last request to it holds the end of the service."""
    async with endpoint.endpoint() as app, endpoint.endpoint() as collector:
        collector.says(*[endpoint.hang] * 10)
        async with running(tmp_path, config(app.url, collector.url)) as service:
            async with httpx.AsyncClient(trust_env=False) as client:
                await client.post(service.callback_url(), content=live.sms(1))
            await eventually(lambda: app.requests, within=30)
            assert await asyncio.to_thread(service.stop, within=12.0) == 0


def test_every_option_has_a_default():
    assert (Tracing().fraction, Tracing().name) == (0.1, "smshook")
