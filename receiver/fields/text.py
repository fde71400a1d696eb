"""Finds the links in a text, and makes the slug of a service's name."""

# ruff: noqa: RUF001 - domains in Cyrillic are meant

import re
from importlib import resources

#: A link ends at the full-width marks of Chinese and Japanese.
_NOT_IN_A_LINK = r"\s<>\"\x00-\x1f\x7f\u3000-\u301f\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f"
_LINK = re.compile(
    rf"https?://[^{_NOT_IN_A_LINK}]+"
    # Without a scheme: a host that ends in a top-level domain, and a path.
    r"|(?<![a-zа-яё0-9@./:_-])(?:[a-zа-яё0-9][a-zа-яё0-9-]{0,62}\.){1,8}([a-zа-яё]{2,24})"
    r"(?::[0-9]{1,5})?/[!-~]+",
    re.IGNORECASE,
)
_ASCII = re.compile(r"[!-~]+")
_TRAILING = ".,;:!?'…»”"
_TOP_LEVEL = frozenset(
    name
    for line in (resources.files(__package__) / "tables" / "top_level_domains.txt")
    .read_text("utf-8")
    .splitlines()
    if not line.startswith("#")
    for name in line.split()
)
_NOT_IN_A_SLUG = re.compile(r"[^a-z0-9]+")


def links(text: str) -> tuple[str, ...]:
    """Return the links of a text, without the punctuation that ends a sentence.

    These are http and https links, and links without a scheme that have a known top-level domain
    and a path (`v.whatsapp.com/482913`, not `24/7`).
    """
    if "/" not in text:
        return ()
    return tuple(text[start:end] for start, end in _spans(text))


def link_spans(text: str) -> list[tuple[int, int]]:
    """Return the spans of links, each up to its first letter that is not ASCII.

    Texts in Chinese and other languages continue directly behind a link.
    """
    if "/" not in text:
        return []
    return [
        (start, match.end())
        for start, end in _spans(text)
        if (match := _ASCII.match(text, start, end))
    ]


def _spans(text: str) -> list[tuple[int, int]]:
    found = []
    for match in _LINK.finditer(text):
        # A bracket that was opened in the link belongs to it: https://example.org/a_(b)
        closing = "" if "(" in match[0] or "[" in match[0] else ")]}"
        link = match[0].rstrip(_TRAILING + closing)
        if match[1] is None:
            if not link.endswith("://"):
                found.append((match.start(), match.start() + len(link)))
        elif match[1].lower() in _TOP_LEVEL and not link.endswith("/"):
            found.append((match.start(), match.start() + len(link)))
    return found


def slug(name: str) -> str:
    """Return `google` for `Google,youtube,Gmail`; empty if no letter or digit is left."""
    first = name.partition(",")[0].lower()
    return first if first.isascii() and first.isalnum() else _NOT_IN_A_SLUG.sub("", first)
