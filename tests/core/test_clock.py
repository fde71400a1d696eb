import asyncio
import time
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core import clock as core_clock
from core.clock import AgeClock, WallClock, boot_ticks, find_boot_ticks, rfc3339
from server.runtime import clock_jumps


class Machine:
    """The two clocks of a machine."""

    def __init__(self):
        self.wall_at, self.ticks_at = 1_800_000_000.0, 5.0

    def pass_by(self, seconds):
        self.wall_at += seconds
        self.ticks_at += seconds

    def clock(self):
        return WallClock(wall=lambda: self.wall_at, ticks=lambda: self.ticks_at)


@pytest.mark.parametrize("step", [3600.0, -3600.0, 2.5, -2.5])
def test_clock_jump_shows_at_the_next_check(step):
    """Mutants: `now` reads the wall clock; the sign is lost; listeners are called too early."""
    machine = Machine()
    clock, seen = machine.clock(), []
    clock.listen(lambda by: seen.append((by, clock.now())))

    machine.pass_by(10)
    machine.wall_at += step
    before = clock.now()
    jumped = clock.check()

    assert before == 1_800_000_010.0
    assert jumped == clock.jumped() == step
    assert seen == [(step, 1_800_000_010.0 + step)]
    assert clock.check() == 0.0
    assert len(seen) == 1


@pytest.mark.parametrize("step", [0.0, 1.9, -1.9])
def test_small_step_is_not_reported(step):
    """Mutant: a correction of milliseconds moves a hundred thousand rows."""
    machine = Machine()
    clock, seen = machine.clock(), []
    clock.listen(seen.append)

    machine.wall_at += step

    assert clock.check() == 0.0
    assert clock.now() == pytest.approx(machine.wall_at, abs=1e-6)
    assert (seen, clock.jumped()) == ([], 0.0)


def test_sleep_of_the_machine_is_not_a_jump():
    """CLOCK_BOOTTIME continues in a suspended machine. Mutant: the monotonic clock as reference."""
    machine = Machine()
    clock, seen = machine.clock(), []
    clock.listen(seen.append)

    machine.pass_by(8 * 3600)

    assert clock.check() == 0.0
    assert clock.now() == machine.wall_at
    assert seen == []


#: Not so near the smallest jump that rounding decides.
_STEPS = st.floats(-1e6, 1e6).filter(lambda step: abs(abs(step) - core_clock.SMALLEST_JUMP) > 0.01)


@given(st.lists(st.tuples(st.floats(0, 1e4), _STEPS), max_size=30))
def test_relative_instant_keeps_its_distance(steps):
    """An instant made from `now` and moved at each jump keeps its distance."""
    machine = Machine()
    clock = machine.clock()
    instants = {"due": clock.now() + 500_000}
    clock.listen(lambda by: instants.update(due=instants["due"] + by))
    began, drift = machine.ticks_at, 0.0

    for passed, step in steps:
        machine.pass_by(passed)
        machine.wall_at += step
        if abs(step) <= core_clock.SMALLEST_JUMP:
            drift += step
        clock.check()

    left = 500_000 - (machine.ticks_at - began) - drift
    assert instants["due"] - clock.now() == pytest.approx(left, abs=0.01)


def test_reference_goes_forward():
    assert boot_ticks() <= boot_ticks()


def test_reference_is_the_monotonic_clock_without_boottime(monkeypatch):
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)

    before = time.monotonic()

    assert before <= find_boot_ticks()() <= time.monotonic()


async def test_watch_checks_repeatedly(monkeypatch):
    monkeypatch.setattr(clock_jumps, "LOOK_EVERY", 0)
    machine = Machine()
    clock, seen = machine.clock(), asyncio.Queue()
    clock.listen(seen.put_nowait)
    watching = asyncio.create_task(clock_jumps.watch_clock(clock))

    for step in (60.0, -60.0):
        machine.wall_at += step
        async with asyncio.timeout(30):
            assert await seen.get() == step
    watching.cancel()


#: From the epoch to the year 9999, in microseconds.
MICROSECONDS = st.integers(0, 253_402_300_799_999_999)


@given(MICROSECONDS.filter(lambda at: at < 2**52))
@example(0)
@example(999_999)
@example(1_600_108_957_250_000)
def test_time_is_formatted_with_microseconds(at):
    """Mutants: cut instead of rounded; a second that is too small for its fraction."""
    wanted = datetime.fromtimestamp(at // 1_000_000, UTC).replace(microsecond=at % 1_000_000)

    assert rfc3339(at / 1_000_000) == wanted.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# --- ages ---------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 9000), st.floats(-9000, 9000)), max_size=6), st.data())
@example([(10.0, 86_400.0)], None)
@example([(10.0, -86_400.0)], None)
def test_no_data_is_old_before_its_time(steps, data):
    """The clock may jump. Data from earlier than `before` is still old enough: real time passed.

    Mutants: a clock that was set back is forgotten (`since == then`); a jump begins a second late.
    """
    machine = Machine()
    clock = machine.clock()
    ages = AgeClock(clock, None)
    stored = []
    for passes, jump in steps:
        stored.append((machine.ticks_at, clock.now()))
        machine.pass_by(passes)
        stored.append((machine.ticks_at, clock.now()))
        machine.wall_at += jump
        clock.check()
        stored.append((machine.ticks_at, clock.now()))
        kept = 3600.0 if data is None else data.draw(st.floats(0, 20_000))
        before = ages.before(kept)
        early = [
            at for ticks, at in stored if at < before - 1e-6 and machine.ticks_at - ticks < kept - 2
        ]
        assert early == []


@pytest.mark.parametrize("behind", [86_400.0, 1_800_000_000.0])
def test_clock_that_was_corrected_does_not_keep_later_data(behind):
    """A machine without a battery starts in the past, and gets the time from the network.

    Mutant: ages count from the start only.
    """
    machine = Machine()
    machine.wall_at -= behind
    clock = machine.clock()
    ages = AgeClock(clock, None)
    machine.pass_by(20)
    machine.wall_at += behind
    clock.check()
    stored = clock.now()

    machine.pass_by(59)
    young = ages.before(60.0)
    machine.pass_by(2)

    assert young < stored < ages.before(60.0)


def test_clock_that_was_set_forward_is_believed_after_an_hour():
    """Mutants: at once; never."""
    machine = Machine()
    clock = machine.clock()
    ages = AgeClock(clock, None)
    machine.wall_at += 86_400
    clock.check()

    first = clock.now() - ages.now()
    machine.pass_by(3599)
    last = clock.now() - ages.now()
    machine.pass_by(2)

    assert (first, last, ages.now()) == (86_400, 86_400, clock.now())
