"""Streams of the API as pages read them: `EventSource` with a session, and codes masked."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from httpd.protocol import GONE

from .page import Stream
from .wire import Asked, head

_MEDIA_TYPE = "text/event-stream; charset=utf-8"
#: nginx holds events back until its buffer is full, unless this says otherwise.
_HEADERS = {"Content-Type": _MEDIA_TYPE, "X-Accel-Buffering": "no"}
_OK = 200


async def follow(asked: Asked, stream: Stream, end_old: Callable[[], None]) -> None:
    """Send the events of a stream until the client goes away or the session ends.

    `end_old` ends the sessions that are too old. It is called at least at each heartbeat.
    """
    session, api = asked.session, asked.api
    if session is None or api is None:
        raise RuntimeError("a stream needs a signed-in page")
    ends: list[Callable[[], None]] = []
    is_ok = True

    def end() -> None:
        for one in ends:
            one()

    def when_ended(one: Callable[[], None]) -> None:
        ends.append(one)
        if session.has_ended:  # while the stream began
            one()

    async def send(message: Mapping[str, Any]) -> None:
        nonlocal is_ok
        if message["type"] == "http.response.start":
            is_ok = message["status"] == _OK
            await asked.send({**head(asked, message["status"], _HEADERS)})
            return
        end_old()
        is_sent = is_ok and not session.has_ended
        body = _shown(message.get("body", b""), stream.show) if is_sent else b""
        await asked.send({**message, "body": body})

    session.streams.add(end)
    if (when_gone := asked.scope["state"].get(GONE)) is not None:
        when_gone(end)
    last = asked.headers.get("last-event-id")
    headers = {} if last is None else {"last-event-id": last}
    try:
        await api.stream(stream.path, stream.parameters, headers, send, when_ended)
    finally:
        session.streams.discard(end)


def _shown(part: bytes, show: Callable[[Any], Any]) -> bytes:
    """Return a part of a stream, which has whole events and comments, as the page gets it."""
    shown = []
    for frame in part.split(b"\n\n")[:-1]:
        if frame.startswith(b":"):
            shown.append(frame)
            continue
        fields = dict(line.split(b": ", 1) for line in frame.split(b"\n"))
        row = msgspec.json.encode(show(msgspec.json.decode(fields[b"data"])))
        shown.append(b"id: %b\nevent: row\ndata: %b" % (fields[b"id"], row))
    return b"".join(frame + b"\n\n" for frame in shown)
