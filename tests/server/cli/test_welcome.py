"""The first start: welcome, callback URLs, next commands."""

import hashlib
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import live
import pytest
from config_files import SERVER, written
from piped import Piped

from journal.lock import Holder
from receiver.providers.sms_activate.profiles import HeroSms
from receiver.providers.tellabot.callbacks import TellABot
from server import __version__
from server.cli.welcome import program, welcome
from server.config.load import load
from server.config.starter import NAME, init

HOLDER = Holder(pid=1, url="http://127.0.0.1:9000", admin_url="http://127.0.0.1:9001")
SOURCE = 'sources: {tellabot: {provider: tellabot, tokens: ["%s"]}}\n'


def welcomed(path, name=NAME):
    config = load(path, environ={}).config
    return welcome(config, HOLDER, config_path=Path(name), smshook=".venv/bin/smshook")


def test_welcome_shows_addresses_and_the_next_commands(tmp_path):
    path = init(tmp_path, chance=lambda size: "random-" * (size // 4))
    token = "random-" * 8

    assert (
        welcomed(path)
        == f"""\
smshook {__version__} is running; Ctrl-C stops it.

  API  http://127.0.0.1:9001

  Callback URLs, each with its secret token, and where to paste them:

    tellabot
      http://127.0.0.1:9000/in/tellabot/{token}
      {TellABot.paste_at}

    herosms
      http://127.0.0.1:9000/in/herosms/{token}
      {HeroSms.paste_at}

  They cannot be reached from the internet yet. A tunnel, in another terminal:
    ssh -R 80:127.0.0.1:9000 nokey@localhost.run
  Put the https address that it prints into server.public_url, and start again.

  The web console, signed in, in a browser:
    .venv/bin/smshook console

  A first event, in another terminal:
    .venv/bin/smshook send tellabot
"""
    )


def test_public_url_needs_no_tunnel(tmp_path):
    public = SERVER.replace("{", '{public_url: "https://hooks.example.com", ')

    text = welcomed(written(tmp_path, SOURCE % "0123456789abcdef" + public))

    assert "      https://hooks.example.com/in/tellabot/0123456789abcdef\n" in text
    assert "internet" not in text
    assert "ssh" not in text


def test_digest_token_has_no_callback_url(tmp_path):
    """Mutant: the digest is printed as the token."""
    digest = f"sha256:{hashlib.sha256(b'token').hexdigest()}"

    text = welcomed(written(tmp_path, SOURCE % digest + SERVER))

    assert digest not in text
    assert "(its tokens are here as sha256 only)" in text
    assert text.endswith("    .venv/bin/smshook check\n")


def test_welcome_without_sources_says_so(tmp_path):
    text = welcomed(written(tmp_path, SERVER))

    assert "  No sources yet: add one to the configuration, and start again.\n" in text
    assert "ssh" not in text


def test_suggested_commands_name_another_configuration(tmp_path):
    path = written(tmp_path, SOURCE % "0123456789abcdef" + SERVER)

    text = welcomed(path, name="my hooks.yaml")

    assert text.endswith("    .venv/bin/smshook --config 'my hooks.yaml' send tellabot\n")


@pytest.mark.parametrize(
    ("argv0", "found", "typed"),
    [
        (".venv/bin/smshook", None, ".venv/bin/smshook"),
        ("HERE/.venv/bin/smshook", None, ".venv/bin/smshook"),
        ("HERE/.venv/bin/smshook", "/usr/bin/smshook", ".venv/bin/smshook"),
        ("HERE/.venv/bin/smshook", "HERE/.venv/bin/smshook", "smshook"),
        ("/opt/my hooks/bin/smshook", None, "'/opt/my hooks/bin/smshook'"),
        ("/usr/lib/python3/pytest", None, "smshook"),
    ],
)
def test_program_is_its_name_if_the_shell_finds_it(tmp_path, monkeypatch, argv0, found, typed):
    """Mutant: the name alone, although PATH has another smshook or does not have it."""
    monkeypatch.chdir(tmp_path)
    here = str(tmp_path)

    called = program(argv0.replace("HERE", here), lambda _: found and found.replace("HERE", here))

    assert called == typed


class Terminal:
    """A service with a terminal as stdout and stderr."""

    def __init__(self, folder, environment):
        self.ours, theirs = pty.openpty()
        self.text = ""
        self.process = subprocess.Popen(
            [live.command(), "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
        )
        os.close(theirs)

    def shows(self, pattern, *, within=20.0):
        """Read until the output matches."""
        until = time.monotonic() + within
        while (match := re.search(pattern, self.text)) is None:
            assert time.monotonic() < until, self.text
            if select.select([self.ours], [], [], 0.1)[0]:
                self.text += os.read(self.ours, 65536).decode().replace("\r\n", "\n")
        return match

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        os.close(self.ours)


@pytest.fixture
def started(tmp_path, request):
    """A fresh folder, as `make run` leaves it, served on a terminal."""
    init(tmp_path)
    kept = {name: value for name, value in os.environ.items() if "SMSHOOK" not in name}
    terminal = Terminal(tmp_path, kept | getattr(request, "param", {}))
    yield (
        terminal,
        lambda *words: Piped([live.command(), *words], tmp_path, kept).communicate()[0],
    )
    terminal.close()


def test_terminal_shows_the_welcome_then_events(started):
    terminal, smshook = started
    terminal.shows(r"smshook send tellabot\n")

    url = smshook("sources", "url", "tellabot")
    smshook("send", "tellabot", "--duplicate")

    assert f"      {url}" in terminal.text
    number = r"\+1850\*\*\*01\d\d"
    terminal.shows(rf"(?m)^\d\d:\d\d:\d\d sms\.received tellabot Google {number} → log ok \d+ ms$")
    terminal.shows(rf"(?m)^\S+ sms\.received tellabot Google {number} received again: duplicate$")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(10) == 0
    assert "{" not in terminal.text, "no JSON for people"


@pytest.mark.parametrize("started", [{"PYTHONIOENCODING": "ascii"}], indirect=True)
def test_terminal_of_another_encoding_works(started):
    terminal, smshook = started
    terminal.shows(r"smshook send tellabot\n")

    smshook("send", "tellabot")

    terminal.shows(r"log ok \d+ ms")


def test_log_has_urls_without_tokens(tmp_path):
    """Mutant: the welcome in the logs of a container, with every token."""
    with live.Live(tmp_path) as service:
        assert service.stop() == 0

    [started] = service.logged("service.started")
    assert started["sources"] == [
        f"{service.url}/in/tellabot/***",
        f"{service.url}/in/smsactivate/***",
    ]
    assert live.TOKEN not in service.log.read_text() + service.errors.read_text()
