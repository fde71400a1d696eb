from hypothesis import given
from hypothesis import strategies as st

from core.bucket import Bucket
from core.units import Rate


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_bucket_allows_a_burst_and_then_a_wait():
    clock = Clock()
    bucket = Bucket(Rate(3, 1), clock)

    answers = [bucket.take() for _ in range(4)]

    assert answers[:3] == [0.0, 0.0, 0.0]
    assert round(answers[3], 4) == 0.3333


def test_refusal_takes_nothing_from_the_bucket():
    clock = Clock()
    bucket = Bucket(Rate(1, 1), clock)
    bucket.take()

    refusals = [round(bucket.take(), 3) for _ in range(50)]
    clock.now += 1

    assert refusals == [1.0] * 50
    assert bucket.take() == 0.0


def test_rate_below_one_allows_one():
    clock = Clock()
    bucket = Bucket(Rate(0.5, 1), clock)

    first, second = bucket.take(), bucket.take()

    assert (first, round(second, 3)) == (0.0, 2.0)


def test_long_silence_saves_at_most_one_burst():
    clock = Clock()
    bucket = Bucket(Rate(2, 60), clock)

    clock.now += 1_000_000
    answers = [bucket.take() for _ in range(3)]

    assert answers[:2] == [0.0, 0.0]
    assert round(answers[2]) == 30


rates = st.builds(
    Rate,
    st.floats(0.1, 100).map(lambda count: round(count, 2)),
    st.sampled_from([1.0, 60.0, 3600.0]),
)


@given(rates, st.lists(st.floats(0, 100), max_size=60))
def test_caller_that_waited_the_stated_time_is_allowed(rate, pauses):
    """Mutant: without `_ROUNDING`, one in some hundred must wait 1e-13 s more."""
    clock = Clock()
    bucket = Bucket(rate, clock)
    for pause in pauses:
        bucket.take()
        clock.now += pause

    while (wait := bucket.take()) == 0.0:
        pass
    clock.now += wait

    assert bucket.take() == 0.0


@given(rates, st.lists(st.floats(0, 10), min_size=1, max_size=200))
def test_bucket_never_exceeds_burst_and_average(rate, pauses):
    """Mutant: refilling to more than the count lets more pass."""
    clock = Clock()
    bucket = Bucket(rate, clock)

    passed = 0
    for pause in pauses:
        clock.now += pause
        passed += bucket.take() == 0.0

    elapsed = sum(pauses)
    assert passed <= max(1, rate.count) + elapsed * rate.count / rate.per + 0.01


@given(rates, st.lists(st.floats(0, 100), max_size=60))
def test_left_is_the_number_that_is_allowed_now(rate, pauses):
    """Mutants: one too many; not limited to the count after a long pause."""
    clock = Clock()
    bucket = Bucket(rate, clock)
    for pause in pauses:
        bucket.take()
        clock.now += pause

    left, passed = bucket.left(), 0
    while bucket.take() == 0.0:
        passed += 1

    assert passed == left
    assert bucket.left() == 0
