"""The lines of the audit log: one fact each, as JSON."""

import base64
import json
from binascii import b2a_base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec

from core.clock import rfc3339
from core.signing import hmac_once, make_hmac

from .note import Checkpoint, VerifierKey
from .tree import leaf_hash

#: What a line can report. Names are only ever added.
Action = Literal[
    "callback.accepted",
    "callback.duplicate",
    "callback.quarantined",
    "callback.rejected",
    "delivery.attempted",
    "delivery.dead",
    "delivery.expired",
    "delivery.retried",
    "event.gained",
    "event.replayed",
    "replay.begun",
    "replay.cancelled",
    "code.read",
    "code.wait",
    "stream.opened",
    "stream.closed",
    "quarantine.replayed",
    "quarantine.deleted",
    "content.erased",
    "seal.made",
    "seal.destroyed",
    "seal.rotated",
    "order.placed",
    "order.cancelled",
    "order.expired",
    "sink.paused",
    "sink.resumed",
    "sink.tested",
    "sink.failing",
    "sink.recovered",
    "source.tested",
    "source.url_read",
    "config.loaded",
    "config.refused",
    "key.made",
    "key.revoked",
    "key.refused",
    "session.opened",
    "session.refused",
    "session.closed",
    "subscription.made",
    "subscription.changed",
    "subscription.deleted",
    "backup.made",
    "journal.restored",
    "retention.pruned",
    "service.started",
    "service.stopping",
    "service.gap",
    "clock.jumped",
    "journal.error",
    "audit.epoch",
    "audit.pruned",
    "audit.anchored",
    "audit.exported",
    "audit.verified",
    "audit.erased",
]
ACTIONS: frozenset[str] = frozenset(get_args(Action))
#: Lines that a verifier needs: they are not erased.
NEEDED = frozenset({"audit.epoch", "audit.erased", "audit.pruned", "journal.restored"})
#: Bytes of a line, without its newline.
LONGEST = 16 * 1024
#: Characters of one text of ranges: the rest of the line has room beside it.
_RANGES = 12 * 1024
#: Bytes of a commitment.
_COMMITMENT = 24
#: Before the id of an event, in what its key is made of.
_COMMIT = b"commit|"
_FIRST = ("n", "at", "do")
#: How an erased line begins.
ERASED = b'{"erased":"'


class Fact(msgspec.Struct, frozen=True):
    """One thing that happened, before it has a place in the log."""

    do: Action
    #: The other fields of the line, in order. Values are plain JSON: no secret, code or number.
    fields: Mapping[str, Any] = {}

    def __post_init__(self) -> None:
        if self.do not in ACTIONS:
            raise ValueError(f"{self.do!r} is not an action of the audit log")
        if not self.fields.keys().isdisjoint(_FIRST):
            raise ValueError(f"the line has the fields {', '.join(_FIRST)} already")


def encode(n: int, at: float, fact: Fact) -> bytes:
    """Return the line of a fact: ASCII, without a newline. It is the leaf.

    `n` is its place in the log, from 0. `at` is in seconds since the epoch. Raises ValueError if
    the line has more than 16 KiB.
    """
    leaf = {"n": n, "at": rfc3339(at), "do": fact.do, **fact.fields}
    line = msgspec.json.encode(leaf)
    if not line.isascii():
        line = json.dumps(msgspec.json.decode(line), separators=(",", ":")).encode()
    if len(line) > LONGEST:
        raise ValueError(f"a line of {fact.do} has {len(line)} bytes; it can have {LONGEST}")
    return line


def erased_line(leaf: bytes) -> bytes:
    """Return the line in place of one that had to go. `leaf` is the hash of that line."""
    return ERASED + base64.b64encode(leaf) + b'"}'


def leaf_of(line: bytes) -> bytes:
    """Return the hash of a line in the tree, also of an erased one."""
    if line.startswith(ERASED):
        return base64.b64decode(line[len(ERASED) :].removesuffix(b'"}'), validate=True)
    return leaf_hash(line)


# Facts that a verifier reads


def next_epoch(key: VerifierKey) -> Fact:
    """Return the last fact of an epoch. It names the key of the next one."""
    return Fact("audit.epoch", {"key": str(key)})


def line_erased(n: int, *, by: str, reason: str, **named: str) -> Fact:
    """Return the fact without which an erased line counts as changed.

    `named` are the ids that the line had: `event`, `id`.
    """
    return Fact("audit.erased", {"of": n, "by": by, "reason": reason, **named})


def restored(old: Checkpoint, **fields: Any) -> Fact:
    """Return the first fact of the log after a restore. It names the end of the old log."""
    root = base64.b64encode(old.root).decode()
    named = {"origin": old.origin, "size": old.size, "root": root}
    return Fact("journal.restored", {**named, **fields})


# Values


def write_ranges(numbers: Sequence[int]) -> Iterator[str]:
    """Yield event numbers as `1000000-1000003,1000017`, in texts that fit a line each.

    `numbers` grow. No number: no text.
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    text = ""
    for first, last in runs:
        run = str(first) if first == last else f"{first}-{last}"
        if len(text) + len(run) >= _RANGES:
            yield text
            text = ""
        text = f"{text},{run}" if text else run
    if text:
        yield text


def read_ranges(text: str) -> Iterator[range]:
    """Yield the runs of event numbers. Raises ValueError."""
    for run in text.split(","):
        first, _, last = run.partition("-")
        yield range(int(first), int(last or first) + 1)


def commitment_key(code_key: bytes, event_id: str) -> bytes:
    """Return the key of an event's commitment: it can be shown without opening other events.

    `code_key` is the key of codes of the event's period.
    """
    return make_hmac(code_key)(_COMMIT + event_id.encode())


def commitment(key: bytes, event: bytes) -> str:
    """Return `c`: it proves the bytes of an event, as sent, to whoever has the key."""
    return b2a_base64(hmac_once(key, event)[:_COMMITMENT], newline=False).decode()


def make_commitment(code_key: bytes) -> Callable[[str, bytes], str]:
    """Return what commits to events with this key of codes, in less time than the two above.

    It takes an event's id and its bytes as sent.
    """
    hash_ = make_hmac(code_key)

    def commit(event_id: str, event: bytes) -> str:
        hashed = hmac_once(hash_(_COMMIT + event_id.encode()), event)
        return b2a_base64(hashed[:_COMMITMENT], newline=False).decode()

    return commit
