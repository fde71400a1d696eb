"""The overview: figures over time, sinks, sources and what happened."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from core.instants import parse_rfc3339

from ..api.errors import not_found
from . import sinks, sources
from .events import concerns
from .page import Answer, Body, Page, Request, View, address
from .plot import MOST_LINES, Plot, PlotLine, svg, written

#: The spans to choose from, in seconds.
SPANS = {"1h": 3600, "3h": 10_800, "24h": 86_400, "7d": 604_800}
_PERCENTILES = ("p50", "p95", "p99")
_GB = 1_000_000_000
_KINDS = {"critical": "bad", "warning": "wait"}
#: The plots by the name in their address.
PLOTS = ("events", "lag", "owed", "failed")


async def overview(request: Request) -> Answer:
    """Answer the figures of now, and the plots."""
    span = _span(request)
    history = await _history(request, span)
    hour = history if span == "1h" else await _history(request, "1h")
    stats = await request.api.get("/v1/stats")
    deliveries = stats["deliveries"]
    sinks_ = (await request.api.get("/v1/sinks", limit=1000))["data"]
    sources_ = (await request.api.get("/v1/sources", limit=1000))["data"]
    known = {one["name"] for one in sinks_}
    return View(
        template="overview.html",
        title="Overview",
        values={
            "span": span,
            "spans": {name: request.link(span=name) for name in SPANS},
            "accepted": hour["accepted"],
            "a_second": written(hour["accepted"] / SPANS["1h"]),
            "owed": deliveries["pending"] + deliveries["sending"],
            "oldest": await _oldest(request, sinks_),
            "dead": deliveries["dead"],
            "quarantine": stats["quarantine"],
            "p95": None if hour["lag"]["p95"] is None else written(hour["lag"]["p95"]),
            "disk": hour["disk"],
            "gb": _GB,
            "raised": [
                _alert(one, "raised", one["since"], known)
                for one in (await request.api.get("/v1/alerts", limit=1000))["data"]
            ],
            "recent": [
                _alert(one, one["state"], one["at"], known)
                for one in (await request.api.get("/v1/alerts/recent"))["data"]
            ],
            "plots": [
                {
                    "name": name,
                    "title": plot.title,
                    "in_words": plot.in_words,
                    "picture": address(f"/overview/{name}.svg", [("span", span)]),
                    "table": address(f"/overview/{name}", [("span", span)]),
                }
                for name in PLOTS
                for plot in (make_plot(name, history),)
            ],
            "sinks": [sinks.short(one, request.now) for one in sinks_],
            "sources": [sources.row(one) for one in sources_],
            "is_admin": request.session.access.may("admin"),
        },
    )


async def _oldest(request: Request, sinks: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the oldest pending delivery, with its sink; None: no delivery is pending."""
    owing = [one for one in sinks if one["oldest"] is not None]
    if not owing:
        return None
    sink = min(owing, key=lambda one: parse_rfc3339(one["oldest"]["accepted_at"]) or 0.0)
    delivery = await request.api.get(f"/v1/deliveries/{sink['oldest']['delivery']}")
    at = sink["oldest"]["accepted_at"]
    return {"event": delivery["event"], "sink": sink["name"], "accepted_at": at}


def _alert(
    one: Mapping[str, Any], state: str, at: str, sinks: Collection[str]
) -> Mapping[str, Any]:
    """Return the row of an alert."""
    is_over = state == "cleared"
    return {
        "at": at,
        "kind": "ok" if is_over else _KINDS.get(one["severity"], "off"),
        "words": "ended" if is_over else one["severity"],
        "subject": one["subject"],
        "page": concerns(one["subject"] or "", sinks),
        "summary": one["summary"],
        "is_sample": one.get("sample", False),
        "event": one["event"],
    }


async def table(request: Request) -> Answer:
    """Answer the figures of one plot."""
    name, span = _name(request), _span(request)
    plot = make_plot(name, await _history(request, span))
    cells = [
        ["-" if value is None else f"{written(value)}{plot.unit}" for value in line.values]
        for line in plot.lines
    ]
    return View(
        template="plot.html",
        title=plot.title,
        values={
            "plot": plot,
            "rows": [*zip(plot.times, *cells, strict=True)][::-1],
            "back": address("/overview", [("span", span)]),
        },
    )


async def picture(request: Request) -> Answer:
    """Answer a plot as a picture."""
    name, span = _name(request), _span(request)
    plot = make_plot(name, await _history(request, span))
    return Body.svg(svg(plot, begin=request.now - SPANS[span], end=request.now))


def make_plot(name: str, history: Mapping[str, Any]) -> Plot:
    """Return one of the PLOTS of an answer of `/v1/history`."""
    points = history["points"]
    times = [parse_rfc3339(point["at"]) or 0.0 for point in points]
    match name:
        case "events":
            delivered = [sum(sink["delivered"] for sink in p["sinks"].values()) for p in points]
            return Plot(
                title="Accepted and delivered a second",
                unit="/s",
                times=times,
                lines=[
                    PlotLine("accepted", _a_second(points, [p["accepted"] for p in points])),
                    PlotLine("delivered", _a_second(points, delivered)),
                ],
            )
        case "lag":
            return Plot(
                title="Callback to sink",
                unit=" s",
                times=times,
                lines=[PlotLine(p, [point["lag"][p] for point in points]) for p in _PERCENTILES],
            )
        case "owed":
            return Plot(
                title="Pending, by sink",
                times=times,
                lines=_by_sink(points, history["sinks"], "owed"),
            )
        case _:
            return Plot(
                title="Failed attempts, by sink",
                times=times,
                lines=_by_sink(points, history["sinks"], "failed"),
            )


def _by_sink(
    points: Sequence[Mapping[str, Any]], sinks: Mapping[str, Mapping[str, int]], figure: str
) -> Sequence[PlotLine]:
    """Return a line for each sink, and one for all others if there are too many."""

    def most(name: str) -> int:
        return max((p["sinks"][name][figure] for p in points if name in p["sinks"]), default=0)

    names = sorted(sinks, key=lambda name: (-most(name), name))
    shown = names if len(names) <= MOST_LINES else names[: MOST_LINES - 1]
    others = names[len(shown) :]
    lines = [
        PlotLine(name, [p["sinks"][name][figure] if name in p["sinks"] else None for p in points])
        for name in sorted(shown)  # a sink has the same colour in each plot
    ]
    if others:
        values = [
            sum(p["sinks"][name][figure] for name in others if name in p["sinks"]) for p in points
        ]
        lines.append(PlotLine(f"{len(others)} others", values))
    return lines


def _a_second(points: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> Sequence[float]:
    return [count / point["seconds"] for count, point in zip(counts, points, strict=True)]


async def _history(request: Request, span: str) -> Any:
    return await request.api.get("/v1/history", span=span)


def _span(request: Request) -> str:
    # The API refuses an unknown span.
    return request.one("span", "1h")


def _name(request: Request) -> str:
    name = request.parts["plot"].removesuffix(".svg")
    if name not in PLOTS:
        raise not_found("plot")
    return name


async def _plot(request: Request) -> Answer:
    is_picture = request.parts["plot"].endswith(".svg")
    return await (picture if is_picture else table)(request)


PAGES = (
    Page(path="/overview", answer=overview, whole=True),
    Page(path="/overview/{plot}", answer=_plot, whole=True),
)
