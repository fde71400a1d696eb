"""One event: what it says, why it is where it is, and who read it."""

import json
from collections.abc import Mapping
from typing import Any

from .page import Answer, Page, Request, View


async def event(request: Request) -> Answer:
    """Answer the page of an event."""
    found = await request.api.get(f"/v1/events/{request.parts['id']}")
    return View(
        template="event.html",
        title=_title(found["event"]),
        values={
            "heading": _title(found["event"]),
            "body": json.dumps(found["event"], indent=2, ensure_ascii=False),
        },
    )


def _title(event: Mapping[str, Any]) -> str:
    """Return `Google to +18503814729`."""
    data = event["data"]
    service = data.get("service") or {}
    name = service.get("name") or service.get("key") or service.get("id") or event["type"]
    return f"{name} to {data['to']}" if data.get("to") else str(name)


PAGES = (Page(path="/events/{id}", answer=event),)
