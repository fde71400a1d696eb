"""Makes ids, dedupe keys and cursors from the clock, chance and the secret."""

import base64
import hmac
import os
import re
import struct
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from core.secret import Secret
from core.signing import make_hmac
from receiver.callback import Key

#: Bytes of a keyed hash.
_HASH = 16
#: The lengths of nearly all parts of keys, in four bytes.
_SHORT = 256
_LENGTHS = [length.to_bytes(4) for length in range(_SHORT)]
#: A cursor: the journal, the place, and a mark of the row there. With the tag it has 48 bytes, and
#: these have a single spelling in base64.
_CURSOR, _CURSOR_LENGTH = ">16sQ8s", 64
#: The place takes the lower bits of its number. Above them is the way back to an earlier place.
_PLACE_BITS, _MOST_BACK = 40, (1 << 24) - 1
_DELIVERY_ID = re.compile("[0-9a-f]{32}")
#: Begins a secret that a key of the key file encrypts. Base64 has no colon.
_UNDER_KEY = "key:"
#: Random bytes fetched at once.
_FETCHED = 4096
#: The group of a UUIDv7 with its version and 12 bits of time, by microsecond of the millisecond.
_BELOW = tuple(f"7{below * 4096 // 1000:03x}" for below in range(1000))
#: The digit with the variant (RFC 9562, 4.1) and two random bits, by a random digit.
_VARIANT = {f"{digit:x}": f"{digit & 3 | 8:x}" for digit in range(16)}
#: Added to a time, so that its hexadecimal form always has the same length.
_LONG_TIME = 1 << 48


class Chance:
    """Random bytes for secrets, fetched from the system in large pieces.

    Each fetch releases the interpreter's lock, which costs more than the bytes.
    """

    def __init__(self, fetch: Callable[[int], bytes] = os.urandom) -> None:
        self._fetch, self._fetched, self._used = fetch, b"", 0

    def take(self, size: int) -> bytes:
        """Return random bytes. Calling the object itself takes twice as long."""
        start = self._used
        if len(self._fetched) - start < size:
            self._fetched, start = self._fetch(max(size, _FETCHED)), 0
        self._used = start + size
        return self._fetched[start : self._used]

    __call__ = take


class BadCursor(Exception):
    """Not a cursor of this service."""


class StaleCursor(Exception):
    """A cursor of another journal: from before a restore, or from another service."""


