"""A running service whose audit log leaves the machine, and a process that is killed meanwhile."""

from live import CONFIG, Live, client, eventually, sms
from witnesses import witness

AUDIT = """
audit:
  record: all
  checkpoint: 1s
  file: audit.jsonl
  anchors:
    disk2: {{file: notes}}
    team: {{sink: log, every: 1h}}
  witnesses:
    friend: {{url: "{url}", key: "{key}"}}
"""


def test_killed_service_writes_each_line_once(tmp_path):
    """The file has the lines of the export, byte for byte; the anchor and the witness know its end.

    Mutants: the place is noted before the lines are written; a start writes its file anew."""
    with witness({}) as friend:
        audit = AUDIT.format(url=friend.url, key=friend.key)
        _run(Live(tmp_path, CONFIG + audit), friend, tmp_path)


def _run(live, friend, tmp_path):
    with live:
        path = tmp_path / "audit.jsonl"
        origin, signer = _signer(live)
        friend.logs[origin] = signer
        for run in range(3):
            for number in range(40):
                live.post(sms(100 * run + number))
            if run < 2:
                live.kill()
                live.start()
        eventually(lambda: friend.seen.get(origin, (0,))[0] > 100, within=90.0)
        eventually(lambda: _checkpoints(live), within=10.0)
        metrics = client().get(f"{live.admin_url}/metrics").text
        assert 'smshook_audit_failing_since_seconds{to="file"} 0' in metrics
        assert 'smshook_audit_refused{to="witness/friend"} 0' in metrics
        assert live.stop() == 0

        live.run("audit", "export", str(tmp_path / "export"))
        assert path.read_bytes() == (tmp_path / "export/entries.jsonl").read_bytes()
        key = live.run("audit", "key").stdout.split()
        first = next(word for word in key if "/epoch+" in word)
        done = live.run(
            *("audit", "verify", str(tmp_path / "export"), "--key", first),
            *("--anchor", str(tmp_path / "notes")),
        )
        assert "unchanged" in done.stdout
        notes = [one["data"]["note"] for one in _checkpoints(live)]
        # One an hour, and one more if a process is killed before it notes the first one.
        assert 1 <= len(notes) <= 3
        assert all(note.startswith(f"{origin}\n") for note in notes)


def _signer(live):
    words = live.run("audit", "key").stdout.split()
    signer = next(word for word in words if "+" in word and "/epoch+" not in word)
    return signer.partition("+")[0], signer


def _checkpoints(live):
    return [one for one in live.delivered() if one["type"] == "system.audit_checkpoint"]
