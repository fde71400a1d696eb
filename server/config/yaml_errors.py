"""Explanations of text that is not YAML: the mistake in words, and its line.

The parser reports where it noticed, which is often lines after an unfinished quote, bracket or key.
No explanation repeats text of the file, which may be a token.
"""

import re
from typing import NamedTuple

import yaml

#: A conflict that git left in the file.
_CONFLICT = re.compile(r"(<{7}|={7}|>{7})(?:\s|$)")
#: `key:` at the start of a line, maybe as an item of a list.
_KEY = re.compile(r"""\s*(?:- +)*(?:"[^"]*"|'[^']*'|[^\s#"'\[\]{}][^#]*?)\s*:(?:\s|$)""")
#: A value that begins with a quote: after a key, in a list, or inside brackets.
_QUOTED_VALUE = re.compile(r"""(?:^\s*(?:- +)*|:\s+|[\[{,]\s*)(?P<quote>["'])""")
#: A whole text in quotes, by its quote.
_QUOTED = {'"': re.compile(r'"(?:[^"\\]|\\.)*"'), "'": re.compile(r"'(?:[^']|'')*'")}
_QUOTED_OR_COMMENT = re.compile(r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\n]|'')*'|(?:^|(?<=\s))#[^\n]*""")
_OPENED_BY = {"]": "[", "}": "{"}
#: Words of the parser that suffice, and their meaning. The first that fits is used.
_CLEAR = (
    (r"'\t'", "indented with a tab; use spaces"),  # as Python quotes a tab
    ("unknown escape", r"a backslash in double quotes; write \\, or use single quotes"),
    ("escape", r"not a character's code; after \x, \u and \U come hexadecimal digits"),
)
#: The same, for mistakes of no other kind. The last entry fits every error.
_CHARACTERS = (
    ("cannot start any token", "a value that begins with @, ` or % needs quotes"),
    ("alias", "a value that begins with * needs quotes"),
    ("anchor", "a value that begins with & needs quotes"),
    ("tag", "a value that begins with ! needs quotes"),
    ("block scalar", "text behind | or >; write it in the lines below, indented"),
    ("another document", "`---` begins a second document; a configuration is one"),
    ("directive", "a line that begins with %; leave it out"),
    ("YAML document", "a line that begins with %; leave it out"),
    ("document start", "text after a line of `...`; leave that line out"),
    ("mapping keys", "a `?` where a value is expected; put the value into quotes"),
    ("node content", "punctuation where a value is expected; put the value into quotes"),
    ("", "this is not YAML; check quotes, brackets and indentation, also in the lines before"),
)


class Mistake(NamedTuple):
    """The line of a mistake, from 1, and a remedy."""

    line: int
    text: str


def mistake(text: str, error: yaml.MarkedYAMLError) -> Mistake:
    """Find the mistake in the text, by the error of the parser."""
    lines = re.split(r"\r\n|\r|\n", text)
    mark = error.problem_mark or error.context_mark
    noticed = mark.line if mark else 0
    began = error.context_mark.line if error.context_mark else noticed
    problem, context = error.problem or "", error.context or ""
    noticed = min(noticed, len(lines) - 1)
    for i, line in enumerate(lines):
        if line.startswith("<<<<<<< ") and any(map(_CONFLICT.match, lines[i + 1 :])):
            return Mistake(i + 1, "a merge conflict; keep one of the two versions")
    clear = next((meaning for words, meaning in _CLEAR if words in problem), None)
    if re.match(r"\s*?\t", lines[noticed]):
        clear = _CLEAR[0][1]
    if clear is not None:
        return Mistake(noticed + 1, clear)
    error_words = f"{context} {problem}"
    character = next(meaning for words, meaning in _CHARACTERS if words in error_words)
    return (
        _open_quote(lines, noticed, began, context, problem)
        or _bracket(lines, noticed, began, context)
        or _key(lines, noticed, began, context, problem)
        or _indentation(lines, noticed, context, problem)
        or Mistake(noticed + 1, character)
    )


