"""Lists, page by page, each with the place to go on from."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from ..identity import BadCursor, Identity, StaleCursor
from .problems import Problem, bad_parameter
from .query import Readers, descending, limit, once, text

T = TypeVar("T")

#: What every list takes.
PAGING: Readers = {"limit": once(limit), "order": once(descending), "after": once(text)}


class Listed(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A page of a list."""

    data: Sequence[T]
    #: Where to go on, also where nothing was found.
    next_cursor: str
    has_more: bool


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which page is asked for."""

    limit: int
    desc: bool
    #: The place before its first item; None: the list's beginning.
    after: int | None


class Cursors:
    """The places of one list of one journal, as their readers see them."""

    def __init__(self, identity: Identity, journal: str, kind: str) -> None:
        self._identity, self._journal, self._kind = identity, journal, kind

    def at(self, place: int) -> str:
        return self._identity.cursor(self._journal, self._kind, place)

    def asked(self, values: Mapping[str, Any]) -> Asked:
        """Raises Problem for a cursor that is none, or of another journal."""
        after = values.get("after")
        return Asked(
            limit=values.get("limit", 100),
            desc=values.get("order", False),
            after=None if after is None else self._place(after),
        )

    def listed(self, asked: Asked, rows: Sequence[tuple[int, T]]) -> Listed[T]:
        """A page of (place, item); one more than was asked for says that there are more."""
        page = rows[: asked.limit]
        nothing_yet = 1 if asked.desc else 0
        begin = nothing_yet if asked.after is None else asked.after
        return Listed(
            data=[item for _, item in page],
            next_cursor=self.at(page[-1][0] if page else begin),
            has_more=len(rows) > asked.limit,
        )

    def sliced(self, asked: Asked, items: Sequence[T]) -> Listed[T]:
        """A page of a list that is short and at hand, such as what is configured."""
        rows = list(enumerate(items, start=1))
        after = asked.after
        if asked.desc:
            return self.listed(
                asked, [row for row in reversed(rows) if after is None or row[0] < after]
            )
        return self.listed(asked, [row for row in rows if row[0] > (after or 0)])

    def _place(self, cursor: str) -> int:
        try:
            return self._identity.place(self._journal, self._kind, cursor)
        except BadCursor:
            text = "no cursor of this list; use a next_cursor as it came"
            raise bad_parameter("after", text) from None
        except StaleCursor:
            text = "after: a cursor of another journal; begin again without it"
            raise Problem(410, "cursor_gone", text) from None