class Identity:
    """All uses of the secret, each with a key of its own.

    `chance(size)` returns random bytes.
    """

    def __init__(self, secret: str, chance: Callable[[int], bytes]) -> None:
        def derived(use: str) -> bytes:
            return hmac.digest(secret.encode(), f"smshook {use}".encode(), "sha256")

        self._dedupe = make_hmac(derived("dedupe key"))
        #: The same, by a key of the key file.
        self._dedupe_with: dict[bytes, Callable[[bytes], bytes]] = {b"": self._dedupe}
        self._body = make_hmac(derived("quarantine fingerprint"))
        self._cursor = AESSIV(derived("encrypted cursor"))
        self._subscription = AESSIV(derived("subscription secret"))
        self._delivery = _Block(derived("delivery id"))
        self._credential = make_hmac(derived("credential"))
        self._call = make_hmac(derived("idempotency"))
        self._chance = chance
        self._generation = 0
        #: Stored in the journal, to notice a changed secret.
        self.seal = derived("journal seal").hex()

    def event_id(self, at: float) -> str:
        """Return a UUIDv7 (RFC 9562, 5.7) of `at`, in seconds since the epoch.

        Its sub-millisecond bits are time too: ids that grow with time keep an index cheap.
        """
        ms, below = divmod(int(at * 1_000_000), 1000)
        time, rest = hex(ms | _LONG_TIME), self._chance(8).hex()
        # Computing with a number of 128 bits takes three times as long.
        return f"{time[3:11]}-{time[11:]}-{_BELOW[below]}-{_VARIANT[rest[0]]}{rest[1:4]}-{rest[4:]}"

    def request_id(self) -> str:
        return self._chance(8).hex()

    def api_key(self) -> str:
        """Return a new API key: 256 random bits after a prefix that secret scanners find."""
        return f"smsk_{self._chance(32).hex()}"

    def call_digest(self, *parts: bytes) -> bytes:
        """Return a keyed hash of a request with an `Idempotency-Key`, or of that header."""
        return self._call(b"".join([len(part).to_bytes(8) + part for part in parts]))

    def dedupe_key(self, key: Key, entry: bytes = b"") -> bytes:
        """Return 20 bytes: the provider's second, big-endian, then a keyed hash of the parts.

        A hash without a key would reveal a code: there are few codes to try. `entry` is a key of
        the key file that the hash needs, too; empty: none.
        """
        hash_ = self._dedupe_with.get(entry)
        if hash_ is None:
            hash_ = self._dedupe_with[entry] = make_hmac(self._dedupe(entry))
        message = b""
        for text in key.parts:
            part = text.encode()
            length = len(part)
            message += (_LENGTHS[length] if length < _SHORT else length.to_bytes(4)) + part
        return (key.second & 0xFFFFFFFF).to_bytes(4) + hash_(message)[:_HASH]

    def fingerprint(self, body: bytes, key: bytes | None = None) -> bytes:
        """Return a keyed hash of a quarantined body.

        `key`: a key of the key file that the hash needs, too; None: none.
        """
        hash_ = self._body if key is None else make_hmac(self._body(key))
        return hash_(body)[:_HASH]

    def credential_digest(self, value: str) -> str:
        """Return `digest:` and 32 digits for a header value, which is latin-1 as in HTTP."""
        return f"digest:{self._credential(value.encode('latin-1', 'replace'))[:_HASH].hex()}"

    def cursor(self, journal: str, kind: str, place: int, mark: bytes, *, back: int = 0) -> str:
        """Return a cursor for a place in a list; `mark` is 8 bytes of the row there.

        `back`: the number of places to an earlier place, which the reader must read again.
        """
        number = min(back, _MOST_BACK) << _PLACE_BITS | place
        text = struct.pack(_CURSOR, bytes.fromhex(journal), number, mark)
        sealed = self._cursor.encrypt(text, [kind.encode()])
        return base64.urlsafe_b64encode(sealed).decode()

    def place(self, journal: str, kind: str, cursor: str) -> tuple[int, bytes, int]:
        """Return the place, the mark, and the way back. Raises BadCursor or StaleCursor."""
        if len(cursor) != _CURSOR_LENGTH:
            raise BadCursor  # base64 skips some characters, so there are longer spellings
        try:
            sealed = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
            text = self._cursor.decrypt(sealed, [kind.encode()])
            owner, number, mark = struct.unpack(_CURSOR, text)
        except (ValueError, InvalidTag, struct.error) as exc:
            raise BadCursor from exc
        if owner.hex() != journal:
            raise StaleCursor
        return number & (1 << _PLACE_BITS) - 1, bytes(mark), number >> _PLACE_BITS

    def seal_secret(self, owner: str, secret: Secret, key: bytes | None = None) -> str:
        """Return a secret encrypted, as text. Only `unseal` with the same `owner` returns it.

        `key`: a key of the key file; None: the key is derived from the configured secret.
        """
        cipher = self._subscription if key is None else AESSIV(key)
        sealed = cipher.encrypt(secret.reveal().encode(), [owner.encode()])
        return ("" if key is None else _UNDER_KEY) + base64.b64encode(sealed).decode()

    @staticmethod
    def needs_key(sealed: str) -> bool:
        """Return whether a sealed secret needs a key of the key file."""
        return sealed.startswith(_UNDER_KEY)

    def unseal(self, owner: str, sealed: str, key: bytes | None) -> Secret | None:
        """Return the secret of an owner; None: it needs a key that is missing.

        Raises InvalidTag for another owner or key.
        """
        cipher: AESSIV | None = self._subscription
        if self.needs_key(sealed):
            cipher = None if key is None else AESSIV(key)
        if cipher is None:
            return None
        part = base64.b64decode(sealed.removeprefix(_UNDER_KEY))
        return Secret(cipher.decrypt(part, [owner.encode()]).decode())

    def begin_generation(self, generation: str, *, first: bool) -> None:
        """Make and read the delivery ids of this generation of the journal only.

        `generation` is hexadecimal. A restored journal uses the numbers of lost deliveries again.
        """
        self._generation = 0 if first else int(generation[:16], 16)

    def delivery_id(self, number: int) -> str:
        """Return the public id of a delivery. Its number would reveal how many there are."""
        block = struct.pack(">QQ", self._generation, number)
        return self._delivery.encryptor.update(block).hex()

    def delivery_number(self, id_: str) -> int | None:
        """Return the number of the delivery with that public id; None: it is not such an id."""
        if not _DELIVERY_ID.fullmatch(id_):
            return None
        block = self._delivery.decryptor.update(bytes.fromhex(id_))
        generation, number = struct.unpack(">QQ", block)
        return int(number) if generation == self._generation else None


class _Block:
    """AES on single blocks: a permutation of 16 bytes that needs the key."""

    def __init__(self, key: bytes) -> None:
        cipher = Cipher(AES(key), ECB())  # noqa: S305 - one block, and no two of them are alike
        self.encryptor, self.decryptor = cipher.encryptor(), cipher.decryptor()
