"""What a log line says of an event: its type, source and service, and nothing secret."""

from collections.abc import Mapping

import msgspec


class _Service(msgspec.Struct, frozen=True):
    id: str | None = None
    name: str | None = None


class _DescribedData(msgspec.Struct, frozen=True):
    service: _Service | None = None


class _DescribedEvent(msgspec.Struct, frozen=True):
    type: str
    source: str
    data: _DescribedData = _DescribedData()


_decode = msgspec.json.Decoder(_DescribedEvent).decode


def described(body: bytes) -> Mapping[str, str | None]:
    """The fields `type`, `source` and `service` of an event, as the JSON that is delivered.

    Empty for what is no event: a log line must not fail for it.
    """
    try:
        event = _decode(body)
    except msgspec.MsgspecError:
        return {}
    service = event.data.service
    name = None if service is None else service.name or service.id
    return {"type": event.type, "source": event.source, "service": name}
