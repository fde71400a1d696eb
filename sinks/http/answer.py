"""The answer of an HTTP server to one delivery, and how much of it is read."""

from typing import Final

import msgspec

#: Bytes of an answer's body. The rest is not read, and the connection is dropped.
MOST_READ: Final = 64 * 1024
#: Seconds to wait for the body after a complete header. The body is kept for people only. It must
#: neither hold a slot nor turn a delivery into a failure.
BODY_PATIENCE: Final = 2.0
#: Seconds before the attempt's own deadline at which reading the body stops.
MARGIN: Final = 0.1


class SinkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of an HTTP response that smshook looks at."""

    status: int
    #: The first 1 KiB of the body.
    beginning: bytes
    #: The header Retry-After as it was sent.
    retry_after: str | None
