"""Quarantine: callbacks that were not understood. Look at them, read them again, delete them."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from core.printable import plain_lines

from ..api.errors import Problem, bad_body
from .page import Answer, Page, Redirect, Request, View, address
from .reveals import SHOWN, ask_reason, take_reason

#: Callbacks on a page, and those that one form reads again.
LISTED, AT_ONCE = 100, 100
#: The number of bytes shown as text, and as hex.
_TEXT, _HEX = 16_384, 4_096
_WIDTH = 16
#: The reasons to filter by: docs/callbacks.md says what to do about each.
REASONS = (
    *("address", "empty", "encoding", "error", "identity", "malformed", "method"),
    "unknown_event",
)


async def quarantine(request: Request) -> Answer:
    """Answer the callbacks in quarantine, the newest first."""
    api, filter_ = request.api, _filter(request)
    found = await api.get(
        "/v1/quarantine", limit=LISTED, order="desc", after=request.one("after"), **filter_
    )
    sources = await api.get("/v1/sources", limit=1000)
    return View(
        template="quarantine.html",
        title="Quarantine",
        values={
            "rows": found["data"],
            "sources": [one["name"] for one in sources["data"]],
            "reasons": REASONS,
            **{name: text or "" for name, text in filter_.items()},
            "is_filtered": any(filter_.values()),
            "groups": groups(found["data"]),
            **request.pages(found),
        },
    )


def _filter(request: Request) -> dict[str, str | None]:
    return {name: request.one(name) or None for name in ("source", "reason")}


def groups(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, str]]:
    """Return each source and reason that several rows have, with the address to read all again."""
    found: dict[tuple[str, str], int] = {}
    for row in rows:
        name = row["source"], row["reason"]
        found[name] = found.get(name, 0) + 1
    return [
        {
            "source": source,
            "reason": reason,
            "address": address("/quarantine/again", [("source", source), ("reason", reason)]),
        }
        for (source, reason), count in found.items()
        if count > 1
    ]


async def look(request: Request) -> Answer:
    """Answer one callback: what was understood, and what it would become now."""
    return await _look(request)


async def reveal(request: Request) -> Answer:
    """Show the bytes of a callback for a minute. It is recorded first."""
    if (asking := ask_reason(request)) is not None:
        return asking
    id_ = request.parts["id"]
    reason = take_reason(request)
    whole = await request.api.call("GET", f"/v1/quarantine/{id_}", reason=reason)
    if whole["body"] is None:
        raise Problem(410, "erased", "its bytes are erased")
    view = await _look(request, shown(whole["headers"], base64.b64decode(whole["body"])))
    own = address(f"/quarantine/{id_}")
    return msgspec.structs.replace(view, headers={"Refresh": f"{SHOWN}; url={own}"})


async def _look(request: Request, revealed: Mapping[str, Any] | None = None) -> View:
    found = await request.api.get(f"/v1/quarantine/{request.parts['id']}/explain")
    return View(
        template="quarantined.html",
        title=f"{found['source']}, {found['reason']} - Quarantine",
        values={"entry": found, "becomes": outcome(found), "shown": revealed},
    )


def shown(headers: Sequence[Sequence[str]], body: bytes) -> Mapping[str, Any]:
    """Return headers and body as texts. Bytes that are no UTF-8 are written as hex."""
    return {
        "headers": plain_lines("\n".join(f"{name}: {text}" for name, text in headers)),
        "text": plain_lines(body[:_TEXT].decode(errors="backslashreplace")),
        "hex": "\n".join(dump(body[:_HEX])),
        "more_text": max(0, len(body) - _TEXT),
        "more_hex": max(0, len(body) - _HEX),
    }


def dump(body: bytes) -> Iterator[str]:
    """Yield lines such as `00000010  65 76 65 6e 74           event`."""
    for at in range(0, len(body), _WIDTH):
        part = body[at : at + _WIDTH]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)  # noqa: PLR2004
        yield f"{at:08x}  {part.hex(' '):<{_WIDTH * 3}} {text}"


def outcome(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a replay would do with an explained callback, for people.

    `kind` and `state` are shown before the `words`. `reads`: whether a replay would read it.
    """
    becomes = entry["becomes"]
    if becomes is None:
        words = f"{entry['why_detail'] or entry['why']}."
        return {"kind": "bad", "state": "still not understood:", "words": words, "reads": False}
    each = "; ".join(_event(one) for one in becomes)
    words = f"It would become {each or 'no event'}."
    return {"kind": "ok", "state": "understood.", "words": words, "reads": True}


