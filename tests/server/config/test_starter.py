"""The first configuration."""

import base64
import os
import re
import stat

import pytest
from config_files import complaints, written

from core.secret import Secret
from receiver.providers.sms_activate.profiles import HeroSms
from receiver.providers.tellabot.callbacks import TellABot
from routes.table import Route
from server.config.load import load
from server.config.options import Api, ApiKey, JournalOptions, Server
from server.config.starter import ROOT_NAME, init, starter, write, write_root
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
    assert loaded.config.sinks == {"log": File(path=f"{path.parent}/events.jsonl", redact="codes")}
    assert loaded.config.routes == {"everything": Route(to=("log",))}
    assert loaded.config.server == Server(secret=Secret(_text(10)))
    assert loaded.config.api == Api(
        keys={"admin": ApiKey(key=Secret(_text(13)), scopes=("admin",))}
    )
    assert loaded.config.journal == JournalOptions().under(path.parent)
    root = (path.parent / ROOT_NAME).read_text()
    assert loaded.config.seal.root == (Secret(root.removesuffix("\n")),)
    assert len(base64.b64decode(root)) == 32


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
    write_root(tmp_path / ROOT_NAME)
    path = written(tmp_path, text)
    before = load(path, environ={}).config
    path = written(tmp_path, re.sub(r"(?m)^( *)#(?=\w)", r"\1", text))

    after = load(path, environ={}).config

    assert after.sinks["log"].rotate == Rotate()
    assert after.sources == before.sources
    assert after.routes == before.routes
    assert (after.server, after.journal, after.api) == (before.server, before.journal, before.api)
    assert after.sinks["log"].retry == before.sinks["log"].retry
    assert len(re.findall(r"(?m)^ *#(?=\w)", text)) == 24


def test_only_the_owner_can_read_the_file(tmp_path):
    """Mutant: `open(path, "w")`, so that the umask decides about readers."""
    mask = os.umask(0)
    try:
        path = init(tmp_path)
    finally:
        os.umask(mask)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / ROOT_NAME).stat().st_mode) == 0o600


def test_existing_root_key_is_left_alone(tmp_path):
    """Mutant: it is replaced, and nothing that is encrypted can be opened."""
    write_root(tmp_path / ROOT_NAME)
    root = (tmp_path / ROOT_NAME).read_text()

    path = init(tmp_path)

    assert load(path, environ={}).config.seal.root == (Secret(root.strip()),)
    with pytest.raises(FileExistsError):
        write_root(tmp_path / ROOT_NAME)


def test_existing_file_is_left_alone(tmp_path):
    path = written(tmp_path, "mine")

    with pytest.raises(FileExistsError):
        init(tmp_path)

    assert path.read_text() == "mine"


def test_configuration_is_written_under_the_given_name(tmp_path):
    path = write(tmp_path / "etc" / "hooks.yaml", _counting())

    assert path == tmp_path / "etc" / "hooks.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert complaints(path) == []


def test_failed_write_leaves_no_file(tmp_path):
    """A text that cannot be encoded stands in for a full disk."""
    with pytest.raises(UnicodeEncodeError):
        init(tmp_path, lambda _: "\udc80")

    assert complaints(tmp_path / "smshook.yaml") == [
        "smshook.yaml: no such file; `smshook init` writes one"
    ]
