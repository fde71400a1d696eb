"""A service that is only looked at: faults are put into its parts, at times of the test."""

import contextlib
from datetime import datetime

import msgspec
from services import assembled, clock_of, configured

from core.delivery import State
from core.secret import Secret
from journal.reads import EventFilter, Events
from journal.records import Retained
from receiver.polling.options import Backfill
from receiver.providers.tellabot.callbacks import TellABot
from routes.table import Route
from server.config.options import Anchor, Api, ApiKey, Auditing, Witness
from server.runtime.alert_kinds import KINDS
from server.runtime.backfill import BackfillRun, Why
from server.runtime.disk import Disk
from server.runtime.retention import PruneRun
from server.runtime.watching import Watching
from sinks.file.sink import File
from sinks.health import Pause

BEGIN = 1_790_010_000.0
HOUR, DAY = 3600, 86_400
TYPES = [kind.type for one in KINDS.values() for kind in (one.begin, one.end) if kind is not None]
_FULL = Disk(500 << 20, 40 << 30, 1 << 30)


class World:
    """A service with one source and two sinks, and what is wrong with it."""

    def __init__(self, folder, **options):
        self.at = BEGIN
        anchors = {"disk2": Anchor(file=str(folder / "anchor"))}
        key = "witness.example/w1+773a6c12+BMhTrQ8M0rYZrqks7sT9VqJNZJnVhM55JX5Fz9gTm2Cn"
        friend = Witness(url="https://witness.example", key=key)
        keys = {
            name: ApiKey(key=Secret(f"a-key-of-{name}-0123456789"), scopes=("codes:read",))
            for name in ("ana", "temp")
        }
        keys["temp"] = msgspec.structs.replace(keys["temp"], expires="2026-09-29T17:00:00Z")
        defaults = {
            "sources": {
                "tellabot": TellABot(
                    tokens=(Secret("t" * 20),),
                    labels={"team": "growth"},
                    expect_every=HOUR,
                    backfill=Backfill(user="u", api_key=Secret("k")),
                )
            },
            "sinks": {name: File(path=str(folder / name)) for name in ("crm", "log")},
            "routes": {"everything": Route(to=("crm",), when={"type": "sms.received"})},
            "audit": Auditing(anchors=anchors, witnesses={"friend": friend}),
            "api": Api(keys=keys),
        }
        self.config = configured(folder, **defaults | options)
        #: What is wrong now.
        self.faults = set()
        self._has_failed = False

    @contextlib.asynccontextmanager
    async def started(self):
        """Start it. The faults go on."""
        async with assembled(self.config, clock_of(lambda: self.at)) as self.parts:
            await self.parts.alerts.load()
            self.parts.disk.read = lambda _path: self.disk
            self.watching = Watching(self.parts)
            self.worker = self.parts.workers["crm"]
            self.source = self.parts.sources["tellabot"].health
            self.backfiller = self.parts.backfills.of("tellabot")
            anchors = self.parts.anchors._places
            self.anchor, self.witness = anchors["anchor/disk2"], anchors["witness/friend"]
            yield self

    # --- faults ---------------------------------------------------------------------------

    @property
    def disk(self):
        low = self.faults & {"disk low", "disk full"}
        return _FULL if low else Disk(20 << 30, 40 << 30, 1 << 30)

    def apply(self):
        """Make the parts as the faults of now make them."""
        faults, parts, ticks = self.faults, self.parts, self.parts.clock.ticks()
        health = self.worker._health
        (health.record_failure if "sink down" in faults else health.record_success)()
        by = Pause.FAILING if "paused" in faults else None
        health.paused = Pause.OPERATOR if "paused by hand" in faults else by
        if "silence" not in faults:
            self.source._last_at, self.source.was_heard = ticks, True
        self.parts.space.is_low = "disk full" in faults
        self.worker.clock_offset = 12.0 if "clock" in faults else 0.25
        self.backfiller.failures = 3 if "backfill" in faults else 0
        self.backfiller.stopped = "bad key" in faults
        error = "bad_key" if "bad key" in faults else "busy" if "backfill" in faults else None
        self.backfiller.last = BackfillRun(
            number=1, why=Why.TIMER, since=0.0, started_at=0.0, finished_at=1.0, error=error
        )
        for place, fails in ((self.anchor, "anchor" in faults), (self.witness, False)):
            place.output.failed("missing") if fails else place.output.succeeded(120)
        self.witness.refuses = "fork" in faults
        parts.pruner._ages._begun = BEGIN
        parts.pruner.last = PruneRun(started_at=self.at, ended_at=self.at)
        for kind, kept in parts.pruner.limits.items():
            if not ("erasure" in faults and kind is Retained.RAW):
                parts.pruner._done[kind] = parts.pruner._ages.now() - kept

    def happen(self, fault):
        """Make something happen at once."""
        parts = self.parts
        if fault == "quarantine":
            parts.intake.outcomes["tellabot", "quarantined"] += 6
            parts.intake.quarantined["tellabot"] = "encoding"
        if fault == "rejections":
            for _ in range(21):
                parts.rejections.add("token", "", "10.0.0.7", "r")
        if fault == "reads":
            codes = next(one.access for one in parts.keys.known() if one.access.name == "ana")
            codes.codes_read["list"] = codes.codes_read.get("list", 0) + 101
        if fault == "dead":
            for number in range(30):
                parts.given_up.add("crm", f"event {number}", State.DEAD)

    async def look(self):
        self.apply()
        await self.watching.look()

    # --- what was reported ----------------------------------------------------------------

    async def events(self):
        """The events that were recorded, as JSON."""
        page = await self.parts.journal.ask(
            Events(filter=EventFilter(type=tuple(TYPES)), limit=1000)
        )
        return [msgspec.json.decode(body) for _, body in page.items]

    async def told(self):
        """When each was reported, in seconds from the begin; its name and severity."""
        return [
            (
                round(msgspec.convert(event["recordedtime"], type=datetime).timestamp() - BEGIN),
                event["type"].removeprefix("system."),
                event["data"]["severity"],
            )
            for event in await self.events()
        ]
