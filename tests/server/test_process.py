"""Start and end of a service, as a process."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import time

import forked
import httpx
import live
import pytest

from journal import lock
from server import __version__
from server.cli.promises import IN_CLEAR
from server.process import PortTaken, bind


def serve(folder, *arguments, config=live.CONFIG):
    """Run `serve` until it ends."""
    (folder / "smshook.yaml").write_text(config)
    (folder / "smshook.yaml").chmod(0o600)
    environment = {name: value for name, value in os.environ.items() if "SMSHOOK" not in name}
    ended = forked.run([live.command(), "serve", *arguments], folder, environment)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture(scope="module")
def resting(tmp_path_factory):
    """A service for the tests that do not end it."""
    with live.Live(tmp_path_factory.mktemp("resting")) as running:
        yield running


@pytest.fixture
def service(tmp_path):
    with live.Live(tmp_path / "first") as running:
        yield running


@pytest.fixture(autouse=True)
def folders(tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    return tmp_path / "second"


@pytest.fixture
def taken():
    """Return an address that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.mark.parametrize("flag", ["--listen", "--admin-listen"])
def test_port_in_use_is_named(folders, taken, flag, count_processes):
    """Mutant: a retry, another port, or a traceback."""
    count_processes()

    ended = serve(folders, flag, taken)

    code, out, errors = ended
    assert (code, out) == (1, "")
    assert errors.startswith(f"cannot listen on {taken}: Address already in use; ")
    assert lock.holder(folders / "smshook.db") is None
    assert not (folders / "smshook.db").exists()


def test_one_of_two_simultaneous_starts_gets_the_port():
    """Mutant: both bind before one listens, and the second fails much later."""
    with bind("127.0.0.1:0") as first:
        address = f"127.0.0.1:{first.getsockname()[1]}"

        with pytest.raises(PortTaken, match=f"cannot listen on {address}: "):
            bind(address)


def test_unknown_host_is_named(folders):
    code, out, errors = serve(folders, "--listen", "no-such-host.invalid:0")

    assert (code, out) == (1, "")
    assert errors.startswith("cannot listen on no-such-host.invalid:0: ")
    assert errors.count("\n") == 1


def test_second_process_on_one_journal_is_refused(resting, count_processes):
    """The first one continues. Mutant: two writers, or a lock that the second takes away."""
    count_processes()

    code, out, errors = serve(resting.folder)

    assert (code, out) == (1, "")
    assert errors == (
        f"{resting.folder}/smshook.db is in use by process {resting.process.pid}; "
        "stop it first, or use another journal\n"
    )
    assert resting.post(live.sms(1)).json()["status"] == "accepted"


def test_migrate_is_refused_while_a_service_runs(resting):
    result = resting.run("migrate", check=False)

    assert (result.returncode, result.stdout) == (1, "")
    assert f"process {resting.process.pid};" in result.stderr


def test_changed_secret_is_a_configuration_error(service, count_processes):
    """Mutant: a start after which each retry is a new event."""
    assert service.stop() == 0

    count_processes()
    other = "nT2v8Qx4Lk9Zr1Wp6Yb3Hd7Mc5Jf0Gs8"
    code, out, errors = serve(service.folder, config=live.CONFIG.replace(live.SECRET, other))

    assert (code, out) == (2, "")
    assert "server.secret is not the one that the journal was made with" in errors
    assert other not in errors


def test_missing_journal_folder_is_one_line(folders):
    config = live.CONFIG.replace("sqlite:///", "sqlite:///missing/")

    ended = serve(folders, config=config)

    code, out, errors = ended
    assert (code, out) == (2, "")
    assert f"journal.url: there is no folder {folders}/missing; make it " in errors


def test_configuration_warnings_are_log_lines(tmp_path):
    config = live.CONFIG.replace(live.SEAL, "")
    service = live.Live(tmp_path / "first", config, in_clear="it warns of this")
    (service.folder / "smshook.yaml").chmod(0o644)
    with service:
        live.eventually(lambda: "service.started" in service.log.read_text())
        said = service.logged("config.warning")

    assert [line["warning"] for line in said] == [
        "smshook.yaml: others can read it, secrets included; chmod 600 smshook.yaml",
        IN_CLEAR,
    ]
    assert service.errors.read_text() == ""


def test_commands_find_a_service_on_other_addresses(tmp_path):
    """Mutant: addresses from the configuration."""
    elsewhere = live.CONFIG.replace(' listen: "127.0.0.1:0"', ' listen: "127.0.0.1:1"')
    config = elsewhere.replace('admin_listen: "127.0.0.1:0"', 'admin_listen: "127.0.0.1:2"')
    service = live.Live(tmp_path / "first", config)
    flags = ("serve", "--listen", "127.0.0.1:0", "--admin-listen", "same")
    process = subprocess.Popen(
        [live.command(), *flags],
        cwd=service.folder,
        stdout=subprocess.DEVNULL,
        env=service.environment(),
    )
    try:
        holder = live.eventually(lambda: live.holder_of(service.folder), within=20)
        sent = service.run("send", "tellabot").stdout
        listed = service.run("events", "list").stdout
    finally:
        process.kill()
        process.wait(10)

    assert holder.url == holder.admin_url
    assert sent.split()[1] in listed


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "rebound.attacker.example"}, "host_not_allowed"),
        ({"Origin": "http://rebound.attacker.example"}, "origin_not_allowed"),
    ],
)
def test_admin_listener_refuses_foreign_web_pages(resting, headers, code):
    """Even with a key. Mutants: `OwnHost` left out; the answer has no request id."""
    sent = {"Authorization": f"Bearer {live.KEY}", "X-Request-Id": "of-the-page"} | headers
    foreign = httpx.get(f"{resting.admin_url}/v1/stats", headers=sent, trust_env=False)
    probe = httpx.get(f"{resting.admin_url}/readyz", headers=headers, trust_env=False)

    assert (foreign.status_code, foreign.json()["code"]) == (403, code)
    assert foreign.json()["request_id"] == foreign.headers["X-Request-Id"] == "of-the-page"
    assert probe.status_code == 200
    assert resting.api("/stats").status_code == 200


