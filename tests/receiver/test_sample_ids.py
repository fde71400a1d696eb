"""Lines that anybody can cause are bounded, and none goes uncounted."""

from hypothesis import given
from hypothesis import strategies as st

from core.units import Rate
from receiver.sample_ids import Sampled


class Ticks:
    now = 0.0

    def __call__(self):
        return self.now


def test_ten_lines_a_second_of_each_kind():
    """Mutant: one bucket for all kinds, so that a flood of one hides the others."""
    ticks = Ticks()
    sampled = Sampled(ticks)

    taken = [sampled.take("token") for _ in range(500)]
    other = sampled.take("path")

    assert [one for one in taken if one is not None] == [0] * 10
    assert other == 0
    assert sampled.left_out() == {"token": 490}
    assert sampled.left_out() == {}


def test_the_next_line_says_how_many_were_left_out():
    ticks = Ticks()
    sampled = Sampled(ticks, Rate(count=1, per=60))

    taken = [sampled.take("full") for _ in range(3)]
    ticks.now = 60.1

    assert (taken, sampled.take("full")) == ([0, None, None], 2)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 0.3), st.booleans()), max_size=200))
def test_lines_and_what_was_left_out_are_all_there_were(steps):
    """Mutant: a count that is lost when it is reported."""
    ticks = Ticks()
    sampled = Sampled(ticks)
    lines = left_out = 0

    for kind, wait, asks in steps:
        ticks.now += wait
        taken = sampled.take(kind)
        if taken is not None:
            lines += 1
            left_out += taken
        if asks:
            left_out += sum(sampled.left_out().values())

    assert lines + left_out + sum(sampled.left_out().values()) == len(steps)
    assert lines <= 2 * (10 + 10 * ticks.now + 1)
