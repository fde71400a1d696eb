"""A provider that sends the next callback after each answer, and keeps the answers."""

import asyncio
import contextlib
import json
import time


class Answer:
    """The answer to one callback, and its time. Status None: no answer."""

    __slots__ = ("at", "body", "message", "opened", "status", "took")

    def __init__(self, message, status=None, body=None):
        self.message, self.status, self.body, self.at = message, status, body, None
        #: Seconds from its request; and whether a connection was opened for it.
        self.took, self.opened = None, False

    @property
    def accepted(self):
        """The ids of its acknowledged events."""
        known = self.status == 200 and self.body["status"] in ("accepted", "duplicate")
        return self.body["events"] if known else []


async def send(address, path, messages, *, clients=8, host="x", **connection):
    """Send each (number, body) over kept-alive connections; return the answers, in any order.

    `connection` is what `asyncio.open_connection` takes, such as `ssl`.
    """
    source, answers = iter(messages), []
    target = (path, host)
    await asyncio.gather(
        *(_client(address, target, source, answers, connection) for _ in range(clients))
    )
    return answers


async def _client(address, target, source, answers, options):
    connection = None
    for number, body in source:
        answer = Answer(number)
        answers.append(answer)
        try:
            if connection is None:
                answer.opened = True
                connection = await asyncio.open_connection(*address, **options)
            kept = await _exchange(*connection, target, body, answer)
        except (OSError, asyncio.IncompleteReadError, EOFError):
            kept = False
        if not kept:
            if connection is not None:
                connection[1].close()
                with contextlib.suppress(OSError):
                    await connection[1].wait_closed()
            connection = None
            await asyncio.sleep(0.005)
    if connection is not None:
        connection[1].close()
        with contextlib.suppress(OSError):
            await connection[1].wait_closed()


async def _exchange(reader, writer, target, body, answer):
    """Send one request; return whether the connection can be used again."""
    path, host = target
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    began = time.monotonic()
    writer.write(head.encode() + body)
    await writer.drain()
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    content = await reader.readexactly(int(fields["content-length"]))
    answer.status, answer.at = int(lines[0].split()[1]), time.monotonic()
    answer.took = answer.at - began
    # A proxy without a service behind it answers in HTML, or with an empty body.
    answer.body = json.loads(content) if "json" in fields.get("content-type", "") else None
    return fields.get("connection", "") != "close"
