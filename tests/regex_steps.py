"""Count the steps of a backtracking search, so that a test of linear time needs no clock."""

from re import _constants as c
from re import _parser as parser
from sys import setrecursionlimit

setrecursionlimit(100_000)

_CATEGORIES = {
    c.CATEGORY_DIGIT: str.isdecimal,
    c.CATEGORY_NOT_DIGIT: lambda char: not char.isdecimal(),
    c.CATEGORY_SPACE: str.isspace,
    c.CATEGORY_NOT_SPACE: lambda char: not char.isspace(),
    c.CATEGORY_WORD: lambda char: char.isalnum() or char == "_",
    c.CATEGORY_NOT_WORD: lambda char: not (char.isalnum() or char == "_"),
}


class Search:
    """A `finditer` that tries what `re` tries, one step for each item it looks at."""

    def __init__(self, pattern):
        self.nodes = list(parser.parse(pattern.pattern, pattern.flags))
        self.flags, self.steps = pattern.flags, 0

    def finditer(self, text):
        """Yield the spans of the matches."""
        at = 0
        while at <= len(text):
            end = self._first(self.nodes, text, at)
            if end is None:
                at += 1
                continue
            yield at, end
            at = max(end, at + 1)

    def _first(self, nodes, text, at):
        return next(self._match(nodes, 0, text, at), None)

    def _match(self, nodes, index, text, at):
        self.steps += 1
        if index == len(nodes):
            yield at
            return
        op, value = nodes[index]
        for end in self._item(op, value, text, at):
            yield from self._match(nodes, index + 1, text, end)

    def _item(self, op, value, text, at):
        """Yield each end of one item that begins here, in the order `re` tries them."""
        if op in (c.LITERAL, c.NOT_LITERAL, c.IN, c.ANY):
            holds = at < len(text) and self._is(op, value, text[at])
            return iter([at + 1] if holds else [])
        if op in (c.ASSERT, c.ASSERT_NOT, c.AT):
            looks = self._at(value, text, at) if op is c.AT else self._looks(value, text, at)
            return iter([at] if looks == (op is not c.ASSERT_NOT) else [])
        return _WAYS[op](self, value, text, at)

    def _branch(self, value, text, at):
        for branch in value[1]:
            yield from self._match(list(branch), 0, text, at)

    def _group(self, value, text, at):
        return self._match(list(value[3]), 0, text, at)

    def _atomic(self, value, text, at):
        return self._only(self._first(list(value), text, at))

    def _greedy(self, value, text, at):
        return self._repeat(*value, text, at, lazy=False)

    def _lazy(self, value, text, at):
        return self._repeat(*value, text, at, lazy=True)

    def _possessive(self, value, text, at):
        return self._only(next(self._greedy(value, text, at), None))

    def _only(self, end):
        if end is not None:
            yield end

    def _repeat(self, least, most, item, text, at, *, lazy):
        """Without recursion: patterns repeat over whole texts."""
        item = list(item)
        ends = [at]
        while len(ends) <= (10**9 if most is c.MAXREPEAT else most):
            self.steps += 1
            end = self._first(item, text, ends[-1])
            if end is None or end == ends[-1]:
                break
            ends.append(end)
        enough = ends[least:]
        for end in enough if lazy else reversed(enough):
            self.steps += 1
            yield end

    def _looks(self, value, text, at):
        direction, nodes = value
        nodes = list(nodes)
        if direction > 0:
            return self._first(nodes, text, at) is not None
        width = parser.SubPattern(None, nodes).getwidth()[0]
        return at >= width and self._first(nodes, text[:at], at - width) == at

    def _at(self, value, text, at):
        if value is c.AT_END_STRING:
            return at == len(text)
        if value is c.AT_END:
            return at == len(text) or text[at] == "\n"
        if value is c.AT_BEGINNING:
            return at == 0 or bool(self.flags & 8 and text[at - 1] == "\n")
        if value is c.AT_BEGINNING_STRING:
            return at == 0
        if value is c.AT_BOUNDARY:
            before = at > 0 and text[at - 1].isalnum()
            return before != (at < len(text) and text[at].isalnum())
        raise NotImplementedError(value)

    def _is(self, op, value, char):
        if self.flags & 2:
            char = char.lower()
        if op is c.ANY:
            return char != "\n"
        if op is c.LITERAL:
            return ord(char) == value
        if op is c.NOT_LITERAL:
            return ord(char) != value
        negated = value[0][0] is c.NEGATE
        return negated != any(self._in(kind, what, char) for kind, what in value)

    def _in(self, kind, what, char):
        if kind is c.LITERAL:
            return ord(char) == what
        if kind is c.RANGE:
            return what[0] <= ord(char) <= what[1]
        if kind is c.CATEGORY:
            return _CATEGORIES[what](char)
        return False


_WAYS = {
    c.BRANCH: Search._branch,
    c.SUBPATTERN: Search._group,
    c.ATOMIC_GROUP: Search._atomic,
    c.MAX_REPEAT: Search._greedy,
    c.MIN_REPEAT: Search._lazy,
    c.POSSESSIVE_REPEAT: Search._possessive,
}


def steps(pattern, text):
    """Return how many steps it takes to find all matches of a compiled pattern."""
    search = Search(pattern)
    for _ in search.finditer(text):
        pass
    return search.steps
