"""Routes as they are configured."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from litestar import Router, get

from routes.table import Route

from .auth import Asking, needs
from .paging import PAGING, Cursors, PageAnswer
from .parameters import read


class ShownRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A route with its name."""

    name: str
    to: Sequence[str]
    when: Mapping[str, Any] | None


def routes(*, table: Mapping[str, Route], cursors: Cursors) -> Router:
    named = {
        name: ShownRoute(name=name, to=route.to, when=route.when) for name, route in table.items()
    }

    @get("/", guards=[needs("events:read", whole=True)])
    async def listed(request: Asking) -> PageAnswer[ShownRoute]:
        asked = await cursors.asked(read(request.scope, PAGING), names=tuple(named))
        return cursors.sliced(asked, named)

    return Router("/routes", route_handlers=[listed])
