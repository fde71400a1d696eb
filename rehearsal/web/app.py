"""The ASGI app of a simulated provider: its commands, and the pages to control it."""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl, quote

import msgspec

from httpd.own_host import App, Receive, Scope, Send

from ..exchange import FORM, Answer, Request, json_answer, plain_answer, redirect
from ..simulation import Simulation
from .beside import Beside
from .control import control
from .page import BEGIN, Place

_NOT_FOUND = plain_answer("Not Found", 404)
#: The size of the largest body, in bytes.
_MOST = 1 << 20


def create_app(simulation: Simulation, beside: Beside) -> App:
    """Return the app of one simulation."""
    place = Place(beside=beside)

    async def answered(request: Request) -> Answer:
        return await _answer(simulation, request, place)

    return _make_app(answered)


def create_apps(simulations: Mapping[str, Simulation], beside: Beside) -> App:
    """Return the app of several simulations, each under `/NAME`; `/` leads to the first."""
    places = {
        name: Place(name=name, names=tuple(simulations), beside=beside) for name in simulations
    }

    async def answered(request: Request) -> Answer:
        name, slash, rest = request.path.removeprefix("/").partition("/")
        if not name and places:
            return redirect(f"{quote(next(iter(places)), safe='')}{BEGIN}")
        if name not in simulations:
            return _NOT_FOUND
        if not slash:
            return redirect(f"{name}{BEGIN}")
        within = msgspec.structs.replace(request, path=f"/{rest}")
        return await _answer(simulations[name], within, places[name])

    return _make_app(answered)


def _make_app(answered: Callable[[Request], Awaitable[Answer]]) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = await _read(scope, receive)
        answer = await answered(request) if request else plain_answer("", 413)
        fields = {
            "content-type": answer.content_type,
            "content-length": str(len(answer.body)),
            **dict(answer.headers),
        }
        headers = [(name.encode(), value.encode()) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    return app


async def _answer(simulation: Simulation, request: Request, place: Place) -> Answer:
    if request.path == "/":
        return redirect(BEGIN.removeprefix("/"))
    if request.path == f"{BEGIN}seen" and place.beside.seen is not None:
        return json_answer(await place.beside.seen(place.name))
    if f"{request.path}/".startswith(BEGIN):
        return control(simulation, request, place)
    return await simulation.answer(request) or _NOT_FOUND


async def _read(scope: Scope, receive: Receive) -> Request | None:
    """Return the request, or None if its body is too long."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _MOST:
            return None
        more = message.get("more_body", False)
    headers = dict(scope["headers"])
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    form = body if content_type.startswith(FORM) else b""
    encoded = [scope["query_string"].decode("latin-1"), form.decode("latin-1")]
    pairs = [pair for text in encoded for pair in parse_qsl(text, keep_blank_values=True)]
    return Request(
        method=scope["method"],
        path=scope["path"],
        parameters=dict(pairs),
        content_type=content_type,
        body=body,
    )
