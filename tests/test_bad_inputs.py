"""The list of bad requests, sent by its own runner to a real process with a new journal."""

import subprocess
import sys
from pathlib import Path

import live
import pytest

HERE = Path(__file__).parent / "bad_inputs"


@pytest.mark.slow
def test_bad_requests_get_the_listed_answers(tmp_path):
    """Then SIGTERM still ends the process. Mutant: uvicorn with wsproto, without `ws="none"`."""
    with live.Live(tmp_path) as service:
        run = subprocess.run(
            [
                *(sys.executable, HERE / "run_bad_inputs.py", HERE / "bad_inputs.jsonl"),
                *("--url", service.url, "--admin", service.admin_url, "--api-key", live.KEY),
                *("--token", f"tellabot={live.TOKEN}"),
                *("--token", f"smsactivate={live.DIALECT_TOKEN}"),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=110,
        )

        assert run.returncode == 0, run.stdout + run.stderr
        assert run.stdout.endswith("0 failed, 2 skipped\n")
        assert service.stop() == 0


def test_bad_requests_that_need_a_state_are_answered(tmp_path):
    """The runner skips these: an allow-list, and a second message of an activation."""
    listed = live.CONFIG.replace("tellabot,", "tellabot, allow_from: [203.0.113.7],")
    names = ("X-Forwarded-For", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP")
    spoofed = dict.fromkeys(names, "203.0.113.7") | {"Forwarded": "for=203.0.113.7"}
    body = b'{"activationId":4242,"text":"%b message","code":"%b","service":"go"}'
    with live.Live(tmp_path, listed) as service:
        refused = service.post(live.sms(1), headers=spoofed)
        first = service.post(body % (b"first", b"1234"), source="smsactivate").json()
        second = service.post(body % (b"second", b"9999"), source="smsactivate").json()

        assert (refused.status_code, service.stats()["quarantine"]) == (403, 1)
        assert (first["status"], second["status"]) == ("accepted", "accepted")
        assert service.stats()["events"] == 2
