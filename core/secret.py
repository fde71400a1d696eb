"""Secrets, which never show themselves."""

import hashlib
import re
from functools import lru_cache
from typing import Final

#: Stands in place of a secret.
MASK: Final = "***"
#: Digits that may be a phone number, with what people write between them.
_NUMBER = re.compile(r"\+?\d(?:[ ().-]{0,2}\d){6,}")


@lru_cache(maxsize=1024)
def without_numbers(text: str) -> str:
    """Return a text with `***` in place of what may be a phone number."""
    return _NUMBER.sub(MASK, text)


class Secret:
    """A text that hides itself: `str`, `repr` and formats give `***`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text. Call this where the text is used, and do not keep the result."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return MASK


def secret(text: object) -> Secret:
    """Return a configured text as a Secret.

    Raises ValueError, which does not repeat the value, if it is empty or not a text.
    """
    if not isinstance(text, str) or not text:
        what = "empty" if text == "" else "not a text"
        raise ValueError(f"{what}; write the secret itself, or ${{NAME}}")
    return Secret(text)


_DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")


def digest_of(secret: Secret) -> bytes:
    """Return the SHA-256 of a token or API key, or the one it states as `sha256:<hex>`.

    Raises ValueError, which does not repeat the text, if that is not UTF-8 or not a digest.
    """
    text = secret.reveal()
    if text.startswith("sha256:"):
        match = _DIGEST.fullmatch(text)
        if match is None:
            raise ValueError("not a digest; after sha256: come 64 hexadecimal digits")
        return bytes.fromhex(match[1])
    try:
        return digest(text.encode())
    except UnicodeEncodeError:
        raise ValueError("not UTF-8; a secret is ordinary text") from None


def digest(candidate: bytes) -> bytes:
    """Return the SHA-256 that is compared in place of a secret."""
    return hashlib.sha256(candidate).digest()
