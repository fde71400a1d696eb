"""Keeps the balances of accounts, and records an event when one falls below its threshold."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

import structlog

from core.event import AccountLow, Money
from journal import Journal
from journal.reads import LastBalances
from journal.records import AccountBalance
from journal.writes import LineNumber, SetBalance
from receiver.callback import Happening, Key
from receiver.polling.questions import Balance
from receiver.source_state import SourceState

from ..log.fields import event_fields
from .accept import Recorder
from .identity import Identity

log = structlog.get_logger()


class Balances:
    """Keeps the last balance of each source in memory, and each change in the journal."""

    def __init__(
        self,
        *,
        journal: Journal,
        recorder: Recorder,
        identity: Identity,
        now: Callable[[], float],
    ) -> None:
        self._journal, self._recorder = journal, recorder
        self._identity, self._now = identity, now
        self._balances: dict[str, AccountBalance] = {}

    async def load(self) -> None:
        """Read the stored balances. Raises Unavailable."""
        stored = await self._journal.ask(LastBalances())
        self._balances = dict(stored)

    def of(self, source: str) -> AccountBalance | None:
        """Return the last known balance; None: the provider has never reported one."""
        return self._balances.get(source)

    async def update(self, state: SourceState, reported: Balance) -> None:
        """Keep a balance that a poll returned. Raises Unavailable or InvalidRow."""
        amount = _decimal(reported.amount)
        if amount is None:
            log.warning("balance.unreadable", source=state.name)
            return
        threshold = _decimal(state.source.low_balance or "")
        balance = AccountBalance(
            source=state.name,
            amount=reported.amount,
            currency=reported.currency or state.source.currency,
            at=round(self._now(), 6),
            low=threshold is not None and amount < threshold,
        )
        last = self._balances.get(state.name)
        changed = last is None or _facts(last) != _facts(balance)
        if changed and balance.low:
            await self._record_low(state, balance)
        elif changed:
            await self._journal.submit(SetBalance(balance, None))
        self._balances[state.name] = balance

    async def _record_low(self, state: SourceState, balance: AccountBalance) -> None:
        """Write a balance below the threshold, with an event if the last one was not below."""
        source, at = state.source, round(self._now(), 6)
        happening = Happening(
            subject=f"account/{state.name}",
            time=None,
            # A new id each time: the same account may become low again.
            keys=(Key(parts=("account.low", self._identity.event_id(at))),),
            data=AccountLow(
                provider=str(type(source).__struct_config__.tag),
                channel="poll",
                labels=source.labels,
                sample=False,
                time_from="received",
                balance=Money(amount=balance.amount, currency=balance.currency),
                threshold=source.low_balance or "",
            ),
        )
        line = LineNumber()
        planned = await self._recorder.record_own(
            state.name, happening, lambda planned: SetBalance(balance, planned), at=at, line=line
        )
        if planned is not None:
            log.warning(
                "account.low",
                source=balance.source,
                amount=balance.amount,
                currency=balance.currency,
                threshold=source.low_balance,
                **event_fields(planned.event, [owed.sink for owed in planned.owed]),
                leaf=line.n,
            )


def _decimal(written: str) -> Decimal | None:
    """Return a decimal number; a float would turn 4.999999999999999999 into 5."""
    try:
        value = Decimal(written)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _facts(balance: AccountBalance) -> tuple[object, ...]:
    return balance.amount, balance.currency, balance.low
