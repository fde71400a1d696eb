"""Calls of an ASGI app that last: streams and waits."""

import asyncio
import json

from httpd.protocol import GONE


class Call:
    """One GET of an app. Use it in `async with`; leaving it is the client's disconnect."""

    def __init__(self, app, path, *, headers=(), method="GET"):
        path, _, query = path.partition("?")
        fields = {"host": "127.0.0.1"} | dict(headers)
        self._app, self._callbacks = app, []
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), text.encode()) for name, text in fields.items()],
            "client": ("192.0.2.7", 1),
            "server": ("127.0.0.1", 80),
            "state": {GONE: self._callbacks.append},
        }
        self._asked = False
        self._gone = asyncio.Event()
        self._sent = asyncio.Queue()
        #: Cleared: the client reads nothing, and `send` waits.
        self.reads = asyncio.Event()
        self.reads.set()
        self.status = self.headers = None
        self.body = b""
        self._rest = b""

    async def __aenter__(self):
        self.task = asyncio.create_task(self._app(self._scope, self._receive, self._send))
        return self

    async def __aexit__(self, *_exc):
        self.cut()
        await asyncio.wait([self.task], timeout=10)
        assert self.task.done()

    def cut(self):
        """End the call as a client does that is gone."""
        self._gone.set()
        for callback in self._callbacks:
            callback()
        self.reads.set()

    async def _receive(self):
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        await self.reads.wait()
        if not self._gone.is_set():
            self._sent.put_nowait(message)

    async def _message(self, within=10):
        async with asyncio.timeout(within):
            return await self._sent.get()

    async def begun(self):
        """Wait for the head of the answer."""
        message = await self._message()
        self.status = message["status"]
        self.headers = {name.decode(): text.decode() for name, text in message["headers"]}
        return self

    async def answer(self):
        """Wait for the whole answer: status and body."""
        await self.begun()
        while True:
            message = await self._message(70)
            self.body += message.get("body", b"")
            if not message.get("more_body"):
                return self.status, json.loads(self.body) if self.body else None

    async def frames(self, count):
        """Read events of a stream: (cursor, type, event) of each. Comments are left out."""
        found = []
        while len(found) < count:
            frame = await self.frame()
            if not frame.startswith(b":"):
                found.append(parsed(frame))
        return found

    async def frame(self):
        """Read an event or a comment of a stream; None: the stream has ended."""
        while b"\n\n" not in self._rest:
            message = await self._message()
            self._rest += message["body"]
            if not message.get("more_body"):
                return None
        frame, _, self._rest = self._rest.partition(b"\n\n")
        return frame


def parsed(frame):
    """Return (cursor, type, event) of one event of a stream, as a browser reads it."""
    fields = dict(line.split(": ", 1) for line in frame.decode().split("\n"))
    assert list(fields) == ["id", "event", "data"]
    return fields["id"], fields["event"], json.loads(fields["data"])
