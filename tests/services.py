"""Services on journals in files, without sockets: what tests of several packages start from."""

import contextlib
import secrets

import canary
import msgspec
from journals import prepared
from sealing import OpenedReads

from core.clock import WallClock
from core.secret import Secret
from journal.writes import IndexVisible
from server.config.load import Loaded
from server.config.options import ApiKey, Config, JournalOptions, Sealing, Server
from server.runtime.identity import Identity
from server.runtime.period_keys import make_keys
from server.service import assemble, open_journal

SECRET = "the secret of a service that is only tested"
ROOT = Secret("the root key of a service that is only tested")


def configured(folder, **options):
    """A configuration with its journal and its keys in that folder."""
    defaults = {
        "server": Server(secret=Secret(SECRET)),
        "seal": Sealing(file=str(folder / "smshook.keys")),
        "journal": JournalOptions(url=f"sqlite:///{folder}/smshook.db"),
        "path": folder / "smshook.yaml",
    }
    return Config(**defaults | options)


def keys_of(config, *, now):
    """The keys that seal the journal of a configuration; None: it is not sealed."""
    if not config.seal.root:
        return None
    return make_keys(config.seal, config.seal.root, now=now, secret=config.server.secret)


def key(name, *scopes, **more):
    """A key of the API with the text `NAME-key-0123456789`."""
    return ApiKey(key=Secret(f"{name}-key-0123456789"), scopes=scopes, **more)


def identity_of(config):
    return Identity(config.server.secret.reveal(), secrets.token_bytes)


def clock_of(now, ticks=None):
    """A clock that shows what `now` returns."""
    return WallClock(wall=now, ticks=now if ticks is None else ticks)


class Machine:
    """The clocks of a machine."""

    def __init__(self, now):
        self.wall, self.ticks = now, 100.0

    def pass_by(self, seconds):
        self.wall += seconds
        self.ticks += seconds

    def clock(self):
        return WallClock(wall=lambda: self.wall, ticks=lambda: self.ticks)


def loading(config):
    """What reads the configuration again: it did not change."""
    return lambda: Loaded(config=config, warnings=())


@contextlib.asynccontextmanager
async def assembled(config, clock):
    """The parts of a service with a sealed journal. Nothing runs.

    At the end, its files are searched for codes and numbers.
    """
    folder = config.path.parent
    seal = Sealing(root=(ROOT,), file=str(folder / "smshook.keys"))
    config = msgspec.structs.replace(config, seal=seal)
    identity, keys = identity_of(config), keys_of(config, now=clock.now())
    prepared(config.journal.path)
    journal = await open_journal(config, identity, now=clock.now(), keys=keys)
    try:
        parts = assemble(
            *(config, journal, identity),
            load=loading(config),
            clock=clock,
            chance=lambda: 0.0,
            period_keys=keys,
        )
        yield msgspec.structs.replace(parts, journal=OpenedReads(journal))
    finally:
        await journal.close()
    canary.search(folder)


async def indexed(service):
    """Let the index of the events that keys see be complete."""
    while await service.journal.submit(IndexVisible()):
        pass
