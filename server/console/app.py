"""The ASGI app of the console: finds who asks and the page, and renders it."""

import http
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import structlog

from core.errors import Unavailable, origin
from httpd.exchange import sent_request_id
from httpd.own_host import App, Receive, Scope, Send, is_own_host
from journal.actor import ACTING
from receiver.addresses import Peers

from ..api.errors import AGAIN, Problem
from ..config.options import Config, ConsoleOptions
from ..runtime.parts import Parts
from .api import ApiCalls
from .assets import ADDRESSES, ASSETS
from .page import Answer, Body, Page, Redirect, Request, Stream, View, address
from .pages import PAGES, alarm, first_page, navigation
from .render import load, render
from .sessions import Session, form_token, is_form_token
from .sign_in import ENTER, SignIn
from .streams import follow
from .wire import HTML, Asked, new_cookie, read_form, read_pairs, refuse_other_sites, send_answer

if TYPE_CHECKING:
    from jinja2 import Environment

PREFIX = "/console"
_LOGIN, _LOGOUT, _TICKETS = "/login", "/logout", "/tickets"
_STATIC = "/static/"

log = structlog.get_logger()


class Console:
    """The console of a service. `api` is the app of the API. `chance(n)` returns random bytes."""

    def __init__(
        self, parts: Parts, api: App, chance: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._api, self._now = api, parts.clock.now
        self.sign_in = SignIn(parts, chance)
        self._templates: Environment | None = None
        self._options = ConsoleOptions()
        self._hosts: Collection[str] = ()
        parts.current.follow(self._use)

    def _use(self, config: Config) -> None:
        self._options = config.console
        self._peers = Peers(config.server.trusted_proxies)
        names = (*config.console.hosts, *config.server.own_names)
        self._hosts = frozenset(name.lower() for name in names)

    def has(self, scope: Scope) -> bool:
        """Return whether a request is one of the console."""
        is_on = scope["type"] == "http" and self._options.enabled
        return is_on and f"{scope['path']}/".startswith(f"{PREFIX}/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = self._read(scope, receive, send)
        answer: Answer
        try:
            answer = await self._answer(asked)
        except Problem as problem:
            answer = _problem(asked, problem)
        except Unavailable:
            text = "the journal is not available; try again in a moment"
            answer = _problem(asked, Problem(503, "unavailable", text, headers=AGAIN))
        except Exception as exc:  # noqa: BLE001 - a fault of ours: 500
            answer = _fault(asked, exc)
        if isinstance(answer, Stream):
            await follow(asked, answer, self.sign_in.sessions.end_old)
            return
        try:
            body = await self._body(asked, answer)
        except Exception as exc:  # noqa: BLE001 - a fault of a template
            body = _fault(asked, exc)
        headers = {"Content-Type": body.media_type, **body.headers}
        await send_answer(asked, body.status, headers, body.body)

    def _read(self, scope: Scope, receive: Receive, send: Send) -> Asked:
        fields = [(name.decode(), text.decode("latin-1")) for name, text in scope["headers"]]
        client = scope["client"][0] if scope["client"] else ""
        forwarded = [text for name, text in fields if name == "x-forwarded-for"]
        return Asked(
            scope=scope,
            receive=receive,
            send=send,
            method=scope["method"],
            path=scope["path"].removeprefix(PREFIX),
            headers=dict(fields),
            client=client,
            peer=self._peers.peer(client, forwarded),
            request_id=sent_request_id(scope["headers"]) or secrets.token_hex(8),
        )

    # --- who asks -------------------------------------------------------------------------

    async def _answer(self, asked: Asked) -> Answer:
        if not is_own_host(asked.headers.get("host", ""), self._hosts):
            text = (
                "the console does not answer to that name; use an address or localhost, or add "
                "the name to console.hosts"
            )
            raise Problem(421, "host_not_allowed", text)
        if asked.path.startswith(_STATIC):
            return _asset(asked)
        if asked.path == _TICKETS and asked.method == "POST":
            return self.sign_in.make_ticket(asked)  # no page can send its header with the key
        if not asked.reads:
            refuse_other_sites(asked)
        await self.sign_in.find_session(asked)
        if asked.path in (_LOGIN, ENTER):
            return await self.sign_in.answer(asked)
        if asked.session is None:
            return _signed_out(asked)
        ACTING.set(asked.session.actor)
        return await self._signed_in(asked, asked.session)

    async def _signed_in(self, asked: Asked, session: Session) -> Answer:
        form: Sequence[tuple[str, str]] = ()
        if not asked.reads:
            form = await read_form(asked)
            sent = asked.headers.get("x-csrf") or dict(form).get("csrf", "")
            if not is_form_token(asked.token, sent):
                text = (
                    "the form belongs to another session; load the page again and repeat the action"
                )
                raise Problem(403, "form_token", text)
        if asked.path == _LOGOUT and asked.method == "POST":
            self.sign_in.sessions.end(session, "signed out")
            asked.session = None
            asked.more.append(("Set-Cookie", new_cookie(asked, "")))
            return Redirect(address(_LOGIN))
        if asked.path == "":
            return Redirect(address("/"))
        page, parts = _find_page(asked)
        if page.path == "/" and not page.allows(session) and (first := first_page(session)):
            return Redirect(address(first))  # after signing in, such as with `audit:read` only
        if not page.allows(session):
            only_whole = " without a `when`" if page.whole else ""
            text = f"this page needs a key{only_whole} with the scope {' or '.join(page.scopes)}"
            raise Problem(403, "missing_scope", text)
        return await page.answer(
            Request(
                path=asked.path,
                parts=parts,
                query=read_pairs(asked.scope["query_string"]),
                form=form,
                wants_json=asked.wants_json,
                session=session,
                api=self._api_of(asked, session),
                options=self._options,
                now=self._now(),
            )
        )

    def _api_of(self, asked: Asked, session: Session) -> ApiCalls:
        if asked.api is None:
            asked.api = ApiCalls(self._api, session.access, session.actor, asked.request_id)
        return asked.api

    # --- answers --------------------------------------------------------------------------

    async def _body(self, asked: Asked, answer: View | Redirect | Body) -> Body:
        """Render an answer."""
        session = asked.session
        match answer:
            case Redirect():
                if session is not None and answer.said:
                    session.said.append(answer.said)
                headers = {"Location": answer.to}
                return Body(body=b"", media_type=HTML, status=303, headers=headers)
            case Body():
                return answer
        values: dict[str, Any] = {
            **answer.values,
            "title": answer.title,
            "assets": ADDRESSES,
            "here": f"{PREFIX}{asked.path}",
            "now": self._now(),
            "navigation": (),
            "alarm": None,
            "said": (),
            "signed_in": "",
            "csrf": "",
        }
        if session is not None:
            values |= {"signed_in": session.name, "csrf": form_token(asked.token)}
            api = self._api_of(asked, session)
            values["navigation"] = await navigation(session, api, asked.path, self._now())
            values["alarm"] = await alarm(session, api)
            values["said"], session.said = session.said, []
        if self._templates is None:
            self._templates = await load()
        text = render(self._templates, answer.template, values)
        return Body(
            body=text.encode(), media_type=HTML, status=answer.status, headers=answer.headers
        )


def _find_page(asked: Asked) -> tuple[Page, Mapping[str, str]]:
    """Return the page of a path, and the parts of the path that vary. Raise Problem."""
    found = [(page, parts) for page in PAGES if (parts := page.match(asked.path)) is not None]
    if not found:
        raise Problem(404, "not_found", "this page does not exist")
    method = "GET" if asked.reads else asked.method
    able = [one for one in found if one[0].method == method]
    if not able:
        raise _wrong_method(page.method for page, _ in found)
    # A path that is written out comes before one that varies.
    return min(able, key=lambda one: len(one[1]))


def _wrong_method(allowed: Iterable[str]) -> Problem:
    names = ", ".join(sorted(set(allowed)))
    text = f"the page takes only these methods: {names}"
    return Problem(405, "method_not_allowed", text, headers={"Allow": names})


def _signed_out(asked: Asked) -> Answer:
    if not asked.reads or asked.is_polled or asked.wants_json:
        raise Problem(401, "signed_out", "you are signed out; sign in again")
    query = asked.scope["query_string"].decode("latin-1")
    own = f"{quote(asked.scope['path'], safe='/')}{'?' if query else ''}{query}"
    if asked.headers.get("sec-fetch-site") == "cross-site":
        # The cookie does not come with links of other sites. It comes if our page asks again.
        return _plain("One moment…", headers={"Refresh": f"0; url={own}"})
    return Redirect(address(_LOGIN, [] if own in ("/console", "/console/") else [("next", own)]))


def _asset(asked: Asked) -> Answer:
    found = ASSETS.get(asked.path.removeprefix(_STATIC))
    if found is None or not asked.reads:
        raise Problem(404, "not_found", "this file does not exist")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Body(body=found.body, media_type=found.media_type, headers=headers)


def _problem(asked: Asked, problem: Problem) -> View | Body:
    headers = dict(problem.headers or {})
    if asked.wants_json:
        shown = {"status": problem.status, "code": problem.code, "detail": problem.detail}
        return Body(
            body=msgspec.json.encode(shown),
            media_type="application/problem+json",
            status=problem.status,
            headers=headers,
        )
    return View(
        template="problem.html",
        title=http.HTTPStatus(problem.status).phrase,
        values={"detail": problem.detail, "request_id": asked.request_id},
        status=problem.status,
        headers=headers,
    )


def _fault(asked: Asked, exc: Exception) -> Body:
    log.error("api.fault", request_id=asked.request_id, error=type(exc).__name__, where=origin(exc))
    text = f"Internal error; the log has its request id: {asked.request_id}"
    return _plain(text, status=500)


def _plain(text: str, *, status: int = 200, headers: Mapping[str, str] = {}) -> Body:
    """Return a page that needs no template. `text` has nothing that needs to be escaped."""
    body = (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>smshook</title>\n'
        f'<link rel="icon" href="{ADDRESSES["svg"]}">\n'
        f"<h1>smshook</h1>\n<p>{text}</p>\n</html>\n"
    )
    return Body(body=body.encode(), media_type=HTML, status=status, headers=headers)
