"""What a message's text holds: its code, its links; and the slug of a service's name.

All of it in linear time, whatever the text.
"""

import re

_SHORTEST, _LONGEST = 4, 8
_DIGITS = re.compile(r"[0-9]+")
#: What stands before them counts where it is a word of its own: the `G-` of `G-804036`.
_BEFORE = re.compile(r"(?<!\w)[A-Z]{1,2}-\Z")
_LONGEST_BEFORE = 3
#: Between anything but letters: not the pin in `opinion`, but the one in `PIN1234`.
_WORD = re.compile(r"(?<![^\W\d_])(?:code|pin|otp|passcode|код)(?![^\W\d_])", re.IGNORECASE)
_LINK = re.compile(r"https?://[^\s<>\"\x00-\x1f\x7f]+", re.IGNORECASE)
_TRAILING = ".,;:!?'…»”"
_NOT_IN_A_SLUG = re.compile(r"[^a-z0-9]+")


def find_code(text: str) -> str | None:
    """`G-804036`: the first after a word that announces a code, else the only one."""
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


def links(text: str) -> tuple[str, ...]:
    """The http and https links in it, without the punctuation that ends a sentence."""
    if "://" not in text:
        return ()
    stripped = (_without_punctuation(match[0]) for match in _LINK.finditer(text))
    return tuple(link for link in stripped if not link.endswith("://"))


def _without_punctuation(link: str) -> str:
    # A bracket that was opened in the link belongs to it: https://example.org/a_(b)
    closing = "" if "(" in link or "[" in link else ")]}"
    return link.rstrip(_TRAILING + closing)


def slug(name: str) -> str:
    """`Google,youtube,Gmail` -> `google`; empty where nothing of it is left."""
    return _NOT_IN_A_SLUG.sub("", name.partition(",")[0].lower())
