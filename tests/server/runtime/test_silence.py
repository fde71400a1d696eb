"""Warnings about sources, once each."""

import live
import structlog

from core.secret import Secret
from core.units import Duration
from receiver.polling.options import Backfill
from receiver.providers.smspins import SmsPins
from receiver.providers.tellabot.callbacks import TellABot
from receiver.source_state import SourceState
from server.runtime.silence import SourceMonitor


def test_silence_is_logged_once_until_a_callback_comes():
    """Mutant: logged at each look."""
    now = 1_790_000_000.0
    source = TellABot(tokens=(Secret("t" * 20),), expect_every=Duration(60))
    state = SourceState("tellabot", source, lambda: now)
    monitor = SourceMonitor({"tellabot": state}, lambda: now, lambda _source: None)
    with structlog.testing.capture_logs() as logged:
        for seconds in (30, 40, 50):
            now += seconds
            monitor.look()
        state.health._last_at = now
        monitor.look()
        now += 61
        monitor.look()

    assert logged == [
        {
            "event": "source.silent",
            "log_level": "warning",
            "source": "tellabot",
            "seconds": seconds,
            "expect_every": 60,
        }
        for seconds in (70, 61)
    ]


def test_source_with_an_overdue_order_is_silent():
    """Mutants: orders ignored; also for a source without callbacks."""
    now = 1_790_000_000.0
    called = SourceState("tellabot", TellABot(tokens=(Secret("t" * 20),)), lambda: now)
    asked = SourceState("smspins", SmsPins(backfill=Backfill(api_key=Secret("k"))), lambda: now)
    since = now
    monitor = SourceMonitor(
        {"tellabot": called, "smspins": asked}, lambda: now, lambda _source: since + 60
    )
    now += 700
    with structlog.testing.capture_logs() as logged:
        monitor.look()

    assert [(line["event"], line["source"], line["seconds"]) for line in logged] == [
        ("source.silent", "tellabot", 640)
    ]


def test_silence_and_wrong_zone_are_logged_and_listed(tmp_path):
    config = live.CONFIG.replace(
        f'tokens: ["{live.TOKEN}"]', f'tokens: ["{live.TOKEN}"], expect_every: 1s'
    ).replace(
        f'tokens: ["{live.DIALECT_TOKEN}"]',
        f'tokens: ["{live.DIALECT_TOKEN}"], timezone: Asia/Tokyo',
    )
    with live.Live(tmp_path, config) as service:
        live.eventually(lambda: service.logged("source.silent"))
        service.post(live.sms(1))
        silent, dialect = service.api("/sources").json()["data"]
        assert service.stop() == 0

    assert (silent["state"], silent["clock"]["measured"]) == ("receiving", 1)
    assert -1 < silent["clock"]["offset"] < 20
    assert dialect["clock"]["timezone"] == "Asia/Tokyo"
    assert service.logged("source.silent")[0]["source"] == "tellabot"
