"""Server-sent events, as the HTML standard defines them (9.2.6)."""

from collections.abc import AsyncIterator
from typing import NamedTuple


class Frame(NamedTuple):
    """One event of a stream."""

    id: str
    event: str
    data: str


async def frames(chunks: AsyncIterator[bytes]) -> AsyncIterator[Frame | None]:
    """Yield the events of a body; None for each comment, which keeps the connection alive.

    An event that is cut off by the end of the body is dropped, as the standard says.
    """
    id_, event, data = "", "", list[str]()
    async for line in _lines(chunks):
        if line.startswith(":"):
            yield None
            continue
        if not line:
            if data:
                yield Frame(id_, event or "message", "\n".join(data))
            event, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "id":
                id_ = value
            case "event":
                event = value
            case "data":
                data.append(value)


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Split at line feeds only: a text may hold other separators, such as U+2028."""
    kept = b""
    async for chunk in chunks:
        *lines, kept = (kept + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode(errors="replace")
