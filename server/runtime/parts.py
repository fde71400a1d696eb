"""The parts of a service."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from core.clock import WallClock
from journal import Journal
from journal.keyring import Keyring
from receiver.source_state import SourceState
from sinks.worker import Worker

from ..config.options import Config
from ..tracing import Tracer
from .alerts import Alerts
from .anchors import Anchors
from .audit import AuditFacts, AuditKeeper
from .audit_file import AuditFile
from .balances import Balances
from .configured_sinks import ConfiguredSinks
from .credentials import HeaderCredentials
from .current import Current
from .disk import DiskMonitor
from .erasure import Erasures
from .free_space import FreeSpace
from .given_up import GivenUpCounts
from .history import History
from .hub import Hub
from .identity import Identity
from .intake import CallbackIntake
from .journal_monitor import JournalMonitor
from .keys import Keys
from .orders import Orders
from .outages import Backfills
from .quarantine import QuarantineKeeper
from .readers import Readers
from .rejections import RejectionCounter
from .reload import Reloads
from .replays import Replays
from .retention import Pruner
from .samples import SampleEvents
from .sealing import RowSealer
from .silence import SourceMonitor
from .subscriptions import LiveSubscriptions
from .verification import AuditVerifier


class Parts(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The parts of a service, as `server.service.assemble` puts them together."""

    current: Current
    identity: Identity
    #: All parts that make or compare instants use this clock.
    clock: WallClock
    journal: Journal
    journal_monitor: JournalMonitor
    sinks: ConfiguredSinks
    #: By the name of the sink: the configured ones, then those of subscriptions.
    workers: Mapping[str, Worker]
    subscriptions: LiveSubscriptions
    intake: CallbackIntake
    quarantine: QuarantineKeeper
    rejections: RejectionCounter
    replays: Replays
    #: Codes that were sent in clear, by sink; for subscriptions, by the name of their key.
    codes_sent: Mapping[str, int]
    history: History
    credentials: HeaderCredentials
    keys: Keys
    #: None: the journal is only looked at.
    period_keys: Keyring | None
    #: For facts about what is not stored in the journal.
    facts: AuditFacts
    #: Those who get codes in clear.
    readers: Readers
    #: None: the audit log has no keys.
    audit: AuditKeeper | None
    audit_verifier: AuditVerifier
    audit_file: AuditFile
    anchors: Anchors
    hub: Hub
    orders: Orders
    balances: Balances
    backfills: Backfills
    source_monitor: SourceMonitor
    samples: SampleEvents
    alerts: Alerts
    given_up: GivenUpCounts
    reloads: Reloads
    space: FreeSpace
    disk: DiskMonitor
    pruner: Pruner
    row_sealer: RowSealer
    erasures: Erasures
    tracer: Tracer
    #: Whether the service takes callbacks, and the reasons why not.
    ready: Callable[[], bool]
    not_ready: Callable[[], Sequence[str]]

    @property
    def config(self) -> Config:
        return self.current.config

    @property
    def sources(self) -> Mapping[str, SourceState]:
        """By name, as configured."""
        return self.current.sources
