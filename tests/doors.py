"""A door without a socket: its head, body and answer, as the protocol passes them."""

import asyncio
import json

from httpd.exchange import Head, Response
from httpd.fields import field_names


class Answered:
    """The answer of a door to one request."""

    def __init__(self, answer):
        lines = answer.fields.splitlines() + [b"connection: close"] * answer.close
        self.status, self.body = answer.status, answer.body
        self.headers = dict(line.split(b": ", 1) for line in lines)

    @property
    def json(self):
        return json.loads(self.body)


def head(method, path, query=b"", headers=(), peer="192.0.2.1"):
    """Return the head of a request with these fields."""
    names = field_names(tuple(name for name, _ in headers))
    return Head(method, path, query, names, [value for _, value in headers], peer)


async def ask(door, target, *, method="POST", body=b"", headers=(), peer="127.0.0.1"):
    """Make one request of a door, and return its answer."""
    path, _, query = target.partition(b"?")
    admission = door.admit(head(method, path, query, headers, peer))
    if isinstance(admission, Response):
        return Answered(admission)
    if len(body) > admission.max_body:
        return Answered(door.refuse(admission, 413))
    answered = asyncio.get_running_loop().create_future()
    door.take(admission, body, answered.set_result)
    return Answered(await answered)


def in_front_of(app, door):
    """Return an ASGI app that answers as a listener with that door and that app does."""

    async def both(scope, receive, send):
        if not door.serves(scope["raw_path"]):
            await app(scope, receive, send)
            return
        body = (await receive())["body"]
        target = scope["raw_path"] + b"?" + scope["query_string"]
        answer = await ask(
            door,
            target.removesuffix(b"?"),
            method=scope["method"],
            body=body,
            headers=scope["headers"],
            peer=scope["client"][0],
        )
        fields = list(answer.headers.items())
        await send({"type": "http.response.start", "status": answer.status, "headers": fields})
        await send({"type": "http.response.body", "body": answer.body})

    return both