@pytest.mark.parametrize(
    "server",
    [
        'listen: "127.0.0.1:0", admin_listen: "0.0.0.0:0"',
        'listen: "127.0.0.1:0", admin_listen: same',
        'listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0", admin_hosts: [x.example.com]',
        'listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0", public_url: "https://x.example.com/a"',
    ],
)
def test_key_works_under_names_of_proxies_and_hosts(tmp_path, server):
    """Mutant: only loopback names, also for a listener on another address."""
    before = 'listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0"'
    (tmp_path / "other").mkdir()
    with live.Live(tmp_path / "other", live.CONFIG.replace(before, server)) as service:
        port = service.admin_url.rpartition(":")[2]
        answer = httpx.get(
            f"http://127.0.0.1:{port}/v1/stats",
            headers={"Authorization": f"Bearer {live.KEY}", "Host": "x.example.com"},
            trust_env=False,
        )

    assert answer.status_code == 200


def test_admin_listener_has_a_page(resting):
    """Mutants: 404; the page is on the public listener too."""
    page = httpx.get(f"{resting.admin_url}/", trust_env=False)
    head = httpx.head(f"{resting.admin_url}/", trust_env=False)
    outside = httpx.get(f"{resting.url}/", trust_env=False)

    assert (page.status_code, head.status_code, outside.status_code) == (200, 200, 404)
    assert page.headers["content-type"].startswith("text/html")
    for word in ("smshook", __version__, "/v1", "/schema", "/healthz", "/readyz"):
        assert word in page.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_ends_it_with_0_and_frees_the_lock(tmp_path, number, count_processes):
    if number == signal.SIGTERM:
        count_processes()
    with live.Live(tmp_path / "first") as service:
        service.process.send_signal(number)

        assert service.process.wait(10) == 0
    assert lock.holder(service.folder / "smshook.db") is None
    *_, stopping, stopped = service.logged()
    assert stopping["event"] == "service.stopping"
    assert (stopped["event"], stopped["pending"]) == ("service.stopped", 0)


@pytest.mark.parametrize(("signals", "code"), [(1, 0), (2, 1)])
def test_closed_log_pipe_does_not_change_the_exit_code(tmp_path, signals, code):
    """Mutant: buffered logs, which fail again at exit: 120 instead of 0."""
    service = live.Live(tmp_path / "first")
    reading, writing = os.pipe()
    environment = service.environment()
    environment.pop("PYTHONUNBUFFERED")
    process = subprocess.Popen(
        [live.command(), "serve"],
        cwd=service.folder,
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment,
    )
    os.close(writing)
    os.close(reading)
    try:
        live.eventually(lambda: live.holder_of(service.folder), within=20)
        service.run("send", "tellabot", "--times", "3")
        process.send_signal(signal.SIGTERM)
        if signals > 1:
            live.eventually(lambda: is_draining(service.folder))
            process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait(10)

    assert (process.returncode, errors) == (code, b"")


def is_draining(folder):
    found = live.holder_of(folder)
    return httpx.get(f"{found.url}/readyz", trust_env=False).status_code == 503


def test_service_indexes_stored_events_for_a_new_key(service):
    """Mutant: without `IndexVisible` each page of the key is searched for ever."""
    hidden = [service.post(live.sms(number)).json()["events"] for number in range(2)]
    mine = service.accept(5, service="Amazon")
    assert service.stop() == 0
    key = "k3y-of-a-dashboard-0123456789"
    with_key = live.CONFIG.replace(
        "keys: {",
        f"keys: {{dashboard: {{key: {key}, scopes: [events:read],"
        " when: {data.service.key: amazon}}, ",
    )

    with live.Live(service.folder, with_key) as again:
        assert has_indexed(again.folder, within=60)
        page = again.api("/events?limit=1", key=key).json()
        status = again.api(f"/events/{hidden[0][0]}", key=key).status_code

    assert [item["event"]["id"] for item in page["data"]] == [mine]
    assert (page["has_more"], status) == (False, 404)


def has_indexed(folder, *, within):
    ends = time.monotonic() + within
    with contextlib.closing(sqlite3.connect(f"file:{folder}/smshook.db?mode=ro", uri=True)) as conn:
        while time.monotonic() < ends:
            if conn.execute("select unseen from visible_filters").fetchall() == [(0,)]:
                return True
            time.sleep(0.05)
    return False
