"""A real process: callbacks in, deliveries out, a kill -9 in between."""

import concurrent.futures
import json
import signal

import live
import pytest

AT = 1_700_000_000


@pytest.fixture
def service(tmp_path):
    with live.Live(tmp_path) as running:
        yield running


def test_callback_becomes_one_event_in_the_file(service):
    answer = service.post(live.sms(1, at=AT))

    assert answer.status_code == 200
    [event_id] = answer.json()["events"]
    [event] = live.eventually(service.delivered)
    assert (event["id"], event["source"], event["type"]) == (event_id, "tellabot", "sms.received")
    assert (event["subject"], event["time"]) == ("request/10000001", "2023-11-14T22:13:20Z")
    assert event["data"]["code"] == live.code(1)


def test_simultaneous_copies_are_one_event_and_duplicates(service):
    """Fifty copies. Mutant: a look-up before the transaction, not the key's row, stores several."""
    with concurrent.futures.ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: service.post(live.sms(7, at=AT)).json(), range(50)))

    statuses = [answer["status"] for answer in answers]
    assert (statuses.count("accepted"), statuses.count("duplicate")) == (1, 49)
    assert len({tuple(answer["events"]) for answer in answers}) == 1
    live.eventually(lambda: service.stats()["deliveries"]["delivered"] == 1)
    stats = service.stats()
    assert (stats["events"], stats["duplicates"]) == (1, 49)
    assert len(service.delivered()) == 1
    whole = service.api(f"/events/{answers[0]['events'][0]}").json()
    assert (len(whole["duplicates"]), len(whole["deliveries"])) == (49, 1)


def test_same_text_at_another_time_is_another_message(service):
    first = service.post(live.sms(1, at=AT)).json()
    second = service.post(live.sms(1, at=AT + 60)).json()

    assert [first["status"], second["status"]] == ["accepted", "accepted"]
    assert first["events"] != second["events"]


def test_copy_in_another_encoding_is_a_duplicate(service):
    fields = {
        "event": "incoming_message",
        "id": 10000001,
        "timestamp": AT,
        "from": 22000,
        "to": "18505550001",
        "reply": f"{live.code(1)} is your Google verification code.",
        "price": 1.20,
    }
    as_json = service.post(json.dumps(fields).encode())

    again = service.post(live.sms(1, at=AT))

    assert as_json.json()["status"] == "accepted"
    assert again.json() == {"status": "duplicate", "events": as_json.json()["events"]}


def test_retry_after_a_time_zone_change_is_a_duplicate(tmp_path):
    """Mutant: a key through the configured zone makes a correction of it a second event."""
    body = json.dumps(
        {
            "activationId": 1,
            "service": "go",
            "text": "Your code is 12345",
            "code": "12345",
            "country": 0,
            "receivedAt": "2026-11-20 12:00:00",
        }
    ).encode()
    with live.Live(tmp_path) as service:
        first = service.post(body, source="smsactivate").json()
        service.kill()

    elsewhere = live.CONFIG.replace("sms_activate,", "sms_activate, timezone: Asia/Tokyo,")
    assert elsewhere != live.CONFIG
    with live.Live(tmp_path, elsewhere) as service:
        again = service.post(body, source="smsactivate").json()

        assert again == {"status": "duplicate", "events": first["events"]}
        assert service.stats()["events"] == 1


def test_pending_delivery_is_sent_after_a_kill_and_restart(tmp_path):
    """The sink's folder is missing, so nothing is delivered until it is made."""
    config = live.CONFIG.replace("path: events.jsonl", "path: out/events.jsonl")
    with live.Live(tmp_path, config) as service:
        answers = [service.post(live.sms(n, at=AT)).json() for n in range(20)]
        live.eventually(lambda: service.stats()["deliveries"]["pending"] == 20)
        service.kill()

    (tmp_path / "out").mkdir()
    with live.Live(tmp_path, config) as service:
        live.eventually(lambda: service.stats()["deliveries"]["delivered"] == 20, within=10)

        told = [answer["events"][0] for answer in answers]
        assert sorted(e["id"] for e in service.delivered("out/events.jsonl")) == sorted(told)


def test_second_process_is_refused_naming_the_first(service):
    second = service.run("serve", check=False)

    assert second.returncode == 1
    assert str(service.process.pid) in second.stderr


def test_changed_secret_exits_with_2(tmp_path):
    with live.Live(tmp_path) as service:
        service.stop()
    config = live.CONFIG.replace(live.SECRET, "another secret, which is long enough too")
    changed = live.Live(tmp_path, config)

    refused = changed.run("serve", check=False)

    assert refused.returncode == 2
    assert "server.secret" in refused.stderr
    assert "another secret" not in refused.stderr


def test_sigint_ends_the_process_like_sigterm(service):
    service.process.send_signal(signal.SIGINT)

    assert service.process.wait(10) == 0
