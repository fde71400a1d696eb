"""What is made of the clock, of chance and of the secret: ids, keys, cursors, signatures."""

import base64
import os
import re
import struct
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from core.keyed import derived_key, keyed
from receiver.callback import Key
from receiver.sample_signatures import SampleSigner

#: Bytes of a keyed hash.
_HASH = 16
#: What is in a cursor: the journal, the place, and a piece of what stands there. With the tag
#: these are 48 bytes, of which base64 has one spelling.
_CURSOR, _CURSOR_LENGTH = ">16sQ8s", 64
_DELIVERY_ID = re.compile("[0-9a-f]{32}")
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
            return derived_key(secret, use)

        self._dedupe, self._body = (
            keyed(derived("dedupe key")),
            keyed(derived("quarantine fingerprint")),
        )
        self._cursor = AESSIV(derived("encrypted cursor"))
        self._delivery = _Block(derived("delivery id"))
        self._credential = keyed(derived("credential"))
        samples = SampleSigner(secret)
        self.sample_signature, self.is_sample = samples.sign, samples.verify
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

    def cursor(self, journal: str, kind: str, place: int, mark: bytes) -> str:
        """An opaque place in a list of that journal; `mark` is 8 bytes of what stands there."""
        text = struct.pack(_CURSOR, bytes.fromhex(journal), place, mark)
        sealed = self._cursor.encrypt(text, [kind.encode()])
        return base64.urlsafe_b64encode(sealed).decode()

    def place(self, journal: str, kind: str, cursor: str) -> tuple[int, bytes]:
        """The place that a cursor names, and its mark. Raises BadCursor or StaleCursor."""
        if len(cursor) != _CURSOR_LENGTH:
            raise BadCursor  # base64 has a second spelling with what it passes over
        try:
            sealed = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
            text = self._cursor.decrypt(sealed, [kind.encode()])
            owner, place, mark = struct.unpack(_CURSOR, text)
        except (ValueError, InvalidTag, struct.error) as exc:
            raise BadCursor from exc
        if owner.hex() != journal:
            raise StaleCursor
        return int(place), bytes(mark)

    def delivery_id(self, number: int) -> str:
        """How a delivery is named outside: its number would tell how many there are."""
        return self._delivery.encryptor.update(struct.pack(">QQ", 0, number)).hex()

    def delivery_number(self, id_: str) -> int | None:
        """The number of the delivery with that name; None: it is no name of ours."""
        if not _DELIVERY_ID.fullmatch(id_):
            return None
        zero, number = struct.unpack(">QQ", self._delivery.decryptor.update(bytes.fromhex(id_)))
        return int(number) if zero == 0 else None


class _Block:
    """AES on single blocks: a permutation of 16 bytes that only the key's owner can compute."""

    def __init__(self, key: bytes) -> None:
        cipher = Cipher(AES(key), ECB())  # noqa: S305 - one block, and no two of them are alike
        self.encryptor, self.decryptor = cipher.encryptor(), cipher.decryptor()
