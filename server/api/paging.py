"""Lists, page by page, each with a cursor to continue from."""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler

from journal import Journal
from journal.reads import MarksAt, Page

from ..runtime.identity import BadCursor, Identity, StaleCursor
from ..runtime.keys import Access
from .auth import ApiRequest, needs
from .errors import Problem, bad_parameter
from .operation import Operation
from .parameters import Limit, Text, read

T = TypeVar("T")


class Paging(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of every list."""

    #: The maximum number of items.
    limit: Limit = Limit(100)
    #: `asc`: the oldest first, or the order of the configuration.
    order: Literal["asc", "desc"] = "asc"
    #: A `next_cursor`.
    after: Text | None = None


P = TypeVar("P", bound=Paging)


class AskedPage(Protocol):
    """The parameters of a page, of any list."""

    @property
    def limit(self) -> Limit: ...

    @property
    def order(self) -> Literal["asc", "desc"]: ...

    @property
    def after(self) -> str | None: ...


class PageAnswer(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A page of a list."""

    data: Sequence[T]
    #: The cursor to continue from, also for an empty page.
    next_cursor: str
    has_more: bool


class PageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The page to read."""

    limit: int
    desc: bool
    #: The place before its first item; None: the list's beginning.
    after: int | None
    #: The place that the reader returns to after the last page; None: it goes on there.
    again: int | None = None


def journal_list(
    cursors: "Cursors",
    fetch: Callable[[P, PageRequest, Access], Awaitable[Page[T]]],
    show: Callable[[T, Access], Any],
    *,
    text: str,
    answer: Any,
    parameters: type[P],
    scope: str = "events:read",
    errors: tuple[str, ...] = (),
) -> HTTPRouteHandler:
    """Declare `GET /` for a list of the journal: `fetch` reads a page, `show` makes its items.

    `text` describes the call, and `answer` is its type: `PageAnswer[…]`.
    """
    operation = Operation(text=text, query=parameters, answers={200: answer}, errors=errors)

    @get("/", guards=[needs(scope, whole=True)], operation=operation)
    async def listed(request: ApiRequest) -> PageAnswer[Any]:
        given = read(request.scope, parameters)
        asked = await cursors.asked(given)
        page = await fetch(given, asked, request.auth)
        [next_cursor] = await cursors.at([page.next_seq], desc=asked.desc)
        return PageAnswer(
            data=[show(row, request.auth) for _, row in page.items],
            next_cursor=next_cursor,
            has_more=page.has_more,
        )

    return listed


def named_list(
    cursors: "Cursors",
    items: Callable[[Access], Awaitable[Mapping[str, Any]]],
    *,
    text: str,
    answer: Any,
    scope: str = "events:read",
) -> HTTPRouteHandler:
    """Declare `GET /` for a short list, such as routes: `items` returns all items by name.

    `text` describes the call, and `answer` is its type: `PageAnswer[…]`.
    """
    operation = Operation(text=text, query=Paging, answers={200: answer})

    @get("/", guards=[needs(scope, whole=True)], operation=operation)
    async def listed(request: ApiRequest) -> PageAnswer[Any]:
        given = read(request.scope, Paging)
        named = await items(request.auth)
        return cursors.sliced(await cursors.asked(given, names=tuple(named)), named)

    return listed


def first_page(rows: Sequence[tuple[int, T]], asked: PageRequest) -> Page[T]:
    """Return a page of (place, row). One row beyond the limit means that there are more."""
    page = tuple(rows[: asked.limit])
    return Page(
        items=page,
        next_seq=page[-1][0] if page else asked.after or 0,
        has_more=len(rows) > asked.limit,
    )


class Cursors:
    """Makes and reads the cursors of one list: opaque texts for places in the journal."""

    def __init__(self, identity: Identity, journal: Journal, kind: str) -> None:
        self._identity, self._journal, self._kind = identity, journal, kind

    async def asked(self, given: AskedPage, *, names: Sequence[str] | None = None) -> PageRequest:
        """Return the page to read. Raise Problem for an invalid or foreign cursor.

        `names` are all names of a list that `sliced` shows, in its order.
        """
        after, again = (
            (None, None) if given.after is None else await self._places(given.after, names=names)
        )
        desc = given.order == "desc"
        return PageRequest(limit=int(given.limit), desc=desc, after=after, again=again)

    async def place(
        self, cursor: str, name: str = "after", *, names: Sequence[str] | None = None
    ) -> int:
        """Return the place of a cursor. Raise Problem for an invalid or foreign one.

        `name` is that of its parameter; `names` are as for `asked`.
        """
        place, again = await self._places(cursor, name, names=names)
        return place if again is None else again

    async def _places(
        self, cursor: str, name: str = "after", *, names: Sequence[str] | None = None
    ) -> tuple[int, int | None]:
        """Return the place of a cursor, and that of `PageRequest.again`."""
        try:
            place, piece, back = self._identity.place(self._journal.generation, self._kind, cursor)
        except BadCursor:
            text = "not a cursor of this list; use a next_cursor unchanged"
            raise bad_parameter(name, text) from None
        except StaleCursor:
            raise _gone(name) from None
        # Is the row still there that was there when the cursor was made?
        if place == 0:
            is_there = True
        elif names is not None:
            # Items before it may have come or gone meanwhile.
            pieces = [_piece(one) for one in names]
            is_there = piece in pieces
            place = pieces.index(piece) + 1 if is_there else place
        else:
            marks = await self._journal.ask(MarksAt(self._kind, (place,)))
            found, mark = marks.beside.get(place, (0, ""))
            # Callbacks leave quarantine one by one: a list of it continues after one that left.
            left = self._kind in ("quarantine", "subscriptions") and place <= marks.newest
            is_there = _piece(mark) == piece if found == place else left
        if not is_there:
            raise _gone(name)
        return place, place - back if back else None

    def is_known(self, cursor: str) -> bool:
        """Return whether it is a cursor of this list. Its place may be gone."""
        try:
            self._identity.place(self._journal.generation, self._kind, cursor)
        except (BadCursor, StaleCursor):
            return False
        return True

    async def at(self, places: Iterable[int], *, desc: bool = False) -> list[str]:
        """Return the cursors of places; an empty place gets the cursor of the row before it."""
        wanted = list(places)
        beside = await self._beside(wanted, desc=desc)
        return [self.of(*beside[place]) for place in wanted]

    async def around(self, asked: PageRequest, page: Page[Any]) -> tuple[list[str], str]:
        """Return the cursors of the items, and the one after them; the list may end at a time."""
        again = min((at for at in (asked.again, page.again) if at is not None), default=None)
        is_last = not (asked.desc or page.has_more)
        places = [seq for seq, _ in page.items]
        end = page.next_seq if again is None or not is_last else min(again, page.next_seq)
        beside = await self._beside([*places, end], desc=asked.desc)
        place, mark = beside[end]
        back = 0 if again is None or is_last else max(0, place - again)
        return [self.of(*beside[at]) for at in places], self.of(place, mark, back=back)

    async def _beside(self, places: Sequence[int], *, desc: bool) -> Mapping[int, tuple[int, str]]:
        """Return the row at each place, or the one before it: its place and its mark."""
        marks = await self._journal.ask(MarksAt(self._kind, tuple(places), desc=desc))
        # The beginning is before all, in both orders.
        return {**dict.fromkeys(places, (0, "")), **marks.beside, 0: (0, "")}

    def sliced(self, asked: PageRequest, items: Mapping[str, T]) -> PageAnswer[T]:
        """Return a page of a short list, given as all its items by name."""
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
            next_cursor=self.of(place, name),
            has_more=len(rows) > asked.limit,
        )

    def of(self, place: int, mark: str, *, back: int = 0) -> str:
        """Return the cursor of a place; `mark` is the text of `MarksAt` of the row there.

        `back`: the number of places from it to `PageRequest.again`.
        """
        generation, piece = self._journal.generation, _piece(mark)
        return self._identity.cursor(generation, self._kind, place, piece, back=back)


def _piece(mark: str) -> bytes:
    return hashlib.blake2b(mark.encode(), digest_size=8).digest()


def _gone(name: str) -> Problem:
    text = (
        f"{name}: the place of this cursor is gone, or in another journal; begin again without it"
    )
    return Problem(410, "cursor_gone", text)
