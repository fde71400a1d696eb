"""Alerts over the API: who sees them, and where."""

import msgspec
import pytest

from core.event import kinds
from server.runtime.alert_kinds import KINDS
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


async def test_health_shows_alerts_to_keys_that_may_see_them(alerted):
    """A check without a key never fails. Mutants: all requests get it; a key with a `when` does."""
    service, path = alerted, "/healthz?details=1"
    raised = await service.data("/v1/alerts")
    plain = {"status": "ok"}

    assert (await service.ask(path, "reader")).json() == {**plain, "alerts": raised}
    assert [one["name"] for one in raised] == ["sink_paused"]
    for asked, key in ((path, None), ("/healthz?details=0", "reader"), ("/healthz", "reader")):
        assert (await service.ask(asked, key)).json() == plain
    refused = [await service.ask(path, key) for key in ("nothing", "boss")]
    refused.append(await service.admin.get(path, headers={"Authorization": "Bearer wrong"}))
    assert [answer.status_code for answer in refused] == [403, 403, 401]
    headers = {"Authorization": f"Bearer {service.config.api.keys['reader'].key.reveal()}"}
    assert (await service.public.get(path, headers=headers)).json() == plain


async def test_recent_alerts_are_known_after_a_restart(alerted):
    """Begun and ended alerts, newest first. Mutants: the oldest first; only since the start."""
    service = alerted
    await service.parts.workers["log"].resume()
    await Watching(service.parts).look()

    recent = await service.data("/v1/alerts/recent", "reader")
    before = [*service.parts.alerts.recent]
    service.parts.alerts.recent.clear()
    await Watching(service.parts).look()  # the first look of a start

    assert [(one["type"], one["state"]) for one in recent] == [
        ("system.sink_resumed", "cleared"),
        (PAUSED, "raised"),
    ]
    assert recent[1]["event"] == service.alert["id"]
    assert recent[1]["summary"] == "the sink log is paused (operator); its deliveries wait"
    assert [*service.parts.alerts.recent] == before
    await service.parts.alerts.load_recent()
    assert [*service.parts.alerts.recent] == before
    assert (await service.ask("/v1/alerts/recent", "growth")).status_code == 403


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


async def test_no_reader_of_alerts_gets_one_from_before_its_time(alerted):
    """The alert is the newest event, and no SMS came after it.

    Mutants: `Selection.every` is not used for the cursor of a 204, or for either place of a seek.
    """
    service = alerted
    service.now += 60
    query = f"/v1/events/wait?type={PAUSED}&type=system.sink_resumed&timeout=0"
    none = await service.ask(f"{query}&since=1s")
    place = {"time": "1s"}
    await service.ask("/v1/consumers/ops/seek", method="POST", json=place)
    before = await service.data("/v1/consumers/ops/events", type=PAUSED)
    await service.parts.workers["log"].resume()
    await Watching(service.parts).look()

    found = await service.ask(f"{query}&after={none.headers['smshook-cursor']}")
    await service.ask("/v1/consumers/ops/seek", method="POST", json=place)
    after = await service.data("/v1/consumers/ops/events", type="system.sink_resumed")

    assert (none.status_code, before) == (204, [])
    assert found.json()["event"]["type"] == "system.sink_resumed"
    assert [item["event"]["type"] for item in after] == ["system.sink_resumed"]


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


async def test_each_alert_of_the_specification_can_be_tested(alerted):
    """Also those that no condition raises. Mutants: `audit_checkpoint` is unknown; its sample is in
    the list of recent alerts."""
    begins = {kind.begin.type for kind in KINDS.values()}
    ends = {kind.end.type for kind in KINDS.values() if kind.end is not None}
    assert begins | ends == {one.type for one in kinds() if one.type.startswith("system.")}
    # The order matters: ten are listed.
    for type_ in sorted(begins, reverse=True):
        name = type_.removeprefix("system.")
        answer = await alerted.ask(f"/v1/alerts/{name}/test", method="POST")
        event = (await alerted.ask(f"/v1/events/{answer.json()['event']}")).json()["event"]
        assert (event["type"], event["data"]["sample"]) == (type_, True)
    recent = {one["type"] for one in await alerted.data("/v1/alerts/recent")}
    assert "system.audit_checkpoint" not in recent


async def test_alert_test_names_the_sinks(alerted):
    """Mutants: a sample is sent for an unknown name, or names are kept back; a writer may test."""
    answer = await alerted.ask("/v1/alerts/disk_low/test", method="POST")

    assert answer.json()["sinks"] == []
    event = (await alerted.ask(f"/v1/events/{answer.json()['event']}")).json()["event"]
    assert (event["type"], event["data"]["sample"]) == ("system.disk_low", True)
    unknown = await alerted.ask("/v1/alerts/none/test", method="POST")
    assert (unknown.status_code, "sink_failing, " in unknown.json()["detail"]) == (404, True)
    assert (await alerted.ask("/v1/alerts/disk_low/test", "writer", method="POST")).is_client_error
