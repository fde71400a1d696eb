"""Connections are limited, and an idle one is closed for a new one."""

import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from httpd.connections import Connections


class FakeConnection:
    """A connection that records its end."""

    def __init__(self, address="192.0.2.1"):
        self.address = address
        self.ended = None

    def end_idle(self):
        self.ended = "idle"

    def abort(self):
        self.ended = "aborted"


def counted(address):
    return None if address == "127.0.0.1" else address


def connections(most, full=lambda: None):
    return Connections(most, peer=counted, full=full)


def opened(held, *addresses):
    """Open connections from these addresses, in this order."""
    made = [FakeConnection(address) for address in addresses]
    assert [held.opened(one, one.address) for one in made] == [True] * len(made)
    return made


def test_longest_idle_connection_makes_room():
    """Mutant: the newest, or the first that was opened."""
    reported = []
    held = connections(3, lambda: reported.append("full"))
    first, second, third = opened(held, "a", "b", "c")
    held.busy(first)
    held.idle(first)  # now the second has been idle for longest

    opened(held, "d")

    assert [one.ended for one in (first, second, third)] == [None, "idle", None]
    assert reported == ["full"]


def test_silent_connection_makes_room_before_a_used_one():
    """A stranger's silent connections must not close a proxy's. Mutant: one order for both."""
    held = connections(3)
    (proxy,) = opened(held, "127.0.0.1")
    held.busy(proxy)
    held.idle(proxy)

    flood = opened(held, *"abcdefgh")

    assert proxy.ended is None
    assert [one.ended for one in flood[-2:]] == [None, None]
    for one in flood[-2:]:
        held.busy(one)
    opened(held, "i")
    assert proxy.ended == "idle"


def test_connection_is_refused_if_no_other_is_idle():
    """Mutant: a connection with a running request is closed."""
    held = connections(2)
    busy = opened(held, "a", "b")
    for one in busy:
        held.busy(one)

    assert not held.opened(FakeConnection(), "c")
    assert [one.ended for one in busy] == [None, None]
    held.closed(busy[0])
    opened(held, "c")


def test_peer_has_half_and_closes_its_own():
    """Mutants: one stranger may have all connections; another peer's is closed for it."""
    held = connections(6)
    other = opened(held, "b")
    mine = opened(held, "a", "a", "a")

    opened(held, "a")

    assert [one.ended for one in mine] == ["idle", None, None]
    assert other[0].ended is None


def test_peer_with_a_busy_half_is_refused_and_others_are_not():
    held = connections(4)
    for one in opened(held, "a", "a"):
        held.busy(one)

    assert not held.opened(FakeConnection("a"), "a")
    opened(held, "b", "b")


def test_this_machine_and_proxies_have_no_limit():
    """Mutant: a proxy, through which everybody connects, is limited to its share."""
    held = connections(4)

    made = opened(held, *["127.0.0.1"] * 4)

    assert [one.ended for one in made] == [None] * 4
    opened(held, "127.0.0.1")
    assert made[0].ended == "idle"


def test_closing_connections_are_limited():
    """Each keeps its descriptor for seconds. Mutant: no limit on closing connections."""
    held = connections(16)
    made = opened(held, *["127.0.0.1"] * 100)

    ended = [one.ended for one in made]

    assert ended == ["aborted"] * 82 + ["idle"] * 2 + [None] * 16
    assert len(held) == 18


@pytest.mark.parametrize("most", [1, 2, 3])
def test_smallest_limits_allow_one_connection(most):
    held = connections(most)

    opened(held, "a", "a", "b")

    assert len(held) <= most + 1


def seconds(most):
    """Return the processor time of one step with that many connections, the least of some."""
    held = connections(most)
    made = opened(held, *["127.0.0.1"] * most)

    def steps(one):
        began = time.thread_time()
        held.busy(one)
        held.idle(one)
        held.closed(one)
        held.opened(one, one.address)
        held.opened(FakeConnection("127.0.0.1"), "127.0.0.1")
        return time.thread_time() - began

    return min(map(steps, made[most // 2 : most // 2 + 20]))


@pytest.mark.uncounted
def test_step_takes_no_longer_with_many_connections():
    """A thousand times as many. Mutant: a step that looks at all of them."""
    assert seconds(40_000) < 50 * seconds(40)


class Model(RuleBasedStateMachine):
    """Any order of events keeps the limits, and a busy connection is never closed."""

    MOST = 6

    def __init__(self):
        super().__init__()
        self.held = connections(self.MOST)
        self.open, self.busy = [], set()

    @rule(address=st.sampled_from(["a", "b", "127.0.0.1"]))
    def connect(self, address):
        one = FakeConnection(address)
        idle = [it for it in self.open if it not in self.busy]
        mine = [it for it in self.open if it.address == address]
        over = address != "127.0.0.1" and len(mine) >= self.MOST // 2
        room = any(it in mine for it in idle) if over else len(self.open) < self.MOST or idle

        assert self.held.opened(one, address) is bool(room)
        if room:
            self.open.append(one)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def begin(self, data):
        one = data.draw(st.sampled_from(self.open))
        self.busy.add(one)
        self.held.busy(one)

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def answer(self, data):
        one = data.draw(st.sampled_from(sorted(self.busy, key=self.open.index)))
        self.busy.discard(one)
        self.held.idle(one)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def hang_up(self, data):
        one = data.draw(st.sampled_from(self.open))
        self.open.remove(one)
        self.busy.discard(one)
        self.held.closed(one)

    @invariant()
    def limits_hold(self):
        assert not any(one.ended for one in self.busy)
        self.open = [one for one in self.open if one.ended is None]
        assert len(self.open) <= self.MOST
        for address in "ab":
            assert sum(one.address == address for one in self.open) <= self.MOST // 2
        assert len(self.held) <= self.MOST + 1


Model.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestModel = Model.TestCase
