"""The one-time code of a message: read from its field or found in its text."""

import re

from journal.canonical import canonical_code

__all__ = ["canonical_code", "find_code", "read_code"]

_SHORTEST, _LONGEST = 4, 8
_DIGITS = re.compile(r"[0-9]+")
#: What stands before them counts where it is a word of its own: the `G-` of `G-804036`.
_BEFORE = re.compile(r"(?<!\w)[A-Z]{1,2}-\Z")
_LONGEST_BEFORE = 3
#: Between anything but letters: not the pin in `opinion`, but the one in `PIN1234`.
_WORD = re.compile(r"(?<![^\W\d_])(?:code|pin|otp|passcode|код)(?![^\W\d_])", re.IGNORECASE)

#: A code as providers write it: groups of letters and digits, joined by one blank or mark.
_CODE = re.compile(r"[A-Za-z\d]+(?:[ \u00a0._:/-][A-Za-z\d]+){0,7}")
_LONGEST_CODE = 64
#: A group of letters alone, other than the capitals of a prefix (`FB 12345`).
_LETTERS = re.compile(r"(?<!\S)(?![A-Z]{1,2}(?!\S))[A-Za-z]+(?!\S)")
#: How programs say that there is no code.
_NO_CODE = frozenset({"null", "none", "nil", "undefined", "false", "n/a"})


def read_code(code: str | None, text: str | None) -> tuple[str | None, str | None]:
    """Return the code and the text of a message whose provider sent these two fields.

    `code` is returned as sent, without blanks around it. If it is a sentence, it is the text (where
    no text was sent) and the code is looked for in it. If it is missing, blank or a word such as
    `null`, the code is looked for in the text. An empty text is returned as None.
    """
    text = text or None
    stripped = "" if code is None else code.strip()
    if not any(map(str.isalnum, stripped)) or stripped.lower() in _NO_CODE:
        return (find_code(text) if text else None), text
    if not is_sentence(stripped):
        return stripped, text
    return find_code(stripped) or (find_code(text) if text else None), text or stripped


def is_sentence(code: str) -> bool:
    """Whether a code field holds a whole text: `Your code is 1234`, not `482 913` or `A8D-291`."""
    if len(code) > _LONGEST_CODE or not _CODE.fullmatch(code):
        return True
    if len(code.split()) > 1 and _LETTERS.search(code):
        return True
    # `Code:1234` announces one; the single word `CODE` stands for one in providers' examples.
    return any(map(str.isdecimal, code)) and _WORD.search(code) is not None


def find_code(text: str) -> str | None:
    """Return the one-time code in a text as written there; None if there is none or a doubt."""
    runs = [run.span() for run in _DIGITS.finditer(text)]
    found = [_with_before(text, *run) for run in runs if _SHORTEST <= run[1] - run[0] <= _LONGEST]
    if len(found) < 2:  # noqa: PLR2004 - the only one, announced or not
        return text[slice(*found[0])] if found else None
    word = _WORD.search(text)
    after = (run for run in found if word and run[0] >= word.end())
    announced = next(after, None)
    return text[slice(*announced)] if announced else None


def _with_before(text: str, start: int, end: int) -> tuple[int, int]:
    if text[start - 1 : start] != "-":
        return start, end
    before = _BEFORE.search(text, max(0, start - _LONGEST_BEFORE), start)
    return (before.start() if before else start), end
