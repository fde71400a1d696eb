"""Results of the client. No repr shows a text, a code or a phone number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self, TypedDict

#: Any of several values, or one.
Texts = str | Sequence[str]


class Filters(TypedDict, total=False):
    """The events to read, as in `GET /v1/events`. Several values of one filter: any of them."""

    type: Texts
    source: Texts
    subject: Texts
    #: The key, the name or the provider's id.
    service: Texts
    #: With the country's code.
    number: Texts
    request_id: Texts
    activation_id: Texts
    rental_id: Texts
    #: The reference of the order.
    reference: Texts
    #: True: with a code. False: without one.
    code: bool
    #: Accepted since: an aware time, how long ago, or a text of the API, such as `10m`.
    since: datetime | timedelta | str
    #: Accepted before.
    until: datetime | timedelta | str


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """Something that happened (CloudEvents 1.0)."""

    #: The same on every delivery and replay.
    id: str
    source: str
    #: Such as `sms.received`.
    type: str
    subject: str | None
    #: When it happened, as the provider said.
    time: datetime
    recorded_at: datetime
    #: The fields of its type, such as `to`, `text` and `price`.
    data: Mapping[str, Any]
    #: The whole event, as it was sent.
    body: Mapping[str, Any]

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Raise KeyError, TypeError or ValueError for anything but an event."""
        return cls(
            id=str(body["id"]),
            source=str(body["source"]),
            type=str(body["type"]),
            subject=body.get("subject"),
            time=datetime.fromisoformat(body["time"]),
            recorded_at=datetime.fromisoformat(body["recordedtime"]),
            data=dict(body["data"]),
            body=body,
        )

    @property
    def code(self) -> str | None:
        return self.data.get("code")

    @property
    def text(self) -> str | None:
        return self.data.get("text")

    @property
    def number(self) -> str | None:
        """The number that received it, in E.164."""
        return self.data.get("to")

    @property
    def reference(self) -> str | None:
        """The reference of its order."""
        return self.data.get("reference")

    def __repr__(self) -> str:
        return f"<Event {self.type} {self.id}>"


class Item(NamedTuple):
    """An event and its place: continue after `cursor`."""

    cursor: str
    event: Event


class Batch(NamedTuple):
    """The next events of a consumer. Commit `cursor` when all are handled."""

    items: Sequence[Item]
    cursor: str
    has_more: bool


class Page(NamedTuple):
    """A page of any list. `next_cursor` is the place to continue from."""

    data: Sequence[Any]
    next_cursor: str
    has_more: bool

    def __repr__(self) -> str:
        return f"<Page of {len(self.data)}>"


class Code(str):
    """A code, and the event that brought it. It is a `str`, but its repr does not show it."""

    __slots__ = ("cursor", "event")

    #: The place of its event: wait for the next code after it.
    cursor: str
    event: Event

    def __new__(cls, text: str, cursor: str, event: Event) -> Self:
        code = super().__new__(cls, text)
        code.cursor, code.event = cursor, event
        return code

    def __getnewargs__(self) -> tuple[str, str, Event]:  # type: ignore[override] # more than of str
        """Return what makes a copy, also in another process."""
        return str(self), self.cursor, self.event

    def __repr__(self) -> str:
        return "<Code ***>"
