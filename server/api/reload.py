"""Read the configuration again."""

from collections.abc import Sequence

import msgspec
from litestar import post

from ..runtime.keys import Keys
from ..runtime.reload import NotReloaded, Reloads
from .auth import ApiRequest, NeedsScopeOrCommand
from .errors import AGAIN, Problem
from .idempotency import Calls
from .operation import Operation
from .router import ApiRouter


class ShownReload(msgspec.Struct, frozen=True, kw_only=True):
    """The options that differ from the former configuration, as dotted paths without values."""

    #: Sources, sinks, routes and keys.
    added: Sequence[str]
    #: Single options, such as `sinks.crm.url`.
    changed: Sequence[str]
    #: Sources, sinks, routes and keys.
    removed: Sequence[str]
    #: Options that differ in the file, and keep their old values until a restart.
    needs_restart: Sequence[str]
    #: Valid settings that are probably not intended, each with its place.
    warnings: Sequence[str]


def reload(*, reloads: Reloads, keys: Keys, calls: Calls) -> ApiRouter:
    @post(
        "/",
        status_code=200,
        guards=[NeedsScopeOrCommand(("admin",), whole=True, keys=keys)],
        operation=Operation(errors=("config_rejected",)),
    )
    async def reload(request: ApiRequest) -> ShownReload:
        """Reload the configuration.

        It is read again and put in force as a whole. A wrong configuration changes nothing.
        """
        async with calls.begin(request) as call:
            try:
                reloaded = await reloads.reload()
            except NotReloaded as exc:
                if not exc.complaints:
                    raise Problem(503, "unavailable", exc.error, headers=AGAIN) from None
                text = "the configuration is wrong; nothing was changed"
                raise Problem(422, "config_rejected", text, complaints=exc.complaints) from None
            shown = ShownReload(**msgspec.structs.asdict(reloaded))
            await call.keep(shown, 200)
        return shown

    return ApiRouter("/reload", route_handlers=[reload])
