"""Log lines for people at a terminal."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from core.printable import plain

#: Limit of accepted events that a later line of a delivery can name.
_REMEMBERED = 1000

Fields = MutableMapping[str, Any]


class Readable:
    """`18:42:37 sms.received tellabot Google +1850***4729 → log ok 4 ms`.

    An event gets its line after a delivery attempt. Until then its words are remembered.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._accepted: OrderedDict[str, str] = OrderedDict()

    def __call__(self, _logger: Any, _method: str, fields: Fields) -> bytes:
        words = self._words(fields)
        if words is None:
            return b""
        clock = time.strftime("%H:%M:%S", time.localtime(self._now()))
        mark = {"warning": "! ", "error": "!! "}.get(fields["level"], "")
        return f"{clock} {mark}{plain(words)}\n".encode(errors="replace")

    def _words(self, fields: Fields) -> str | None:
        match fields["event"]:
            case "callback.accepted" | "order.expired":
                return self._remember(fields)
            case "delivery.attempted":
                return f"{self._event(fields)} → {_outcome(fields, self._now())}"
            case "delivery.dead" | "delivery.expired":
                return f"{self._event(fields)} → {_end(fields)}"
            case "callback.duplicate":
                return f"{self._event(fields)} received again: duplicate"
        words = _WORDS.get(fields["event"])
        return words(fields) if words else _others(fields)

    def _remember(self, fields: Fields) -> str | None:
        line = _event(fields)
        self._accepted[fields["event_id"]] = line
        if len(self._accepted) > _REMEMBERED:
            self._accepted.popitem(last=False)
        return None if fields["sinks"] else f"{line} → no route matches; kept"

    def _event(self, fields: Fields) -> str:
        """Return the words of an event; of one from before the start, its fields."""
        id_ = str(fields["event_id"])
        return self._accepted.get(id_) or (_event(fields) if "type" in fields else id_)


def _event(fields: Mapping[str, Any]) -> str:
    words = (fields["type"], fields["source"], fields.get("service"), fields.get("to"))
    return " ".join(str(word) for word in words if word)


def _outcome(fields: Mapping[str, Any], now: float) -> str:
    sink = fields["sink"]
    if fields["outcome"] == "delivered":
        again = f", attempt {fields['attempt']}" if fields["attempt"] > 1 else ""
        return f"{sink} ok {_milliseconds(fields['since_ms'])}{again}"
    status = f" {fields['status']}" if fields.get("status") else ""
    why = _WHY.get(fields["error"], fields["error"])
    if fields.get("due_at") is None:
        return f"{sink} {fields['outcome']}: {why}{status}, given up"
    wait = _seconds(max(0, fields["due_at"] - now))
    if fields.get("probe"):
        return f"{sink} probe {fields['outcome']}: {why}{status}, next attempt in {wait}"
    return f"{sink} {fields['outcome']}: {why}{status}, again in {wait}"


def _end(fields: Mapping[str, Any]) -> str:
    sink, attempts = fields["sink"], f"after {_counted(fields['attempt'], 'attempt')}"
    if fields["event"] == "delivery.expired":
        return f"{sink} expired {attempts}"
    return f"{sink} dead {attempts}; smshook deliveries retry {fields['delivery_id']}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _milliseconds(took: float) -> str:
    return f"{took:.0f} ms" if took < 1000 else _seconds(took / 1000)  # noqa: PLR2004 - a second


