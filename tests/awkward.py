"""The events of bad inputs with unusual content."""

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from bad_inputs.run_bad_inputs import body_of

from core.event import Event
from core.secret import Secret
from receiver.callback import Callback
from receiver.decode import decode
from receiver.providers.sms_activate.profiles import SmsActivate
from receiver.providers.tellabot.callbacks import TellABot
from sinks.sink import Outgoing

LIST = Path(__file__).parent / "bad_inputs" / "bad_inputs.jsonl"
SOURCES = {
    "tellabot": TellABot(tokens=(Secret("t" * 20),)),
    "smsactivate": SmsActivate(tokens=(Secret("t" * 20),)),
}
CASES = [
    case
    for number, line in enumerate(LIST.read_text().splitlines())
    if (case := {"number": number, **json.loads(line)})["group"] == "content"
]


def event_of(case):
    """Return its event as plain JSON values, as it is sent."""
    source = SOURCES[case["source"]]
    callback = Callback(
        headers=(),
        body=body_of(case, 10_000_000 + case["number"]),
        peer="192.0.2.1",
        received=datetime.now(UTC),
    )
    fields = decode(callback.body, content_encoding=None, encodings=source.encodings)
    [happening] = source.normalize(fields, callback)
    event = Event(
        id=f"event-{case['number']:04d}",
        source=case["source"],
        type=happening.data.type,
        subject=happening.subject,
        time=happening.time or "2026-11-21T00:00:00Z",
        recordedtime="2026-11-21T00:00:00.000000Z",
        dedupekey="d",
        data=happening.data,
    )
    return json.loads(msgspec.json.encode(event))


def harmless(event):
    """Return the event with harmless texts."""
    service = {"id": "Acme", "name": "Acme", "key": "acme"}
    return {**event, "data": {**event["data"], "text": "A text.", "service": service}}


def outgoing(event):
    body = msgspec.json.encode(event)
    return Outgoing(event_id=event["id"], body=body, attempt=1, at=1_600_108_957.0)
