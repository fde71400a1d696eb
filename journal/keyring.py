"""The keys that seal the journal: one for each kind and period, in a file beside the journal."""

import base64
import binascii
import contextlib
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import Unavailable
from core.secret import Secret

from . import key_file
from .key_file import Damaged
from .links import follow_links
from .seal import Kind, MissingKeys

#: The kind of the keys of dedupe keys: one for each calendar month (UTC).
DEDUPE = "dedupe"
#: The entry that keys the order of deliveries. It has no period.
ORDER = "order"
#: The seed of the audit log's own key, and the kind of the seeds of its epochs (Ed25519, RFC 8032).
LOG, EPOCH = "log", "epoch"
#: A key exists for this many seconds before its period begins.
AHEAD = 300.0
DAY = 24 * 60
#: The first line of a key file.
KEY_FILE = "smshook keys 1"
_DESTROYED = "destroyed"
_KEY, _NONCE = 32, 12
#: Fields of a line: kind, start, minutes, root and wrapped key.
_FIELDS = 5
_NEVER = "-"
_INSTANT = "%Y-%m-%dT%H:%MZ"


class UnknownRoot(Exception):
    """Keys of the file are wrapped with a root key that is not configured."""

    def __init__(self, path: Path, fingerprints: Iterable[str]) -> None:
        names = ", ".join(sorted(set(fingerprints)))
        super().__init__(f"{path.name} needs the root key {names}: add it to seal.root")


class KeySpan(NamedTuple):
    """A period, in minutes since 1970; `end` is not part of it."""

    start: int
    end: int


class WrappedKey(msgspec.Struct, frozen=True):
    """A line of the key file."""

    #: Such as `codes`.
    kind: str
    #: None: an entry without period.
    span: KeySpan | None
    #: The fingerprint of the root key that wraps it.
    root: str
    wrapped: bytes

    @property
    def start(self) -> int | None:
        return None if self.span is None else self.span.start

    @property
    def name(self) -> str:
        """The first fields of the line. They are authenticated with the key."""
        if self.span is None:
            return f"{self.kind} {_NEVER} {_NEVER}"
        return f"{self.kind} {_written(self.span.start)} {self.span.end - self.span.start}"


class Epoch(NamedTuple):
    """An epoch of the audit log."""

    #: When it began, in minutes since 1970; and when it is to end.
    start: int
    end: int
    #: The seed of its key, 32 bytes.
    seed: bytes


class Root:
    """A root key: it wraps the keys of the file (AES-256-GCM, RFC 5116; HKDF, RFC 5869)."""

    def __init__(self, text: Secret, name: str = "smshook wrap 1") -> None:
        """`text` is used as it is written: base64 is not decoded."""

        def derived(use: str, length: int) -> bytes:
            hkdf = HKDF(algorithm=SHA256(), length=length, salt=None, info=use.encode())
            return hkdf.derive(text.reveal().encode())

        self._cipher = AESGCM(derived(name, _KEY))
        #: Eight hex digits that identify the root key, and reveal nothing of it.
        self.fingerprint = derived("smshook root fingerprint 1", 4).hex()

    def wrap(self, kind: str, span: KeySpan | None, key: bytes, nonce: bytes) -> WrappedKey:
        made = WrappedKey(kind, span, self.fingerprint, b"")
        wrapped = nonce + self._cipher.encrypt(nonce, key, made.name.encode())
        return msgspec.structs.replace(made, wrapped=wrapped)

    def unwrap(self, key: WrappedKey) -> bytes:
        """Return the key. Raises InvalidTag."""
        nonce, text = key.wrapped[:_NONCE], key.wrapped[_NONCE:]
        return self._cipher.decrypt(nonce, text, key.name.encode())


def own_root(secret: Secret) -> Root:
    """Return the key that wraps without root keys, from the secret of the server."""
    return Root(secret, "smshook audit 1")


