"""The audit log: whether it is unchanged, what it says, and who read codes."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from journal.audit.lines import ACTIONS

from ..api.errors import Problem
from ..api.parameters import is_uuid
from .api import Parameter
from .page import Answer, Body, Page, Redirect, Request, View, address, looked_to

#: Lines on a page, and those that it looks at.
SHOWN, SCANNED = 100, 5_000
TIMES = {"1h": "1 hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days", "all": "any time"}
_DEFAULT_TIME = "24h"
FORMS = {"jsonl": "JSON lines", "ecs": "ECS", "ocsf": "OCSF", "cef": "CEF"}
_SUFFIXES = {"jsonl": "jsonl", "ecs": "ecs.jsonl", "ocsf": "ocsf.jsonl", "cef": "cef"}
#: Actions, and their groups: `key.` has all that begin with it.
_ACTIONS = sorted({*ACTIONS, *(f"{do.partition('.')[0]}." for do in ACTIONS)})
_ACTOR = re.compile(r"(key|session|cli|sink)/.+|service")
#: Fields of a line that name what it is about, the most telling first.
_OBJECTS = (
    *("event", "sink", "subscription", "source", "order", "anchor", "witness", "key", "session"),
    *("delivery", "replay", "consumer", "file", "kind", "id", "of"),
)
#: Characters of the other fields that a row shows.
_MOST_SHOWN = 400
_BADGES = {"unchecked": "off", "unchanged": "ok", "changed": "bad"}


async def audit(request: Request) -> Answer:
    """Answer the newest lines that match."""
    state = await request.api.get("/v1/audit/state")
    asked = _search(request)
    found = await request.api.get(
        "/v1/audit",
        limit=SHOWN,
        order="desc",
        scan=SCANNED,
        after=request.one("after"),
        **asked,
    )
    return View(
        template="audit.html",
        title="Audit",
        values={
            "log": state,
            "verification": state["verification"],
            "kind": _BADGES[state["verification"]["outcome"]],
            "rows": [_row(request, item, state) for item in found["data"]],
            "query": request.one("q"),
            "actions": _ACTIONS,
            "action": request.all("do"),
            "times": TIMES,
            "since": request.one("since", _DEFAULT_TIME),
            "forms": FORMS,
            "kept": [(name, text) for name, text in request.query if name != "after"],
            "looked_to": await looked_to(
                request, "/v1/audit", found, SHOWN, lambda item: item["leaf"].get("at")
            ),
            **request.pages(found),
            "read_by": await _read_by(request),
        },
    )


async def verify(request: Request) -> Answer:
    """Read all lines again."""
    await request.api.post("/v1/audit/verify")
    return Redirect(
        address("/audit"), "The service checks all lines again. The result is above the list."
    )


async def export(request: Request) -> Answer:
    """Answer a file with the lines that match."""
    form = request.field("form") or "jsonl"
    asked = _search(request)
    text = await request.api.get("/v1/audit/export", form=form, **asked)
    return _file(text, f"audit.{_SUFFIXES.get(form, form)}")


async def checkpoint(request: Request) -> Answer:
    """Answer the newest signed state of the log."""
    return _file(await request.api.get("/v1/audit/log/checkpoint"), "checkpoint")


async def proof(request: Request) -> Answer:
    """Answer the proof of a line."""
    line = request.parts["line"]
    text = await request.api.get(f"/v1/audit/lines/{quote(line, safe='')}/proof")
    return _file(text, f"line-{line}.tlog-proof")


def _file(body: bytes | None, name: str) -> Body:
    disposition = f'attachment; filename="{name}"'
    return Body(
        body=body or b"",
        media_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": disposition},
    )


def _search(request: Request) -> Mapping[str, Parameter]:
    """Return the parameters of `/v1/audit` for those of the page."""
    since, text = request.one("since", _DEFAULT_TIME), request.one("q").strip()
    asked: dict[str, Parameter] = {
        "do": request.all("do"),
        "since": None if since == "all" else since,
    }
    if is_uuid(text.lower()):
        asked["event"] = text.lower()
    elif _ACTOR.fullmatch(text):
        asked["by"] = text
    elif text:
        asked["about"] = text
    return asked


def _row(request: Request, item: Mapping[str, Any], state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a row shows. An erased line has its number only."""
    leaf = item["leaf"]
    about = next((name for name in _OBJECTS if name in leaf), None)
    shown = ("n", "at", "do", "by", about)
    more = ", ".join(f"{name} {_text(leaf[name])}" for name in leaf if name not in shown)
    is_event = about == "event" and request.session.access.may("events:read")
    is_signed = item["log"] == state["origin"] and item["n"] < state["signed"]
    return {
        "n": item["n"],
        "is_erased": "erased" in leaf,
        "proof": f"/console/audit/lines/{item['n']}/proof" if is_signed else None,
        "at": leaf.get("at"),
        "by": leaf.get("by", "service").replace("/", " ", 1),
        "do": leaf.get("do"),
        "about": None if about is None else f"{about} {_text(leaf[about])}",
        "to": address(f"/events/{leaf['event']}") if is_event else None,
        "more": more if len(more) <= _MOST_SHOWN else f"{more[:_MOST_SHOWN]}…",
    }


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value)


async def _read_by(request: Request) -> Sequence[Mapping[str, Any]] | None:
    """Return who read codes in the last 24 hours. None: the key may not see it."""
    try:
        found = await request.api.get("/v1/history", span="24h")
    except Problem as problem:
        if problem.code != "missing_scope":
            raise
        return None
    read: Sequence[Mapping[str, Any]] = found["codes_read"]
    return read


_SCOPES = ("audit:read",)
PAGES = (
    Page(path="/audit", answer=audit, scopes=_SCOPES, whole=True),
    Page(path="/audit/checkpoint", answer=checkpoint, scopes=_SCOPES, whole=True),
    Page(path="/audit/lines/{line}/proof", answer=proof, scopes=_SCOPES, whole=True),
    Page(path="/audit/export", answer=export, scopes=_SCOPES, whole=True, method="POST"),
    Page(path="/audit/verify", answer=verify, scopes=_SCOPES, whole=True, method="POST"),
)
