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
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import replace

from core.clock import rfc3339
from core.erasure import CODES, CONTENT_NAMES, NUMBER, PEOPLE, SUBJECT
from core.errors import Unavailable
from core.event import Event, SmsReceived
from core.paths import Path
from core.secret import MASK
from core.signing import make_hmac


class Kind(StrEnum):
    """The kind of a sealed part. Each has keys of its own."""

    CODES = "codes"  # text, code and links of an event, and the answers of sinks
    PEOPLE = "people"  # phone numbers
    RAW = "raw"  # callbacks, byte for byte
    QUARANTINE = "quarantine"


class Reason(StrEnum):
    """The reason to open a sealed part."""

    DELIVERY = "delivery"  # an attempt at a sink that gets it in clear
    SHOW = "show"  # an API call shows one event
    REVEAL = "reveal"  # an API call shows the codes of one event to a key that sees them masked
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
    REPLAY = "replay"  # an event is sent again: its place in line, and what its sinks may see
    ERASE = "erase"  # a search for the events that hold a number, to erase them
    PROVE = "prove"  # a command hands an event to an auditor
    COMPARE = "compare"  # a command compares the journal with its audit log
    LINE = "line"  # `ordered_by` names the part


class PeriodKeys(Protocol):
    """The keys of each kind, by period. Calls come from several threads.

    A period is its start, in minutes since 1970. A key has 32 bytes.
    """

    @property
    def is_new(self) -> bool:
        """Whether this start made them: there was no key file."""
        ...

    def current(self, kind: Kind, at: float) -> tuple[int, bytes]:
        """Return the period at a time, in seconds since the epoch, and its key."""
        ...

    def own(self, kind: Kind, at: float) -> tuple[int, bytes] | None:
        """Return the period that covers a time, and its key. None: it was destroyed."""
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


class MissingKeys:
    """The keys of a journal whose key file is missing: nothing is sealed, and nothing opens."""

    is_new = False

    def current(self, _kind: Kind, _at: float) -> tuple[int, bytes]:
        raise Unavailable("the key file is missing")

    own = current

    def get(self, _kind: Kind, _period: int, /) -> bytes | None:
        return None

    def periods(self, _kind: Kind) -> Sequence[int]:
        return ()

    def entry(self, _name: str) -> None:
        return None

    def dedupe(self, _at: float) -> Sequence[bytes]:
        return ()


class Sealed(msgspec.Struct, frozen=True):
    """The columns of a sealed event."""

    #: Its JSON, with `***` in place of what is sealed.
    body: bytes
    #: The sealed parts; None: nothing of that kind was there.
    codes: bytes | bytearray | None
    people: bytes | bytearray | None
    #: Its subject, with the keyed index in place of a number.
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


class Opening(NamedTuple):
    """The kinds that a reader gets in clear, and why."""

    kinds: Collection[Kind]
    why: Reason


class Opened(NamedTuple):
    """An event with the requested parts in clear."""

    body: bytes
    #: The kinds with content that is erased. Its fields are null.
    erased: tuple[Kind, ...] = ()


#: The sealed fields of `data`, by kind. Numbers also stand in `subject`.
_FIELDS: Final = {
    kind: tuple(path[1] for path in paths if path != SUBJECT)
    for kind, paths in ((Kind.CODES, CODES), (Kind.PEOPLE, PEOPLE))
}
#: Version, period and nonce come before the encrypted part.
_VERSION, _HEAD, _NONCE = 1, struct.Struct(">BI"), 12
_BEGIN = _HEAD.size
#: Nonces of one call of `chance`: each call to the system releases the interpreter's lock.
_NONCES = 341
#: Keys that stay ready for use. With more, all are made ready again.
_READY = 512
#: In place of a part with a destroyed key: it opens as erased.
GONE = b""
_encode = msgspec.json.Encoder().encode
#: A keyed index: the period, then this much of an HMAC.
_HASH = 8
#: An order of deliveries is replaced by this much of an HMAC.
_LINE_HASH = 16


class _Uses(NamedTuple):
    """The uses of one key."""

    encrypt: Callable[[bytes, bytes, bytes], bytes]
    decrypt: Callable[[bytes, bytes, bytes], bytes]
    hash: Callable[[bytes], bytes]


