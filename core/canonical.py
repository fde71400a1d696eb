"""One spelling for codes and texts that providers spell differently."""

import html
import re
import unicodedata

_PREFIX = re.compile(r"\A[A-Za-z]{1,3}[\s\u2010\u2011-]+(?=\d[\d\s\u2010\u2011-]*\Z)")
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")
_LINE_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)
#: Zero-width characters, marks of direction, soft hyphens.
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_RUN = re.compile(r"[A-Z0-9]+")
_JOINTS = frozenset(" -\u00a0\u2007\u2009\u202f\u2010\u2011")
#: A shorter code is in too many texts; a longer text is no code.
_SHORTEST, _LONGEST = 3, 64


def canonical_code(code: str) -> str:
    """Return the code's letters and digits in upper case, its digits as ASCII.

    A prefix such as the `G-` of `G-804036` is left out: `G-804036`, `804 036` and `٨٠٤٠٣٦` are the
    same code. Empty if the code has no letter and no digit.
    """
    code = code.strip()
    if not (code.isascii() and code.isalnum()):  # nearly all are
        code = _NOT_ALPHANUMERIC.sub("", _PREFIX.sub("", code))
    return _plain(code)


def canonical_text(text: str) -> str:
    """Return the text with single blanks, without HTML entities and `<br>`.

    A provider's list may have `&amp;` and `<br>` where its callback has neither.
    """
    if "<" in text:
        text = _LINE_BREAK.sub(" ", text)
    if "&" in text:
        text = html.unescape(text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    return " ".join(text.split())


def has_code(text: str, code: str) -> bool:
    """Whether a text has a code in any spelling: `482913` is in `482-913`.

    The code must be whole: `4829` is not in `482913`.
    """
    wanted = canonical_code(code)
    if not _SHORTEST <= len(wanted) <= _LONGEST:
        return False
    low = _plain(text) if text.isascii() else _plain(unicodedata.normalize("NFC", text))
    runs = [match.span() for match in _RUN.finditer(low)]
    return any(_begins(low, runs, index, wanted) for index in range(len(runs)))


def _begins(low: str, runs: list[tuple[int, int]], index: int, wanted: str) -> bool:
    """Whether the code is the runs from `index` on, each joined to the next by one mark."""
    left, last = wanted, None
    for start, end in runs[index : index + len(wanted)]:
        if last is not None and (start != last + 1 or low[last] not in _JOINTS):
            return False
        if end - start > len(left) or not left.startswith(low[start:end]):
            return False
        left, last = left[end - start :], end
        if not left:
            return True
    return False


def _plain(text: str) -> str:
    if text.isascii():
        return text.upper()
    digits = "".join(str(int(char)) if char.isdecimal() else char for char in text)
    return digits.upper()
