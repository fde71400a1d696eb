"""Lists, page by page, each with the place to go on from."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from journal import Journal
from journal.reads import MarksAt, Page

from ..runtime.identity import BadCursor, Identity, StaleCursor
from .errors import Problem, bad_parameter
from .parameters import Readers, descending, limit, once, text

T = TypeVar("T")
S = TypeVar("S")

#: What every list takes.
PAGING: Readers = {"limit": once(limit), "order": once(descending), "after": once(text)}


class PageAnswer(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A page of a list."""

    data: Sequence[T]
    #: Where to go on, also where nothing was found.
    next_cursor: str
    has_more: bool


class PageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which page is asked for."""

    limit: int
    desc: bool
    #: The place before its first item; None: the list's beginning.
    after: int | None


class Cursors:
    """The places of one list of one journal, as their readers see them."""

    def __init__(self, identity: Identity, journal: Journal, kind: str) -> None:
        self._identity, self._journal, self._kind = identity, journal, kind

    async def asked(
        self, values: Mapping[str, Any], *, names: Sequence[str] | None = None
    ) -> PageRequest:
        """Raises Problem for a cursor that is none, or of another journal.

        `names` are those of a list that is at hand, in its order.
        """
        after = values.get("after")
        return PageRequest(
            limit=values.get("limit", 100),
            desc=values.get("order", False),
            after=None if after is None else await self._place(after, names),
        )

    async def at(self, places: Iterable[int], *, desc: bool = False) -> list[str]:
        """The cursors of these places; where nothing stands, of what comes before in the list."""
        wanted = list(places)
        marks = await self._journal.ask(MarksAt(self._kind, tuple(wanted), desc=desc))
        beside = {**marks.beside, 0: (0, "")}  # the beginning is before all, in both orders
        return [self._cursor(*beside.get(place, (0, ""))) for place in wanted]

    async def page(
        self, asked: PageRequest, page: Page[T], show: Callable[[T], S]
    ) -> PageAnswer[S]:
        """A page of the journal, each of its rows as it is shown."""
        [next_cursor] = await self.at([page.next_seq], desc=asked.desc)
        return PageAnswer(
            data=[show(row) for _, row in page.items],
            next_cursor=next_cursor,
            has_more=page.has_more,
        )

    async def listed(self, asked: PageRequest, rows: Sequence[tuple[int, T]]) -> PageAnswer[T]:
        """A page of (place, item); one more than was asked for says that there are more."""
        page = rows[: asked.limit]
        [next_cursor] = await self.at([page[-1][0] if page else asked.after or 0], desc=asked.desc)
        return PageAnswer(
            data=[item for _, item in page],
            next_cursor=next_cursor,
            has_more=len(rows) > asked.limit,
        )

    def sliced(self, asked: PageRequest, items: Mapping[str, T]) -> PageAnswer[T]:
        """A page of a list that is short and at hand, by name, such as what is configured."""
        rows = list(enumerate(items.items(), start=1))
        begin = asked.after or 0
        if asked.desc:
            rows = [row for row in reversed(rows) if asked.after is None or row[0] < begin]
        else:
            rows = [row for row in rows if row[0] > begin]
        page = rows[: asked.limit]
        if page:
            place, (name, _) = page[-1]
        else:
            place, name = begin, list(items)[begin - 1] if begin else ""
        return PageAnswer(
            data=[item for _, (_, item) in page],
            next_cursor=self._cursor(place, name),
            has_more=len(rows) > asked.limit,
        )

    def _cursor(self, place: int, mark: str) -> str:
        return self._identity.cursor(self._journal.identity, self._kind, place, _piece(mark))

    async def _place(self, cursor: str, names: Sequence[str] | None) -> int:
        try:
            place, piece = self._identity.place(self._journal.identity, self._kind, cursor)
        except BadCursor:
            text = "no cursor of this list; use a next_cursor as it came"
            raise bad_parameter("after", text) from None
        except StaleCursor:
            raise _gone() from None
        if place and not await self._stands(place, piece, names):
            raise _gone()
        return place

    async def _stands(self, place: int, piece: bytes, names: Sequence[str] | None) -> bool:
        """Whether there is what was there when the cursor was made."""
        if names is not None:
            return place <= len(names) and _piece(names[place - 1]) == piece
        marks = await self._journal.ask(MarksAt(self._kind, (place,)))
        found, mark = marks.beside.get(place, (0, ""))
        if found == place:
            return _piece(mark) == piece
        # Callbacks leave quarantine one by one: one that left does not end a walk through it.
        return self._kind == "quarantine" and place <= marks.newest


def _piece(mark: str) -> bytes:
    return hashlib.blake2b(mark.encode(), digest_size=8).digest()


def _gone() -> Problem:
    text = "after: a cursor of what is not here, such as another journal; begin again without it"
    return Problem(410, "cursor_gone", text)
