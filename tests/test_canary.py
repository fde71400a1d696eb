"""The search for codes and numbers that ends each test of a service; crashes leave no memory.

Mutants of the search, each tried: one phase of base64; no hex; the journal is never searched; the
sinks' secrets are not looked for.
"""

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import canary
import httpx
import live
import pytest

TEXT = "您的验证码是918275 + 100%, sûr?"
KEEP_LIMIT = Path(__file__).parent / "failpoints" / "keep_core_limit.py"
UNLIMITED = ["sh", "-c", 'ulimit -c unlimited; exec "$0" "$@"']


@pytest.mark.parametrize(
    "spelled",
    [
        str.encode,
        lambda text: base64.b64encode(b"neighbour" + text.encode() + b"neighbour"),
        lambda text: base64.b64encode(b"neighbours" + text.encode() + b"neighbours"),
        lambda text: base64.urlsafe_b64encode(b"a neighbour" + text.encode() + b"a neighbour"),
        lambda text: text.encode().hex().encode(),
        lambda text: text.encode().hex().upper().encode(),
        lambda text: quote(text).encode(),
        lambda text: json.dumps({"text": text}).encode(),
    ],
)
@pytest.mark.parametrize("text", [live.code(1), f"{canary.NUMBER}0101", TEXT])
@pytest.mark.parametrize("name", ["smshook.db", "smshook.db-wal", "stdout.log", "kept/backup.db"])
def test_leak_in_any_spelling_is_found(tmp_path, name, text, spelled):
    event = {"data": {"text": TEXT, "code": None}}
    (tmp_path / "events.jsonl").write_text(f'{json.dumps(event)}\n{{"half')
    (tmp_path / name).parent.mkdir(exist_ok=True)
    canary.search(tmp_path)

    (tmp_path / name).write_bytes(b"\0\xff" + spelled(text) + b"\n")

    with pytest.raises(AssertionError):
        canary.search(tmp_path)


def test_digits_of_an_id_are_no_number():
    """Mutants: seven digits are a number; one neighbour that is hexadecimal hides a number."""
    number = f"{canary.NUMBER}0101"
    for inside in (canary.NUMBER, f"f{number}a", f"9{canary.NUMBER}"):
        assert canary.found(inside.encode()) == []
    for inside in (number, f"f{number}", f"{number}a", f"%2B{number}&"):
        assert canary.found(inside.encode()) == [canary.NUMBER]


def test_secrets_may_stand_in_the_listed_files_only(tmp_path):
    """Mutant: `in_clear` allows the log, too."""
    for name in ("events.jsonl", "events.jsonl.1", "smshook.yaml"):
        (tmp_path / name).write_text("")
    canary.search(tmp_path)
    (tmp_path / "smshook.db").write_text(live.code(1))
    canary.search(tmp_path, in_clear="it is tested")
    (tmp_path / "stderr.log").write_text(live.code(1))

    with pytest.raises(AssertionError):
        canary.search(tmp_path, in_clear="it is tested")
    with pytest.raises(AssertionError):
        canary.search(tmp_path / "nothing", more=[live.code(1).encode()])


def test_problem_with_a_secret_is_found():
    for status, fails in ((200, False), (400, True)):
        answer = httpx.Response(status, json={"detail": f"{live.code(1)} is wrong"})
        if fails:
            with pytest.raises(AssertionError):
                canary.check_problem(answer)
        else:
            canary.check_problem(answer)


# --- crashes ------------------------------------------------------------------------------------


def left_a_dump(process, number):
    """Crash a process by a signal; return whether the kernel dumped its memory."""
    os.kill(process.pid, number)
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert ended.si_status == number
    return ended.si_code == os.CLD_DUMPED


@pytest.mark.parametrize(
    ("number", "sealed"),
    [
        (signal.SIGSEGV, True),
        (signal.SIGABRT, False),
        pytest.param(signal.SIGSEGV, False, marks=pytest.mark.nightly),
        pytest.param(signal.SIGABRT, True, marks=pytest.mark.nightly),
    ],
)
def test_crash_leaves_no_core_dump(tmp_path, number, sealed):
    """The shell allows dumps of any size. A sealed service has none where the limit stays, too.

    Mutants, each tried: without `setrlimit`; without `hide_memory`.
    """
    if sealed:
        config, in_clear, own = live.CONFIG, None, [sys.executable, str(KEEP_LIMIT)]
    else:
        config, in_clear = live.CONFIG.replace(live.SEAL, ""), "only its limit prevents a dump"
        own = [live.command()]
    with live.Live(tmp_path, config, program=[*UNLIMITED, *own], in_clear=in_clear) as service:
        service.post(live.sms(1))
        live.eventually(service.delivered)

        assert not left_a_dump(service.process, number)

    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("core")] == []


def test_crash_of_another_program_leaves_a_core_dump(tmp_path):
    """This tests the test above: it must notice a dump."""
    with subprocess.Popen([*UNLIMITED, "sleep", "60"], cwd=tmp_path) as process:
        name = Path(f"/proc/{process.pid}/comm")
        live.eventually(lambda: name.read_text() == "sleep\n")
        assert left_a_dump(process, signal.SIGSEGV)
