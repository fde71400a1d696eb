"""Sources: whether callbacks arrive, by which token, and what was rejected."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from httpd.own_host import is_loopback

from .page import Answer, Page, Redirect, Request, View, address
from .render import duration
from .reveals import SHOWN, ask_reason, take_reason

#: Why callbacks are rejected, in a few words, and what to do about it.
_REASONS: Mapping[str, tuple[str, str]] = {
    "address": (
        "wrong address",
        "If the address is the provider's, add it to allow_from. If not, change the token.",
    ),
    "token": (
        "wrong token",
        "Compare the callback URL in the provider's settings with the one here.",
    ),
    "signature": (
        "wrong signature",
        "Compare the signing secret with the one in the provider's settings.",
    ),
    "rate": ("too many at once", "The provider sends them again. A higher rate accepts more."),
    "method": ("wrong method", "The provider must send POST."),
    "too_large": ("too large", "A higher server.max_body accepts them."),
    "timeout": ("not complete in time", "The connection from the provider or the proxy is slow."),
}
#: The same for requests whose path names no configured source.
_NO_SOURCE: Mapping[str, tuple[str, str]] = {
    "token": (
        "no such source",
        "A provider still uses the URL of a removed or renamed source, or somebody guesses URLs.",
    ),
    "path": (
        "not a callback URL",
        "It comes from a scanner, or from a proxy that changes the path.",
    ),
    "connections": (
        "too many connections",
        "Raise the limit of open files, or server.connections.",
    ),
}
_PROXY = (
    "This is a private address: is it your proxy? Then set server.trusted_proxies. The callbacks "
    "are in quarantine and can be read again."
)
_ERRORS = {
    "bad_key": "key refused",
    "busy": "provider busy",
    "unreadable": "answer not understood",
    "journal": "journal not available",
    "fault": "error in smshook",
}


async def sources(request: Request) -> Answer:
    """Answer the list of the sources."""
    return await _view(request)


async def url(request: Request) -> Answer:
    """Show the callback URL of a source for a minute. It is recorded first."""
    if (asking := ask_reason(request)) is not None:
        return asking
    name = request.parts["name"]
    path = f"/v1/sources/{name}/url"
    found = await request.api.call("POST", path, reason=take_reason(request))
    is_local = is_loopback(urlsplit(found["url"]).netloc)
    view = await _view(request, {"name": name, "url": found["url"], "is_local": is_local})
    return msgspec.structs.replace(view, headers={"Refresh": f"{SHOWN}; url={address('/sources')}"})


async def sample(request: Request) -> Answer:
    """Send a sample of a source, and lead to its event."""
    name = request.parts["name"]
    sent = await request.api.post(f"/v1/sources/{name}/sample")
    return Redirect(address(f"/events/{sent['events'][0]}"), f"Sent: a sample of {name}")


async def ask(request: Request) -> Answer:
    """Ask the provider of a source for missed messages."""
    name = request.parts["name"]
    await request.api.post(f"/v1/sources/{name}/backfill", {})
    return Redirect(address("/sources"), f"Polled: the provider of {name}")


async def _view(request: Request, shown: Mapping[str, Any] | None = None) -> View:
    found = await request.api.get("/v1/sources", limit=1000)
    recent = await request.api.get("/v1/rejections/recent")
    access = request.session.access
    return View(
        template="sources.html",
        title="Sources",
        values={
            "rows": [row(source) for source in found["data"]],
            "rejections": [away(one) for one in recent["data"]],
            "shown": shown,
            "is_admin": access.may("admin"),
            "sends": access.may("deliveries:write"),
        },
    )


def row(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the row of a source shows."""
    rejected = source["rejected"]
    words = _REASONS.get(rejected[0]["reason"], (rejected[0]["reason"],))[0] if rejected else ""
    offset, clock = source["clock"]["offset"], source["clock"]
    return {
        "name": source["name"],
        "provider": source["provider"],
        "last_at": source["last_callback_at"],
        "state": state(source),
        "silent_since": source["silent_since"],
        "tokens": source["tokens"],
        "rejected": {"kind": "bad", "words": f"{sum(one['count'] for one in rejected)}: {words}"}
        if rejected
        else None,
        "clock": None if offset is None else delay(offset),
        "warning": clock["warning"],
        "backfill": None if source["backfill"] is None else backfill(source["backfill"]),
        "can_ask": source["backfill"] is not None,
        "has_url": source["state"] != "polled",
        "balance": source["balance"],
    }


def state(source: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the state of a source: its kind for `state`, and its words."""
    match source["state"]:
        case "receiving":
            return {"kind": "ok", "words": "works"}
        case "polled":
            return {"kind": "ok", "words": "polls only"}
        case "silent":
            every = source["expect_every"]
            expected = "" if every is None else f", expected every {duration(every)}"
            return {"kind": "wait", "words": f"silent{expected}"}
    return {"kind": "off", "words": "no callback yet"}


def delay(seconds: float) -> str:
    """Return a delay with its sign: `+0.4 s`, `-2 h`."""
    sign, size = "-" if seconds < 0 else "+", abs(seconds)
    return f"{sign}{duration(size)}" if size >= 60 else f"{sign}{size:.1f} s"  # noqa: PLR2004


def backfill(polling: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the polling of a source: its kind, its words, and when the last run ended."""
    run = polling["run"]
    at = None if run is None else run["finished_at"]
    if polling["state"] == "stopped":
        return {"kind": "bad", "words": "stopped: key refused", "at": at}
    if polling["state"] == "running":
        return {"kind": "wait", "words": "polling now", "at": None}
    if run is None:
        return {"kind": "off", "words": "not polled yet", "at": None}
    if run["error"] is not None:
        return {"kind": "bad", "words": _ERRORS.get(run["error"], run["error"]), "at": at}
    return {"kind": "ok", "words": f"{run['new']} new", "at": at}


def away(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the reason why callbacks were rejected, in words, and what to do."""
    source = one["source"]
    reasons = _REASONS if source is not None else {**_REASONS, **_NO_SOURCE}
    words, hint = reasons.get(one["reason"], (one["reason"], ""))
    is_kept = one["reason"] == "address"
    if is_kept and _is_private(one["peer"]):
        hint = _PROXY
    return {
        "source": source,
        "count": one["count"],
        "words": words,
        "peer": one["peer"],
        "last_at": one["last_at"],
        "hint": hint,
        "quarantine": address("/quarantine", [("source", source), ("reason", "address")])
        if is_kept
        else None,
    }


def _is_private(peer: str | None) -> bool:
    try:
        return peer is not None and ipaddress.ip_address(peer).is_private
    except ValueError:
        return False


_SOURCE, _ADMIN = "/sources/{name}", ("admin",)
PAGES: Sequence[Page] = (
    Page(path="/sources", answer=sources, whole=True),
    Page(path=f"{_SOURCE}/url", method="POST", scopes=_ADMIN, whole=True, answer=url),
    Page(
        path=f"{_SOURCE}/sample",
        method="POST",
        scopes=("deliveries:write",),
        whole=True,
        answer=sample,
    ),
    Page(path=f"{_SOURCE}/ask", method="POST", scopes=_ADMIN, whole=True, answer=ask),
)
