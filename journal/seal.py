"""Seals the secret parts of rows under keys that are destroyed on time, and opens them.

Pure: keys and random bytes are arguments. A part is AES-256-GCM under the key of its kind and
period (NIST SP 800-38D; random nonces of 96 bits). It opens only in its own row, column and
journal, and only while its key exists. Without the key it is erased, in backups too.
"""

import base64
import struct
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.clock import rfc3339
from core.secret import MASK
from core.signing import make_hmac


class Kind(StrEnum):
    """The kind of a sealed part. Each has keys of its own."""

    CODES = "codes"  # text, code and links of an event, and the answers of sinks
    PEOPLE = "people"  # phone numbers
    RAW = "raw"  # callbacks, byte for byte
    QUARANTINE = "quarantine"


class Why(StrEnum):
    """The reason to open a sealed part."""

    DELIVERY = "delivery"  # an attempt at a sink that gets it in clear
    SHOW = "show"  # an API call shows one event
    LIST = "list"
    STREAM = "stream"
    WAIT = "wait"
    CONSUMER = "consumer"
    EXPLAIN = "explain"  # an API call explains what happened to an event
    RAW = "raw"  # an API call shows the callback of an event
    QUARANTINE = "quarantine"  # a quarantined callback is shown or read again
    ANSWER = "answer"  # an API call shows the answer of a sink
    FILTER = "filter"  # a `when` names the part
    JOIN = "join"  # an order or a copy adds to a stored event
    ORDER = "order"  # the number of an order
    LINE = "line"  # `ordered_by` names the part


