"""Each installed peer does the measured work."""

import json
import os
import time
import urllib.parse
from pathlib import Path

import httpx
import pytest
from live import eventually
from serving import Handler, serving

from benchmarks.peers import PEERS, peer
from benchmarks.peers.peer import NotMeasured

CALLBACKS = {
    "tellabot": (
        "application/x-www-form-urlencoded",
        "event=incoming_message&id=1&timestamp=1600108956&from=22000&to=18503814729&reply=G-1",
    ),
    "sms_activate": (
        "application/json",
        '{"activationId":1,"service":"go","text":"G-1","code":"1","receivedAt":"2026-11-26 16:17"}',
    ),
}


@pytest.fixture
def receiver():
    """Yield the URL that peers forward to, and the bodies that arrived."""
    arrived = []

    class Answers(Handler):
        def respond(self, body):
            arrived.append(body)
            self.answer()

    with serving(Answers) as server:
        yield f"{server.url}/hook", arrived


@pytest.mark.slow
@pytest.mark.parametrize("one", PEERS, ids=lambda one: one.name)
def test_peer_accepts_a_callback_and_forwards_it(one, receiver, tmp_path):
    url, arrived = receiver
    home = _home(one)
    kind, body = CALLBACKS[one.form]

    with one.running(home, folder=tmp_path, receiver=url) as callbacks:
        answers = [
            httpx.post(callbacks, content=body, headers={"Content-Type": kind}, trust_env=False)
            for _ in range(2)
        ]
        eventually(lambda: arrived)
        time.sleep(0.3)  # time for a copy

    assert [answer.status_code // 100 for answer in answers] == [2, 2]
    assert len(arrived) == (2 if one.name == "webhook" else 1)  # it does not recognize copies
    assert b"G-1" in urllib.parse.unquote_to_bytes(arrived[0])
    assert one.version[0].isdigit()


@pytest.mark.parametrize("ended", [peer.POLITELY, peer.AT_ONCE])
def test_stopped_peer_leaves_no_process(tmp_path, ended):
    script = "sleep 60 & echo $! > child; echo ready > ready; wait"

    with peer.started(
        ("sh", "-c", script),
        folder=tmp_path,
        environment={},
        ready=(tmp_path / "ready").exists,
        ended=ended,
    ):
        child = int((tmp_path / "child").read_text())
        os.kill(child, 0)

    eventually(lambda: _is_gone(child))


def test_peer_that_ends_at_its_start_reports_its_last_line(tmp_path):
    with (
        pytest.raises(NotMeasured, match="ended with 3 at its start: no such flow"),
        peer.started(
            ("sh", "-c", "echo no such flow; exit 3"),
            folder=tmp_path,
            environment={},
            ready=lambda: False,
        ),
    ):
        pytest.fail("it never was ready")


def test_missing_program_is_named_with_its_package():
    with pytest.raises(NotMeasured, match=r"^no-such-program is not there: apt install nothing$"):
        peer.program("no-such-program", package="nothing")


def test_failed_installation_is_not_measured(tmp_path):
    with pytest.raises(NotMeasured, match=r"^sh -c .*: no network$"):
        peer.command("sh", "-c", "echo no network >&2; exit 1", folder=tmp_path)


def test_installation_is_repeated_after_its_lock_changed(tmp_path):
    lock, home, made = tmp_path / "lock", tmp_path / "home", []

    for text in ("one", "one", "two"):
        lock.write_text(text)
        peer.made_from(lock, home, lambda text=text: made.append(text))

    assert made == ["one", "two"]


def test_failed_installation_is_not_reused(tmp_path):
    lock, home = tmp_path / "lock", tmp_path / "home"
    lock.write_text("one")

    def fail():
        raise NotMeasured("no network")

    for _ in range(2):
        with pytest.raises(NotMeasured):
            peer.made_from(lock, home, fail)


def test_lock_file_of_npm_names_no_registry():
    lock = Path("benchmarks/peers/node_red/package-lock.json")

    packages = json.loads(lock.read_bytes())["packages"]
    own = packages.pop("")
    # The hash of a bundle covers its parts.
    fetched = [one for one in packages.values() if not one.get("inBundle")]

    assert own["dependencies"].keys() == {"node-red"}
    assert not [one for one in packages.values() if "resolved" in one]
    assert not [one for one in fetched if "integrity" not in one]


def _home(one):
    """Use only installed peers: tests download nothing."""
    cache = Path(".bench-cache/peers")
    if one.name != "webhook" and not (cache / one.name.split()[0].lower()).exists():
        pytest.skip(f"{one.name} is not installed")
    try:
        return one.install(cache.absolute())
    except NotMeasured as exc:
        pytest.skip(str(exc))


def _is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_process_does_not_inherit_settings_of_smshook(tmp_path, monkeypatch):
    """Mutant: the benchmark serves the user's configuration and journal."""
    monkeypatch.setenv("SMSHOOK_CONFIG", "/etc/smshook.yaml")

    log = tmp_path / "output.log"

    def ready():
        return "OURS" in log.read_text()

    with peer.started(["env"], folder=tmp_path, environment={"OURS": "1"}, ready=ready):
        said = log.read_text().splitlines()

    assert "OURS=1" in said
    assert not [line for line in said if line.startswith("SMSHOOK")]
