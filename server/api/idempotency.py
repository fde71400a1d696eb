"""`Idempotency-Key`: a call that a client repeats is done once.

draft-ietf-httpapi-idempotency-key-header. The journal stores a call in the transaction of its act,
so that a crash cannot lie between them.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from litestar import MediaType, Response

from core.errors import AlreadyMade
from journal import Journal
from journal.reads import CallByKey
from journal.records import Made
from journal.writes import Guard, KeepCall, Once, Result, Write, unguarded

from ..runtime.calls import KEPT
from ..runtime.identity import Identity
from .auth import ApiRequest
from .errors import Problem

_KEY = re.compile(rb"[!-~]{1,255}")
#: Seconds after which a client may ask whether the same call is done.
_AGAIN = 1


class AnsweredBefore(Exception):
    """The same call was answered before. `response` is the same answer."""

    def __init__(self, made: Made) -> None:
        super().__init__()
        self.response = Response(made.answer, status_code=made.status, media_type=MediaType.JSON)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call, with the journal's protection if it has an `Idempotency-Key`."""

    journal: Journal
    #: Makes the write that stores the call; None: the call has no `Idempotency-Key`.
    once: Callable[[Write[Any], Callable[[Any], Made | None]], Write[Any]] | None = None
    #: The stored answer of the same call; None: do the call.
    made: Made | None = None

    def guard(
        self,
        answer: Callable[[Any], msgspec.Struct | None],
        status: Callable[[Any], int] = lambda _: 200,
    ) -> Guard:
        """Return a guard for the write of the call.

        `answer` takes its result, and returns the answer to store: with ids, without content of
        messages or secrets. None: the call changed nothing, so store nothing.
        """
        once = self.once
        if once is None:
            return unguarded

        def made(result: Any) -> Made | None:
            kept = answer(result)
            if kept is None:
                return None
            return Made(status=status(result), answer=msgspec.json.encode(kept))

        def guarded(write: Write[Result], /) -> Write[Result]:
            return once(write, made)

        return guarded

    async def keep(self, answer: msgspec.Struct, status: int) -> None:
        """Store the answer of a call that changes nothing in the journal."""
        if self.once is not None:
            guard = self.guard(lambda _: answer, lambda _: status)
            await self.journal.submit(guard(KeepCall()))


class MadeId(msgspec.Struct, frozen=True):
    """The stored answer of a call, if the whole answer is read again or cannot be repeated."""

    id: str = ""

    @classmethod
    def of(cls, made: Made) -> "MadeId":
        return msgspec.json.decode(made.answer, type=cls)


class Calls:
    """The calls under way, and those of the last day. `now`: seconds since the epoch."""

    def __init__(self, journal: Journal, identity: Identity, now: Callable[[], float]) -> None:
        self._journal, self._identity, self._now = journal, identity, now
        #: The digest of the request, by the digest of the key.
        self._under_way: dict[bytes, bytes] = {}

    @contextlib.asynccontextmanager
    async def begin(self, request: ApiRequest, *, reread: bool = False) -> AsyncIterator[Call]:
        """Protect the body of an `async with` as one call.

        If the same call was made before, raise AnsweredBefore. With `reread`, return the stored
        answer in `made` instead. Raise Problem if the `Idempotency-Key` is not valid, was used for
        another request, or if the same call is under way.
        """
        sent = [value for name, value in request.scope["headers"] if name == b"idempotency-key"]
        if not sent:
            yield Call(journal=self._journal)
            return
        if len(sent) > 1 or not _KEY.fullmatch(sent[0]):
            text = "Idempotency-Key: write it once, as 1 to 255 characters of ASCII without spaces"
            raise Problem(400, "bad_idempotency_key", text)
        # Keys of other clients may be the same text.
        key = self._identity.call_digest(request.auth.id.encode(), sent[0])
        scope = request.scope
        digest = self._identity.call_digest(
            scope["method"].encode(),
            scope["path"].encode(),
            scope["query_string"],
            await request.body(),
        )
        if key in self._under_way:
            raise _in_progress() if self._under_way[key] == digest else _reused()
        self._under_way[key] = digest
        try:
            since = self._now() - KEPT
            stored = await self._journal.ask(CallByKey(key, since))
            if stored is not None and stored.request != digest:
                raise _reused()

            made = None if stored is None else stored.made
            if made is not None and not reread:
                raise AnsweredBefore(made)

            def once(write: Write[Any], made: Callable[[Any], Made | None]) -> Once[Any]:
                return Once(write, key, digest, at=self._now(), since=since, made=made)

            yield Call(journal=self._journal, once=once, made=made)
        except AlreadyMade:
            # Its first copy was cut off, and was written only now.
            raise _in_progress() from None
        finally:
            del self._under_way[key]


def _in_progress() -> Problem:
    headers = {"Retry-After": str(_AGAIN)}
    return Problem(409, "in_progress", "the same call is in progress; try again", headers=headers)


def _reused() -> Problem:
    text = "Idempotency-Key: it was used for another request; use a new one for each"
    return Problem(422, "idempotency_key_reused", text)
