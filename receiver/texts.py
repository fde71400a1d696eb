"""The links in a text, and the slug of a service's name."""

import re

_LINK = re.compile(r"https?://[^\s<>\"\x00-\x1f\x7f]+", re.IGNORECASE)
_TRAILING = ".,;:!?'…»”"
_NOT_IN_A_SLUG = re.compile(r"[^a-z0-9]+")


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
