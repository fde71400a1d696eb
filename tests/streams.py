"""A reader of a stream over a raw socket, which can be cut at any byte."""

import asyncio
import json

import httptools


class Reader:
    """Reads `GET /v1/events/stream`, and resumes after the last whole event."""

    def __init__(self, address, key, query=""):
        self.address, self.key, self.query = address, key, query
        #: The cursor and the id of each event, in the order of their arrival.
        self.cursor, self.ids = None, []
        self.status, self.ended = None, False

    async def read(self, most_bytes=None):
        """Connect, read until that many bytes came or until the end, and cut the connection."""
        self._parser, self._rest = httptools.HttpResponseParser(self), b""
        self.status, self.ended = None, False
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(self._request())
            left = float("inf") if most_bytes is None else most_bytes
            while left > 0 and not self.ended:
                data = await reader.read(min(left, 65536))
                if not data:
                    break
                left -= len(data)
                self._parser.feed_data(data)
        finally:
            writer.transport.abort()

    async def until(self, count):
        """Read until that many events came in all."""
        reading = asyncio.create_task(self.read())
        async with asyncio.timeout(30):
            while len(self.ids) < count:  # noqa: ASYNC110 - another process sends them
                await asyncio.sleep(0.01)
        reading.cancel()
        await asyncio.wait([reading])

    def _request(self):
        resume = f"Last-Event-ID: {self.cursor}\r\n" if self.cursor else ""
        return (
            f"GET /v1/events/stream?{self.query} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self.key}\r\n{resume}\r\n"
        ).encode()

    # Called by the parser

    def on_status(self, _status):
        self.status = self._parser.get_status_code()

    def on_body(self, body):
        assert self.status == 200, body
        *frames, self._rest = (self._rest + body).split(b"\n\n")
        for frame in frames:
            if not frame.startswith(b":"):
                fields = dict(line.split(": ", 1) for line in frame.decode().split("\n"))
                self.cursor = fields["id"]
                self.ids.append(json.loads(fields["data"])["id"])

    def on_message_complete(self):
        self.ended = True
