"""Log lines for people at a terminal."""

import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from core.printable import plain

#: Limit of accepted events that a later line of a delivery can name.
_REMEMBERED = 1000
#: Words for people, with the fields of the event in braces. An empty text is no line.
_WORDS: Mapping[str, str] = {
    "balance.unreadable": "{source}: the balance is not a number",
    "alert.cleared": "{name} of {subject} has ended",
    "alert.raised": "{name}: {subject} ({severity})",
    "audit.checkpoint": "",  # each minute
    "config.warning": "{warning}",
    "connections.full": "{most} connections are open: idle ones are closed for new ones",
    "journal.sqlite_old": "",
    "replay.finished": "replay {outcome}: {events} events, {deliveries} deliveries",
    "service.gap": "not running since {since}: backfill looks for missed messages",
    "service.started": "",  # the welcome says more
    "service.stopping": "",  # `stopped` follows within seconds
    "key.created": "key {key} created by {by}",
    "key.revoked": "key {key} revoked by {by}",
    "key.shadowed": "key {key} does not work: a key of the configuration has its name",
    "sink.mended": (
        "{path}: removed an unfinished last line ({bytes} bytes); its deliveries are sent again"
    ),
    "sink.paused": "{sink} paused ({reason})",
    "sink.readable_by_others": "others can read {path}; keep it private with chmod 600",
    "sink.resumed": "{sink} resumed",
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

Fields = MutableMapping[str, Any]


class Readable:
    """`18:42:37 sms.received tellabot Google +1850***4729 → log ok 4 ms`.

    An event gets its line after a delivery attempt. Until then its words are remembered.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._accepted: OrderedDict[str, str] = OrderedDict()

    def __call__(self, _logger: Any, _method: str, fields: Fields) -> bytes:
        match fields["event"]:
            case "callback.accepted" | "order.expired":
                event = _event(fields)
                self._accepted[fields["event_id"]] = event
                if len(self._accepted) > _REMEMBERED:
                    self._accepted.popitem(last=False)
                words = "" if fields["sinks"] else f"{event} → no route matches; kept"
            case "callback.duplicate":
                words = f"{self._known(fields)} received again: duplicate"
            case "delivery.attempted" | "delivery.dead" | "delivery.expired":
                outcome = _outcome(fields, self._now())
                words = f"{self._known(fields)} → {fields['sink']} {outcome}"
            case "callback.quarantined" | "callback.rejected" | "callback.unavailable":
                words = _refusal(fields)
            case _:
                words = _describe(fields)
        if not words:
            return b""
        clock = time.strftime("%H:%M:%S", time.localtime(self._now()))
        mark = {"warning": "! ", "error": "!! "}.get(fields["level"], "")
        return f"{clock} {mark}{plain(words)}\n".encode(errors="replace")

    def _known(self, fields: Mapping[str, Any]) -> str:
        """Return the words of an event; those of its fields if it is from before the start."""
        id_ = str(fields["event_id"])
        return self._accepted.get(id_) or (_event(fields) if "type" in fields else id_)


def _event(fields: Mapping[str, Any]) -> str:
    words = (fields["type"], fields["source"], fields.get("service"), fields.get("to"))
    return " ".join(str(word) for word in words if word)


def _outcome(fields: Mapping[str, Any], now: float) -> str:
    """Return the result of a delivery attempt, or the end of a delivery."""
    attempt = fields["attempt"]
    if fields["event"] == "delivery.expired":
        return f"expired after {_counted(attempt, 'attempt')}"
    if fields["event"] == "delivery.dead":
        retry = f"smshook deliveries retry {fields['delivery_id']}"
        return f"dead after {_counted(attempt, 'attempt')}; {retry}"
    if fields["outcome"] == "delivered":
        took = fields["since_ms"]
        shown = f"{took:.0f} ms" if took < 1000 else _seconds(took / 1000)  # noqa: PLR2004 - 1 s
        return f"ok {shown}, attempt {attempt}" if attempt > 1 else f"ok {shown}"
    status = f" {fields['status']}" if fields.get("status") else ""
    why = f"{fields['outcome']}: {_WHY.get(fields['error'], fields['error'])}{status}"
    if fields.get("due_at") is None:
        return f"{why}, given up"
    wait = _seconds(max(0, fields["due_at"] - now))
    if fields.get("probe"):
        return f"probe {why}, next attempt in {wait}"
    return f"{why}, again in {wait}"


def _refusal(fields: Mapping[str, Any]) -> str:
    """Return the reason why a callback is no event, and its sender."""
    source, peer, reason = fields.get("source"), fields.get("peer"), str(fields.get("reason"))
    if fields["event"] == "callback.quarantined":
        address = f"because allow_from does not name {peer}"
        why = address if reason == "address" else f"({reason})"
        show = f"smshook quarantine show {fields.get('quarantine_id')}"
        return f"{source}: callback quarantined {why}; {show}"
    words = "callback answered 503"
    if fields["event"] == "callback.rejected":
        words = f"rejected: {_REASONS.get(reason, reason)}"
    sender = ", ".join(str(it) for it in (source, peer) if it)
    more = f"; {fields['unlogged']} more not shown" if fields.get("unlogged") else ""
    return words + (f" ({sender})" if sender else "") + more


def _describe(fields: Mapping[str, Any]) -> str:
    """Return the words for an event that belongs to no callback; empty for no line."""
    name, pending, error = fields["event"], fields.get("pending"), fields.get("error")
    match name:
        case "account.low":
            balance = " ".join(str(it) for it in (fields["amount"], fields.get("currency")) if it)
            words = f"{fields['source']}: balance {balance} is below {fields['threshold']}"
        case "backfill.finished" if error is not None:
            words = f"{fields['source']}: backfill failed: {error}: {fields.get('detail')}"
        case "backfill.finished" if fields["why"] == "timer" and not fields["new"]:
            words = ""
        case "backfill.finished":
            notices = ", ".join(fields.get("notices") or ())
            found = f"{fields['new']} new, {fields['known']} already stored"
            words = f"{fields['source']}: backfill finished, {found}"
            words += f" ({notices})" if notices else ""
        case "config.rejected":
            why = "; ".join(fields.get("complaints") or (str(error),))
            words = f"the configuration was not reloaded: {why}"
        case "config.reloaded":
            words = "configuration reloaded: " + _changes(fields)
        case "log.dropped":
            words = f"{_counted(fields['lines'], 'line')} of this log dropped: nothing read it"
        case "service.stopped":
            left = None if pending is None else f"{_counted(pending, 'delivery')} pending"
            words = f"stopped; {left}" if left else "stopped"
        case _ if name in _WORDS:
            words = _WORDS[name].format_map(defaultdict(str, fields))
        case _:
            hidden = ("ts", "level", "event", "request_id")
            shown = (it for it in fields if it not in hidden and fields[it] is not None)
            words = " ".join((str(name), *(f"{it}={fields[it]}" for it in shown)))
    return words


def _changes(fields: Mapping[str, Any]) -> str:
    """Return the differences of a reload, such as `changed sinks.crm.url`."""
    words = {"added": "added", "changed": "changed", "removed": "removed"}
    words["needs_restart"] = "needs a restart:"
    shown = (f"{words[name]} {', '.join(fields[name])}" for name in words if fields.get(name))
    return "; ".join(shown) or "nothing differs"


def _counted(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{count} {noun}s"


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
