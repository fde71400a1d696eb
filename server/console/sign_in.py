"""Signing in to the console: with a key, by a ticket of `smshook console`, or by a proxy."""

import math
import re
from collections.abc import Callable, Mapping
from functools import partial

from core.bucket import Bucket
from core.units import Rate
from journal.audit.lines import Fact
from receiver.addresses import Peers

from ..api.errors import Problem
from ..config.options import Config, ConsoleOptions
from ..runtime.keys import Access, in_console, user_of_console
from ..runtime.parts import Parts
from .page import Answer, Body, Redirect, View
from .sessions import Sessions
from .wire import Asked, cookie, new_cookie, read_form, read_pairs

#: Wrong keys of one address, and addresses that are remembered.
WRONG_KEYS, _ADDRESSES = Rate(5, 60), 10_000
#: Seconds for which a ticket of `smshook console` is valid, and how many there are at most.
TICKET_VALID, _TICKETS = 60.0, 100
#: The path at which a ticket is sent.
ENTER = "/enter"
_USER = re.compile(r"[A-Za-z0-9._@+-]{1,64}")
_NEXT = re.compile(r"/console/[!-~]*")


class SignIn:
    """Begins and finds sessions. `chance(n)` returns n random bytes."""

    def __init__(self, parts: Parts, chance: Callable[[int], bytes]) -> None:
        self._keys, self._facts = parts.keys, parts.facts
        self._ticks, self._chance = parts.clock.ticks, chance
        self._options = ConsoleOptions()
        self.sessions = Sessions(
            times=lambda: self._options.session,
            ticks=self._ticks,
            chance=chance,
            record=parts.facts.later,
        )
        #: The wrong keys of each address.
        self._wrong: dict[str, Bucket] = {}
        #: The keys of tickets, and until when each is valid.
        self._tickets: dict[str, tuple[Access, float]] = {}
        parts.keys.listen(self.sessions.end_key)
        parts.current.follow(self._use)

    def _use(self, config: Config) -> None:
        before, self._options = self._options, config.console
        self._peers = Peers(config.server.trusted_proxies)
        names = ("enabled", "user_header", "user_scopes")
        if any(getattr(before, name) != getattr(self._options, name) for name in names):
            self.sessions.end_users()

    # --- who asks -------------------------------------------------------------------------

    async def find_session(self, asked: Asked) -> None:
        """Put the session into the request, if there is one. A user of a proxy gets a new one.

        Raises Unavailable.
        """
        token = cookie(asked)
        session = self.sessions.find(token, is_use=not asked.is_polled) if token else None
        user = self._user(asked)
        if session is not None and session.key is not None:
            if not self._keys.is_in_force(session.key):
                self.sessions.end(session, "key")
        elif session is not None and session.user != user:
            self.sessions.end(session, "user")  # the proxy has signed somebody else in, or nobody
        if session is not None and not session.has_ended:
            asked.token, asked.session = token, session
        elif user is not None:
            scopes = self._options.user_scopes
            await self._begin(
                asked,
                lambda goes_on: user_of_console(
                    user, scopes, goes_on, codes_read=self._keys.users_read
                ),
                user=user,
            )

    def _user(self, asked: Asked) -> str | None:
        """Return the user that a trusted proxy names; None: nobody."""
        header = self._options.user_header
        if header is None or not self._peers.trusts(asked.client):
            return None
        name = header.lower().encode()
        sent: list[str] = [
            text.decode("latin-1") for key, text in asked.scope["headers"] if key == name
        ]
        if len(sent) != 1 or not _USER.fullmatch(sent[0]):
            return None
        return sent[0]

    # --- signing in -----------------------------------------------------------------------

    async def answer(self, asked: Asked) -> Answer:
        """Answer the pages that begin a session. Raises Problem and Unavailable."""
        is_ticket = asked.path == ENTER
        if asked.reads:
            query = dict(read_pairs(asked.scope["query_string"]))
            return View(template="enter.html", title="Sign in") if is_ticket else _page(query)
        if asked.method != "POST":
            text = "the page takes only these methods: GET, POST"
            raise Problem(405, "method_not_allowed", text, headers={"Allow": "GET, POST"})
        form = dict(await read_form(asked))
        self._limit(asked)
        return await (self._with_ticket if is_ticket else self._with_key)(asked, form)

    async def _with_key(self, asked: Asked, form: Mapping[str, str]) -> Answer:
        key = self._find(form.get("key", ""))
        if key is None:
            self._count_wrong(asked, "key")
            return _page(form, "This key does not exist, or it has expired.")
        if not (key.may("events:read") or key.may("audit:read")):
            self._count_wrong(asked, "scope")
            return _page(form, "The key needs the scope events:read or audit:read.")
        await self._begin(asked, partial(in_console, key), key=key)
        return Redirect(_next(form))

    async def _with_ticket(self, asked: Asked, form: Mapping[str, str]) -> Answer:
        key, until = self._tickets.pop(form.get("ticket", ""), (None, 0.0))
        if key is None or self._ticks() >= until or not self._keys.is_in_force(key):
            self._count_wrong(asked, "ticket")
            text = (
                "The link was used already, or is older than a minute. Run smshook console again."
            )
            return _page({}, text)
        await self._begin(asked, partial(in_console, key), key=key)
        return Redirect(_next({}))

    def _find(self, sent: str) -> Access | None:
        """Return the rights of a key that was sent; None: it is not in force."""
        key = self._keys.find(sent.strip().encode())
        return key if key is not None and self._keys.is_in_force(key) else None

    def _limit(self, asked: Asked) -> None:
        """Raise Problem if too many wrong keys came from the address."""
        bucket = self._wrong.get(self._counted_as(asked))
        wait = 0.0 if bucket is None else bucket.wait()
        if wait:
            headers = {"Retry-After": str(math.ceil(wait))}
            text = "too many wrong keys; wait a minute"
            raise Problem(429, "too_many", text, headers=headers)

    def _count_wrong(self, asked: Asked, reason: str) -> None:
        self._facts.count("session.refused", reason, "", asked.peer)
        peer = self._counted_as(asked)
        if peer not in self._wrong and len(self._wrong) >= _ADDRESSES:
            self._wrong.pop(next(iter(self._wrong)))
        self._wrong.setdefault(peer, Bucket(WRONG_KEYS, self._ticks)).take()

    def _counted_as(self, asked: Asked) -> str:
        return self._peers.counted_as(asked.peer) or asked.peer

    async def _begin(
        self,
        asked: Asked,
        rights: Callable[[Callable[[], bool]], Access],
        *,
        key: Access | None = None,
        user: str | None = None,
    ) -> None:
        """Begin a session once it is on disk. Raises Unavailable."""
        if asked.session is not None:
            self.sessions.end(asked.session, "signed in again")
        token, session = self.sessions.begin(rights, peer=asked.peer, key=key, user=user)
        fact = Fact("session.opened", {**session.actor.fields, "scopes": session.access.granted})
        await self._facts.record(fact)
        asked.token, asked.session = token, session
        asked.more.append(("Set-Cookie", new_cookie(asked, token)))

    def make_ticket(self, asked: Asked) -> Answer:
        """Return a ticket for the key that was sent. It begins one session within a minute."""
        self._limit(asked)
        scheme, _, sent = asked.headers.get("authorization", "").partition(" ")
        key = self._find(sent) if scheme.lower() == "bearer" else None
        if key is None:
            self._count_wrong(asked, "key")
            headers = {"WWW-Authenticate": "Bearer"}
            raise Problem(401, "unauthorized", "unknown key", headers=headers)
        at = self._ticks()
        kept = [(name, one) for name, one in self._tickets.items() if at < one[1]]
        ticket = self._chance(32).hex()
        self._tickets = dict(kept[-_TICKETS:]) | {ticket: (key, at + TICKET_VALID)}
        return Body.json({"ticket": ticket, "path": f"/console{ENTER}"})


def _page(sent: Mapping[str, str], wrong: str = "") -> View:
    """Return the page to sign in at; `sent` may name the `next` page."""
    return View(
        template="login.html",
        title="Sign in",
        values={"next": _next(sent), "wrong": wrong},
        status=403 if wrong else 200,
    )


def _next(sent: Mapping[str, str]) -> str:
    """Return the page to go to after a sign-in. It is never one of another site."""
    path = sent.get("next", "")
    is_ours = _NEXT.fullmatch(path) and "//" not in path and "\\" not in path
    return path if is_ours else "/console/"
