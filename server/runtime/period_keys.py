"""Opens the key file, and makes the keys of coming periods while the service runs."""

import asyncio
import errno
from collections.abc import Callable, Sequence

import structlog

from core.errors import Unavailable
from core.secret import Secret
from journal.keyring import KeyFile, Keyring, UnknownRoot
from journal.seal import Kind
from journal.sqlite.schema import MADE_WITH_ANOTHER, DiskFull, WrongJournal

from ..config.options import Sealing

#: Seconds between two looks: keys are made five minutes before their period begins.
LOOK_EVERY = 30.0
_FULL = (errno.ENOSPC, errno.EDQUOT)

log = structlog.get_logger()


def open_keys(
    seal: Sealing, roots: Sequence[Secret], *, now: float, secret: Secret | None = None
) -> Keyring | None:
    """Open the key file, or make it; None: nothing is sealed. `roots` are those of `root_keys`.

    See `make_keys`.
    """
    return make_keys(seal, roots, now=now, secret=secret) if roots else None


def make_keys(
    seal: Sealing, roots: Sequence[Secret], *, now: float, secret: Secret | None
) -> Keyring:
    """Open the key file, or make it. Without `roots` it has the keys of the audit log only.

    `secret`, that of the server, wraps them then. Raises Damaged, UnknownRoot, WrongJournal (for
    another secret), Unavailable (DiskFull on a full disk) and OSError.
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