class KeyFile(msgspec.Struct, frozen=True):
    """The content of the key file. It reveals no key."""

    #: By kind and start.
    keys: Mapping[tuple[str, int | None], WrappedKey] = {}
    #: By kind, the end of the last destroyed period, in minutes since 1970.
    destroyed: Mapping[str, int] = {}

    @staticmethod
    def read(path: Path) -> "KeyFile | None":
        """Return the content; None if there is no file. Raises Damaged and OSError."""
        text = key_file.read(path)
        if text is None:
            return None
        first, *lines = text.splitlines()
        if first != KEY_FILE:
            raise Damaged(path, "it is not a key file of this version of smshook")
        keys: dict[tuple[str, int | None], WrappedKey] = {}
        destroyed: dict[str, int] = {}
        try:
            for line in lines:
                if line.startswith(f"{_DESTROYED} "):
                    _, kind, until = line.split(" ")
                    destroyed[kind] = _read_minute(until)
                else:
                    key = _read_key(line)
                    keys[key.kind, key.start] = key
        except ValueError:
            raise Damaged(path, "a line is not a key") from None
        return KeyFile(keys, destroyed)

    @staticmethod
    def of_names(names: Iterable[str], root: str) -> "KeyFile":
        """Return keys with these names, without their content. `root` is the fingerprint of all."""
        keys = [_read_key(f"{name} {root} ") for name in names]
        return KeyFile({(key.kind, key.start): key for key in keys})

    def text(self) -> str:
        lines = [
            KEY_FILE,
            *(
                f"{key.name} {key.root} {base64.b64encode(key.wrapped).decode()}"
                for key in self.keys.values()
            ),
            *(f"{_DESTROYED} {kind} {_written(end)}" for kind, end in self.destroyed.items()),
        ]
        return "".join(f"{line}\n" for line in lines)

    def lacks(self, kind: str, period: int | None) -> bool:
        """Return whether the key of a period is missing, although it was not destroyed."""
        return (kind, period) not in self.keys and (period or 0) >= self.destroyed.get(kind, 0)

    def after(self, known: "KeyFile") -> "KeyFile":
        """Return the content to use, if `known` was read before.

        It is this one, unless it is an older copy: that lacks keys, or has destroyed ones.
        """
        newest = max((span.start for span in self.spans(EPOCH)), default=0)
        # Epochs that have ended leave no trace.
        lost = [
            name
            for name in known.keys
            if self.lacks(*name) and not (name[0] == EPOCH and (name[1] or 0) < newest)
        ]
        back = [kind for kind, end in known.destroyed.items() if end > self.destroyed.get(kind, 0)]
        if not lost and not back:
            return self
        destroyed = {**self.destroyed, **{kind: known.destroyed[kind] for kind in back}}
        keys = {**self.keys, **known.keys}
        return KeyFile(
            {
                name: key
                for name, key in keys.items()
                if (name[1] or 0) >= destroyed.get(name[0], 0)
            },
            destroyed,
        )

    def unknown_roots(self, roots: Iterable[Secret], secret: Secret) -> set[str]:
        """Return the fingerprints of the root keys that it needs in addition to these.

        `secret` of the server wraps the keys of a time without root keys.
        """
        known = {Root(text).fingerprint for text in roots} | {own_root(secret).fingerprint}
        return {key.root for key in self.keys.values()} - known

    def spans(self, kind: str) -> Sequence[KeySpan]:
        """Return the periods with a key, in no order."""
        return [key.span for key in self.keys.values() if key.kind == kind and key.span]


class _Current(NamedTuple):
    """A key, and the seconds in which it is the current one."""

    begins: float
    ends: float
    #: The start of its period, and the key.
    keyed: tuple[int, bytes]


class _State:
    """The file and its opened keys. A change makes another one, so no reader needs a lock."""

    def __init__(self, file: KeyFile, opened: Mapping[tuple[str, int | None], bytes]) -> None:
        self.file, self.opened = file, opened
        self.current: dict[str, _Current] = {}
        #: The keys of dedupe keys at the last instant that was asked for.
        self.dedupe: Sequence[bytes] = []
        #: By kind, the newest first.
        self.periods: dict[str, list[int]] = defaultdict(list)
        periods = [(kind, start) for kind, start in opened if start is not None]
        for kind, start in sorted(periods, reverse=True):
            self.periods[kind].append(start)


