"""Counts the steps of a backtracking regex engine, which Python's own engine does not show.

It interprets patterns compiled by Python's `re` like the matcher, without its shortcuts. If the
time grows with the square of a text, so do the steps, also on a busy machine.
"""

import functools
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

from receiver.callback import Malformed

from re import _constants as sre  # type: ignore[attr-defined]  # isort: skip
from re import _parser  # type: ignore[attr-defined]  # isort: skip

Go = Callable[[int], int | None]
_CATEGORIES = {
    sre.CATEGORY_SPACE: str.isspace,
    sre.CATEGORY_NOT_SPACE: lambda char: not char.isspace(),
    sre.CATEGORY_DIGIT: str.isdecimal,
    sre.CATEGORY_NOT_DIGIT: lambda char: not char.isdecimal(),
    sre.CATEGORY_WORD: lambda char: char.isalnum() or char == "_",
    sre.CATEGORY_NOT_WORD: lambda char: not (char.isalnum() or char == "_"),
}
_ONE = (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN)
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)


@functools.cache
def _parsed(pattern: str, flags: int) -> tuple[list[Any], dict[Any, bool]]:
    """Return the nodes of a pattern, and a dictionary for the characters that fit each of them."""
    return list(_parser.parse(pattern, flags)), {}


class Steps:
    """One pattern and one text; `count` grows with each node that is tried."""

    def __init__(self, pattern: re.Pattern[str], text: str) -> None:
        self.tree, self._known = _parsed(pattern.pattern, pattern.flags)
        self.text, self.flags = text, pattern.flags
        self.count = 0
        self.groups: dict[int, tuple[int, int]] = {}

    def fullmatch(self) -> bool:
        return self._walk(self.tree, 0, self._at_end) is not None

    def match(self) -> bool:
        return self._walk(self.tree, 0, lambda at: at) is not None

    def finditer(self) -> Iterator[tuple[int, int]]:
        """Yield all matches. `sub` takes the same steps, and so does `search` up to the first."""
        nodes, at = self.tree, 0
        while at <= len(self.text):
            end = self._walk(nodes, at, lambda here: here)
            if end is not None:
                yield at, end
            at = at + 1 if end is None or end == at else end

    def _at_end(self, at: int) -> int | None:
        return at if at == len(self.text) else None

    def _walk(self, nodes: list[Any], at: int, go: Go) -> int | None:
        self.count += 1
        while nodes:
            (op, given), rest = nodes[0], nodes[1:]
            if op is sre.BRANCH:
                tried = (self._walk([*branch, *rest], at, go) for branch in given[1])
                return next((end for end in tried if end is not None), None)
            if op is sre.SUBPATTERN:
                return self._group(given, at, lambda here, r=rest: self._walk(r, here, go))
            if op in _REPEATS:
                return self._repeat(op, given, at, lambda here, r=rest: self._walk(r, here, go))
            past = self._past(op, given, at)
            if past is None:
                return None
            at, nodes = past, rest
            self.count += 1
        return go(at)

    def _past(self, op: Any, given: Any, at: int) -> int | None:
        """Return the end of a node that can fit in one way only; None: it does not fit."""
        if op in _ONE:
            return at + 1 if at < len(self.text) and self._hits(op, given, self.text[at]) else None
        if op is sre.ATOMIC_GROUP:
            return self._walk(list(given), at, lambda here: here)
        return self._look(op, given, at)

    def _group(self, given: Any, at: int, go: Go) -> int | None:
        number, _, _, inner = given

        def closed(here: int) -> int | None:
            if number is not None:
                self.groups[number] = (at, here)
            return go(here)

        return self._walk(list(inner), at, closed)

    def _look(self, op: Any, given: Any, at: int) -> int | None:
        """Return the end of an assertion or of a reference to a group; None: it does not fit."""
        if op is sre.AT:
            return at if self._is_at(given, at) else None
        if op is sre.GROUPREF:
            begin, end = self.groups.get(given, (0, 0))
            self.count += end - begin
            return at + end - begin if self.text.startswith(self.text[begin:end], at) else None
        if op in (sre.ASSERT, sre.ASSERT_NOT):
            direction, inner = given
            start = at if direction > 0 else at - inner.getwidth()[0]
            found = start >= 0 and self._walk(list(inner), start, lambda here: here) is not None
            return at if found is (op is sre.ASSERT) else None
        raise NotImplementedError(op)

    def _is_at(self, where: Any, at: int) -> bool:
        if where in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING):
            return at == 0
        if where in (sre.AT_END, sre.AT_END_STRING):
            return at == len(self.text)
        around = [0 <= i < len(self.text) and _is_word(self.text[i]) for i in (at - 1, at)]
        return (around[0] != around[1]) is (where is sre.AT_BOUNDARY)

    def _repeat(self, op: Any, given: Any, at: int, go: Go) -> int | None:
        least, most, inner = given
        nodes = list(inner)
        ends = [at]
        if op is not sre.MIN_REPEAT:
            self._gather(nodes, ends, most)
        if op is sre.POSSESSIVE_REPEAT:
            return go(ends[-1]) if len(ends) > least else None
        if op is sre.MAX_REPEAT:
            tried = (go(end) for end in reversed(ends[least:]))
            return next((end for end in tried if end is not None), None)
        return self._lazy(nodes, ends, (least, most), go)

    def _gather(self, nodes: list[Any], ends: list[int], most: Any) -> None:
        """Add an end for each repetition that fits. Inside, the first way to fit is enough."""
        while len(ends) <= most:
            end = self._walk(nodes, ends[-1], lambda here: here)
            if end is None or end == ends[-1]:
                return
            ends.append(end)

    def _lazy(
        self, nodes: list[Any], ends: list[int], bounds: tuple[int, Any], go: Go
    ) -> int | None:
        least, most = bounds
        while True:
            if len(ends) > least and (end := go(ends[-1])) is not None:
                return end
            before = len(ends)
            self._gather(nodes, ends, min(before, most))
            if len(ends) == before:
                return None

    def _hits(self, op: Any, given: Any, char: str) -> bool:
        key = (op, id(given), char)
        if key not in self._known:
            self._known[key] = self._is_hit(op, given, char)
        return self._known[key]

    def _is_hit(self, op: Any, given: Any, char: str) -> bool:
        if op is sre.ANY:
            return bool(self.flags & re.DOTALL) or char != "\n"
        chars = {char, char.lower(), char.upper()} if self.flags & re.IGNORECASE else {char}
        if op is sre.LITERAL:
            return any(ord(one) == given for one in chars if len(one) == 1)
        if op is sre.NOT_LITERAL:
            return all(ord(one) != given for one in chars if len(one) == 1)
        negated = given[0][0] is sre.NEGATE
        found = any(_is_in(item, one) for item in given for one in chars if len(one) == 1)
        return found is not negated


def _is_in(item: tuple[Any, Any], char: str) -> bool:
    op, given = item
    if op is sre.LITERAL:
        return ord(char) == given
    if op is sre.RANGE:
        return bool(given[0] <= ord(char) <= given[1])
    return op is sre.CATEGORY and bool(_CATEGORIES[given](char))


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def steps(pattern: re.Pattern[str], how: str, text: str) -> int:
    """Steps of `pattern.how(text)`; `how` is a method of a compiled pattern."""
    one = Steps(pattern, text)
    if how in ("match", "fullmatch"):
        getattr(one, how)()
    elif how == "search":
        next(one.finditer(), None)
    else:
        for _ in one.finditer():
            pass
    return one.count


def lines_run(read: Callable[[], object]) -> int:
    """Count the lines of Python that a call runs; Malformed ends it as well as a result."""
    count = 0

    def trace(_frame: Any, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        read()
    except Malformed:
        pass
    finally:
        sys.settrace(before)
    return count
