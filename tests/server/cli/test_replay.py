"""`replay` and `why`, with a real service."""

import re

import live
import pytest
from prompt import printed, read, run, sent

ABSENT = "01931c5e-0000-7000-8000-000000000000"
CONFIG = live.CONFIG.replace(
    "everything: {to: [log]}",
    """everything: {to: [log], when: {source: tellabot}}
  cheap: {to: [log], when: {data.price.amount: {$lt: 1}, data.country: US}}
  either: {to: [], when: {$or: [{data.country: GB}, {data.country: FR}]}}""",
)

pytestmark = pytest.mark.usefixtures("here")


def deliveries(event_id):
    return read("deliveries", "list", "--event", event_id)


# replay


def test_replay_is_counted_then_followed_to_its_end():
    (event_id,) = sent("tellabot")
    (other,) = sent("smsactivate")

    counted = printed("replay", "--since", "1h", "--source", "tellabot", "--dry-run")
    before = deliveries(event_id)
    done = read("replay", "--since", "1h", "--source", "tellabot", "--type", "sms.received")

    number = re.fullmatch(r"(\d+) events? to replay; nothing was made\n", counted)[1]
    assert len(before) == 1
    assert (done["state"], done["source"]) == ("done", ["tellabot"])
    assert done["matched"] == done["replayed"] == done["created"] == int(number)
    assert [one["replay"] for one in deliveries(event_id)] == [False, True]
    assert deliveries(other) == []


def test_replay_to_a_sink_is_printed_with_its_numbers():
    (event_id,) = sent("smsactivate")

    output = printed("replay", "--source", "smsactivate", "--sink", "log", "--yes")

    fields = dict(line.split() for line in output.splitlines())
    assert fields["state"] == "done"
    assert fields["matched"] == fields["replayed"] == fields["created"]
    assert len(deliveries(event_id)) == 1


def test_replay_of_nothing_makes_nothing():
    output = printed("replay", "--until", "2020-01-01T00:00:00Z")

    assert output == "0 events to replay; nothing was made\n"


def test_replay_to_an_unknown_sink_suggests_the_nearest():
    result = run("replay", "--since", "1h", "--sink", "lag")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "no sink is named 'lag'; sinks: log; did you mean 'log'?\n"


def test_finished_replay_can_be_cancelled_without_effect():
    sent("tellabot", "--times", "1")
    done = read("replay", "--since", "1h", "--until", "30m")
    started = read("replay", "--since", "1h", "--type", "sms.received")

    assert done["id"] is None
    assert printed("replay", "--cancel", started["id"]) == f"cancelled {started['id']}\n"
    assert run("replay", "--cancel", ABSENT).stderr == "404 not_found: no such replay\n"


# why


def test_why_shows_each_route_with_its_failing_clause():
    (event_id,) = sent("tellabot", "--times", "1")

    output = printed("why", event_id[-8:])
    answer = read("why", event_id)

    assert re.match(r"accepted \S+Z: callback from 127.0.0.1, token \S+\n", output)
    rows = {line.split()[0]: line for line in output.splitlines() if line}
    assert re.match(r"everything +yes +- +- +-", rows["everything"])
    assert "data.price.amount.$lt" in rows["cheap"]
    assert re.match(r"either +no +\$or", rows["either"])
    assert re.search(r"data.country +\"FR\" +\"US\"", output)
    assert re.match(r"log +(delivered|pending|sending)", rows["log"])
    assert [route["matched"] for route in answer["routes"]] == [True, False, False]


def test_why_shows_copies_of_one_event(service):
    body = live.sms(4711, at=1_700_000_000)
    event_id = service.post(body).json()["events"][0]
    service.post(body)

    output = printed("why", event_id)

    assert "arrived once more; all are one event\n" in output
    assert re.search(r"duplicate +callback +127.0.0.1", output)


def test_why_of_an_event_without_a_route_says_so():
    (event_id,) = sent("smsactivate")

    result = run("why", event_id)

    assert "no delivery: no route of a sink matched" in result.stderr


def test_why_of_a_waiting_order_names_what_is_known(service):
    order = read("orders", "add", "tellabot", "--request-id", "99000001", "--number", "18505550100")
    service.post(b"event=new_kind&id=77")

    output = printed("why", order["id"])
    reasons = read("why", order["id"][-8:])["not_arrived"]

    title, *lines = output.splitlines()
    assert title == f"order {order['id']}: waiting tellabot +18505550100"
    assert re.match(r"- no SMS came yet; the order expires in \d+ h", lines[0])
    assert re.match(r"- tellabot is receiving; it sent its last callback", lines[1])
    assert lines[2] == "- tellabot has no backfill: smshook cannot ask for missed messages"
    assert re.match(r"- \d+ callbacks of tellabot are in quarantine since then:", lines[3])
    assert len(reasons) == len(lines)


def test_why_of_an_order_with_its_code_names_the_event(service):
    order = read("orders", "add", "tellabot", "--request-id", "10099002")
    event_id = service.accept(99002)

    reasons = read("why", order["id"])["not_arrived"]

    assert reasons[0] == f"it arrived: smshook why {event_id[-8:]}"


def test_why_of_a_callback_in_quarantine_names_the_reason(service):
    quarantine_id = service.post(b"event=new_kind&id=78").json()["id"]

    output = printed("why", quarantine_id)

    first, second, third = output.splitlines()
    assert first.startswith("in quarantine: unknown_event: ")
    assert re.fullmatch(r"arrived \S+Z from 127.0.0.1; no event was made", second)
    assert third == f"smshook quarantine replay {quarantine_id[-8:]} reads it again"


@pytest.mark.parametrize("typed", [ABSENT, "abcdef12"])
def test_why_of_an_unknown_id_is_a_failure(typed):
    result = run("why", typed)

    assert (result.exit_code, result.stderr) == (
        1,
        f"no event, order or callback in quarantine has the id '{typed}'\n",
    )
