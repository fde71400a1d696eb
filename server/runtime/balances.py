"""Balances of the providers' accounts, and which of them are below their threshold."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

import structlog

from journal import Journal
from journal.reads import LastBalances
from journal.records import AccountBalance
from receiver.polling.questions import Balance
from receiver.source_state import SourceState

from .accept import Pipeline

log = structlog.get_logger()


class Balances:
    """In memory, and in the journal where amount, currency or side of the threshold changed."""

    def __init__(self, *, journal: Journal, pipeline: Pipeline, now: Callable[[], float]) -> None:
        self._journal, self._pipeline, self._now = journal, pipeline, now
        self._balances: dict[str, AccountBalance] = {}

    async def load(self) -> None:
        """Read what the journal has. Raises Unavailable."""
        balances = await self._journal.ask(LastBalances())
        self._balances = dict(balances)

    def of(self, source: str) -> AccountBalance | None:
        """The last known balance; None: the provider never said one."""
        return self._balances.get(source)

    async def said(self, gate: SourceState, said: Balance) -> None:
        """Keep what a poll said. Raises Unavailable or Unfit."""
        amount = _decimal(said.amount)
        if amount is None:
            log.warning("balance.unreadable", source=gate.name)
            return
        threshold = _decimal(gate.source.low_balance or "")
        balance = AccountBalance(
            source=gate.name,
            amount=said.amount,
            currency=said.currency or gate.source.currency,
            at=round(self._now(), 6),
            low=threshold is not None and amount < threshold,
        )
        last = self._balances.get(gate.name)
        if last is None or _facts(last) != _facts(balance):
            await self._pipeline.set_balance(balance)
        self._balances[gate.name] = balance


def _decimal(written: str) -> Decimal | None:
    """A comparison of floats would call 4.999999999999999999 five."""
    try:
        value = Decimal(written)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _facts(balance: AccountBalance) -> tuple[object, ...]:
    return balance.amount, balance.currency, balance.low