def _event(one: Mapping[str, Any]) -> str:
    """Return `sms.received, google, for log and crm`."""
    sinks = one["sinks"]
    names = " and ".join(filter(None, (", ".join(sinks[:-1]), *sinks[-1:])))
    receivers = f"for {names}" if sinks else "for no sink"
    return ", ".join(filter(None, (one["type"], one["service"], receivers)))


async def again(request: Request) -> Answer:
    """Read one callback again."""
    id_ = request.parts["id"]
    done = await request.api.post(f"/v1/quarantine/{id_}/replay")
    if done["status"] == "quarantined":
        return Redirect(address(f"/quarantine/{id_}"), f"Still not understood: {done['reason']}")
    is_new = done["status"] == "accepted"
    said = "Read again: it became this event" if is_new else "Read again: the event was known"
    if len(done["events"]) != 1:
        return Redirect(address("/quarantine"), f"Read again: {len(done['events'])} events")
    return Redirect(address(f"/events/{done['events'][0]}"), said)


async def preview(request: Request) -> Answer:
    """Answer what would become of all callbacks of a source with one reason."""
    filter_ = _filter(request)
    if None in filter_.values():
        raise Problem(400, "bad_parameter", "name a source and a reason")
    found = await request.api.get(
        "/v1/quarantine/explain", limit=AT_ONCE, after=request.one("after"), **filter_
    )
    rows = [{"entry": entry, "becomes": outcome(entry)} for entry in found["data"]]
    return View(
        template="quarantine_again.html",
        title=f"Read again: {filter_['source']}, {filter_['reason']} - Quarantine",
        values={
            **filter_,
            "rows": rows,
            "ids": [row["entry"]["id"] for row in rows if row["becomes"]["reads"]],
            "next": request.link(after=found["next_cursor"]) if found["has_more"] else None,
        },
    )


async def read_all(request: Request) -> Answer:
    """Read the callbacks again that the page before has shown."""
    ids = dict.fromkeys(request.fields("id"))
    if not 0 < len(ids) <= AT_ONCE:
        raise bad_body("id", f"1 to {AT_ONCE} callbacks")
    counts = {"accepted": 0, "duplicate": 0, "quarantined": 0, "gone": 0}
    for id_ in ids:
        try:
            done = await request.api.post(f"/v1/quarantine/{id_}/replay")
            counts[done["status"]] += 1
        except Problem as problem:
            if problem.status not in (404, 409):
                raise
            counts["quarantined" if problem.status == 409 else "gone"] += 1  # noqa: PLR2004
    return Redirect(address("/quarantine"), summary(counts))


def summary(counts: Mapping[str, int]) -> str:
    """Return `Read again: new events: 11, still not understood: 1`."""
    parts = {
        "accepted": "new events",
        "duplicate": "known events",
        "quarantined": "still not understood",
        "gone": "no longer there",
    }
    said = ", ".join(f"{words}: {counts[name]}" for name, words in parts.items() if counts[name])
    return f"Read again: {said}"


async def delete(request: Request) -> Answer:
    """Delete a callback."""
    await request.api.delete(f"/v1/quarantine/{request.parts['id']}")
    return Redirect(address("/quarantine"), "Deleted: 1 callback")


def _page(path: str, answer: Any, method: str = "GET") -> Page:
    return Page(
        path=f"/quarantine{path}", method=method, scopes=("admin",), whole=True, answer=answer
    )


PAGES: Sequence[Page] = (
    _page("", quarantine),
    _page("/again", preview),
    _page("/again", read_all, "POST"),
    _page("/{id}", look),
    _page("/{id}/reveal", reveal, "POST"),
    _page("/{id}/again", again, "POST"),
    _page("/{id}/delete", delete, "POST"),
)
