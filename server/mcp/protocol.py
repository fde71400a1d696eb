"""The tools as a server of the official SDK, for any transport."""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as ListedTool

from core.errors import origin
from core.printable import PLACE, named
from smshook_client import AsyncClient, SmshookError

from .. import __version__
from .tools import TOOLS, Tool, input_schema, read_arguments

Context = ServerRequestContext[Any, Any]
#: Opens a client of the API with the key of the program that calls. Raises SmshookError.
Connect = Callable[[Context], AbstractAsyncContextManager[AsyncClient]]

_INSTRUCTIONS = (
    "smshook receives the SMS that phone numbers of SMS providers get. To sign up with such a "
    "number: register_order, type the number into the form, then wait_for_code. If no code comes: "
    "list_events, and why for an event that did not arrive where it should."
)
_NAMED = {tool.tool: tool for tool in TOOLS}

log = logging.getLogger(__name__)


def make_server(connect: Connect) -> Server[Any]:
    """Return the server. Each call opens a client, so that the key decides about each one."""

    async def list_tools(
        _context: Context, _params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        return ListToolsResult(tools=[_listed(tool) for tool in TOOLS])

    async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
        tool = _NAMED.get(params.name)
        if tool is None:
            names = ", ".join(_NAMED)
            raise MCPError(code=INVALID_PARAMS, message=f"there is no such tool; tools: {names}")

        async def progress(passed: float, total: float) -> None:
            await context.session.report_progress(passed, total)

        try:
            given = read_arguments(tool, params.arguments or {})
            async with connect(context) as client:
                result = await given.call(client, progress)
        except SmshookError as exc:
            return _failed(str(exc))
        except msgspec.ValidationError as exc:
            return _failed(named(str(exc), PLACE))  # it may repeat the name of an argument
        except Exception as exc:  # noqa: BLE001 - the SDK would send its text, which may hold a value
            log.error("%s failed: %s at %s", tool.tool, type(exc).__name__, origin(exc))  # noqa: TRY400 - a traceback shows values
            return _failed(f"internal error of smshook: {type(exc).__name__}")
        text = msgspec.json.encode(result).decode()
        return CallToolResult(
            content=[TextContent(type="text", text=text)], structured_content=result
        )

    return Server(
        "smshook",
        version=__version__,
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _listed(tool: type[Tool]) -> ListedTool:
    return ListedTool(
        name=tool.tool,
        title=tool.title,
        description=" ".join((tool.__doc__ or "").split()),
        input_schema=input_schema(tool),
        annotations=ToolAnnotations(
            read_only_hint=tool.is_read_only,
            destructive_hint=False,
            idempotent_hint=True,
            open_world_hint=False,
        ),
    )


def _failed(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
