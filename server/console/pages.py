"""The pages of the console, and the navigation to them."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from core.errors import Unavailable

from ..api.errors import Problem
from . import audit, deliveries, events, inbox, orders, overview, quarantine, sinks, sources
from .api import ApiCalls
from .page import Page, address
from .sessions import Session

#: All calls of the console, beside signing in and out.
_MODULES = (inbox, events, deliveries, sinks, sources, orders, quarantine, audit, overview)
PAGES: Sequence[Page] = tuple(page for module in _MODULES for page in module.PAGES)

#: The pages of the navigation, in order. One that is not in PAGES is left out.
_NAVIGATION = (
    ("Inbox", "/"),
    ("Deliveries", "/deliveries"),
    ("Sinks", "/sinks"),
    ("Sources", "/sources"),
    ("Orders", "/orders"),
    ("Quarantine", "/quarantine"),
    ("Audit", "/audit"),
    ("Overview", "/overview"),
)
_FIRST = {page.path: page for page in PAGES if page.method == "GET"}


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the navigation."""

    title: str
    address: str
    #: Whether it, or a page below it, is shown.
    is_here: bool
    #: How many things there need attention.
    count: int


async def navigation(session: Session, api: ApiCalls, path: str, now: float) -> Sequence[Link]:
    """Return the links that every page has. `path` is that of the page."""
    shown = [
        (title, to)
        for title, to in _NAVIGATION
        if (page := _FIRST.get(to)) is not None and page.allows(session)
    ]
    counts: Mapping[str, int] = {}
    with contextlib.suppress(Problem, Unavailable):  # the page itself says what is wrong
        counts = await _counts(api, {to for _, to in shown}, now)
    return [
        Link(
            title=title,
            address=address(to),
            is_here=path == to or (to != "/" and path.startswith(f"{to}/")),
            count=counts.get(to, 0),
        )
        for title, to in shown
    ]


def first_page(session: Session) -> str | None:
    """Return the path of the first page that the session may have; None: there is none."""
    pages = (_FIRST.get(to) for _, to in _NAVIGATION)
    return next((page.path for page in pages if page is not None and page.allows(session)), None)


async def alarm(session: Session, api: ApiCalls) -> Mapping[str, Any] | None:
    """Return the verdict on the audit log if it was changed, for those who may read the log."""
    access = session.access
    if not access.may("audit:read") or access.sees is not None:
        return None
    with contextlib.suppress(Problem, Unavailable):
        verdict: Mapping[str, Any] = (await api.get("/v1/audit/state"))["verification"]
        if verdict["outcome"] == "changed":
            return verdict
    return None


async def _counts(api: ApiCalls, shown: set[str], now: float) -> Mapping[str, int]:
    """Return how many things want somebody, by the path of their page."""
    counts = {}
    if shown & {"/deliveries", "/quarantine"}:
        stats = await api.get("/v1/stats")
        counts["/deliveries"] = stats["deliveries"]["dead"]
        counts["/quarantine"] = stats["quarantine"]
    if "/sinks" in shown:
        found = await api.get("/v1/sinks", limit=1000)
        counts["/sinks"] = sum(sinks.state_of(sink, now)[0] == "bad" for sink in found["data"])
    return counts
