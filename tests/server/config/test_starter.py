"""The first configuration."""

import errno
import os
import re
import stat

import pytest
from config_files import complaints, written

from core.secret import Secret
from core.units import Duration
from receiver.providers.sms_activate.profiles import HeroSms
from receiver.providers.tellabot.callbacks import TellABot
from routes.table import Route
from server.config.load import load
from server.config.options import Api, ApiKey, JournalOptions, Retention, Sealing, Server
from server.config.starter import init, starter, write
from sinks.file.rotation import Rotate
from sinks.file.sink import File


def _counting():
    """Return a source of chance that counts."""
    numbers = iter(range(10, 99))
    return lambda _size: _text(next(numbers))


def _text(number):
    return f"{number}-random-0123456789-abcdefghijklm"


def test_new_configuration_loads_without_a_warning(tmp_path):
    path = init(tmp_path / "new" / "folder", _counting())

    loaded = load(path, environ={})

    assert (path, loaded.warnings) == (tmp_path / "new" / "folder" / "smshook.yaml", ())
    assert loaded.config.sources == {
        "tellabot": TellABot(tokens=(Secret(_text(11)),)),
        "herosms": HeroSms(tokens=(Secret(_text(12)),)),
    }
    assert loaded.config.sinks == {"log": File(path=f"{path.parent}/events.jsonl", redact="people")}
    assert loaded.config.routes == {"everything": Route(to=("log",))}
    assert loaded.config.server == Server(secret=Secret(_text(10)))
    assert loaded.config.api == Api(
        keys={"admin": ApiKey(key=Secret(_text(13)), scopes=("admin",))}
    )
    assert loaded.config.journal == JournalOptions().under(path.parent)
    root = path.with_name("smshook.root")
    assert loaded.config.seal == Sealing(root=(Secret(root.read_text().rstrip()),)).under(
        path.parent
    )
    assert loaded.root_files == (root,)


def test_every_secret_is_new(tmp_path):
    """Mutant: one random text for all, or a constant."""
    configs = [load(init(tmp_path / name), environ={}).config for name in "ab"]

    found = [
        text
        for config in configs
        for text in (
            config.server.secret.reveal(),
            *(source.tokens[0].reveal() for source in config.sources.values()),
            config.api.keys["admin"].key.reveal(),
            config.seal.root[0].reveal(),
        )
    ]

    assert len(set(found)) == 10
    assert min(map(len, found)) >= 43


def test_commented_options_are_valid_and_at_their_defaults(tmp_path):
    """Mutant: a commented option that no longer exists, or has another default now."""
    text = starter(_counting())
    path = written(tmp_path, text)
    path.with_name("smshook.root").write_text(_text(10))
    before = load(path, environ={}).config
    path = written(tmp_path, re.sub(r"(?m)^( *)#(?=\w)", r"\1", text))

    after = load(path, environ={}).config

    assert after.sinks["log"].rotate == Rotate()
    assert after.sources == before.sources
    assert after.routes == before.routes
    assert (after.server, after.journal, after.api) == (before.server, before.journal, before.api)
    assert after.seal == before.seal
    assert after.retention == before.retention == Retention(codes=Duration(86_400))
    assert after.sinks["log"].retry == before.sinks["log"].retry
    assert len(re.findall(r"(?m)^ *#(?=\w)", text)) == 35


def test_only_the_owner_can_read_the_files(tmp_path):
    """Mutant: `open(path, "w")`, so that the umask decides about readers."""
    mask = os.umask(0)
    try:
        path = init(tmp_path)
    finally:
        os.umask(mask)

    for each in (path, path.with_name("smshook.root")):
        assert stat.S_IMODE(each.stat().st_mode) == 0o600


def test_existing_root_key_is_used(tmp_path):
    """A journal may need it. Mutants: it is replaced; it is an error."""
    root = tmp_path / "smshook.root"
    root.write_text(_text(99))
    root.chmod(0o600)

    loaded = load(init(tmp_path, _counting()), environ={})

    assert (root.read_text(), loaded.warnings) == (_text(99), ())
    assert loaded.config.seal.root == (Secret(_text(99)),)


def test_root_key_is_written_before_the_configuration(tmp_path, monkeypatch):
    """Mutant: after it. A start would fail, and the next `init` would refuse to write."""
    written_files = []

    def full(path, _text):
        written_files.append(path.name)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("server.config.starter.write_new", full)
    with pytest.raises(OSError, match="No space"):
        init(tmp_path)

    assert written_files == ["smshook.root"]


def test_existing_file_is_left_alone(tmp_path):
    path = written(tmp_path, "mine")

    with pytest.raises(FileExistsError):
        init(tmp_path)

    assert path.read_text() == "mine"


def test_configuration_is_written_under_the_given_name(tmp_path):
    path = tmp_path / "etc" / "hooks.yaml"
    write(path, starter(_counting()))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert complaints(path) == []


def test_failed_write_leaves_no_file(tmp_path):
    """A text that cannot be encoded stands in for a full disk."""
    with pytest.raises(UnicodeEncodeError):
        init(tmp_path, lambda _: "\udc80")

    assert complaints(tmp_path / "smshook.yaml") == [
        "smshook.yaml: no such file; `smshook init` writes one"
    ]
