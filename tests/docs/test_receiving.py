"""The commands of `receiving.md` run, in their order, at a real service."""

import json
import subprocess

import live
import pytest
import tools
from pages import blocks

PAGE = "receiving.md"
COMMANDS = [block.strip() for block in blocks(PAGE, "")]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("service")) as running:
        activation = {"activationId": 445_001, "service": "go", "text": "Code 804036"}
        running.post(live.sms(1, to="18503814729"))
        for text in ("Code 804036", "Code 482913"):
            body = json.dumps(activation | {"text": text}).encode()
            running.post(body, source="smsactivate", headers={"Content-Type": "application/json"})
        yield running


def printed(service, command, cursor="CURSOR"):
    """Run a command of the page; a stream is cut off after a second."""
    environment = service.environment() | {
        "SMSHOOK_URL": service.admin_url,
        "SMSHOOK_API_KEY": live.KEY,
    }
    program = f"{live.command()} "
    command = command.replace("CURSOR", cursor).replace("smshook ", program, 1)
    endless = "-sN" in command or " tail" in command
    done = subprocess.run(
        ["timeout", "1" if endless else "20", "sh", "-c", command],
        env=environment,
        cwd=service.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (124 if endless else 0, "")
    return done.stdout


def test_commands_of_the_page_work(service):
    """Mutants: a call, a parameter or a command that is misspelt on the page."""
    tools.require(tools.missing("curl"))
    curls = [command for command in COMMANDS if command.startswith("curl")]
    wait, by_id, resend, stream, read, commit, seek = curls
    shell, tail = (command for command in COMMANDS if command.startswith("smshook"))

    code = json.loads(printed(service, wait))
    second = json.loads(printed(service, by_id))
    events = json.loads(printed(service, read))
    first = events["data"][1]
    after = json.loads(printed(service, resend, first["cursor"]))
    committed = json.loads(printed(service, commit, events["next_cursor"]))
    sought = json.loads(printed(service, seek))

    assert code["event"]["data"]["to"] == "+18503814729"
    assert second["event"]["data"]["text"] == "Code 482913"
    assert after["event"]["id"] == second["event"]["id"] == events["data"][2]["event"]["id"]
    assert (committed["behind"], sought["behind"]) == (0, 3)
    assert printed(service, shell) == "482913\n"
    assert printed(service, stream) == ":\n\n"
    assert printed(service, tail) == ""
