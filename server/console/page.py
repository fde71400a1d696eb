"""The parts of a page: its request, its answers, and how it is declared."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from ..api.errors import bad_parameter
from ..config.options import ConsoleOptions
from .api import ApiCalls, Parameter
from .sessions import Session


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request of somebody who is signed in. Its method and its scopes are checked."""

    #: Below `/console`, decoded: `/events/0193…`.
    path: str
    #: The parts of the path that vary, by their names.
    parts: Mapping[str, str] = {}
    #: The parameters of the query, in order. Empty ones are left out: an empty field of a form.
    query: Sequence[tuple[str, str]] = ()
    #: The same of the body.
    form: Sequence[tuple[str, str]] = ()
    #: Whether a script asks.
    wants_json: bool = False
    session: Session
    api: ApiCalls
    options: ConsoleOptions
    #: Seconds since the epoch.
    now: float

    def one(self, name: str, default: str = "") -> str:
        """Return a parameter of the query. Raise Problem if it is there more than once."""
        found = self.all(name)
        if len(found) > 1:
            raise bad_parameter(name, "given more than once; it takes one value")
        return found[0] if found else default

    def all(self, name: str) -> Sequence[str]:
        """Return all values of a parameter of the query."""
        return [text for key, text in self.query if key == name]

    def field(self, name: str) -> str:
        """Return a field of the form; empty: it is not there."""
        return next((text for key, text in self.form if key == name), "")

    def fields(self, name: str) -> Sequence[str]:
        """Return all values of a field of the form."""
        return [text for key, text in self.form if key == name]

    @property
    def sends(self) -> bool:
        """Whether the session may send events again, and pause, resume and test sinks."""
        access = self.session.access
        return access.may("deliveries:write") and access.sees is None

    def link(self, **changed: str | None) -> str:
        """Return the address of this page with other parameters; None: without this parameter."""
        kept = [(key, text) for key, text in self.query if key not in changed]
        added = [(key, text) for key, text in changed.items() if text is not None]
        return address(self.path, [*kept, *added])

    def pages(self, found: Mapping[str, Any], **changed: str) -> Mapping[str, str | None]:
        """Return the addresses of the page after this one and of the first; None: no link.

        `found` is the answer of the list. The page after this one has `changed` parameters.
        """
        after = found["next_cursor"]
        return {
            "older": self.link(after=after, **changed) if found["has_more"] else None,
            "newest": self.link(after=None) if self.one("after") else None,
        }


def address(path: str, query: Sequence[tuple[str, str]] = ()) -> str:
    """Return the address of a page. `path` is below `/console`."""
    return f"/console{path}{'?' if query else ''}{urlencode(query)}"


async def looked_to(
    request: Request, path: str, found: Mapping[str, Any], shown: int, at: Callable[[Any], Any]
) -> str | None:
    """Return how far back a page searched, if its search ended before it had `shown` items.

    `found` is the answer of the list at `path`; `at` returns the time of one of its items.
    """
    if not found["has_more"] or len(found["data"]) >= shown:
        return None
    next_ = await request.api.get(path, order="desc", limit=1, after=found["next_cursor"])
    times: list[str | None] = [at(item) for item in next_["data"]]
    return times[0] if times else None


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A page: a template with the values that it shows."""

    template: str
    #: The page and its object, for the browser's title.
    title: str
    values: Mapping[str, Any] = {}
    status: int = 200
    headers: Mapping[str, str] = {}


class Redirect(msgspec.Struct, frozen=True):
    """303: after a write. `said` is shown on the next page."""

    to: str
    said: str = ""


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A body that is no page."""

    body: bytes
    media_type: str
    status: int = 200
    headers: Mapping[str, str] = {}

    @classmethod
    def json(cls, value: Any) -> "Body":
        """Return an answer to a script."""
        return cls(body=msgspec.json.encode(value), media_type="application/json")

    @classmethod
    def svg(cls, drawn: str) -> "Body":
        """Return a picture. It may hold styles, and nothing that runs."""
        return cls(body=drawn.encode(), media_type="image/svg+xml")


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """Events of a stream of the API, as `text/event-stream`, for as long as the session goes on."""

    #: The call of the API.
    path: str
    parameters: Mapping[str, Parameter]
    #: Takes the data of an event, and returns what the page gets, as the event `row`.
    show: Callable[[Any], Any]


#: Open pages poll these paths and the plots, so their requests do not extend the session.
STATES, STREAM = POLLED = ("/states", "/stream")
Answer = View | Redirect | Body | Stream


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A call of the console."""

    #: Below `/console`. `{name}` is a part that varies.
    path: str
    answer: Callable[[Request], Awaitable[Answer]]
    #: The scopes of which the session needs one.
    scopes: tuple[str, ...] = ("events:read",)
    method: str = "GET"
    #: Whether it shows all events, so that keys with a `when` may not have it.
    whole: bool = False

    def allows(self, session: Session) -> bool:
        """Return whether the session may have it."""
        access = session.access
        return any(map(access.may, self.scopes)) and not (self.whole and access.sees is not None)

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return the parts of a path that vary; None: it is the path of another page."""
        ours, theirs = self.path.split("/"), path.split("/")
        if len(ours) != len(theirs):
            return None
        parts = {}
        for one, other in zip(ours, theirs, strict=True):
            if one.startswith("{") and other:
                parts[one.strip("{}")] = other
            elif one != other:
                return None
        return parts
