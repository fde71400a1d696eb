"""Lines that anybody can cause are limited, and all are counted."""

from hypothesis import given
from hypothesis import strategies as st

from core.log_sampler import LogSampler
from core.units import Rate


class Ticks:
    now = 0.0

    def __call__(self):
        return self.now


def test_sampler_allows_ten_lines_a_second_of_each_kind():
    """Mutant: one bucket for all kinds, so that a flood of one hides the others."""
    ticks = Ticks()
    sampled = LogSampler(ticks)

    taken = [sampled.take("token") for _ in range(500)]
    other = sampled.take("path")

    assert [one for one in taken if one is not None] == [0] * 10
    assert other == 0
    assert sampled.take_omitted() == {"token": 490}
    assert sampled.take_omitted() == {}


def test_next_line_has_the_number_of_omitted_lines():
    ticks = Ticks()
    sampled = LogSampler(ticks, Rate(count=1, per=60))

    taken = [sampled.take("full") for _ in range(3)]
    ticks.now = 60.1

    assert (taken, sampled.take("full")) == ([0, None, None], 2)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 0.3), st.booleans()), max_size=200))
def test_lines_and_omitted_lines_add_up(steps):
    """Mutant: a count that is lost when it is reported."""
    ticks = Ticks()
    sampled = LogSampler(ticks)
    lines = left_out = 0

    for kind, wait, asks in steps:
        ticks.now += wait
        taken = sampled.take(kind)
        if taken is not None:
            lines += 1
            left_out += taken
        if asks:
            left_out += sum(sampled.take_omitted().values())

    assert lines + left_out + sum(sampled.take_omitted().values()) == len(steps)
    assert lines <= 2 * (10 + 10 * ticks.now + 1)
