"""Differences between configurations, by name and without values."""

import msgspec
import pytest
from services import configured

from core.secret import Secret
from core.units import Duration
from receiver.polling.options import Backfill
from receiver.providers.sms_activate.profiles import HeroSms
from receiver.providers.tellabot.callbacks import TellABot
from routes.table import Route
from server.config.differences import Differences, find_differences, keep_fixed
from server.config.options import Api, ApiKey, JournalOptions, Sealing, Server
from sinks.file.sink import File
from sinks.http.sink import Http

TOKEN, OTHER = Secret("first-token-0123456789"), Secret("other-token-0123456789")
SERVER = Server(secret=Secret("s" * 32))


def source(*tokens, **options):
    return TellABot(tokens=tokens or (TOKEN,), **options)


def backfill(api_key, **options):
    return Backfill(user="me", api_key=api_key, **options)


def http(url="https://crm.example.com/x?key=secret-of-the-url", **options):
    return Http(url=Secret(url), **options)


def key(text="key-0123456789abcdef", **options):
    return ApiKey(key=Secret(text), **{"scopes": ("admin",), **options})


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({}, {}, {}),
        ({"sources": {"a": source()}}, {"sources": {"a": source()}}, {}),
        ({}, {"sources": {"a": source()}}, {"added": ("sources.a",)}),
        ({"sinks": {"a": http()}}, {}, {"removed": ("sinks.a",)}),
        (
            {"sources": {"a": source(TOKEN)}},
            {"sources": {"a": source(OTHER, TOKEN, labels={"secret": "label"})}},
            {"changed": ("sources.a.tokens", "sources.a.labels")},
        ),
        (
            {"sources": {"a": source(backfill=Backfill(user="u", api_key=TOKEN))}},
            {
                "sources": {
                    "a": source(backfill=Backfill(user="u", api_key=OTHER, every=Duration(7)))
                }
            },
            {"changed": ("sources.a.backfill.api_key", "sources.a.backfill.every")},
        ),
        (
            {"sources": {"a": source()}},
            {"sources": {"a": HeroSms(tokens=(TOKEN,))}},
            {"changed": ("sources.a",)},
        ),
        (
            {"sinks": {"a": http(), "b": http()}},
            {"sinks": {"b": http(headers={"x": OTHER}), "c": File(path="/x")}},
            {"added": ("sinks.c",), "changed": ("sinks.b.headers",), "removed": ("sinks.a",)},
        ),
        (
            {"routes": {"all": Route(to=("a",))}},
            {"routes": {"all": Route(to=("a",), when={"data.code": "secret"})}},
            {"changed": ("routes.all.when",)},
        ),
        (
            {"api": Api(keys={"a": key(), "b": key("b" * 20)})},
            {"api": Api(keys={"a": key("other-0123456789abcdef")}, waits=5)},
            {
                "changed": ("api.keys.a.key", "api.waits"),
                "removed": ("api.keys.b",),
            },
        ),
        (
            {"server": SERVER},
            {"server": msgspec.structs.replace(SERVER, keep_alive=Duration(9))},
            {"changed": ("server.keep_alive",)},
        ),
    ],
)
def test_differences_are_named_without_values(tmp_path, before, after, changes):
    """Mutants: a whole section named; a value of a secret or a `when`; an order as a change."""
    found = find_differences(configured(tmp_path, **before), configured(tmp_path, **after))

    assert {name: set(paths) for name, paths in msgspec.structs.asdict(found).items()} == {
        name: set(changes.get(name, ())) for name in Differences.__struct_fields__
    }
    assert "secret" not in str(found)


def test_fixed_options_keep_their_old_values(tmp_path):
    """Mutants: one option of _FIXED left out; the rest of `server` kept, too."""
    before = configured(tmp_path, server=SERVER)
    server = Server(
        secret=Secret("t" * 32), listen="0.0.0.0:1", admin_listen="same", keep_alive=Duration(9)
    )
    journal = JournalOptions(url="sqlite:////elsewhere.db")
    seal = Sealing(root=(Secret("r" * 32),), file="elsewhere.keys", period=Duration(600))
    after = configured(tmp_path, server=server, journal=journal, seal=seal)

    kept, differing = keep_fixed(before, after)

    assert differing == (
        *("server.listen", "server.admin_listen", "server.secret", "journal.url"),
        *("seal.root", "seal.file", "seal.period"),
    )
    assert (kept.journal, kept.seal) == (before.journal, before.seal)
    assert kept.server == msgspec.structs.replace(before.server, keep_alive=Duration(9))
    assert keep_fixed(before, before) == (before, ())
