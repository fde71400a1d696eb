"""SMSPins: https://smspins.com, "Bulk SMS - API". It sends no callbacks and is only polled."""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, NoReturn

from ...callback import Callback, Fields, Malformed, Sample
from ...polling.options import PollingApi
from ...polling.questions import Known, Poll, PollMemory
from ...source import Source
from .poll import poll


class SmsPins(Source, tag="smspins", frozen=True, kw_only=True):
    """It sends no callbacks and needs no tokens: give it a `backfill`.

    A poll reads the results of checks, which a person or the auto check starts. The provider
    switches the auto check off at midnight in New York.
    """

    #: Switch the auto check of each telephone on, each day after midnight in New York. This is the
    #: only command that changes anything at a provider; false: it is never sent.
    auto_check: bool = False

    encodings: ClassVar[frozenset[str]] = frozenset()
    paste_at: ClassVar[str] = "nowhere: it sends no callbacks"
    kinds: ClassVar[tuple[str, ...]] = ()
    country: ClassVar[str | None] = "US"
    polling_api: ClassVar[PollingApi | None] = PollingApi(
        api_url="https://smspins.com/apiv2",
        every=30.0,
        min_interval=1.0,
        reads=frozenset(
            {
                "bulk_sms/telephones",
                "bulk_sms/smses_by_tid",
                "bulk_sms/status",
                "nc/requests",
            }
        ),
        switches=frozenset({"bulk_sms/autocheck"}),
    )

    def normalize(self, fields: Fields, callback: Callback) -> NoReturn:  # noqa: ARG002 - there is nothing to read
        raise Malformed("unknown_event", "it sends no callbacks")

    def sample(self, kind: str, encoding: str, *, number: int, now: datetime) -> Sample:  # noqa: ARG002 - there is no sample
        raise ValueError("smspins sends no callbacks, so there is no sample of one")

    def poll(
        self,
        known: Sequence[Known],
        *,
        since: datetime,
        now: datetime,
        memory: PollMemory | None = None,
    ) -> Poll:
        memory = PollMemory() if memory is None else memory
        return poll(self, known, since=since, now=now, memory=memory, auto_check=self.auto_check)
