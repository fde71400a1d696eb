"""The cost of planning an event, by the number of filters."""

import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial

from core.event import Service, SmsReceived
from receiver.callback import Happening, Key
from routes.table import Route, compile_table
from server.runtime.identity import Identity
from server.runtime.planner import Planner

from ..case import Case, Measured
from ..lab.processes import Bench, CaseFailed

#: Filters of each kind with an index of its own. Only the first filter of all matches the event.
_KINDS: tuple[Callable[[int], Mapping[str, object]], ...] = (
    lambda n: {"data.to": f"+1850{n:07}"},
    lambda n: {"subject": f"request/{n}"},
    lambda n: {"data.request_id": str(n)},
    lambda n: {"data.reference": f"order-{n}"},
    lambda n: {"data.labels.team": f"team-{n}", "type": "sms.received"},
    lambda n: {"data.service.key": f"service{n}", "data.code": {"$ne": None}},
    lambda n: {"source": f"source-{n}", "type": "sms.received"},
)
_COUNTS = (1, 1000, 100_000)
_AT = 1_600_108_956.0
_HAPPENING = Happening(
    subject="request/events",
    time="2020-09-14T18:42:36Z",
    data=SmsReceived(
        provider="tellabot",
        channel="callback",
        labels={"team": "growth"},
        reference="signup",
        sample=False,
        time_from="provider",
        to="+18500000000",
        from_="22000",
        country="US",
        service=Service(id="Google", name="Google", key="google"),
        text="G-804036 is your Google verification code.",
        code="G-804036",
        request_id="events",
    ),
    keys=(Key(parts=("events",)),),
)
#: The fastest of these rounds counts: only other programs make a round slower.
_ROUNDS, _EVENTS = 10, 2000


def _plan(bench: Bench, *, count: int) -> Measured:
    routes = {f"r{n}": Route(to=(), when=_KINDS[n % len(_KINDS)](n)) for n in range(count)}
    planner = Planner(
        identity=Identity(bench.secret, secrets.token_bytes),
        routes=compile_table(routes),
        workers={},
        subscriptions=None,
    )
    if planner.plan("tellabot", _HAPPENING, _AT).routes != ("r0",):
        raise CaseFailed("the event does not match the first filter alone")
    rounds = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        for _ in range(_EVENTS):
            planner.plan("tellabot", _HAPPENING, _AT)
        rounds.append((time.process_time() - began) / _EVENTS)
    return Measured(values={f"filters/{count}": min(rounds) * 1e6})


CASES = tuple(
    Case(
        name=f"filters/{count}",
        what=f"processor time to make and plan an event with {count:,} "
        f"{'filter' if count == 1 else 'filters, of which one matches'}",
        unit="µs",
        run=partial(_plan, count=count),
        seconds=1 + count / 20_000,
        quick=False,
    )
    for count in _COUNTS
)
