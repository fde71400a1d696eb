"""What a message's text holds: its code, its links; and the slug of a service's name.

All of it in linear time, whatever the text.
"""

import re

_SHORTEST, _LONGEST = 4, 8
#: A whole run of digits; what stands before it counts where it is a word of its own.
_RUN = re.compile(r"((?<!\w)[A-Z]{1,2}-)?([0-9]+)")
#: Between anything but letters: not the pin in `opinion`, but the one in `PIN1234`.
_WORD = re.compile(r"(?<![^\W\d_])(?:code|pin|otp|passcode|код)(?![^\W\d_])", re.IGNORECASE)
_LINK = re.compile(r"https?://[^\s<>\"\x00-\x1f\x7f]+", re.IGNORECASE)
_TRAILING = ".,;:!?'…»”"
_NOT_IN_A_SLUG = re.compile(r"[^a-z0-9]+")


def find_code(text: str) -> str | None:
    """`G-804036`: the first after a word that announces a code, else the only one."""
    found = [match for match in _RUN.finditer(text) if _SHORTEST <= len(match[2]) <= _LONGEST]
    if len(found) < 2:  # noqa: PLR2004 - the only one, announced or not
        return found[0][0] if found else None
    word = _WORD.search(text)
    after = (match for match in found if word and match.start() >= word.end())
    announced = next(after, None)
    return announced[0] if announced else None


def links(text: str) -> tuple[str, ...]:
    """The http and https links in it, without the punctuation that ends a sentence."""
    stripped = (_without_punctuation(match[0]) for match in _LINK.finditer(text))
    return tuple(link for link in stripped if not link.endswith("://"))


def _without_punctuation(link: str) -> str:
    # A bracket that was opened in the link belongs to it: https://example.org/a_(b)
    closing = "" if "(" in link or "[" in link else ")]}"
    return link.rstrip(_TRAILING + closing)


def slug(name: str) -> str:
    """`Google,youtube,Gmail` -> `google`; empty where nothing of it is left."""
    return _NOT_IN_A_SLUG.sub("", name.partition(",")[0].lower())
