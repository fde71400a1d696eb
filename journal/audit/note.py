"""Signed notes and checkpoints: c2sp.org/signed-note, tlog-checkpoint and tlog-cosignature."""

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .tree import HASH_SIZE

_DASH = "\u2014 "
_ID = 4
_KEY = 32
_TIME = ">Q"
#: Key names: not empty, without space and plus.
_NAME = re.compile(r"[^\s+]+")
_SIZE = re.compile(r"0|[1-9][0-9]*")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
#: A note with more signatures is not read.
_MOST_SIGNATURES = 100


class Algorithm(IntEnum):
    """The signature types of a key; the first byte of its encoding."""

    #: A signature of the text. The log's key makes these.
    ED25519 = 0x01
    #: A signature of the text and of a time. Epoch keys and witnesses make these.
    COSIGNATURE = 0x04


class VerifierKey(msgspec.Struct, frozen=True):
    """A public key with a name. `str` is its C2SP encoding, `name+id+key` (a vkey)."""

    name: str
    algorithm: Algorithm
    #: 32 bytes.
    public: bytes

    @staticmethod
    def parse(text: str) -> "VerifierKey":
        """Read a vkey. Raises ValueError."""
        name, _, rest = text.partition("+")
        id_, _, encoded = rest.partition("+")
        data = _decoded(encoded)
        if not _NAME.fullmatch(name) or len(data) != 1 + _KEY or data[0] not in list(Algorithm):
            raise ValueError("not a verifier key of Ed25519")
        key = VerifierKey(name, Algorithm(data[0]), data[1:])
        if id_ != key.id.hex():
            raise ValueError("the key id does not fit the key")
        return key

    @property
    def id(self) -> bytes:
        """The four bytes that signatures have, after the name."""
        named = f"{self.name}\n".encode() + bytes([self.algorithm]) + self.public
        return hashlib.sha256(named).digest()[:_ID]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_encoded(bytes([self.algorithm]) + self.public)}"


class Signature(msgspec.Struct, frozen=True):
    """A signature line of a note."""

    name: str
    key_id: bytes
    #: For cosignatures, the time in seconds since the epoch stands in the first eight bytes.
    data: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {_encoded(self.key_id + self.data)}\n"


class Verified(NamedTuple):
    """A signature that is right."""

    #: The time it states, in seconds since the epoch. None: this algorithm states no time.
    at: int | None


class Note(msgspec.Struct, frozen=True):
    """A text with signatures. `str` is its encoding."""

    #: Ends with a newline.
    text: str
    signatures: tuple[Signature, ...]

    @staticmethod
    def parse(text: str) -> "Note":
        """Read a note. No signature is verified. Raises ValueError."""
        if _CONTROL.search(text) or not text.endswith("\n"):
            raise ValueError("not a note: a control character, or no newline at the end")
        body, blank, lines = text.rpartition("\n\n")
        signatures = tuple(_signature(line) for line in lines.split("\n")[:-1])
        if not blank or not 0 < len(signatures) <= _MOST_SIGNATURES:
            raise ValueError("not a note: there is no signature, or too many")
        return Note(f"{body}\n", signatures)

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"

    def verify(self, key: VerifierKey) -> Verified | None:
        """Check the signatures of a key. None: there is none. Raises ValueError if one is wrong."""
        its = [one for one in self.signatures if (one.name, one.key_id) == (key.name, key.id)]
        times = [_checked(key, self.text, one.data) for one in its]
        return Verified(times[0]) if times else None


class SigningKey:
    """A private key with a name."""

    def __init__(self, name: str, algorithm: Algorithm, seed: bytes) -> None:
        """`seed` has 32 random bytes (RFC 8032, section 5.1.5)."""
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(name, algorithm, self._private.public_key().public_bytes_raw())

    def sign(self, text: str, at: float) -> Signature:
        """Sign the text of a note. `at`, in seconds since the epoch, goes into cosignatures."""
        key = self.verifier
        timed = key.algorithm is Algorithm.COSIGNATURE
        time = int(at) if timed else None
        data = self._private.sign(_signed(text, time))
        return Signature(
            key.name, key.id, data if time is None else struct.pack(_TIME, time) + data
        )


class Checkpoint(msgspec.Struct, frozen=True):
    """The state of a log. `str` is the text of its note: three lines, no extension lines."""

    #: The name of the log.
    origin: str
    #: How many leaves it has.
    size: int
    #: 32 bytes.
    root: bytes

    @staticmethod
    def parse(text: str) -> "Checkpoint":
        """Read the text of a note. Raises ValueError."""
        match text.split("\n"):
            case [origin, size, root, ""] if origin and _SIZE.fullmatch(size):
                checkpoint = Checkpoint(origin, int(size), _decoded(root))
                if len(checkpoint.root) == HASH_SIZE and str(checkpoint) == text:
                    return checkpoint
        raise ValueError("not a checkpoint: origin, size and root, one a line")

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{_encoded(self.root)}\n"

    def sign(self, keys: Sequence[SigningKey], at: float) -> Note:
        """Return a note with one signature of each key. `at` is in seconds since the epoch."""
        text = str(self)
        return Note(text, tuple(key.sign(text, at) for key in keys))


def split_notes(text: str) -> Iterator[str]:
    """Yield the notes of a file that has one after another, as `cat` would write them.

    Blank lines between them are skipped. What is no note is yielded, too.
    """
    note: list[str] = []
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        ended = bool(note) and note[-1].startswith(_DASH) and not line.startswith(_DASH)
        if ended:
            yield "".join(note)
            note = []
        if note or line != "\n":
            note.append(line)
    if note:
        yield "".join(note)


def _signature(line: str) -> Signature:
    dash, name, encoded = line[: len(_DASH)], *line[len(_DASH) :].partition(" ")[::2]
    data = _decoded(encoded)
    if dash != _DASH or not _NAME.fullmatch(name) or len(data) <= _ID:
        raise ValueError("not a note: a signature line is damaged")
    return Signature(name, data[:_ID], data[_ID:])


def _signed(text: str, time: int | None) -> bytes:
    """Return the bytes that are signed."""
    return (text if time is None else f"cosignature/v1\ntime {time}\n{text}").encode()


def _checked(key: VerifierKey, text: str, data: bytes) -> int | None:
    """Return the time of a right signature. Raises ValueError."""
    time = None
    if key.algorithm is Algorithm.COSIGNATURE:
        begin = struct.calcsize(_TIME)
        time, data = int.from_bytes(data[:begin], "big"), data[begin:]
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(data, _signed(text, time))
    except InvalidSignature:
        raise ValueError(f"the signature of {key.name} is wrong") from None
    return time


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
