"""A service whose audit log goes to a file, to anchors and to witnesses, at times of the test."""

import contextlib
import json

from services import clock_of, configured, identity_of, loading

from journal.audit.lines import Fact
from journal.reads import AuditLines, AuditLogs, LineFilter
from journal.writes import RecordFacts
from server.cli import audit_export, audit_log
from server.config.options import Auditing, Sealing
from server.runtime.period_keys import make_keys
from server.service import audit_options, open_journal
from server.service import restore as restore_parts

BEGIN = 1_764_460_800.0


class Service:
    """A folder with a journal, and its starts. Nothing runs by itself."""

    def __init__(self, folder, **options):
        self.folder, self.at = folder, BEGIN
        self.options = options
        self.key = None

    async def start(self, **audit):
        seal = Sealing(file=str(self.folder / "smshook.keys"))
        config = self.config = configured(
            self.folder, seal=seal, audit=Auditing(**audit), **self.options
        )
        identity = identity_of(config)
        clock = clock_of(lambda: self.at)
        keys = make_keys(config.seal, (), now=self.at, secret=config.server.secret)
        options = audit_options(config, identity, clock, keys)
        self.journal = await open_journal(config, identity, now=self.at, audit=options)
        self.parts = await restore_parts(
            *(config, self.journal, identity),
            clock=clock,
            load=loading(config),
            period_keys=keys,
            audit=options,
        )
        key = await self.parts.audit.begin(config)
        self.key = self.key or key
        [self.log] = await self.journal.ask(AuditLogs())
        return self

    def use(self, **audit):
        """Put other options in force, as a reload does."""
        config = configured(self.folder, audit=Auditing(**audit), **self.options)
        self.parts.current.replace(config, self.parts.current.routes)

    async def stop(self):
        await self.parts.audit.end()
        await self.parts.audit_file.finish()
        await self.parts.anchors.finish()
        await self.journal.close()

    async def kill(self):
        await self.journal.close()

    async def add(self, count=1):
        """Write lines, as somebody who is refused would."""
        facts = tuple(Fact("key.refused", {"by": f"key/{n}"}) for n in range(count))
        await self.journal.submit(RecordFacts(facts))

    async def sign(self, after=60.0, *, patience=30.0):
        """Sign the log, and give the state to whom it is due."""
        self.at += after
        await self.parts.audit._sign_again()
        await self.parts.anchors.look(patience=patience)
        # What was recorded about it is on disk when this is.
        await self.journal.submit(RecordFacts(()))

    def outputs(self):
        """By name: the error, if it fails."""
        return {one.name: one._error for one in self.parts.anchors.outputs()}

    async def lines(self, *do):
        page = await self.journal.ask(AuditLines(limit=10_000, filter=LineFilter(do=do)))
        return [json.loads(line) for _, line in page.items]

    async def raw(self):
        page = await self.journal.ask(AuditLines(limit=100_000))
        return [line for _, line in page.items]

    def export(self, name="export"):
        folder = self.folder / name
        with audit_log.open_log(self.config.journal.path) as log:
            audit_export.write_export(folder, log.export())
        return folder


@contextlib.asynccontextmanager
async def running(folder, *, options=None, **audit):
    service = await Service(folder, **(options or {})).start(**audit)
    try:
        yield service
    finally:
        with contextlib.suppress(RuntimeError):
            await service.journal.close()
