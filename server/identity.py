"""What is made of the clock, of chance and of the secret: ids, keys, cursors, signatures."""

import base64
import binascii
import hashlib
import hmac
import os
import struct
from collections.abc import Callable

from journal.keyed import keyed
from receiver.source import Key

#: Bytes of a keyed hash.
_HASH = 16
#: Bytes of chance that are fetched at once.
_FETCHED = 4096


class Chance:
    """Bytes that nobody can guess, fetched from the system many at a time.

    Each fetch lets the interpreter's other threads go first, and that costs more than it does.
    """

    def __init__(self, fetch: Callable[[int], bytes] = os.urandom) -> None:
        self._fetch, self._left = fetch, memoryview(b"")

    def __call__(self, size: int) -> bytes:
        if len(self._left) < size:
            self._left = memoryview(self._fetch(max(size, _FETCHED)))
        taken, self._left = self._left[:size], self._left[size:]
        return bytes(taken)


class BadCursor(Exception):
    """No cursor of ours."""


class StaleCursor(Exception):
    """A cursor of another journal: from before a restore, or from another service."""


class Identity:
    """The secret's many uses, each under a key of its own, so that none tells about another."""

    def __init__(self, secret: str, chance: Callable[[int], bytes]) -> None:
        def derived(use: str) -> bytes:
            return hmac.digest(secret.encode(), f"smshook {use}".encode(), "sha256")

        self._dedupe, self._body = (
            keyed(derived("dedupe key")),
            keyed(derived("quarantine fingerprint")),
        )
        self._cursor, self._sample = keyed(derived("cursor")), derived("sample")
        self._credential = keyed(derived("credential"))
        self._chance = chance
        #: Kept by the journal, to notice another secret.
        self.seal = derived("journal seal").hex()

    def event_id(self, at: float) -> str:
        """A UUIDv7 (RFC 9562, 5.7) of that second; its sub-millisecond bits are time too.

        So ids grow with time, which keeps an index on them cheap.
        """
        ms, below = divmod(int(at * 1_000_000), 1000)
        random = int.from_bytes(self._chance(8)) & ((1 << 62) - 1)
        value = (ms & ((1 << 48) - 1)) << 80 | 7 << 76 | (below * 4096 // 1000) << 64
        text = f"{value | 2 << 62 | random:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def request_id(self) -> str:
        return self._chance(8).hex()

    def dedupe_key(self, key: Key) -> bytes:
        """20 bytes: the provider's second, big-endian, then a keyed hash of the parts.

        Keyed, because a plain hash of what holds a code is the code.
        """
        parts = [part.encode() for part in key.parts]
        message = b"".join([len(part).to_bytes(4) + part for part in parts])
        return struct.pack(">I", key.second & 0xFFFFFFFF) + self._dedupe(message)[:_HASH]

    def fingerprint(self, body: bytes) -> bytes:
        """What tells quarantined bodies apart."""
        return self._body(body)[:_HASH]

    def credential_digest(self, value: str) -> str:
        """Return `digest:` and 32 digits for a header that holds a secret; latin-1 as HTTP is."""
        return f"digest:{self._credential(value.encode('latin-1', 'replace'))[:_HASH].hex()}"

    def sample_signature(self, source: str, body: bytes) -> str:
        """What marks a callback as sent by ourselves."""
        return hmac.new(self._sample, source.encode() + b"\0" + body, hashlib.sha256).hexdigest()

    def is_sample(self, source: str, body: bytes, signature: str | None) -> bool:
        if signature is None:
            return False
        expected = self.sample_signature(source, body)
        return hmac.compare_digest(expected.encode(), signature.encode())

    def cursor(self, journal: str, kind: str, seq: int) -> str:
        """An opaque place in a list of that journal."""
        place = struct.pack(">16sQ", bytes.fromhex(journal), seq)
        tag = self._cursor(kind.encode() + place)[:8]
        return base64.urlsafe_b64encode(place + tag).decode()

    def place(self, journal: str, kind: str, cursor: str) -> int:
        """The place that a cursor names. Raises BadCursor or StaleCursor."""
        try:
            raw = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True)
            owner, seq = struct.unpack(">16sQ", raw[:-8])
        except (ValueError, binascii.Error, struct.error, UnicodeError) as exc:
            raise BadCursor from exc
        # Whole, since base64 has several spellings of one place.
        ours = self.cursor(owner.hex(), kind, seq)
        if not hmac.compare_digest(ours.encode(), cursor.encode()):
            raise BadCursor
        if owner.hex() != journal:
            raise StaleCursor
        return int(seq)
