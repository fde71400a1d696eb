"""The description of a call, beside its handler: `@get("/", operation=Operation(…))`.

The docstring of the handler is the text. The path, the scopes and the answer come from the handler;
an Operation adds the rest.
"""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from litestar import Litestar, Response
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from litestar.routes import ASGIRoute, HTTPRoute

from .auth import ApiRequest, NeedsScope
from .parameters import NoParameters, read

_ARTICLES = {"a", "an", "the"}


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters, the body, the answers and the errors of a call."""

    #: In place of the handler's docstring, for handlers that several calls share.
    text: str = ""
    query: type[msgspec.Struct] = NoParameters
    #: The headers of the request, with their descriptions.
    headers: Mapping[str, str] = {}
    body: type[msgspec.Struct] | None = None
    #: The fields that a body must have.
    required: tuple[str, ...] = ()
    #: The type of the answer by status; None: no body. Missing: the annotation of the handler.
    answers: Mapping[int, Any] = {}
    #: The headers of the answer, with their descriptions.
    answer_headers: Mapping[str, str] = {}
    media_type: str = "application/json"
    #: Whether it answers as text, unless the caller asks for the media type.
    is_text: bool = False
    #: Codes that do not follow from the key, the parameters or the body; see `errors.CODES`.
    errors: tuple[str, ...] = ()


async def refuse_parameters(request: ApiRequest) -> None:
    """Raise Problem for a parameter, if the call takes none. For `before_request`."""
    operation = request.route_handler.opt.get("operation")
    if operation is not None and operation.query is NoParameters:
        read(request.scope, NoParameters)


class DescribedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of the API with its Operation."""

    method: str
    #: With `{name}` for each part that varies.
    path: str
    handler: HTTPRouteHandler | ASGIRouteHandler
    operation: Operation

    @property
    def needs_key(self) -> bool:
        return self.path.startswith("/v1/") or bool(self.guards)

    @property
    def text(self) -> str:
        return self.operation.text or inspect.cleandoc(self.handler.fn.__doc__ or "")

    @property
    def summary(self) -> str:
        return self.text.partition("\n")[0].removesuffix(".")

    @property
    def id(self) -> str:
        """Its name in generated clients: `list_events`."""
        return "_".join(word for word in self.summary.lower().split() if word not in _ARTICLES)

    @property
    def guards(self) -> list[NeedsScope]:
        guards = [guard for layer in self.handler.ownership_layers for guard in layer.guards or ()]
        return [guard for guard in guards if isinstance(guard, NeedsScope)]

    @property
    def answers(self) -> Mapping[int, Any]:
        """The type of the body by status; None: no body."""
        if self.operation.answers:
            return self.operation.answers
        answer = get_type_hints(self.handler.fn, include_extras=True)["return"]
        if get_origin(answer) is Response:
            [answer] = get_args(answer)
        status = getattr(self.handler, "status_code", 200)
        return {status: None if answer is type(None) else answer}

    @property
    def errors(self) -> set[str]:
        """The codes of its errors."""
        operation = self.operation
        codes = set(operation.errors)
        if self.needs_key:
            codes |= {"bad_parameter", "bad_request", "unauthorized", "too_many", "unavailable"}
        if self.needs_key and self.method == "POST":
            codes |= {"bad_idempotency_key", "in_progress", "idempotency_key_reused"}
        if self.needs_key and self.method in ("POST", "PATCH"):
            codes |= {"too_large", "body_timeout"}
        if self.guards:
            codes.add("missing_scope")
        if any(guard.whole for guard in self.guards):
            codes.add("key_filtered")
        if self.needs_key and "{" in self.path:
            codes.add("not_found")
        if operation.body is not None:
            codes.add("bad_body")
        names = {
            *operation.query.__struct_fields__,
            *getattr(operation.body, "__struct_fields__", ()),
        }
        if names & {"after", "cursor"}:
            codes.add("cursor_gone")
        return codes


def calls_of(app: Litestar) -> Iterator[DescribedCall]:
    """Yield the calls that have an Operation, in the order of their declaration."""
    for route in app.routes:
        handlers: list[HTTPRouteHandler | ASGIRouteHandler] = []
        if isinstance(route, HTTPRoute):
            handlers += route.route_handlers
        elif isinstance(route, ASGIRoute):
            handlers.append(route.route_handler)
        for handler in handlers:
            operation = handler.opt.get("operation")
            if operation is not None:
                method, *_ = sorted(getattr(handler, "http_methods", ["GET"]))
                yield DescribedCall(
                    method=method, path=route.path_format, handler=handler, operation=operation
                )
