"""The ASGI app of a simulated provider: its own commands, and the control beside them."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from ..exchange import Answer, Request, plain_answer, see
from ..simulation import Simulation
from .control import control
from .page import BEGIN, index

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

_NOT_FOUND = plain_answer("Not Found", 404)
_FORM = "application/x-www-form-urlencoded"
#: Bytes of a body; nobody has more to say here.
_MOST = 1 << 20


def create_app(simulation: Simulation) -> App:
    """Of one alone."""

    async def answered(request: Request) -> Answer:
        return await _answered(simulation, request)

    return _serving(answered)


def create_apps(simulations: Mapping[str, Simulation]) -> App:
    """Of several, each under `/NAME` as if that were its host; `/` says which there are."""

    async def answered(request: Request) -> Answer:
        name, slash, rest = request.path.removeprefix("/").partition("/")
        if not name:
            return index(simulations)
        if name not in simulations:
            return _NOT_FOUND
        if not slash:
            return see(f"{name}{BEGIN}")
        return await _answered(simulations[name], msgspec.structs.replace(request, path=f"/{rest}"))

    return _serving(answered)


def _serving(answered: Callable[[Request], Awaitable[Answer]]) -> App:
    async def app(scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            return
        request = await _read(scope, receive)
        await _write(await answered(request) if request else plain_answer("", 413), send)

    return app


async def _answered(simulation: Simulation, request: Request) -> Answer:
    if request.path == "/":
        return see(BEGIN.removeprefix("/"))
    if f"{request.path}/".startswith(BEGIN):
        return control(simulation, request)
    return await simulation.answer(request) or _NOT_FOUND


async def _read(scope: _Scope, receive: _Receive) -> Request | None:
    """None where its body is too long."""
    body = await _body(receive)
    if body is None:
        return None
    headers = dict(scope["headers"])
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    form = body if content_type.startswith(_FORM) else b""
    written = [scope["query_string"].decode("latin-1"), form.decode("latin-1")]
    pairs = [pair for text in written for pair in parse_qsl(text, keep_blank_values=True)]
    return Request(
        method=scope["method"],
        path=scope["path"],
        parameters=dict(pairs),
        content_type=content_type,
        body=body,
    )


async def _body(receive: _Receive) -> bytes | None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _MOST:
            return None
        more = message.get("more_body", False)
    return body


async def _write(answer: Answer, send: _Send) -> None:
    fields = {
        "content-type": answer.content_type,
        "content-length": str(len(answer.body)),
        **dict(answer.headers),
    }
    headers = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
