"""Routes: list those in the configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..runtime.current import Current
from ..runtime.keys import Access
from .paging import Cursors, PageAnswer, named_list
from .router import ApiRouter


class ShownRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A route with its name."""

    name: str
    to: Sequence[str]
    when: Mapping[str, Any] | None


def routes(*, current: Current, cursors: Cursors) -> ApiRouter:
    async def items(_: Access) -> Mapping[str, ShownRoute]:
        return {
            name: ShownRoute(name=name, to=route.to, when=route.when)
            for name, route in current.config.routes.items()
        }

    return ApiRouter(
        "/routes",
        route_handlers=[
            named_list(cursors, items, text="List routes.", answer=PageAnswer[ShownRoute])
        ],
    )
