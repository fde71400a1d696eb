"""Alerts over the API: who sees them, and where."""

import msgspec
import pytest

from server.runtime.watching import Watching
from sinks.health import Pause

PAUSED = "system.sink_paused"


@pytest.fixture
async def alerted(service):
    """A service with an SMS of the team growth, and an alert about its sink."""
    await service.sms()
    await service.parts.workers["log"].pause(Pause.OPERATOR)
    await Watching(service.parts).look()
    [item] = await service.data("/v1/events", type=PAUSED)
    service.alert = item["event"]
    return service


async def test_alert_is_listed_until_it_ends(alerted):
    [shown] = await alerted.data("/v1/alerts", "reader")
    assert shown == {
        "name": "sink_paused",
        "subject": "sink/log",
        "severity": "info",
        "summary": "the sink log is paused (operator); its deliveries wait",
        "since": alerted.alert["data"]["since"],
        "raised_at": alerted.alert["recordedtime"],
        "event": alerted.alert["id"],
    }

    await alerted.parts.workers["log"].resume()
    await Watching(alerted.parts).look()
    assert await alerted.data("/v1/alerts") == []


async def test_readers_get_alerts_only_by_their_type(alerted):
    """Mutants: lists have them, also without a type; they count in the statistics."""
    types = [item["event"]["type"] for item in await alerted.data("/v1/events")]
    assert types == ["sms.received"]
    assert await alerted.data("/v1/events", source="smshook") == []
    assert len(await alerted.data("/v1/events", type=PAUSED, source="smshook")) == 1
    newest = await alerted.ask("/v1/events/wait", params={"since": "1h", "timeout": "0"})
    assert newest.json()["event"]["type"] == "sms.received"
    assert (await alerted.ask("/v1/stats")).json()["events"] == 1
    counted = {"since": "1h", "dry_run": True}
    assert (await alerted.ask("/v1/replays", method="POST", json=counted)).json()["matched"] == 1
    counted["type"] = [PAUSED]
    assert (await alerted.ask("/v1/replays", method="POST", json=counted)).json()["matched"] == 1


async def test_key_with_a_filter_never_sees_alerts(alerted):
    """Also if its `when` would match. Mutant: the filter alone decides."""
    service = alerted
    keys = dict(service.config.api.keys)
    when = {"type": {"$startsWith": "system."}}
    keys["system"] = msgspec.structs.replace(keys["growth"], when=when, key=keys["nothing"].key)
    del keys["nothing"]
    api = msgspec.structs.replace(service.config.api, keys=keys)
    assert (await service.reload(api=api)).status_code == 200
    await service.parts.workers["log"].resume()
    await Watching(service.parts).look()

    assert await service.data("/v1/events", "system", type=PAUSED) == []
    assert await service.data("/v1/events", "system") == []
    alert = f"/v1/events/{service.alert['id']}"
    assert (await service.ask(alert, "system")).status_code == 404
    assert (await service.ask(alert, "reader")).status_code == 200
    assert (await service.ask("/v1/alerts", "growth")).status_code == 403


async def test_alert_test_names_the_sinks(alerted):
    """Mutants: a sample is sent for an unknown name; the scope is that of a writer."""
    answer = await alerted.ask("/v1/alerts/disk_low/test", method="POST")

    assert answer.json()["sinks"] == []
    event = (await alerted.ask(f"/v1/events/{answer.json()['event']}")).json()["event"]
    assert (event["type"], event["data"]["sample"]) == ("system.disk_low", True)
    assert (await alerted.ask("/v1/alerts/none/test", method="POST")).status_code == 404
    assert (await alerted.ask("/v1/alerts/disk_low/test", "writer", method="POST")).is_client_error
