"""A service that encrypts its journal: everything works in clear, and no file has a secret."""

import json
import os
import time

import live
import pytest
from canary import secrets_in, spellings
from journals import shell
from serving import Handler, serving

from core.secret import Secret
from journal.keyring import Keyring
from server.runtime.identity import Identity

SENT = int(time.time())
READER, CODER = "k3y-of-the-reader-0123456789", "k3y-of-the-coder-0123456789"
#: Texts by code and number: ASCII, two and three bytes a letter, four bytes, marks of URLs.
MESSAGES = {
    "ZQ7-918273": ("18505550101", "ZQ7-918273 is your code"),
    "918274": ("18505550102", "Ваш код: 918274, никому"),
    "918275": ("18505550103", "您的验证码是918275,请勿泄露"),
    "918276": ("18505550104", "🔑🔒 918276 🔑🔒"),
    "ZQ7-918277": ("18505550105", "ZQ7-918277 + 100% & <b>sûr</b> = /?#"),
}
SECRETS = [
    *MESSAGES,
    *(number for number, _ in MESSAGES.values()),
    *(text for _, text in MESSAGES.values()),
]
RETRY = "schedule: [0s, 500ms, 1s, 2s, 4s, 8s]"
CONFIG = f"""\
sources:
  tellabot: {{provider: tellabot, tokens: ["{live.TOKEN}"]}}
sinks:
  crm: {{type: http, url: "URL", ordered_by: data.to, retry: {{{RETRY}}}}}
  masked: {{type: file, path: masked.txt, redact: people}}
routes:
  everything: {{to: [crm, masked]}}
server: {{secret: "{live.SECRET}", listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0"}}
journal: {{url: "sqlite:///smshook.db"}}
api:
  keys:
    admin: {{key: "{live.KEY}", scopes: [admin]}}
    reader: {{key: "{READER}", scopes: ["events:read"]}}
    coder: {{key: "{CODER}", scopes: ["codes:read"]}}
"""


class Receiver(Handler):
    """Answers with what it was sent, as some receivers do; 503 while it is closed."""

    def respond(self, body):
        if self.server.is_open:
            self.server.events.append(json.loads(body))
        self.answer(200 if self.server.is_open else 503, body)


@pytest.fixture(scope="module")
def receiver():
    with serving(Receiver) as server:
        server.events, server.is_open = [], True
        yield server


@pytest.fixture(scope="module")
def sealed(tmp_path_factory, receiver):
    """A service with the lines that `seal init` prints."""
    config = CONFIG.replace("URL", f"{receiver.url}/")
    folder = tmp_path_factory.mktemp("sealed")
    service = live.Live(folder, config, level="debug", in_clear="until the next line")
    lines = service.run("seal", "init").stdout.partition("\n\n")[2]
    with (service.folder / "smshook.yaml").open("a") as file:
        file.write(lines)
    service.in_clear = None
    with service:
        yield service


def form(code, *, id_):
    number, text = MESSAGES[code]
    return live.sms(id_, at=SENT, to=number, text=text, pin=code)


def delivered(receiver):
    """Return number, code and text of each event that was delivered."""
    return sorted(
        (event["data"]["to"][1:], event["data"]["code"], event["data"]["text"])
        for event in receiver.events
    )


def whole(codes):
    return sorted((MESSAGES[code][0], code, MESSAGES[code][1]) for code in codes)


def shown(service, key):
    events = [row["event"] for row in service.api("/events", key=key).json()["data"]]
    return sorted(
        (event["data"]["to"][1:], event["data"]["code"], event["data"]["text"]) for event in events
    )


def test_sealed_service_reveals_secrets_to_receivers_only(sealed, receiver):
    """Mutants: `keys=` is not passed to the journal; a start makes the key file anew; a quarantined
    callback is hashed with `server.secret` only; its copy is not known after a restart.
    """
    *now, later, last = MESSAGES
    for id_, code in enumerate(now):
        assert sealed.post(form(code, id_=id_)).status_code == 200
    live.eventually(lambda: delivered(receiver) == whole(now))
    receiver.is_open = False
    for id_, code in enumerate((later, last), len(now)):
        assert sealed.post(form(code, id_=id_)).status_code == 200
    assert sealed.post(b"event=" + later.encode()).status_code == 200  # quarantined
    live.eventually(lambda: sealed.api("/deliveries?state=pending").json()["data"])
    sealed.kill()
    killed = found(sealed)
    keys = (sealed.folder / "smshook.keys").read_bytes()

    receiver.is_open = True
    sealed.start()

    live.eventually(lambda: {code for _, code, _ in delivered(receiver)} == {*MESSAGES})
    assert set(delivered(receiver)) == set(whole(MESSAGES))
    assert shown(sealed, CODER) == whole(MESSAGES)
    assert shown(sealed, READER) == sorted((number, "***", "***") for number, *_ in whole(MESSAGES))
    by_number = sealed.api("/events?number=%2B18505550103", key=CODER).json()["data"]
    assert [row["event"]["data"]["code"] for row in by_number] == ["918275"]
    # A duplicate is known, although its dedupe key needs the key file.
    assert sealed.post(form(now[0], id_=0)).status_code == 200
    assert shown(sealed, CODER) == whole(MESSAGES)
    # So is a copy in quarantine, and `server.secret` alone cannot test a guess of it.
    assert sealed.post(b"event=" + later.encode()).status_code == 200
    [held] = sealed.api("/quarantine").json()["data"]
    guess = Identity(live.SECRET, os.urandom).fingerprint(b"event=" + later.encode())
    with shell(sealed.folder / "smshook.db") as conn:
        [(fingerprint,)] = conn.execute("select fingerprint from quarantine").fetchall()
    assert (held["count"], len(fingerprint), fingerprint == guess) == (2, len(guess), False)
    metrics = sealed.metrics() + live.client().get(f"{sealed.url}/healthz").content
    assert [secret for secret in SECRETS if any(one in metrics for one in spellings(secret))] == []
    assert (sealed.folder / "smshook.keys").read_bytes() == keys
    sealed.kill()
    assert killed == found(sealed) == []


def found(service):
    """Return the secrets in the files of a service."""
    paths = [path for path in service.folder.rglob("*") if path.is_file()]
    assert {"smshook.db", "smshook.db-wal", "smshook.keys", "masked.txt", "stdout.log"} <= {
        path.name for path in paths
    }
    return secrets_in(paths, SECRETS)


@pytest.mark.parametrize("state", ["damaged", "other root"])
def test_keys_that_cannot_be_opened_end_the_start(tmp_path, state):
    """Mutant: the file is made anew, and nothing of the journal can be opened any more."""
    service = live.Live(tmp_path, live.CONFIG.replace("the-root-key-of", "another-root-key-of"))
    keys = tmp_path / "smshook.keys"
    if state == "damaged":
        keys.write_text("damaged")
        code, complaint = 1, "smshook.keys is damaged: its checksum is wrong. Put a copy"
    else:
        Keyring(keys, (Secret("other " * 8),), period=3600.0, now=1_790_000_000.0)
        code, complaint = 2, "smshook.keys needs the root key"
    before = keys.read_bytes()

    for command in (("serve",), ("prune",)):
        done = service.run(*command, check=False)
        assert (done.returncode, complaint in done.stderr) == (code, True), done.stderr

    assert keys.read_bytes() == before
    assert (tmp_path / "smshook.db").stat().st_size == 0  # only locked
