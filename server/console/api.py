"""Calls of the API in this process, with the rights of a session.

Guards, filters, masks, rates and lines of the audit log are those of the API.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from httpd.own_host import App
from httpd.protocol import GONE
from journal.actor import Actor

from ..api.auth import IN_PROCESS, InProcessCall
from ..api.errors import Document, Problem
from ..runtime.keys import Access, in_clear

#: A parameter of a query: one value, several, or None for none.
Parameter = str | int | Sequence[str] | None
Message = Mapping[str, Any]
_ERRORS = 400


class ApiCalls:
    """The API, for one request of the console."""

    def __init__(self, app: App, access: Access, actor: Actor, request_id: str) -> None:
        self._app, self._access, self._actor = app, access, actor
        self._request_id = request_id
        #: The rate of a key counts a page once, and not each of its calls.
        self._counts = True

    async def get(self, path: str, **parameters: Parameter) -> Any:
        """Return the decoded answer. Raise Problem for an error. `path` begins with `/v1/`."""
        return await self.call("GET", path, parameters)

    async def post(self, path: str, body: Any = None, **parameters: Parameter) -> Any:
        """Return the decoded answer; None: it has no body. Raise Problem for an error."""
        return await self.call("POST", path, parameters, body)

    async def delete(self, path: str, **parameters: Parameter) -> Any:
        """Return the decoded answer; None: it has no body. Raise Problem for an error."""
        return await self.call("DELETE", path, parameters)

    async def call(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, Parameter] = {},
        body: Any = None,
        *,
        copies: bool = False,
        clear: bool = False,
        reason: str = "",
    ) -> Any:
        """Make any call. `body` is sent as JSON; None: no body.

        `copies` and `reason` are those of InProcessCall. `clear`: use all rights of the key, to
        show one value in clear.
        """
        sent = b"" if body is None else msgspec.json.encode(body)
        status, headers, answer = 500, {}, b""

        async def receive() -> Message:
            return {"type": "http.request", "body": sent, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status, headers, answer
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = {name.decode(): text.decode() for name, text in message["headers"]}
            else:
                answer += message.get("body", b"")

        scope = self._scope(method, path, parameters, copies=copies, clear=clear, reason=reason)
        await self._app(scope, receive, send)  # type: ignore[arg-type]
        if status >= _ERRORS:
            document = msgspec.json.decode(answer, type=Document)
            again = {name: headers[name] for name in ("retry-after",) if name in headers}
            detail = document.detail or document.title
            raise Problem(status, document.code, detail, headers=again)
        if not answer:
            return None
        is_json = headers.get("content-type", "").startswith("application/json")
        return msgspec.json.decode(answer) if is_json else answer

    async def stream(
        self,
        path: str,
        parameters: Mapping[str, Parameter],
        headers: Mapping[str, str],
        send: Callable[[Message], Awaitable[None]],
        when_gone: Callable[[Callable[[], None]], None],
    ) -> None:
        """Make a call that lasts; `send` gets its messages of ASGI.

        `when_gone` takes a function, and calls it if the client goes away.
        """

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = self._scope("GET", path, parameters, headers, when_gone)
        await self._app(scope, receive, send)  # type: ignore[arg-type]

    def _scope(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, Parameter],
        headers: Mapping[str, str] = {},
        when_gone: Callable[[Callable[[], None]], None] | None = None,
        *,
        copies: bool = False,
        clear: bool = False,
        reason: str = "",
    ) -> dict[str, Any]:
        counts, self._counts = self._counts, False
        given = {name: value for name, value in parameters.items() if value not in (None, (), "")}
        peer = self._actor.peer
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": urlencode(given, doseq=True).encode(),
            "root_path": "",
            "headers": [
                (b"x-request-id", self._request_id.encode()),
                *((name.encode(), text.encode("latin-1")) for name, text in headers.items()),
            ],
            "client": None if peer is None else (peer, 0),
            "server": None,
            "state": {} if when_gone is None else {GONE: when_gone},
            IN_PROCESS: InProcessCall(
                access=in_clear(self._access) if clear else self._access,
                actor=self._actor,
                counts=counts,
                copies=copies,
                reason=reason,
            ),
        }
