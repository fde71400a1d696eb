"""Sessions of the console. They are in memory only: a restart signs everybody out."""

import hashlib
import hmac
from collections.abc import Callable

from journal.actor import Actor
from journal.audit.lines import Fact

from ..config.options import SessionTimes
from ..runtime.keys import Access

#: Sessions at a time, and those of one key or user. One more ends the one that was idle for the
#: longest time. A program that keeps no cookies begins one with each request.
MOST, MOST_EACH = 1_000, 20
#: Random bytes of a token.
_TOKEN = 32
#: Seconds for which the reason of a reveal is kept.
_REASON_KEPT = 600.0


class Session:
    """A person who is signed in."""

    def __init__(self, *, id_: str, by: str, peer: str, at: float, user: str | None) -> None:
        #: Its name in the audit log. It gives no access.
        self.id = id_
        self.actor = Actor(by, peer, id_)
        #: The user that a proxy named; None: signed in with a key.
        self.user = user
        self.access: Access
        #: The key of the session, as it was found; None: a user.
        self.key: Access | None = None
        self.began = self.used = at
        self.has_ended = False
        #: What the next page says.
        self.said: list[str] = []
        #: Called at its end: they end its streams.
        self.streams: set[Callable[[], None]] = set()
        self._reason: tuple[str, float] = ("", 0.0)

    @property
    def name(self) -> str:
        """The name to show."""
        return self.user or self.access.name

    def keep_reason(self, reason: str, at: float) -> None:
        """Keep the reason of a reveal for the next ones."""
        self._reason = (reason, at + _REASON_KEPT)

    def reason(self, at: float) -> str:
        """Return the reason that was given in the last minutes; empty: none."""
        text, until = self._reason
        return text if at < until else ""


class Sessions:
    """The sessions by the digests of their tokens. The tokens are stored nowhere.

    `times` returns the options, `ticks` seconds that only go forward, `chance(n)` n random bytes.
    `record` takes facts for the audit log.
    """

    def __init__(
        self,
        *,
        times: Callable[[], SessionTimes],
        ticks: Callable[[], float],
        chance: Callable[[int], bytes],
        record: Callable[[Fact], None],
    ) -> None:
        self._times, self._ticks, self._chance, self._record = times, ticks, chance, record
        self._found: dict[bytes, Session] = {}

    def begin(
        self,
        rights: Callable[[Callable[[], bool]], Access],
        *,
        peer: str,
        key: Access | None = None,
        user: str | None = None,
    ) -> tuple[str, Session]:
        """Begin a session; return its token and the session.

        `rights` takes a function that says whether it goes on, and returns its rights. It is of a
        `key`, or of a `user` of a proxy.
        """
        by = f"session/{user}" if key is None else f"key/{key.name}"
        id_, at = self._chance(4).hex(), self._ticks()
        session = Session(id_=id_, by=by, peer=peer, at=at, user=user)
        session.key = key
        session.access = rights(lambda: not session.has_ended)
        own = [one for one in self._found.values() if one.actor.by == by]
        for found, most in ((own, MOST_EACH), ([*self._found.values()], MOST)):
            if len(found) >= most:
                self.end(min(found, key=lambda one: one.used), "too many")
        token = self._chance(_TOKEN).hex()
        self._found[_digest(token)] = session
        return token, session

    def find(self, token: str, *, is_use: bool = True) -> Session | None:
        """Return the session of a token, and count this as its use; None: there is none."""
        self.end_old()
        session = self._found.get(_digest(token))
        if session is not None and is_use:
            session.used = self._ticks()
        return session

    def end(self, session: Session, why: str) -> None:
        """End a session and its streams."""
        if session.has_ended:
            return
        session.has_ended = True
        self._found = {digest: one for digest, one in self._found.items() if one is not session}
        for end in tuple(session.streams):
            end()
        self._record(Fact("session.closed", {**session.actor.fields, "why": why}))

    def end_old(self) -> None:
        """End the sessions that are too old, or were idle for too long."""
        times, at = self._times(), self._ticks()
        for session in tuple(self._found.values()):
            if at >= session.began + times.longest:
                self.end(session, "longest")
            elif at >= session.used + times.idle:
                self.end(session, "idle")

    def end_key(self, key: Access) -> None:
        """End the sessions of a key that was revoked or has expired."""
        for session in tuple(self._found.values()):
            if session.key is key:
                self.end(session, "key")

    def end_users(self) -> None:
        """End the sessions of all users: proxies may no longer name them, or with other scopes."""
        for session in tuple(self._found.values()):
            if session.user is not None:
                self.end(session, "configuration")


def form_token(token: str) -> str:
    """Return the token that forms of a session must send. It gives no access."""
    return hashlib.sha256(b"form:" + token.encode()).hexdigest()[:32]


def is_form_token(token: str, sent: str) -> bool:
    """Return whether a form was made for this session."""
    return hmac.compare_digest(form_token(token).encode(), sent.encode())


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
