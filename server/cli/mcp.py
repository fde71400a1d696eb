"""Serve the tools of the Model Context Protocol on stdin and stdout."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from functools import partial

import click

from smshook_client import AsyncClient, SmshookError

from ..config.load import ConfigError
from ..mcp import is_installed
from .command import Command, Failure, Wrong
from .connection import Address, connection_options, find


@click.command(cls=Command, example="mcp")
@connection_options
def mcp(url: str | None, key: str | None) -> None:
    """Serve tools over the Model Context Protocol, on stdin and stdout.

    Programs that drive browsers or tests start it: they register orders, wait for codes, list
    events, and ask why one did not arrive. They have the rights of the API key. Needs the extra:
    pip install 'smshook[mcp]'. The service has the same tools over HTTP, at /mcp beside the API.
    """
    if not is_installed():
        raise Failure("the extra mcp is not installed; install it with: pip install 'smshook[mcp]'")
    find_ = partial(find, url, key, "events:read", noted=False)
    try:
        find_()
    except Wrong:
        raise
    except Failure:
        # The service may be started later. Until then, each call fails with this error.
        pass
    # Warnings of the SDK may quote a request.
    logging.getLogger().addHandler(logging.NullHandler())
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(find_))


async def _serve(find_: "partial[Address]") -> None:
    # The SDK takes a second to import, and is an extra.
    from mcp.server.stdio import stdio_server  # noqa: PLC0415

    from ..mcp.protocol import Context, make_server  # noqa: PLC0415

    @contextlib.asynccontextmanager
    async def connect(_context: Context) -> AsyncIterator[AsyncClient]:
        try:
            address = find_()
        except Failure as exc:
            raise SmshookError(exc.format_message()) from None
        except ConfigError as exc:
            raise SmshookError("; ".join(exc.complaints)) from None
        async with AsyncClient(*address) as client:
            yield client

    server = make_server(connect)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
