"""Reveals: one code, text, callback or answer in clear, once it is recorded who asked."""

import base64
from collections.abc import Mapping

from core.printable import plain_lines

from ..api.errors import Problem, bad_body
from .page import Request, View

#: Seconds for which something is shown.
SHOWN = 60
#: The most characters of a reason.
_REASON = 500


async def reveal(request: Request, event: str) -> Mapping[str, str]:
    """Return what the form asks for, in clear. Raise Problem.

    `what` is `text` (with the code), `copy` (the code only), `callback` or `answer`, of the
    `delivery`. Texts are fit to be shown; a code to copy is as it was sent.
    """
    what = request.field("what") or "text"
    if what not in _REVEALS:
        raise bad_body("what", f"one of {', '.join(_REVEALS)}")
    reason = take_reason(request)
    if what in _SEEN and not reason:
        return await _SEEN[what](request, event)
    found = await request.api.call(
        "POST",
        f"/v1/events/{event}/reveal",
        body={"reason": reason} if reason else {},
        copies=what == "copy",
    )
    if what in _SEEN:
        # Its line has the reason, which the calls of callbacks and answers do not take.
        return await _SEEN[what](request, event)
    data = found["event"]["data"]
    # A page that was open for long still has its buttons.
    names = ("code",) if what == "copy" else ("code", "text")
    shown = {name: data[name] for name in names if data.get(name) is not None}
    if not shown:
        raise Problem(410, "erased", "it was erased: load the page again")
    return shown if what == "copy" else {name: plain_lines(shown[name]) for name in shown}


def needs_reason(request: Request) -> bool:
    """Return whether a reveal must say why, and did not say it in the last minutes."""
    asks = request.options.ask_reason or request.session.access.needs_reason
    return asks and not request.session.reason(request.now)


def ask_reason(request: Request) -> View | None:
    """Return a page that asks for the reason of a reveal; None: no page is needed.

    The form of the page repeats the request. Scripts get no page: they ask in a dialog.
    """
    if request.wants_json or request.field("reason").strip() or not needs_reason(request):
        return None
    kept = [(name, text) for name, text in request.form if name not in ("csrf", "reason")]
    return View(template="reason.html", title="Reason", values={"fields": kept}, status=422)


def take_reason(request: Request) -> str:
    """Return the reason of a reveal, and keep it for the next ones; empty: none. Raises Problem."""
    given = request.field("reason").strip()
    if len(given) > _REASON:
        raise bad_body("reason", f"at most {_REASON} characters")
    if given:
        request.session.keep_reason(given, request.now)
    elif needs_reason(request):
        raise Problem(422, "reason_required", "say why you need it; the audit log keeps the reason")
    return given or request.session.reason(request.now)


async def _callback(request: Request, event: str) -> Mapping[str, str]:
    path = f"/v1/events/{event}"
    found = (await request.api.call("GET", path, {"raw": "true"}, clear=True))["raw"]
    if found is None:
        return {"callback": "It is no longer stored."}
    head = "\n".join(f"{name}: {value}" for name, value in found["headers"])
    body = base64.b64decode(found["body"]).decode(errors="replace")
    return {"callback": plain_lines(f"from {found['peer']}\n{head}\n\n{body}")}


async def _answer(request: Request, event: str) -> Mapping[str, str]:
    delivery = request.field("delivery")
    found = await request.api.call("GET", f"/v1/deliveries/{delivery}", clear=True)
    if found["event"] != event:
        raise bad_body("delivery", "of another event")
    parts = [f"attempt {one['number']}: {one['answer'] or 'none'}" for one in found["attempts"]]
    return {"answer": plain_lines("\n\n".join(parts))}


#: What is read by a call of its own.
_SEEN = {"callback": _callback, "answer": _answer}
_REVEALS = ("text", "copy", *_SEEN)