def _open_quote(
    lines: list[str], noticed: int, began: int, context: str, problem: str
) -> Mistake | None:
    """Find a quote that is not closed: it continues to the next quote or to the end."""
    if "quoted scalar" in context:
        return Mistake(began + 1, "a quote that opens here is not closed")
    # The opening quote of a later value closed it, and the parser noticed the error there.
    for i in range(noticed, -1, -1):
        line, at = lines[i], 0
        while match := _QUOTED_VALUE.search(line, at):
            if re.search(r"(^|\s)#", line[at : match.start()]):
                break  # the quote is in a comment
            closed = _QUOTED[match["quote"]].match(line, match.start("quote"))
            if closed is None:
                return Mistake(i + 1, "a quote that opens here is not closed in its line")
            at = closed.end()
        if i < noticed and _KEY.match(line) and _indent(line) == 0:
            break
    if "<scalar>" in problem and "flow" not in context and _QUOTED_VALUE.search(lines[noticed]):
        return Mistake(noticed + 1, "text after the closing quote; put all of it into the quotes")
    return None


def _bracket(lines: list[str], noticed: int, began: int, context: str) -> Mistake | None:
    """Find a bracket that is not closed, or a comma that is missing between brackets."""
    if "flow" not in context:
        return None
    opened: list[str] = []
    is_balanced = True
    for char in _QUOTED_OR_COMMENT.sub("", "\n".join(lines[began:])):
        if char in _OPENED_BY.values():
            opened.append(char)
        elif char in _OPENED_BY and (not opened or opened.pop() != _OPENED_BY[char]):
            is_balanced = False
            break
    if is_balanced and not opened:
        text = "a comma or a closing bracket is missing, in or before this line"
        return Mistake(noticed + 1, text)
    kind = "[" if "sequence" in context else "{"
    return Mistake(began + 1, f"a {kind} that opens here is not closed")


def _key(lines: list[str], noticed: int, began: int, context: str, problem: str) -> Mistake | None:
    """Find a key without its colon: YAML reads the lines after it as one long text."""
    if "simple key" in context:
        return _unfinished(lines, began)
    if "mapping values" not in problem:
        return None
    before = _line_before(lines, noticed)
    if before is not None and _is_bare(lines[before]):
        return _unfinished(lines, before)
    if _KEY.match(lines[noticed]) and before is not None:
        deeper = _indent(lines[noticed]) > _indent(lines[before])
        ends_open = lines[before].split(" #")[0].rstrip().endswith(":")
        if (
            deeper
            and not ends_open
            and lines[noticed].count(": ") + lines[noticed].rstrip().endswith(":") <= 1
        ):
            return Mistake(
                noticed + 1,
                "indented more than the line above it; the keys of one mapping begin in one column",
            )
    return Mistake(noticed + 1, "a second `:` in the line; put a value that holds one into quotes")


def _unfinished(lines: list[str], at: int) -> Mistake:
    line = lines[at].split(" #")[0].strip()
    if re.match(r"[\w.-]+:\S", line):
        return Mistake(at + 1, "a space is missing after the `:`")
    if re.match(r"-\S", line):
        return Mistake(at + 1, "a space is missing after the `-`")
    return Mistake(at + 1, "a key without its `:`; write a key, a colon and a space")


def _line_before(lines: list[str], at: int) -> int | None:
    """Return the last line before it that is neither blank nor a comment."""
    for i in range(at - 1, -1, -1):
        if lines[i].strip() and not lines[i].lstrip().startswith("#"):
            return i
    return None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _indentation(lines: list[str], noticed: int, context: str, problem: str) -> Mistake | None:
    after_end = any(line.startswith("...") for line in lines[:noticed])
    misplaced = "<block end>" in problem or ("document start" in problem and not after_end)
    if not misplaced and "entries are not allowed" not in problem:
        return None
    line = lines[noticed].lstrip()
    before = _line_before(lines, noticed)
    if "']'" in problem or "'}'" in problem:
        return Mistake(noticed + 1, "a closing bracket without an opening one")
    if line.startswith("- ") or line == "-" or "entries are not allowed" in problem:
        return Mistake(noticed + 1, "a `-` begins an item of a list, and there is no list here")
    if (
        before is not None
        and _is_bare(lines[before])
        and _indent(lines[before]) == _indent(lines[noticed])
    ):
        return _unfinished(lines, before)
    if "block collection" in context and _KEY.match(line):
        return Mistake(noticed + 1, "a key among the items of a list; begin an item with `- `")
    return Mistake(
        noticed + 1,
        "indented unlike the lines around it; the keys of one mapping begin in one column",
    )


def _is_bare(line: str) -> bool:
    """Whether a line is neither a key nor an item of a list."""
    return not _KEY.match(line) and not re.match(r"\s*- ", line)
