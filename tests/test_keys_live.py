"""Keys and repeated calls over kill -9, with a real service."""

import sys
from pathlib import Path

import httpx
import live
import pytest

KILL_AFTER_CALL = Path(__file__).parent / "failpoints" / "kill_after_call.py"
NEW = {"name": "crm", "scopes": ["events:read"]}


def replays(service, event_id):
    return len(service.api(f"/events/{event_id}").json()["deliveries"]) - 1


@pytest.mark.parametrize("mutant", [[], ["apart"]])
def test_call_cut_off_by_a_kill_is_done_once(tmp_path, mutant):
    """The act is on disk, the client got no answer, and repeats the call after the restart.

    With the mutant `apart`, the repeated call is done again.
    """
    service = live.Live(tmp_path)
    headers = {"Idempotency-Key": "once"}
    with service:
        event_id = service.accept(1)
        service.stop()
        service.program = [sys.executable, str(KILL_AFTER_CALL), *mutant]
        service.start()
        with pytest.raises(httpx.TransportError):
            service.api(
                f"/events/{event_id}/replay",
                method="POST",
                headers=headers,
            )
        service.process.wait(10)
        service.program = [live.command()]
        service.start()
        answer = service.api(
            f"/events/{event_id}/replay",
            method="POST",
            headers=headers,
        )

        assert answer.status_code == 200
        assert replays(service, event_id) == (2 if mutant else 1)


def test_made_and_revoked_keys_survive_a_kill(tmp_path):
    """Mutants: a revoked key works again after a restart; a made one does not."""
    with live.Live(tmp_path) as service:
        kept = service.api("/keys", method="POST", json=NEW).json()["key"]
        gone = service.api("/keys", method="POST", json={**NEW, "name": "gone"}).json()["key"]
        before = [service.api("/me", key=key).status_code for key in (kept, gone)]
        revoked = service.api("/keys/gone", method="DELETE").status_code
        live.eventually(lambda: "key.revoked" in service.log.read_text())
        service.kill()
        service.start()
        after = [service.api("/me", key=key).status_code for key in (kept, gone)]
        logged = service.log.read_text() + service.errors.read_text()

    assert (before, revoked, after) == ([200, 200], 204, [200, 401])
    assert kept not in logged
    assert gone not in logged


def test_last_use_is_stored_when_the_service_stops(tmp_path):
    with live.Live(tmp_path) as service:
        key = service.api("/keys", method="POST", json=NEW).json()["key"]
        service.api("/me", key=key)
        used = last_use(service)
        service.stop()
        service.start()

        assert used is not None
        assert last_use(service) == used


def last_use(service):
    return {one["name"]: one["last_used_at"] for one in service.api("/keys").json()["data"]}["crm"]
