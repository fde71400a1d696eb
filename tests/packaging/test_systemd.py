"""The systemd unit is valid, and restricts the service without breaking it."""

import contextlib
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import live
import pytest
import tools

from server.machine import notify

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "packaging" / "smshook.service"
#: Of 10. A unit without restrictions has 9.6.
EXPOSURE = 1.5

#: Starts a command after prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN), which it inherits.
DENIED = (
    sys.executable,
    "-c",
    """
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
""",
)


@pytest.fixture(autouse=True)
def systemd_tools():
    tools.require(tools.missing("systemd-analyze", "strace"))


def options(section):
    """Return the values of each name, in order. A name may occur several times."""
    lines = UNIT.read_text().partition(f"[{section}]\n")[2].partition("\n[")[0].splitlines()
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("with_options", [False, True], ids=["as it is", "all options"])
def test_unit_is_valid_for_systemd(tmp_path, with_options):
    """Verified in a separate root that has the program.

    Mutants: `RestartSecs=1`; `#LoadCredentialsEncrypted=`.
    """
    command = options("Service")["ExecStart"][0].split()[0]
    unit = tmp_path / "etc/systemd/system/smshook.service"
    program = tmp_path / command.removeprefix("/")
    for path in (unit, program):
        path.parent.mkdir(parents=True)
    shutil.copy(UNIT, unit)
    program.touch(mode=0o755)
    text = unit.read_text().replace(command, str(program))
    if with_options:
        text = re.sub(r"(?m)^#(?=\w+=)", "", text)
    unit.write_text(text)

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)


def test_unit_restricts_the_service():
    """Mutants: `ProtectSystem=strict` or `CapabilityBoundingSet=` removed."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}", UNIT],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr), done.stdout
    closed = {
        "NoNewPrivileges": ["yes"],
        "PrivateTmp": ["yes"],
        "ProtectHome": ["yes"],
        "ProtectSystem": ["strict"],
        "UMask": ["0077"],
    }
    assert closed == {name: options("Service").get(name) for name in closed}


def test_unit_restarts_except_after_a_wrong_configuration():
    service = options("Service")

    assert ["on-failure"] == service["Restart"]
    assert ["1"] == service["RestartSec"]
    assert ["2"] == service["RestartPreventExitStatus"]
    assert ["0"] == options("Unit")["StartLimitIntervalSec"]
    assert 10 < int(service["TimeoutStopSec"][0])
    assert ["SIGTERM"] == service["KillSignal"]
    # It waits for the result, which `kill -HUP` does not.
    assert [f"{service['ExecStart'][0].removesuffix('serve')}reload"] == service["ExecReload"]
    assert ["0"] == service["LimitCORE"]
    assert ["0"] == service["MemorySwapMax"]


@pytest.fixture
def manager(tmp_path):
    """Yield the socket of a service manager, and a function that returns its messages."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)

        def said():
            with contextlib.suppress(BlockingIOError):
                return sock.recv(4096).decode()

        yield str(tmp_path / "notify"), said


def test_service_notifies_when_ready_and_when_stopping(tmp_path, monkeypatch, manager):
    """Source: sd_notify(3). Mutant: `Type=simple`, where a failed start looks started."""
    where, said = manager
    assert ["notify"] == options("Service")["Type"]
    monkeypatch.setenv("NOTIFY_SOCKET", where)

    with live.Live(tmp_path) as service:
        ready = live.eventually(said)
        service.process.send_signal(signal.SIGTERM)
        stopping = live.eventually(said)
        assert 0 == service.process.wait(30)

    assert ("READY=1", "STOPPING=1", None) == (ready, stopping, said())


def test_failed_start_is_never_ready(tmp_path, monkeypatch, manager):
    """Mutant: `READY=1` before the ports are bound."""
    where, said = manager
    monkeypatch.setenv("NOTIFY_SOCKET", where)
    service = live.Live(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        ended = service.run("serve", "--listen", address, check=False)

    assert (1, None) == (ended.returncode, said())
    assert address in ended.stderr


def test_abstract_notify_socket_is_notified(monkeypatch):
    """Source: unix(7): its name begins with a zero byte, which is written `@`."""
    name = f"smshook-test-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")

        notify("READY=1")

        assert b"READY=1" == sock.recv(4096)


@pytest.mark.parametrize("where", ["", "/nowhere/notify", "vsock:2:1234"])
def test_missing_manager_is_no_error(monkeypatch, where):
    monkeypatch.setenv("NOTIFY_SOCKET", where)

    notify("READY=1")


def test_configuration_is_in_the_folder_of_the_service():
    service = options("Service")
    folder = f"/var/lib/{service['StateDirectory'][0]}"

    assert [folder] == service["WorkingDirectory"]
    assert [f"SMSHOOK_CONFIG={folder}/smshook.yaml"] == service["Environment"]
    assert [f"-{folder}/smshook.yaml -{folder}/smshook.root"] == service["ReadOnlyPaths"]


def test_service_uses_only_allowed_system_calls(tmp_path):
    """From the start, through a callback and its delivery, to the end.

    Mutant: `~@network-io` added to SystemCallFilter.
    """
    trace = tmp_path / "calls"
    program = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", str(trace), live.command()]
    with live.Live(tmp_path, live.CONFIG, program=program) as service:
        assert 200 == service.post(live.sms(1)).status_code
        live.eventually(service.delivered)
        assert "ready\n" == service.run("healthcheck").stdout
        traced = tools.descendants(service.process.pid)[0]
        subprocess.run(["kill", "-TERM", str(traced)], check=True)
        assert 0 == service.process.wait(20)

    used = set(re.findall(r"(?m)^\d+ +([a-z_0-9]+)\(", trace.read_text()))

    # SQLite keeps a file's owner if it runs as root. It does so here, but not in the unit.
    assert {"openat", "fdatasync", "accept4"} <= used
    assert set() == used - allowed() - {"fchown"}


def allowed():
    """Return the system calls that the unit allows."""
    [first, second] = options("Service")["SystemCallFilter"]
    assert not first.startswith("~")
    assert second.startswith("~")
    refused = {call for name in second.removeprefix("~").split() for call in calls(name)}
    return {call for name in first.split() for call in calls(name)} - refused


def calls(name):
    """Return the calls of one of systemd's sets, with the sets inside it."""
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    )
    found = set()
    for word in re.findall(r"(?m)^ +([@\w-]+)$", listed.stdout):
        found |= calls(word) if word.startswith("@") else {word}
    return found


def test_service_runs_without_writable_executable_memory(tmp_path):
    """`MemoryDenyWriteExecute`: no library compiles code at run time.

    Mutant: a service that maps such a page gets an error, as the last line shows.
    """
    if 0 != subprocess.run([*DENIED, "/bin/true"], check=False).returncode:
        pytest.skip("the kernel is older than 6.3: it cannot refuse such memory to a process")

    with live.Live(tmp_path, live.CONFIG, program=[*DENIED, live.command()]) as service:
        answer = service.post(live.sms(1))
        live.eventually(service.delivered)
        ended = service.stop()

    assert (200, 0) == (answer.status_code, ended)
    mapping = "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)"
    denied = subprocess.run(
        [*DENIED, sys.executable, "-c", mapping], capture_output=True, text=True, check=False
    )
    assert "PermissionError" in denied.stderr
