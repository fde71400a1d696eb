"""Secrets, which never show themselves."""

import hashlib
import re


class Secret:
    """A text that shows itself to nobody: `str`, `repr` and formats give `***`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Call it where it is used, keep it nowhere."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return "***"


def secret(text: object) -> Secret:
    """Raises ValueError, which does not repeat it, for what is no text."""
    if not isinstance(text, str) or not text:
        raise ValueError("not a text; write the secret itself, or ${NAME}")
    return Secret(text)


_DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")


def digest_of(secret: Secret) -> bytes:
    """SHA-256 of a configured token or API key: of its UTF-8 bytes, or as written (`sha256:<hex>`).

    Raises ValueError, which does not repeat it, for what cannot be one.
    """
    text = secret.reveal()
    if text.startswith("sha256:"):
        return _written_digest(text)
    try:
        return digest(text.encode())
    except UnicodeEncodeError:
        raise ValueError("not UTF-8; a secret is ordinary text") from None


def _written_digest(text: str) -> bytes:
    match = _DIGEST.fullmatch(text)
    if match is None:
        raise ValueError("not a digest; after sha256: come 64 hexadecimal digits")
    return bytes.fromhex(match[1])


def digest(candidate: bytes) -> bytes:
    """What is compared in place of a secret that somebody sent."""
    return hashlib.sha256(candidate).digest()
