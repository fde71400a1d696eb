"""Opens the key file, and makes the keys of coming periods while the service runs."""

import asyncio
import errno
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from core.erasure import CODES, PEOPLE
from core.errors import Unavailable
from core.paths import Path as FieldPath
from core.secret import Secret
from journal.keyring import KeyFile, Keyring, UnknownRoot
from journal.seal import Kind
from journal.sqlite.inspection import find_lost, needs_newer_keys
from journal.sqlite.schema import MADE_WITH_ANOTHER, DiskFull, WrongJournal
from sinks.erased import needed

from ..config.options import Config, Sealing
from .subscriptions import PREFIX

#: Seconds between two looks: keys are made five minutes before their period begins.
LOOK_EVERY = 30.0
#: The advice for a journal whose keys are missing.
PUT_BACK = "they read as erased; stop the service, and put back what is missing"
#: The fields of an event that the keys of a kind seal.
_PATHS: Mapping[Kind, Sequence[FieldPath]] = {Kind.CODES: CODES, Kind.PEOPLE: PEOPLE}
_FULL = (errno.ENOSPC, errno.EDQUOT)

log = structlog.get_logger()


def make_keys(seal: Sealing, roots: Sequence[Secret], *, now: float, secret: Secret) -> Keyring:
    """Open the key file, or make it. Without `roots` it has the keys of the audit log only.

    `roots` are those of `root_keys`. `secret`, that of the server, wraps them then. Raises Damaged,
    UnknownRoot, WrongJournal (for another secret), Unavailable (DiskFull on a full disk) and
    OSError.
    """
    try:
        return Keyring(seal.path, roots, period=seal.period, now=now, secret=secret)
    except UnknownRoot as exc:
        file = KeyFile.read(seal.path)
        if roots or file is None:
            raise
        if not file.spans(Kind.RAW):  # nothing was sealed: only the secret ever wrapped its keys
            raise WrongJournal(MADE_WITH_ANOTHER) from exc
        # `seal` was removed. The journal reads as erased, and the log gets other keys.
        beside = seal.path.with_name(f"{seal.path.name}.audit")
        return Keyring(beside, (), period=seal.period, now=now, secret=secret)
    except Unavailable as exc:
        if isinstance(exc.__cause__, OSError) and exc.__cause__.errno in _FULL:
            raise DiskFull(str(exc)) from exc
        raise


def warn_of_missing_keys(config: Config, journal: Path) -> None:
    """Log what a journal holds that cannot be opened, if its key file is missing, or `seal` is.

    An older copy of the key file has the keys of earlier rows only. Call it before `make_keys`,
    which makes another key file. Raises Damaged, Unavailable, Broken and OSError.
    """
    file = KeyFile.read(config.seal.path) if config.seal.is_on else None
    if file is not None and not needs_newer_keys(journal, file.lacks):
        return
    keys = file or KeyFile()
    lost = find_lost(journal, keys.lacks)
    if lost is None:
        return
    log.error(
        "seal.keys_missing",
        missing=config.seal.path.name if config.seal.is_on else "seal",
        **{table.value: count for table, count in lost.rows.items()},
        expiring=sum(
            count
            for name, counts in lost.owed.items()
            for parts, count in counts.items()
            if _expires(config, name, [part for part in parts if keys.lacks(*part)])
        ),
        then=PUT_BACK,
    )


def _expires(config: Config, sink: str, parts: Sequence[tuple[Kind, int]]) -> bool:
    """Return whether a delivery expires, because its sink needs a part that cannot be opened."""
    paths = [path for kind, _ in parts for path in _PATHS[kind]]
    known = config.sinks.get(sink)
    if known is None:  # a subscription gets numbers; deliveries of a removed sink wait
        return bool(paths) and sink.startswith(PREFIX)
    return bool(needed(known, paths))


async def prepare_keys(
    keys: Keyring, now: Callable[[], float], *, every: float = LOOK_EVERY
) -> None:
    """Make the keys of coming periods, until cancelled. A full disk is tried again."""
    while True:
        try:
            # In a thread: a rewrite waits for the disk several times.
            await asyncio.to_thread(keys.prepare, now())
        except Unavailable as exc:
            log.error("seal.error", error=str(exc), then="tried again")  # noqa: TRY400 - a traceback says no more
        await asyncio.sleep(every)
