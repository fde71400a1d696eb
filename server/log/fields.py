"""Fields that log lines share."""

from collections.abc import Mapping, Sequence

from core.event import Data, Event
from core.secret import without_numbers

#: Digits of the shortest number that may show its first four and its last four.
_LONG = 10


def event_fields(event: Event, sinks: Sequence[str]) -> Mapping[str, object]:
    """Return the fields of a log line about a new event with deliveries to `sinks`."""
    service, to = service_and_number(event.data)
    return {
        "event_id": event.id,
        "type": event.type,
        "service": service,
        "to": to,
        "sinks": sinks,
    }


def service_and_number(data: Data) -> tuple[str | None, str | None]:
    """Return the service and the masked number of an event, as log lines show them.

    A provider may name a service by a phone number.
    """
    service = getattr(data, "service", None)
    name = service and without_numbers(service.name or service.id)
    return name, masked(getattr(data, "to", None))


def masked(number: str | None) -> str | None:
    """Return a phone number that can be recognized but not called: `+1850***4729`."""
    if number is None:
        return None
    return f"{number[:5]}***{number[-4:]}" if len(number) > _LONG else f"***{number[-2:]}"
