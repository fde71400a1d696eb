"""Each recorded request, byte for byte to a real process, becomes the event beside it."""

import json

import live
import pytest
from callbacks.recorded import RECORDED

PROVIDERS = sorted({recorded.provider for recorded in RECORDED})


def name_of(recorded):
    """Return a source name for each request: its copies in other encodings are duplicates."""
    return recorded.name.replace("/", "-").replace(".", "-").lower()


def config():
    sources = {
        name_of(recorded): {
            "provider": recorded.provider,
            "tokens": [live.TOKEN],
            **recorded.options,
        }
        for recorded in RECORDED
    }
    start = live.CONFIG.index("sinks:")
    return f"sources: {json.dumps(sources)}\n{live.CONFIG[start:]}"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("recorded"), config()) as running:
        yield running


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded.name)
def test_recorded_request_becomes_its_event(service, recorded):
    path = recorded.path.format(source=name_of(recorded), token=live.TOKEN)
    fields = [*recorded.headers, ("host", "127.0.0.1"), ("connection", "close")]
    head = [f"{recorded.method} {path} HTTP/1.1", *(": ".join(field) for field in fields), "", ""]
    request = "\r\n".join(head).encode("latin-1") + recorded.body

    answer = live.exchange(service.address(), request)

    assert answer.startswith(b"HTTP/1.1 200 ")
    accepted = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert accepted["status"] == "accepted"
    events = [service.api(f"/events/{event_id}").json()["event"] for event_id in accepted["events"]]
    for event, expected in zip(events, recorded.events, strict=True):
        expected_time = expected["time"] or event["recordedtime"]
        assert {**expected, "time": expected_time} == {name: event[name] for name in expected}
        assert (event["source"], event["specversion"]) == (name_of(recorded), "1.0")


def test_every_provider_has_recorded_requests():
    assert PROVIDERS == [
        "daisysms",
        "generic",
        "grizzlysms",
        "herosms",
        "sms_activate",
        "sms_online",
        "smsbower",
        "tellabot",
    ]
