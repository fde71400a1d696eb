import math

import pytest

from core.units import Duration
from sinks.health import Pause, SinkHealth
from sinks.sink import PauseAfter


def test_sink_without_an_outage_is_not_probed(hands):
    health = SinkHealth(hands, None)

    assert (health.begin_probe(None), health.is_failing) == (False, False)


def test_outage_is_probed_for_its_first_minute(hands):
    """Mutants: probes without end; no probe."""
    health = SinkHealth(hands, None)

    taken = []
    for _ in range(4):
        taken.append(health.begin_probe(1000.0))
        hands.at += 30

    assert taken == [True, True, False, False]
    assert health.begin_probe(hands.at)


def test_sink_with_retry_after_is_not_probed(hands):
    health = SinkHealth(hands, None)
    health.defer(10, everything=False)

    quiet = health.begin_probe(hands.at)
    hands.at += 10

    assert (quiet, health.begin_probe(hands.at), health.throttled_for) == (False, True, 0.0)


def test_shorter_retry_after_does_not_end_a_longer_one(hands):
    """Mutant: the last answer counts."""
    health = SinkHealth(hands, None)
    health.defer(30, everything=True)
    health.defer(1, everything=True)

    assert health.throttled_for == 30
    hands.at += 31
    assert health.throttled_for == 0.0


def test_sink_is_paused_after_failing_for_its_limit(hands):
    health = SinkHealth(hands, PauseAfter(failing_for=Duration(3600)))
    health.record_failure()

    hands.at += 3599
    early = health.should_pause
    hands.at += 1

    assert (early, health.should_pause) == (False, True)
    health.paused = Pause.FAILING
    assert health.should_pause is False


def test_failures_before_a_restart_count_for_a_pause(hands):
    health = SinkHealth(hands, PauseAfter(failing_for=Duration(3600)), failing_for=7200.0)

    assert health.should_pause


def test_paused_sink_is_probed_at_its_own_interval(hands):
    every = PauseAfter(failing_for=Duration(1), probe_every=Duration(60))
    health = SinkHealth(hands, every, paused=Pause.FAILING, failing_for=math.inf)

    taken = []
    for _ in range(5):
        taken.append(health.begin_probe(None))
        hands.at += 30

    assert taken == [True, False, True, False, True]


def test_operators_pause_allows_no_probe(hands):
    every = PauseAfter(failing_for=Duration(1))
    health = SinkHealth(hands, every, paused=Pause.OPERATOR, failing_for=9.0)

    assert health.begin_probe(hands.at) is False


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"failing_for": Duration(0)}, "failing_for must be longer than 0s"),
        (
            {"failing_for": Duration(1), "probe_every": Duration(0)},
            "probe_every must be longer than 0s",
        ),
    ],
)
def test_pause_after_needs_positive_times(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        PauseAfter(**options)