class FoundKeys(MissingKeys):
    """The keys of a key file as it is, to open stored rows. Nothing is made or written."""

    def __init__(
        self, path: Path, file: KeyFile, roots: Sequence[Secret], secret: Secret | None = None
    ) -> None:
        """Keys of other root keys are left out. Raises Damaged.

        `secret` is as for `Keyring`.
        """
        known = {root.fingerprint: root for root in map(Root, roots)}
        if secret is not None:
            own = own_root(secret)
            known[own.fingerprint] = own
        self._state = _State(
            file,
            _unwrapped(
                path, {name: key for name, key in file.keys.items() if key.root in known}, known
            ),
        )

    def get(self, kind: Kind, period: int) -> bytes | None:
        return self._state.opened.get((kind, period))

    def periods(self, kind: Kind) -> Sequence[int]:
        return self._state.periods.get(kind, ())


class Keyring:
    """The opened keys of a key file.

    Every key is on disk before it is returned. Instants are in seconds since the epoch, starts of
    periods in minutes. Any thread may call it, and other processes may change the file.
    """

    def __init__(
        self,
        path: Path,
        roots: Sequence[Secret],
        *,
        period: float,
        now: float,
        chance: Callable[[int], bytes] = os.urandom,
        secret: Secret | None = None,
    ) -> None:
        """Open the file, or make it. `roots` are the root keys: the first wraps, all unwrap.

        `period` is that of codes and callbacks, in seconds. Without root keys, `secret` wraps the
        keys of the audit log, and nothing is sealed. With root keys, keys that it wraps are wrapped
        again. Finishes an interrupted rewrite. Raises Damaged, UnknownRoot, Unavailable and
        OSError.
        """
        self._path = follow_links(path)  # a rename would replace a symbolic link
        self._roots = [Root(text) for text in roots]
        own = None if secret is None else own_root(secret)
        if own is not None:
            self._roots.append(own)
        self._chance = chance
        self._changing = threading.Lock()
        minutes = int(period // 60)
        self._grids: Mapping[str, Callable[[int], KeySpan]] = {
            Kind.CODES: _regular(minutes),
            Kind.RAW: _regular(minutes),
            Kind.PEOPLE: _regular(DAY),
            Kind.QUARANTINE: _regular(DAY),
            DEDUPE: _month,
        }
        #: The kinds with keys: without root keys, only commitments need some.
        self._kinds = tuple(self._grids) if roots else (Kind.CODES,)
        self._state = _State(KeyFile(), {})
        self._changed: Callable[[KeyFile, KeyFile], None] = lambda _before, _after: None
        self._stamp: tuple[int, int] | None = None
        with key_file.locked(self._path):
            self._read()
            key_file.clean(self._path)
        #: Whether the file had no keys that seal rows.
        self.is_new = self.entry(ORDER) is None
        wrapping = {key.root for key in self._state.file.keys.values()}
        if roots and own is not None and own.fingerprint in wrapping:
            self.rotate(roots)
        self.prepare(now)

    @property
    def root(self) -> str:
        """The fingerprint of the root key that wraps new keys."""
        return self._roots[0].fingerprint

    @property
    def file(self) -> KeyFile:
        """The content of the key file."""
        return self._state.file

    @property
    def _fingerprints(self) -> Collection[str]:
        return [root.fingerprint for root in self._roots]

    # --- reading --------------------------------------------------------------------------

    def current(self, kind: Kind | str, at: float) -> tuple[int, bytes]:
        """Return the start of the period of an instant, and its key.

        An instant of a destroyed period gets the oldest period after it: a second key of the same
        period could not open what the first one sealed. Raises Unavailable if a key is missing
        and cannot be written.
        """
        found = self._state.current.get(kind)
        if found is not None:
            begins, ends, keyed = found
            if begins <= at < ends:
                return keyed
        return self._found(kind, at).keyed

    def own(self, kind: Kind | str, at: float) -> tuple[int, bytes] | None:
        """Return the start of the period that covers an instant, and its key.

        The key of an earlier period is made if it is missing. None: that period was destroyed.
        Raises Unavailable.
        """
        if self._is_destroyed(kind, at):
            return None
        found = self.current(kind, at)
        return None if self._is_destroyed(kind, at) else found

    def get(self, kind: Kind | str, period: int) -> bytes | None:
        """Return the key of the period with that start; None if it was destroyed."""
        return self._state.opened.get((kind, period))

    def lacks(self, kind: Kind | str, period: int) -> bool:
        """Return whether the key of a period is missing, although it was not destroyed."""
        return self._state.file.lacks(kind, period)

    def periods(self, kind: Kind | str) -> Sequence[int]:
        """Return the starts of the periods with a key, the newest first."""
        return self._state.periods.get(kind, ())

    def destroyed_until(self, kind: Kind | str) -> float:
        """Return the end of the last destroyed period; 0.0: none was destroyed."""
        return self._state.file.destroyed.get(kind, 0) * 60.0

    def entry(self, name: str) -> bytes | None:
        """Return a key without period, such as `order`."""
        return self._state.opened.get((name, None))

    def dedupe(self, at: float) -> Sequence[bytes]:
        """Return the keys of dedupe keys: that of `at` first, then the others, newest first."""
        first, key = self.current(DEDUPE, at)
        state = self._state
        found = state.dedupe
        if not found or found[0] is not key:  # each event asks, and the month changes rarely
            others = [state.opened[DEDUPE, one] for one in state.periods[DEDUPE] if one != first]
            found = state.dedupe = [key, *others]
        return found

    def listen(self, changed: Callable[[KeyFile, KeyFile], None]) -> None:
        """Call `changed` with the content before and after each change, in its thread."""
        self._changed = changed

    # --- changes --------------------------------------------------------------------------

    def prepare(self, now: float) -> None:
        """Make the keys of the periods of `now` and of the next minutes. Raises Unavailable."""
        with self._exclusive():
            self._make(self._kinds, (now, now + AHEAD))

    def cover(self, kind: Kind | str, instants: Iterable[float]) -> None:
        """Make the missing keys of the periods of these instants, all in one rewrite.

        Destroyed periods get none. Raises Unavailable.
        """
        # One instant of each period: there may be thousands.
        minutes = {
            self._grids[kind](int(at // 60)).start: int(at // 60)
            for at in instants
            if not self._is_destroyed(kind, at)
        }
        spans = self._state.file.spans(kind)
        missing = [at * 60.0 for at in minutes.values() if _covering(at, spans) is None]
        if missing:
            with self._exclusive():
                self._make((kind,), missing)

    def destroy(self, kind: Kind | str, before: float) -> Sequence[int]:
        """Destroy the keys of the periods that ended before an instant; return their starts.

        Nothing can open what they sealed, when this returns. Raises Unavailable.
        """
        with self._exclusive():
            file = self._state.file
            ended = [span for span in file.spans(kind) if span.end * 60 <= before]
            if not ended:
                return ()
            until = max(file.destroyed.get(kind, 0), *(span.end for span in ended))
            self._remove(kind, ended, {**file.destroyed, kind: until})
            return sorted(span.start for span in ended)

    def rotate(self, roots: Sequence[Secret]) -> Sequence[str]:
        """Wrap every key with the first of these root keys. Raises Unavailable.

        Returns the fingerprints of the root keys that are no longer needed.
        """
        first = Root(roots[0])
        with self._exclusive():
            file, opened = self._state.file, self._state.opened
            before = {key.root for key in file.keys.values()} - {first.fingerprint}
            if before:
                wrapped = {
                    name: first.wrap(key.kind, key.span, opened[name], self._chance(_NONCE))
                    for name, key in file.keys.items()
                }
                self._store(KeyFile(wrapped, file.destroyed), opened)
            self._roots = [first, *map(Root, roots[1:])]
            return sorted(before)

    def _is_destroyed(self, kind: str, at: float) -> bool:
        return int(at // 60) < self._state.file.destroyed.get(kind, 0)

    def epochs(self) -> Sequence[Epoch]:
        """Return the epochs of the audit log with a key, oldest first. Usually there is one."""
        state = self._state
        return [
            Epoch(*span, state.opened[EPOCH, span.start])
            for span in sorted(state.file.spans(EPOCH))
        ]

    def begin_epoch(self, now: float, *, lasts: float) -> Epoch:
        """Make the key of another epoch of the audit log; return it. Raises Unavailable."""
        with self._exclusive():
            file, opened = self._state.file, self._state.opened
            start = max([int(now // 60), *(span.start + 1 for span in file.spans(EPOCH))])
            span, seed = KeySpan(start, start + int(lasts // 60)), self._chance(_KEY)
            wrapped = self._roots[0].wrap(EPOCH, span, seed, self._chance(_NONCE))
            self._store(
                KeyFile({**file.keys, (EPOCH, start): wrapped}, file.destroyed),
                {**opened, (EPOCH, start): seed},
            )
            return Epoch(*span, seed)

    def end_epochs(self, before: Epoch) -> None:
        """Destroy the keys of the epochs before this one. Raises Unavailable."""
        with self._exclusive():
            file = self._state.file
            ended = [span for span in file.spans(EPOCH) if span.start < before.start]
            if ended:
                self._remove(EPOCH, ended, file.destroyed)

    def _found(self, kind: str, at: float) -> _Current:
        state = self._state
        minute = max(int(at // 60), state.file.destroyed.get(kind, 0))
        span = _covering(minute, state.file.spans(kind))
        if span is None:
            with self._exclusive():
                self._make((kind,), (at,))
            return self._found(kind, at)
        key = state.opened[kind, span.start]
        found = _Current(span.start * 60.0, span.end * 60.0, (span.start, key))
        state.current[kind] = found
        return found

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Let one thread of one process change the file. Raises Unavailable for every failure."""
        try:
            with self._changing, key_file.locked(self._path):
                self._read()
                yield
        except OSError as exc:
            raise Unavailable(f"{self._path} cannot be written: {exc.strerror}") from exc
        except (Damaged, UnknownRoot) as exc:
            raise Unavailable(str(exc)) from exc

    def _read(self) -> None:
        """Read the file, if another process has changed it. A removed file is written again."""
        stamp = key_file.stamp(self._path)
        if stamp == self._stamp:
            return
        file = KeyFile.read(self._path)
        if file is not None:
            opened, order = self._unwrapped(file), self.entry(ORDER)
            whole = file.after(self._state.file)
            is_older = whole != file
            if order is not None and (
                opened.get((ORDER, None)) != order
                # Nobody can tell whether it is of this journal.
                or (is_older and file.keys[ORDER, None].root not in self._fingerprints)
            ):
                raise Damaged(self._path, "another file has replaced it")
            if is_older:  # later keys have sealed rows, and earlier ones are destroyed
                every = {**opened, **self._state.opened}
                self._store(whole, {name: every[name] for name in whole.keys})
                return
            self._put(_State(file, opened))
        self._stamp = stamp

    def _make(self, kinds: Iterable[str], instants: Sequence[float]) -> None:
        """Make the missing keys of these kinds and instants, all in one rewrite."""
        file = self._state.file
        keys, opened = dict(file.keys), dict(self._state.opened)

        def add(kind: str, span: KeySpan | None) -> None:
            key = self._chance(_KEY)
            wrapped = self._roots[0].wrap(kind, span, key, self._chance(_NONCE))
            keys[kind, wrapped.start], opened[kind, wrapped.start] = wrapped, key

        for kind in kinds:
            destroyed = file.destroyed.get(kind, 0)
            for at in instants:
                spans = KeyFile(keys).spans(kind)
                minute = max(int(at // 60), destroyed)
                if _covering(minute, spans) is None:
                    add(kind, new_span(self._grids[kind](minute), minute, spans, destroyed))
        for entry in (ORDER, LOG):
            if (entry, None) not in keys:
                add(entry, None)
        if len(keys) > len(file.keys) or self._stamp is None:
            self._store(KeyFile(keys, file.destroyed), opened)

    def _remove(self, kind: str, spans: Iterable[KeySpan], destroyed: Mapping[str, int]) -> None:
        gone = {(kind, span.start) for span in spans}
        kept = {name: key for name, key in self._state.file.keys.items() if name not in gone}
        opened = self._state.opened
        self._store(KeyFile(kept, destroyed), {name: opened[name] for name in kept})

    def _store(self, file: KeyFile, opened: Mapping[tuple[str, int | None], bytes]) -> None:
        key_file.clean(self._path)
        key_file.replace(self._path, file.text())
        self._stamp = key_file.stamp(self._path)
        self._put(_State(file, opened))
        key_file.clean(self._path)

    def _put(self, state: _State) -> None:
        before, self._state = self._state.file, state
        self._changed(before, state.file)

    def _unwrapped(self, file: KeyFile) -> Mapping[tuple[str, int | None], bytes]:
        """Return the keys. Those of a root key that is not known may be known themselves."""
        roots = {root.fingerprint: root for root in self._roots}
        known = self._state.opened
        unknown = {key.root for name, key in file.keys.items() if name not in known} - roots.keys()
        if unknown:
            raise UnknownRoot(self._path, unknown)
        return _unwrapped(self._path, file.keys, roots, known)


def _unwrapped(
    path: Path,
    keys: Mapping[tuple[str, int | None], WrappedKey],
    roots: Mapping[str, Root],
    known: Mapping[tuple[str, int | None], bytes] = {},
) -> Mapping[tuple[str, int | None], bytes]:
    """Return the keys, unwrapped with the root key of their fingerprint. Raises Damaged."""
    try:
        return {
            name: roots[key.root].unwrap(key) if key.root in roots else known[name]
            for name, key in keys.items()
        }
    except InvalidTag:
        raise Damaged(path, "a key does not belong to its line") from None


def new_span(regular: KeySpan, minute: int, spans: Iterable[KeySpan], destroyed: int) -> KeySpan:
    """Return the period to make for a minute that no period covers.

    It is the regular one, without the minutes of its neighbours and of destroyed periods. So after
    a change of `seal.period` the old period still ends regularly, and the new one begins then.
    """
    spans = tuple(spans)
    ends = [span.end for span in spans if span.end <= minute]
    starts = [span.start for span in spans if span.start > minute]
    return KeySpan(max([regular.start, destroyed, *ends]), min([regular.end, *starts]))


def _covering(minute: int, spans: Iterable[KeySpan]) -> KeySpan | None:
    return next((span for span in spans if span.start <= minute < span.end), None)


def _regular(minutes: int) -> Callable[[int], KeySpan]:
    def span(minute: int) -> KeySpan:
        start = minute // minutes * minutes
        return KeySpan(start, start + minutes)

    return span


def _month(minute: int) -> KeySpan:
    """Return the calendar month of a minute."""
    first = datetime.fromtimestamp(minute * 60, UTC).replace(day=1, hour=0, minute=0)
    after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return KeySpan(int(first.timestamp() // 60), int(after.timestamp() // 60))


def _written(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).strftime(_INSTANT)


def _read_minute(text: str) -> int:
    """Raises ValueError."""
    return int(datetime.strptime(text, _INSTANT).replace(tzinfo=UTC).timestamp() // 60)


def _read_key(line: str) -> WrappedKey:
    """Raises ValueError."""
    kind, start, minutes, root, wrapped = line.split(" ", _FIELDS - 1)
    span = None
    if start != _NEVER:
        first = _read_minute(start)
        span = KeySpan(first, first + int(minutes))
    try:
        return WrappedKey(kind, span, root, base64.b64decode(wrapped, validate=True))
    except binascii.Error as exc:
        raise ValueError from exc