#: Takes the id of a row, a part, and a time; returns the sealed part.
Seal = Callable[[str, bytes, float], bytes | bytearray]


class _Codes(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The codes of a message. Null and `[]` are left out."""

    text: str | None = None
    code: str | None = None
    urls: tuple[str, ...] | None = ()


class _People(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The numbers of a message. Null is left out."""

    to: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")


#: The sealed fields of a message. Each event of `SmsReceived` is one.
_of_message = attrgetter("text", "code", "urls", "to", "from_")


class _AtTimes(NamedTuple):
    """`seal_part` and `index_number` for times that are known."""

    seal: Seal
    index_number: Callable[[str, float], str]


class Opener:
    """Opens sealed parts, as long as their keys exist. `keys` None: all are erased."""

    def __init__(self, keys: PeriodKeys | None, *, journal: str) -> None:
        """`journal` is the identity of the journal."""
        self._keys = keys
        #: How many parts were opened, by reason.
        self.opened: Counter[Reason] = Counter()
        self._bound = {kind: f"smshook seal 1|{journal}|{kind}|".encode() for kind in Kind}
        self._ready: dict[bytes, _Uses] = {}

    def open(self, stored: StoredBody, opening: Opening | None) -> Opened:
        """Return an event with some kinds in clear. Others are masked; what is erased is null.

        `opening` None: nothing is opened.

        An event with erased content has the attribute `erasedtime`. If the time is not known, it
        is that of its acceptance.
        """
        if self._keys is None and stored.codes is None and stored.people is None:
            return Opened(stored.body)  # in clear, or erased whole: the body says all
        values = {kind: self._values(stored, kind, opening) for kind in _FIELDS}
        if not any(its is None or its for its in values.values()):
            return Opened(stored.body)
        event: dict[str, Any] = msgspec.json.decode(stored.body)
        masked = {kind: _masked(event, kind) for kind in values}
        erased = tuple(kind for kind, its in values.items() if its is None and masked[kind])
        for kind, its in values.items():
            _put(event, dict.fromkeys(masked[kind]) if its is None else its)
        at, data = stored.erased_at, event.pop("data")
        if at is not None:
            event["erasedtime"] = rfc3339(at)
        elif erased:
            event["erasedtime"] = event["recordedtime"]
        return Opened(msgspec.json.encode({**event, "data": data}), erased)

    def unmask(self, stored: StoredBody, opening: Opening) -> bytes | None:
        """Return an event with some kinds in clear. Others stay masked, even if they are erased.

        None: a requested part is erased.
        """
        event: dict[str, Any] = msgspec.json.decode(stored.body)
        for kind in opening.kinds:
            its = self._values(stored, kind, opening)
            if its is None or (not its and _masked(event, kind)):
                return None
            _put(event, its)
        return msgspec.json.encode(event)

    def _values(
        self, stored: StoredBody, kind: Kind, opening: Opening | None
    ) -> Mapping[str, Any] | None:
        """Return the values of a kind, or {} if it is not opened. None: it is erased."""
        blob = stored.codes if kind is Kind.CODES else stored.people
        if blob is None:
            return {} if stored.erased_at is None else None
        if opening is None or kind not in opening.kinds:
            return {} if self.lives(kind, blob) else None
        part = self.open_part(kind, stored.id, blob, opening.why)
        return None if part is None else dict(msgspec.json.decode(part))

    def open_part(self, kind: Kind, id_: str, blob: bytes, why: Reason) -> bytes | None:
        """Return a sealed part of the row with this id. None: it is erased, or of another row."""
        key = self._key(kind, blob)
        if key is None:
            return None
        self.opened[why] += 1
        nonce, part = blob[_BEGIN : _BEGIN + _NONCE], blob[_BEGIN + _NONCE :]
        try:
            return self._uses(key).decrypt(nonce, part, self._bound[kind] + id_.encode())
        except InvalidTag:
            return None

    def fits(self, kind: Kind, id_: str, blob: bytes) -> bool:
        """Return whether a sealed part opens, or has no key. It is only tested: no content leaves.

        False: the key of its period is another one, or it was changed.
        """
        key = self._key(kind, blob)
        if key is None:
            return True
        nonce, part = blob[_BEGIN : _BEGIN + _NONCE], blob[_BEGIN + _NONCE :]
        try:
            self._uses(key).decrypt(nonce, part, self._bound[kind] + id_.encode())
        except InvalidTag:
            return False
        return True

    def lives(self, kind: Kind, blob: bytes) -> bool:
        """Return whether the key of a sealed part exists."""
        return self._key(kind, blob) is not None

    def derive(self, use: str) -> bytes | None:
        """Return the key for a use. It has no period. None: the keys are missing."""
        entry = None if self._keys is None else self._keys.entry("order")
        return None if entry is None else make_hmac(entry)(f"smshook {use} 1".encode())

    def find_number(
        self, number: str, *, since: float | None = None, until: float | None = None
    ) -> Sequence[tuple[float, str]]:
        """Return the keyed indexes that a number may have between two times, newest first.

        Each comes with the start of its period, in seconds since the epoch.
        """
        keys, found = self._keys, []
        for period in () if keys is None else keys.periods(Kind.PEOPLE):
            start = period * 60.0
            if until is not None and start >= until:
                continue
            key = None if keys is None else keys.get(Kind.PEOPLE, period)
            if key is not None:
                found.append((start, self._index(number, period, key)))
            if since is not None and start <= since:
                break
        return found

    def _key(self, kind: Kind, blob: bytes) -> bytes | None:
        """Return the key of a sealed part, if it exists."""
        period = period_of(blob)
        if self._keys is None or period is None:
            return None
        return self._keys.get(kind, period)

    def _index(self, number: str, period: int, key: bytes) -> str:
        # The period comes first: the index grows at its end. The text is never like a number in
        # clear, which begins with a plus.
        return (_head(period)[1:] + self._uses(key).hash(number.encode())[:_HASH]).hex()

    def _uses(self, key: bytes) -> "_Uses":
        uses = self._ready.get(key)
        if uses is None:
            if len(self._ready) >= _READY:
                self._ready.clear()  # also forgets destroyed keys
            # The key of the hashes is not the key of the cipher.
            cipher = AESGCM(key)
            hash_ = make_hmac(make_hmac(key)(b"smshook hash 1"))
            uses = _Uses(cipher.encrypt, cipher.decrypt, hash_)
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
        self._hash_line: Callable[[bytes], bytes] | None = None
        #: The period and key of each kind that were used last, and what seals with them.
        self._made: dict[Kind, tuple[tuple[int, bytes], _AtTimes]] = {}

    def seal(
        self, id_: str, event: Mapping[str, Any], at: float, *, was: StoredBody | None = None
    ) -> Sealed:
        """Seal an event, given as plain JSON values, that was recorded at `at`.

        `was`: the stored event that this one replaces. Its periods stay, so that a changed event
        is erased when the first one would be.
        """
        stored = was is not None
        codes, people = (None, None) if was is None else (was.codes, was.people)
        beside = {Kind.CODES: codes, Kind.PEOPLE: people}
        return self._sealed(
            id_, event, lambda kind: self._period(kind, at, beside[kind], stored=stored)
        )

    def _sealed(
        self,
        id_: str,
        event: Mapping[str, Any],
        period: Callable[[Kind], tuple[int, bytes] | None],
    ) -> Sealed:
        """Seal an event. `period` returns the period and key of a kind; None: it is erased."""
        data = dict(event["data"])
        masked = {**event, "data": data}
        codes, people = (_take(data, names) for names in _FIELDS.values())
        number = people.get("to")
        subject = event["subject"]
        if str(subject).startswith(NUMBER):  # null if it was erased
            people["subject"], masked["subject"], subject = subject, MASK, f"{NUMBER}{MASK}"
        its_codes = its_people = index = None
        if codes:
            keyed = period(Kind.CODES)
            its_codes = self._seal(Kind.CODES, id_, msgspec.json.encode(codes), keyed) or GONE
        if people:
            keyed = period(Kind.PEOPLE)
            its_people = self._seal(Kind.PEOPLE, id_, msgspec.json.encode(people), keyed) or GONE
            if keyed is not None:
                index = None if number is None else self._index(number, *keyed)
                if "subject" in people:
                    its = self._index(people["subject"].removeprefix(NUMBER), *keyed)
                    subject = f"{NUMBER}{its}"
        return Sealed(
            body=msgspec.json.encode(masked),
            codes=its_codes,
            people=its_people,
            subject=subject,
            number=index,
        )

    def seal_new(self, events: Sequence[tuple[Event, float]]) -> Sequence[Sealed]:
        """Seal new events, each with the time at which it was recorded.

        It returns what `seal` returns of each. For messages that takes half the time: keys are
        looked up once, and no event is taken apart.
        """
        times = [at for _, at in events]
        first, last = (min(times), max(times)) if times else (0.0, 0.0)
        of_codes: _AtTimes | None = None
        of_people: _AtTimes | None = None
        sealed: list[Sealed] = []
        for event, at in events:
            id_, subject, data = event.id, event.subject, event.data
            if not isinstance(data, SmsReceived) or subject.startswith(NUMBER):
                sealed.append(self.seal(id_, msgspec.to_builtins(event), at))
                continue
            text, code, urls, to, from_ = _of_message(data)
            codes = people = number = None
            if text is not None or code is not None or urls:
                of_codes = of_codes or self._at(Kind.CODES, first, last)
                codes = of_codes.seal(id_, _encode(_Codes(text, code, urls)), at)
            if to is not None or from_ is not None:
                of_people = of_people or self._at(Kind.PEOPLE, first, last)
                people = of_people.seal(id_, _encode(_People(to, from_)), at)
                number = None if to is None else of_people.index_number(to, at)
            masked = replace(
                data,
                text=None if text is None else MASK,
                code=None if code is None else MASK,
                urls=(MASK,) if urls else urls,
                to=None if to is None else MASK,
                from_=None if from_ is None else MASK,
            )
            body = _encode(replace(event, data=masked))
            sealed.append(Sealed(body, codes, people, subject, number))
        return sealed

    def make_seal(self, kind: Kind, times: Sequence[float]) -> Seal:
        """Return `seal_part` of a kind for these times, at least one. It takes half the time.

        Use it at once: it does not see that a key is destroyed.
        """
        return self._at(kind, min(times), max(times)).seal

    def _at(self, kind: Kind, first: float, last: float) -> _AtTimes:
        keyed = self._keys.current(kind, first)
        if keyed != self._keys.current(kind, last):  # a period ends between them
            return _AtTimes(partial(self.seal_part, kind), self.index_number)
        made = self._made.get(kind)
        if made is None or made[0] != keyed:
            made = self._made[kind] = keyed, self._make(kind, *keyed)
        return made[1]

    def _make(self, kind: Kind, period: int, key: bytes) -> _AtTimes:
        # A bytearray plus bytes is a bytearray, which sqlite3 stores faster than bytes.
        head, bound, uses = bytearray(_head(period)), self._bound[kind], self._uses(key)
        encrypt, hash_, pop, begin = uses.encrypt, uses.hash, self._nonces.pop, head[1:].hex()

        def seal(id_: str, part: bytes, _at: float) -> bytearray:
            try:
                nonce = pop()
            except IndexError:
                nonce = self._nonce()
            return head + nonce + encrypt(nonce, part, bound + id_.encode())

        def index(number: str, _at: float) -> str:
            return begin + hash_(number.encode())[:_HASH].hex()

        return _AtTimes(seal, index)

    def seal_clear(self, stored: StoredBody, at: float) -> Sealed:
        """Seal an event that was stored in clear at `at`, under the keys of that time.

        What a destroyed key would have sealed is erased.
        """
        event = msgspec.json.decode(stored.body)
        return self._sealed(stored.id, event, lambda kind: self._keys.own(kind, at))

    def seal_own(self, kind: Kind, id_: str, part: bytes, at: float) -> bytes:
        """Seal a part that was stored in clear at `at`, under the key of that time.

        If that key was destroyed, the result opens as erased.
        """
        return self._seal(kind, id_, part, self._keys.own(kind, at)) or GONE

    def seal_part(self, kind: Kind, id_: str, part: bytes, at: float) -> bytes:
        """Seal a part of the row with this id, under the key of a time."""
        return self._encrypt(kind, id_, part, *self._keys.current(kind, at))

    def seal_beside(
        self, kind: Kind, id_: str, part: bytes, at: float, beside: bytes | None
    ) -> bytes | None:
        """Seal a part that is erased together with `beside`, a sealed part of the same kind.

        `beside` None: it is erased together with the stored rows of the time `at`. Returns None if
        they are erased already.
        """
        return self._seal(kind, id_, part, self._period(kind, at, beside, stored=True))

    def is_newest(self, kind: Kind, blob: bytes) -> bool:
        """Return whether a sealed part has the newest key."""
        return next(iter(self._keys.periods(kind)), None) == period_of(blob)

    def newest(self, kind: Kind, at: float) -> float:
        """Return a time of the newest period with a key, or `at` if that is later."""
        periods = self._keys.periods(kind)
        return max(at, periods[0] * 60.0) if periods else at

    def index_number(self, number: str, at: float) -> str:
        """Return the keyed index of a number at a time."""
        return self._index(number, *self._keys.current(Kind.PEOPLE, at))

    def dedupe(self, at: float) -> Sequence[bytes]:
        """Return the keys of dedupe keys; the one for `at` first."""
        return self._keys.dedupe(at)

    def hash_line(self, ordering: str) -> str:
        """Return a keyed hash in place of the `ordering` of a delivery."""
        if self._hash_line is None:
            key = self.derive("order of deliveries")
            if key is None:
                raise LookupError("the keys have no entry `order`")
            self._hash_line = make_hmac(key)
        hashed = self._hash_line(ordering.encode())[:_LINE_HASH]
        return base64.urlsafe_b64encode(hashed).decode()

    def _period(
        self, kind: Kind, at: float, beside: bytes | None, *, stored: bool
    ) -> tuple[int, bytes] | None:
        """Return the period and key for a part. None: the key of a stored row is destroyed."""
        if not stored:
            return self._keys.current(kind, at)
        if beside is not None:
            period = period_of(beside)
        else:
            before = (one for one in self._keys.periods(kind) if one * 60 <= at)
            period = next(before, None)
        if period is None:
            return None
        key = self._keys.get(kind, period)
        return None if key is None else (period, key)

    def _seal(
        self, kind: Kind, id_: str, part: bytes, keyed: tuple[int, bytes] | None
    ) -> bytes | None:
        return None if keyed is None else self._encrypt(kind, id_, part, *keyed)

    def _encrypt(self, kind: Kind, id_: str, part: bytes, period: int, key: bytes) -> bytes:
        nonce = self._nonce()
        sealed = self._uses(key).encrypt(nonce, part, self._bound[kind] + id_.encode())
        return _head(period) + nonce + sealed

    def _nonce(self) -> bytes:
        while True:
            try:
                return self._nonces.pop()
            except IndexError:
                fetched = self._chance(_NONCES * _NONCE)
                starts = range(0, len(fetched), _NONCE)
                self._nonces.extend([fetched[i : i + _NONCE] for i in starts])


def period_of(blob: bytes) -> int | None:
    """Return the period of a sealed part; None: it has another format."""
    if len(blob) < _BEGIN + _NONCE or blob[0] != _VERSION:
        return None
    return int.from_bytes(blob[1:_BEGIN])


def kinds_at(path: Path) -> Collection[Kind]:
    """Return the sealed kinds that the value at a path of an event may hold."""
    first, *below = path
    if first == "subject":
        return (Kind.PEOPLE,)
    if first != "data":
        return ()
    return [kind for kind, names in _FIELDS.items() if not below or below[0] in names]


def masked_paths(event: Mapping[str, Any]) -> Mapping[Kind, Sequence[Path]]:
    """Return the paths of the masked fields of a sealed event, by kind."""
    return {
        kind: [(name,) if name == "subject" else ("data", name) for name in _masked(event, kind)]
        for kind in _FIELDS
    }


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


@lru_cache(maxsize=_READY)
def _head(period: int) -> bytes:
    """Return the beginning of the parts of a period."""
    return _HEAD.pack(_VERSION, period)


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


def is_clear(stored: StoredBody) -> bool:
    """Return whether an event was stored with parts that are sealed today."""
    if stored.codes is not None or stored.people is not None:
        return False
    event = msgspec.json.decode(stored.body)
    taken = _take(dict(event["data"]), tuple(CONTENT_NAMES))
    return bool(taken) or str(event["subject"]).startswith(NUMBER)
