"""The page at `/` of the admin listener, with links to the API, docs and health."""

from litestar import MediaType, Response, route

from .. import __version__
from .router import ApiRouter

_PAGE = f"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>smshook</title>
<h1>smshook {__version__}</h1>
<p>A webhook receiver and event router for SMS-number providers. This is its admin listener.</p>
<ul>
<li>API: <a href="/v1/events">/v1</a>. Send <code>Authorization: Bearer KEY</code>, a key of
<code>api.keys</code> in the configuration.</li>
<li>Description of the API: <a href="/schema">/schema</a>, and of events:
<a href="/schema/events">/schema/events</a>.</li>
CONSOLE<li>Health: <a href="/healthz">/healthz</a> (the process runs), <a href="/readyz">/readyz</a>
(callbacks are accepted).</li>
</ul>
<p>On the command line: <code>smshook --help</code>.</p>
"""


_CONSOLE = """\
<li>Console: <a href="/console/">/console</a>. Sign in with a key, or run
<code>smshook console</code>.</li>
"""


def index(*, console: bool) -> ApiRouter:
    """Return the page: it needs no key and shows nothing that is stored.

    `console`: it has a link to the console.
    """
    text = _PAGE.replace("CONSOLE", _CONSOLE if console else "")

    @route("/", http_method=["GET", "HEAD"])
    async def page() -> Response[str]:
        return Response(
            text,
            media_type=MediaType.HTML,
            headers={"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"},
        )

    return ApiRouter("/", route_handlers=[page])
