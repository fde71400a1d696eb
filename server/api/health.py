"""Whether the process runs, and whether it takes callbacks."""

from collections.abc import Callable

import msgspec
from litestar import Response, Router, route

from receiver.door import RETRY_AFTER


class HealthAnswer(msgspec.Struct, frozen=True, kw_only=True):
    status: str


def health(ready: Callable[[], bool]) -> Router:
    """Without a key, and with whatever parameters a prober adds."""

    @route("/healthz", http_method=["GET", "HEAD"])
    async def healthz() -> HealthAnswer:
        return HealthAnswer(status="ok")

    @route("/readyz", http_method=["GET", "HEAD"])
    async def readyz() -> Response[HealthAnswer]:
        if ready():
            return Response(HealthAnswer(status="ready"))
        return Response(
            HealthAnswer(status="not_ready"),
            status_code=503,
            headers={"Retry-After": str(RETRY_AFTER)},
        )

    return Router("/", route_handlers=[healthz, readyz])