class PeriodKeys(Protocol):
    """The keys of each kind, by period. Calls come from several threads.

    A period is its start, in minutes since 1970. A key has 32 bytes.
    """

    def current(self, kind: Kind, at: float) -> tuple[int, bytes]:
        """Return the period at a time, in seconds since the epoch, and its key."""
        ...

    def get(self, kind: Kind, period: int) -> bytes | None:
        """Return the key of a period. None: it was destroyed, or is missing."""
        ...

    def periods(self, kind: Kind) -> Sequence[int]:
        """Return the periods with a key, newest first."""
        ...

    def entry(self, name: str) -> bytes | None:
        """Return a key without a period, such as `order`."""
        ...

    def dedupe(self, at: float) -> Sequence[bytes]:
        """Return the living keys of dedupe keys; the one for `at` first."""
        ...


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of a sealed event."""

    #: Its JSON, with `***` in place of what is sealed.
    body: bytes
    #: The sealed parts; None: nothing of that kind was there.
    codes: bytes | None
    people: bytes | None
    #: Its subject, or `***` in place of a number.
    subject: str
    #: The keyed index of its number.
    number: str | None


class StoredBody(msgspec.Struct, frozen=True):
    """An event as it was stored, sealed or in clear."""

    id: str
    body: bytes
    codes: bytes | None = None
    people: bytes | None = None
    #: When content was erased: seconds since the epoch.
    erased_at: float | None = None


class Opened(NamedTuple):
    """An event with the requested parts in clear."""

    body: bytes
    #: The kinds with content that is erased. Its fields are null.
    erased: tuple[Kind, ...] = ()


#: The sealed fields of `data`, by kind. Numbers also stand in `subject`.
_FIELDS: Final = {
    Kind.CODES: ("text", "code", "urls"),
    Kind.PEOPLE: ("to", "from", "previous_to"),
}
_SUBJECT: Final = "number/"
#: Version, period and nonce come before the encrypted part.
_VERSION, _HEAD, _NONCE = 1, ">BI", 12
_BEGIN = struct.calcsize(_HEAD)
#: Nonces of one call of `chance`: each call to the system releases the interpreter's lock.
_NONCES = 341
#: Keys that stay ready for use. With more, all are made ready again.
_READY = 512
#: In place of a part with a destroyed key.
_GONE = b""
#: A keyed index: the period, then this much of an HMAC.
_HASH = 8
#: An order of deliveries is replaced by this much of an HMAC.
_LINE_HASH = 16


class _Uses(NamedTuple):
    """The uses of one key."""

    cipher: AESGCM
    hash: Callable[[bytes], bytes]


class Opener:
    """Opens sealed parts, as long as their keys exist. `keys` None: all are erased."""

    def __init__(self, keys: PeriodKeys | None, *, journal: str) -> None:
        """`journal` is the identity of the journal."""
        self._keys = keys
        #: How many parts were opened, by reason.
        self.opened: Counter[Why] = Counter()
        self._bound = {kind: f"smshook seal 1|{journal}|{kind}|".encode() for kind in Kind}
        self._ready: dict[bytes, _Uses] = {}

    def open(self, stored: StoredBody, kinds: Collection[Kind], why: Why) -> Opened:
        """Return an event with these kinds in clear. Others are masked; what is erased is null.

        An event with erased content has the attribute `erasedtime`. If the time is not known, it
        is that of its acceptance.
        """
        if stored.codes is None and stored.people is None and stored.erased_at is None:
            return Opened(stored.body)
        event: dict[str, Any] | None = None
        erased: list[Kind] = []
        for kind, blob in ((Kind.CODES, stored.codes), (Kind.PEOPLE, stored.people)):
            if blob is None and stored.erased_at is None:
                continue
            clear = None
            if blob is not None:
                if kind not in kinds:
                    if self._key(kind, blob) is not None:
                        continue
                elif (part := self.open_part(kind, stored.id, blob, why)) is not None:
                    clear = msgspec.json.decode(part)
            event = msgspec.json.decode(stored.body) if event is None else event
            if clear is None:
                clear = dict.fromkeys(_masked(event, kind))
                if not clear:
                    continue
                erased.append(kind)
            _put(event, clear)
        if event is None:
            return Opened(stored.body)
        if erased or stored.erased_at is not None:
            at = stored.erased_at
            event["erasedtime"] = event["recordedtime"] if at is None else rfc3339(at)
        return Opened(msgspec.json.encode(event), tuple(erased))

    def open_part(self, kind: Kind, id_: str, blob: bytes, why: Why) -> bytes | None:
        """Return a sealed part of the row with this id. None: it is erased, or of another row."""
        key = self._key(kind, blob)
        if key is None:
            return None
        self.opened[why] += 1
        nonce, part = blob[_BEGIN : _BEGIN + _NONCE], blob[_BEGIN + _NONCE :]
        try:
            return self._uses(key).cipher.decrypt(nonce, part, self._bound[kind] + id_.encode())
        except InvalidTag:
            return None

    def find_number(
        self, number: str, *, since: float | None = None, until: float | None = None
    ) -> Sequence[str]:
        """Return the keyed indexes that a number may have between two times, newest first."""
        keys, found = self._keys, []
        for period in () if keys is None else keys.periods(Kind.PEOPLE):
            start = period * 60
            if until is not None and start >= until:
                continue
            key = None if keys is None else keys.get(Kind.PEOPLE, period)
            if key is not None:
                found.append(self._index(number, period, key))
            if since is not None and start <= since:
                break
        return found

    def _key(self, kind: Kind, blob: bytes) -> bytes | None:
        """Return the key of a sealed part, if it exists."""
        if self._keys is None or len(blob) < _BEGIN + _NONCE:
            return None
        version, period = struct.unpack_from(_HEAD, blob)
        return self._keys.get(kind, period) if version == _VERSION else None

    def _index(self, number: str, period: int, key: bytes) -> str:
        # The period comes first: the index grows at its end. The text is never like a number in
        # clear, which begins with a plus.
        hashed = self._uses(key).hash(number.encode())[:_HASH]
        return base64.urlsafe_b64encode(struct.pack(">I", period) + hashed).decode()

    def _uses(self, key: bytes) -> "_Uses":
        uses = self._ready.get(key)
        if uses is None:
            if len(self._ready) >= _READY:
                self._ready.clear()  # also forgets destroyed keys
            # The key of the hashes is not the key of the cipher.
            uses = _Uses(AESGCM(key), make_hmac(make_hmac(key)(b"smshook hash 1")))
            self._ready[key] = uses
        return uses


class Sealer(Opener):
    """Seals parts of rows, and opens them. Its calls may come from several threads.

    `chance(size)` returns random bytes; it is called from several threads, too.
    """

    _keys: PeriodKeys

    def __init__(self, keys: PeriodKeys, *, journal: str, chance: Callable[[int], bytes]) -> None:
        super().__init__(keys, journal=journal)
        self._chance = chance
        #: `pop` and `extend` are each one step for other threads: no nonce is used twice.
        self._nonces: list[bytes] = []

    def seal(
        self, id_: str, event: Mapping[str, Any], at: float, *, was: StoredBody | None = None
    ) -> Sealed:
        """Seal an event, given as plain JSON values, that was recorded at `at`.

        `was`: the stored event that this one replaces. Its periods stay, so that a changed event
        is erased when the first one would be.
        """
        data = dict(event["data"])
        masked = {**event, "data": data}
        stored = was is not None
        beside = (None, None) if was is None else (was.codes, was.people)
        codes, people = (_take(data, names) for names in _FIELDS.values())
        number = people.get("to")
        subject = event["subject"]
        if subject.startswith(_SUBJECT):
            people["subject"] = subject
            masked["subject"] = subject = MASK
        its_codes = its_people = index = None
        if codes:
            keyed = self._period(Kind.CODES, at, beside[0], stored=stored)
            its_codes = self._seal(Kind.CODES, id_, msgspec.json.encode(codes), keyed) or _GONE
        if people:
            keyed = self._period(Kind.PEOPLE, at, beside[1], stored=stored)
            its_people = self._seal(Kind.PEOPLE, id_, msgspec.json.encode(people), keyed) or _GONE
            if number is not None and keyed is not None:
                index = self._index(number, *keyed)
        return Sealed(
            body=msgspec.json.encode(masked),
            codes=its_codes,
            people=its_people,
            subject=subject,
            number=index,
        )

    def seal_part(self, kind: Kind, id_: str, part: bytes, at: float) -> bytes:
        """Seal a part of the row with this id, under the key of a time."""
        return self._encrypt(kind, id_, part, *self._keys.current(kind, at))

    def seal_beside(
        self, kind: Kind, id_: str, part: bytes, at: float, beside: bytes | None
    ) -> bytes | None:
        """Seal a part that is erased together with `beside`, a sealed part of the same kind.

        None for `beside`: with the stored rows of the time `at`. None: they are erased already.
        """
        return self._seal(kind, id_, part, self._period(kind, at, beside, stored=True))

    def index_number(self, number: str, at: float) -> str:
        """Return the keyed index of a number at a time."""
        return self._index(number, *self._keys.current(Kind.PEOPLE, at))

    def hash_line(self, ordering: str) -> str:
        """Return a keyed hash in place of the `ordering` of a delivery."""
        key = self._keys.entry("order")
        if key is None:
            raise LookupError("the key file has no entry 'order'")
        hashed = self._uses(key).hash(ordering.encode())[:_LINE_HASH]
        return base64.urlsafe_b64encode(hashed).decode()

    def _period(
        self, kind: Kind, at: float, beside: bytes | None, *, stored: bool
    ) -> tuple[int, bytes] | None:
        """Return the period and key for a part. None: the key of a stored row is destroyed."""
        if not stored:
            return self._keys.current(kind, at)
        if beside is not None:
            (_, period) = struct.unpack_from(_HEAD, beside)
        else:
            before = (one for one in self._keys.periods(kind) if one * 60 <= at)
            period = next(before, None)
        key = None if period is None else self._keys.get(kind, period)
        return None if key is None else (period, key)

    def _seal(
        self, kind: Kind, id_: str, part: bytes, keyed: tuple[int, bytes] | None
    ) -> bytes | None:
        return None if keyed is None else self._encrypt(kind, id_, part, *keyed)

    def _encrypt(self, kind: Kind, id_: str, part: bytes, period: int, key: bytes) -> bytes:
        nonce = self._nonce()
        sealed = self._uses(key).cipher.encrypt(nonce, part, self._bound[kind] + id_.encode())
        return struct.pack(_HEAD, _VERSION, period) + nonce + sealed

    def _nonce(self) -> bytes:
        while True:
            try:
                return self._nonces.pop()
            except IndexError:
                fetched = self._chance(_NONCES * _NONCE)
                starts = range(0, len(fetched), _NONCE)
                self._nonces.extend([fetched[i : i + _NONCE] for i in starts])


def _take(data: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Mask these fields of `data`, and return their values. Null and `[]` stay."""
    taken: dict[str, Any] = {}
    for name in names:
        value = data.get(name)
        if value is None:
            continue
        if isinstance(value, str):
            data[name] = MASK
        elif value:
            data[name] = [MASK]
        else:
            continue
        taken[name] = value
    return taken


def _put(event: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Put the values of sealed fields back where they were."""
    for name, value in values.items():
        (event if name == "subject" else event["data"])[name] = value


def _masked(event: Mapping[str, Any], kind: Kind) -> Sequence[str]:
    """Return the names of the masked fields of a kind."""
    data = event["data"]
    names = [name for name in _FIELDS[kind] if data.get(name) in (MASK, [MASK])]
    if kind is Kind.PEOPLE and event["subject"] == MASK:
        names.append("subject")
    return names
