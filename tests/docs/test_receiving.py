"""The commands and programs of `receiving.md` run, as a reader runs them, at a real service."""

import asyncio
import contextlib
import http.client
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl

import endpoint
import live
import pytest
import tools
from journals import shell
from pages import blocks

PAGE = "receiving.md"
COMMANDS = [block.strip() for block in blocks(PAGE, "")]
WAIT_PYTHON, APP_PYTHON = blocks(PAGE, "python")
WAIT_JS, APP_JS, POSTGRESQL_JS = blocks(PAGE, "js")
MAKE_KEY, VARIABLES, CALLBACK, WAIT_SH, HOOK_URL, REPLAY = blocks(PAGE, "sh")
[NETWORKS] = blocks(PAGE, "yaml")

numbers = itertools.count(100_000)


@contextlib.contextmanager
def receiving(folder):
    """Yield a service with the three events that the commands of the page find."""
    with live.Live(folder, live.CONFIG + NETWORKS) as running:
        activation = {"activationId": 445_001, "service": "go", "text": "Code 804036"}
        running.post(live.sms(1, to="18503814729"))
        for text in ("Code 804036", "Code 482913"):
            body = json.dumps(activation | {"text": text}).encode()
            running.post(body, source="smsactivate", headers={"Content-Type": "application/json"})
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with receiving(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def fresh(tmp_path):
    """A service that has no other events."""
    with receiving(tmp_path) as running:
        yield running


def variables(service, **more):
    """Return the environment of a reader's terminal, in which `smshook` is a command."""
    path = f"{Path(live.command()).parent}:{os.environ['PATH']}"
    return service.environment() | {
        "PATH": path,
        "SMSHOOK_URL": service.admin_url,
        "SMSHOOK_API_KEY": live.KEY,
        **more,
    }


def printed(service, command, cursor="CURSOR"):
    """Run a command of the page; a stream is cut off after three seconds."""
    program = f"{live.command()} "
    command = command.replace("CURSOR", cursor).replace("smshook ", program, 1)
    endless = "-sN" in command or " tail" in command
    done = subprocess.run(
        ["timeout", "3" if endless else "20", "sh", "-c", command],
        env=variables(service),
        cwd=service.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (124 if endless else 0, "")
    return done.stdout


def test_commands_of_the_page_work(fresh):
    """Mutants: a call, a parameter or a command that is misspelt on the page."""
    tools.require(tools.missing("curl"))
    curls = [command for command in COMMANDS if command.startswith("curl")]
    wait, by_id, resend, stream, read, commit, seek = curls
    shell, tail = (command for command in COMMANDS if command.startswith("smshook"))

    code = json.loads(printed(fresh, wait))
    second = json.loads(printed(fresh, by_id))
    events = json.loads(printed(fresh, read))
    first = events["data"][1]
    after = json.loads(printed(fresh, resend, first["cursor"]))
    committed = json.loads(printed(fresh, commit, events["next_cursor"]))
    sought = json.loads(printed(fresh, seek))

    assert code["event"]["data"]["to"] == "+18503814729"
    assert second["event"]["data"]["text"] == "Code 482913"
    assert after["event"]["id"] == second["event"]["id"] == events["data"][2]["event"]["id"]
    assert (committed["behind"], sought["behind"]) == (0, 3)
    assert printed(fresh, shell) == "482913\n"
    assert printed(fresh, stream) == ":\n\n"
    assert printed(fresh, tail) == ""


def test_key_and_callback_are_made_as_the_page_says(service):
    """Mutants: a scope is missing; the callback lacks a field, or is for another number."""
    tools.require(tools.missing("curl"))
    theirs = VARIABLES.replace("http://127.0.0.1:8081", service.admin_url)
    wait = next(command for command in COMMANDS if "/wait" in command)
    environment = variables(service)
    for name in ("SMSHOOK_URL", "SMSHOOK_API_KEY"):
        del environment[name]

    done = subprocess.run(
        ["sh", "-ec", f"{MAKE_KEY}{CALLBACK}echo\n{theirs}{wait}"],
        env=environment,
        cwd=service.folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    accepted, answer = (json.loads(line) for line in done.stdout.splitlines())
    assert accepted["events"] == [answer["event"]["id"]]
    assert answer["event"]["data"]["code"] == "G-804036"


# Programs that wait


def program(code, folder, language):
    """Save a program. Return the command that runs it; skip without Node."""
    if language == "js":
        tools.require(tools.missing_for_javascript("standardwebhooks"))
        (folder / "node_modules").symlink_to(tools.JAVASCRIPT / "node_modules")
    file = folder / f"app.{language}"
    file.write_text(code)
    return [{"py": sys.executable, "js": "node"}[language], str(file)]


def sms(number):
    """Return an SMS to the number of the page, with a code of its own."""
    code = str(number)
    return live.sms(number, to="18503814729", reply=f"{code} is your code", pin=code)


def last_use(service, name):
    keys = service.api("/keys").json()["data"]
    return next(key["last_used_at"] for key in keys if key["name"] == name)


@pytest.mark.parametrize(("language", "code"), [("py", WAIT_PYTHON), ("js", WAIT_JS)])
def test_program_prints_the_code_and_the_next(language, code, service, tmp_path):
    """An older code is there before. Mutants: a `since` of an hour ago; no `after`."""
    service.post(sms(next(numbers)))
    reader = {"name": f"reader-{language}", "scopes": ["codes:read"]}
    key = service.api("/keys", method="POST", json=reader).json()["key"]
    environment = variables(service, SMSHOOK_API_KEY=key)
    command = program(code, tmp_path, language)
    with subprocess.Popen(command, env=environment, stdout=-1, text=True) as waiting:
        live.eventually(lambda: last_use(service, reader["name"]), within=20)
        sent = []
        while waiting.poll() is None:
            sent.append(next(numbers))
            service.post(sms(sent[-1]))
            with contextlib.suppress(subprocess.TimeoutExpired):
                waiting.wait(0.05)
        first, second = (int(line) for line in waiting.stdout)

    assert waiting.returncode == 0
    assert first in sent
    assert second == first + 1


def test_shell_script_prints_the_code_of_its_command(service, tmp_path):
    """Mutant: the place is taken after the command."""
    tools.require(tools.missing("curl", "jq"))
    service.post(sms(next(numbers)))
    number = next(numbers)
    (tmp_path / "code.sh").write_text(WAIT_SH)
    send = ["curl", "-s", "-o", "sent", "-d", sms(number).decode(), service.callback_url()]

    done = subprocess.run(
        ["sh", "code.sh", "18503814729", *send],
        env=variables(service),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{number}\n", "")


def no_code(cursor):
    return endpoint.reply(204, b"", headers={"smshook-cursor": cursor})


def a_code(cursor, code):
    answer = {"cursor": cursor, "event": {"data": {"code": code}}}
    return endpoint.reply(body=json.dumps(answer).encode(), headers={"smshook-cursor": cursor})


async def asked(command, folder, *answers):
    """Run a program at an API with these answers. Return its output and its queries."""
    async with endpoint.endpoint() as end:
        end.says(*answers)
        environment = {**os.environ, "SMSHOOK_URL": end.url, "SMSHOOK_API_KEY": live.KEY}
        running = await asyncio.create_subprocess_exec(
            *command, env=environment, cwd=folder, stdout=-1
        )
        output, _ = await running.communicate()
        return output.decode().split(), [it.target.partition("?")[2] for it in end.requests]


async def test_shell_script_continues_at_each_cursor(tmp_path):
    """Mutants: the cursor of the first answer only; 204 ends the script."""
    tools.require(tools.missing("curl", "jq"))
    (tmp_path / "code.sh").write_text(WAIT_SH)
    answers = [no_code("c0"), no_code("c1"), no_code("c2"), a_code("c3", "482913")]

    output, queries = await asked(["sh", "code.sh", "1850", "true"], tmp_path, *answers)
    without, _ = await asked(["sh", "code.sh", "1850", "true"], tmp_path, *[no_code("c0")] * 4)

    assert output == ["482913"]
    assert without == []
    same = "number=1850&code=true"
    assert queries == [
        f"{same}&since=0s&timeout=0",
        *(f"{same}&after=c{place}&timeout=55" for place in range(3)),
    ]


async def test_javascript_continues_at_each_cursor(tmp_path):
    """Mutants: `since` stays in the query; 503 ends the program; the cursor of a 204 is unused."""
    busy = endpoint.reply(503, headers={"Retry-After": "0"})
    answers = [busy, no_code("c1"), no_code("c2"), a_code("c3", "482913"), a_code("c4", "771020")]

    output, queries = await asked(program(WAIT_JS, tmp_path, "js"), tmp_path, *answers)

    assert output == ["482913", "771020"]
    bounds = [
        (name, value if name == "after" else "a time")
        for name, value in itertools.chain(*map(parse_qsl, queries))
        if name in {"since", "after"}
    ]
    places = [("after", f"c{place}") for place in (1, 2, 3)]
    assert bounds == [("since", "a time"), ("since", "a time"), *places]


# Applications that subscribe


class Application:
    """An application of the page, in a process of its own."""

    def __init__(self, language, service, folder, port):
        self._language, self._folder = language, folder
        code = {"py": APP_PYTHON, "js": APP_JS}[language]
        self._command = program(code, folder, language)
        self.port = port
        url = HOOK_URL.rpartition("=")[2].strip().replace(":3000", f":{port}")
        self._environment = variables(service, HOOK_URL=url)
        self._service, self.url = service, url
        self._process = None

    @contextlib.contextmanager
    def running(self):
        """Run it until the end of the block, which kills it."""
        with subprocess.Popen(
            self._command, env=self._environment, cwd=self._folder, stderr=subprocess.DEVNULL
        ) as process:
            try:
                live.eventually(self._has_subscribed, within=20)
                yield self
            finally:
                process.kill()

    def post(self, body, **headers):
        """Return the status of its answer to a stranger."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", "/hook", body, headers)
            return connection.getresponse().status

    def _has_subscribed(self):
        with contextlib.suppress(OSError):
            return self.post(b'{"type": "sms.received"}') == 401
        return False

    def subscriptions(self):
        listed = self._service.api("/subscriptions").json()["data"]
        return [each["sink"] for each in listed if each["url"] == self.url]

    def codes(self):
        """Return the stored codes, in any order."""
        if self._language == "py":
            with shell(self._folder / "app.db") as db:
                return [int(code) for (code,) in db.execute("SELECT code FROM codes")]
        files = (self._folder / "codes").iterdir()
        return [int(file.read_text().split()[1]) for file in files]


@pytest.mark.parametrize("language", ["py", "js"])
def test_application_stores_each_code_once(language, service, tmp_path, unused_tcp_port):
    """Through a replay, kill -9 of the application, and another replay.

    Mutants, in both: no look at the known ids; the signature is not verified; it subscribes at each
    start.
    """
    app = Application(language, service, tmp_path, unused_tcp_port)
    first, second = next(numbers), next(numbers)

    with app.running():
        event = service.post(sms(first)).json()["events"][0]
        delivered(service, app, event, 1)
        replay(service, event)
        delivered(service, app, event, 2)
        assert app.codes() == [first]

    other = service.post(sms(second)).json()["events"][0]
    with app.running():
        replay(service, event)
        delivered(service, app, event, 3)
        delivered(service, app, other, 1)
        assert sorted(app.codes()) == [first, second]
        assert len(app.subscriptions()) == 1


def replay(service, event):
    """Replay the event as the page says."""
    service.run(*REPLAY.replace("EVENT", event).split()[1:])


def delivered(service, app, event, count):
    """Wait until the application has answered 2xx to that many deliveries of the event."""
    [sink] = app.subscriptions()

    def states():
        found = service.api(f"/events/{event}").json()["deliveries"]
        return [each["state"] for each in found if each["sink"] == sink] == ["delivered"] * count

    live.eventually(states, within=20)


@pytest.mark.parametrize("work", ["done", "known", "failed"])
def test_postgresql_function_uses_one_transaction(work, tmp_path):
    """Mutants: COMMIT before the work; no ROLLBACK; the client is not released."""
    pool = """
const work = process.argv[2];
const pool = { connect: () => ({
  async query(sql, values) {
    console.log(sql.split(" ").slice(0, 3).join(" "), ...(values ?? []));
    if (work === "failed" && sql.includes("codes")) throw new Error("disk full");
    return { rowCount: work === "known" ? 0 : 1 };
  },
  release: () => console.log("release"),
}) };
"""
    call = 'storeOnce({ id: "7", data: { to: "+1850", code: "482913" } }).catch(() => {});'
    command = program(pool + POSTGRESQL_JS + call, tmp_path, "js")

    done = subprocess.run([*command, work], capture_output=True, text=True, check=True, timeout=30)

    insert = [] if work == "known" else ["INSERT INTO codes +1850 482913"]
    end = "ROLLBACK" if work == "failed" else "COMMIT"
    assert done.stdout.splitlines() == ["BEGIN", "INSERT INTO handled 7", *insert, end, "release"]