def _seconds(wait: float) -> str:
    """`0.2 s`, `34 s`, `5 m 34 s`, `2 h 5 m`, `1 d 3 h`."""
    if round(wait, 1) < 1:
        return f"{wait:.1f} s"
    minutes, seconds = divmod(round(wait), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")]
    first = next((index for index, (count, _) in enumerate(parts) if count), 0)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def _quarantined(fields: Mapping[str, Any]) -> str:
    source, reason = fields.get("source"), fields.get("reason")
    why = f"({reason})"
    if reason == "address":
        why = f"because allow_from does not name {fields.get('peer')}"
    show = f"smshook quarantine show {fields.get('quarantine_id')}"
    return f"{source}: callback quarantined {why}; {show}"


def _rejected(fields: Mapping[str, Any]) -> str:
    reason = str(fields.get("reason"))
    who = ", ".join(str(it) for it in (fields.get("source"), fields.get("peer")) if it)
    words = f"rejected: {_REASONS.get(reason, reason)}" + (f" ({who})" if who else "")
    return words + _and_more(fields)


def _unavailable(fields: Mapping[str, Any]) -> str:
    who = ", ".join(str(it) for it in (fields.get("source"), fields.get("peer")) if it)
    return "callback answered 503" + (f" ({who})" if who else "") + _and_more(fields)


def _and_more(fields: Mapping[str, Any]) -> str:
    return f"; {fields['unlogged']} more not shown" if fields.get("unlogged") else ""


def _backfilled(fields: Mapping[str, Any]) -> str | None:
    """Return None for a poll by the timer that found nothing."""
    source, error = fields["source"], fields.get("error")
    if error is not None:
        return f"{source}: backfill failed: {error}: {fields.get('detail')}"
    if fields["why"] == "timer" and not fields["new"]:
        return None
    notices = ", ".join(fields.get("notices") or ())
    found = f"{fields['new']} new, {fields['known']} already stored"
    return f"{source}: backfill finished, {found}{notices and f' ({notices})'}"


def _stopped(fields: Mapping[str, Any]) -> str:
    pending = fields.get("pending")
    if pending is None:
        return "stopped"
    return f"stopped; {pending} {'delivery' if pending == 1 else 'deliveries'} pending"


def _nothing(_fields: Mapping[str, Any]) -> None:
    return None


def _money(fields: Mapping[str, Any]) -> str:
    currency = fields.get("currency")
    return f"{fields['amount']} {currency}" if currency else str(fields["amount"])


#: Words for people in place of an event's name and fields.
_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
    "account.low": lambda fields: (
        f"{fields['source']}: balance {_money(fields)} is below {fields['threshold']}"
    ),
    "backfill.finished": _backfilled,
    "balance.unreadable": lambda fields: f"{fields['source']}: the balance is not a number",
    "callback.quarantined": _quarantined,
    "callback.rejected": _rejected,
    "callback.unavailable": _unavailable,
    "config.warning": lambda fields: str(fields.get("warning")),
    "connections.full": lambda fields: (
        f"{fields.get('most')} connections are open: idle ones are closed for new ones"
    ),
    "journal.sqlite_old": _nothing,
    "log.dropped": lambda fields: (
        f"{_counted(fields['lines'], 'line')} of this log dropped: nothing read it"
    ),
    "service.gap": lambda fields: (
        f"not running since {fields['since']}: backfill looks for missed messages"
    ),
    "service.started": _nothing,  # the welcome says more
    "service.stopping": _nothing,  # `stopped` follows within seconds
    "service.stopped": _stopped,
    "sink.paused": lambda fields: f"{fields.get('sink')} paused ({fields.get('reason')})",
    "sink.resumed": lambda fields: f"{fields.get('sink')} resumed",
    "sink.readable_by_others": lambda fields: (
        f"others can read {fields.get('path')}; keep it private with chmod 600"
    ),
    "sink.mended": lambda fields: (
        f"{fields.get('path')}: removed an unfinished last line ({fields.get('bytes')} bytes);"
        " its deliveries are sent again"
    ),
}


#: Why a request was rejected.
_REASONS = {
    "address": "address not in allow_from",
    "connections": "too many connections",
    "method": "method not allowed",
    "path": "unknown path",
    "rate": "over the source's rate",
    "signature": "invalid signature",
    "timeout": "body not complete in time",
    "token": "invalid token",
    "too_large": "body too large",
}


#: Longer words for some errors.
_WHY = {"missing": "its folder is missing"}


def _others(fields: Mapping[str, Any]) -> str:
    rest = (
        f"{name}={value}"
        for name, value in fields.items()
        if name not in ("ts", "level", "event", "request_id") and value is not None
    )
    return " ".join((str(fields["event"]), *rest))
