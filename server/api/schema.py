"""The description of the API at `/schema`, for programs and, with Redoc, for people."""

import asyncio
import secrets
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from litestar import Litestar, Response, route
from litestar.params import FromPath

from .errors import unknown_path
from .event_schemas import any_event_schema, event_schemas
from .handlers import AnyRequest
from .openapi import document
from .router import ApiRouter

_DOCUMENT, _SCRIPT = "/schema/openapi.json", "/schema/redoc.js"
# Redoc makes its styles in the browser, which the nonce allows. Its search would need a worker.
_PAGE = f"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>smshook: API</title>
<style nonce="NONCE">body {{ margin: 0; font-family: system-ui, sans-serif; }}</style>
<div id="reader">
<p>The <a href="{_DOCUMENT}">OpenAPI document</a> is JSON. This reader of it needs JavaScript.</p>
</div>
<script src="{_SCRIPT}"></script>
<script nonce="NONCE">
const fontFamily = "system-ui, sans-serif";
const theme = {{ typography: {{ fontFamily, headings: {{ fontFamily }} }} }};
const options = {{ disableSearch: true, hideDownloadButton: true, nonce: "NONCE", theme }};
Redoc.init("{_DOCUMENT}", options, document.getElementById("reader"));
</script>
"""
_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-NONCE'; style-src 'nonce-NONCE'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def schema() -> ApiRouter:
    """Return the pages. They need no key and show nothing that is stored."""

    @cache
    def document_of(app: Litestar) -> bytes:
        return msgspec.json.encode(document(app))

    @cache
    def schemas() -> dict[str, bytes]:
        every = {"": any_event_schema(), **event_schemas()}
        return {type_: msgspec.json.encode(one) for type_, one in every.items()}

    async def openapi(app: Litestar) -> Response[bytes]:
        # The first time, it reads the source code, while callbacks are accepted.
        return _json(await asyncio.to_thread(document_of, app))

    @route("/", http_method=["GET", "HEAD"])
    async def index(request: AnyRequest) -> Response[Any]:
        if "text/html" not in request.headers.get("accept", ""):
            return await openapi(request.app)
        nonce = secrets.token_urlsafe(16)
        return Response(
            _PAGE.replace("NONCE", nonce),
            media_type="text/html",
            headers={"Content-Security-Policy": _POLICY.replace("NONCE", nonce), "Vary": "Accept"},
        )

    @route("/openapi.json", http_method=["GET", "HEAD"])
    async def plain(request: AnyRequest) -> Response[bytes]:
        return await openapi(request.app)

    @route("/redoc.js", http_method=["GET", "HEAD"])
    async def script() -> Response[bytes]:
        content = (files(__package__) / "redoc" / "redoc.standalone.js").read_bytes()
        return Response(content, media_type="text/javascript")

    @route("/events", http_method=["GET", "HEAD"])
    async def any_event() -> Response[bytes]:
        return _json((await asyncio.to_thread(schemas))[""], "application/schema+json")

    @route("/events/{event_type:str}", http_method=["GET", "HEAD"])
    async def event(event_type: FromPath[str]) -> Response[bytes]:
        made = (await asyncio.to_thread(schemas)).get(event_type)
        return unknown_path() if made is None else _json(made, "application/schema+json")

    return ApiRouter("/schema", route_handlers=[index, plain, script, any_event, event])


def _json(content: bytes, media_type: str = "application/json") -> Response[bytes]:
    return Response(content, media_type=media_type)
