from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from core.clock import rfc3339

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
