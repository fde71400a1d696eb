"""Warnings about settings that leak, and about clauses that no event can meet."""

import json

import pytest
from config_files import ENVIRON, written

from server.config.load import load

A = "k3Jq9vT1xZ8wPq2LrYbN0sDd"
SECRET = "nT2v8Qx4Lk9Zr1Wp6Yb3Hd7Mc5Jf0Gs8"
IN_CLEAR = "http:// sends texts and codes in clear to another host; use https://"
REACHABLE = (
    "the API, with texts and codes, is reachable from other machines without TLS; "
    "listen on 127.0.0.1, or let only your own network reach it"
)


def configuration(**changes):
    """Return a sound configuration, changed at dotted places (`__` for a dot)."""
    base = {
        "server": {"secret": SECRET},
        "sources": {"h": {"provider": "herosms", "tokens": [f"T{A}"]}},
        "sinks": {"s": {"type": "http", "url": "https://example.com/hook"}},
        "routes": {"all": {"to": ["s"]}},
        "api": {"keys": {"a": {"key": f"A{A}", "scopes": ["admin"]}}},
    }
    for path, value in changes.items():
        *above, last = path.split("__")
        inner = base
        for name in above:
            inner = inner[name]
        inner[last] = value
    return base


def warned(folder, **changes):
    """Return the place and text of each warning, without the file and the line."""
    path = written(folder, json.dumps(configuration(**changes)))
    loaded = load(path, environ=ENVIRON)
    warnings = [warning.partition(": ")[2] for warning in loaded.warnings]
    assert not any(A in warning or SECRET in warning for warning in warnings)
    return warnings


def test_sound_configuration_draws_no_warning(tmp_path):
    assert warned(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sinks__s__url": "http://crm.example.com/hook"}, f"sinks.s.url: {IN_CLEAR}"),
        ({"sinks__s__url": "HTTP://10.0.0.7:8000/"}, f"sinks.s.url: {IN_CLEAR}"),
        (
            {"sinks__s__proxy": "http://me:password@proxy.example.com:3128"},
            "sinks.s.proxy: http:// sends the proxy's password in clear; use https://",
        ),
        (
            {"sources__h__backfill": {"api_key": "k", "api_url": "http://api.example.com/x"}},
            (
                "sources.h.backfill.api_url: http:// sends the provider's API key in clear to "
                "another host; use https://"
            ),
        ),
        (
            {"server__public_url": "http://hooks.example.com"},
            (
                "server.public_url: http:// sends tokens and codes in clear over the internet; "
                "use https://"
            ),
        ),
        (
            {"server__trusted_proxies": ["10.0.0.0/8", "::/0"]},
            (
                "server.trusted_proxies[1]: trusts X-Forwarded-For from the whole internet; "
                "name only your own proxies"
            ),
        ),
        ({"server__admin_listen": "0.0.0.0:8081"}, f"server.admin_listen: {REACHABLE}"),
        ({"server__admin_listen": "[::]:8081"}, f"server.admin_listen: {REACHABLE}"),
        (
            {"server": {"secret": SECRET, "listen": "0.0.0.0:80", "admin_listen": "same"}},
            f"server.admin_listen: {REACHABLE}",
        ),
        (
            {"server__secret": "a" * 32},
            "server.secret: is easy to guess; `openssl rand -hex 32` makes another",
        ),
        (
            {"sources__h__tokens": ["abcdefgh" * 4]},
            "sources.h.tokens[0]: is easy to guess; `openssl rand -hex 32` makes another",
        ),
        (
            {"sources__h__tokens": [f"A{A}"]},
            "api.keys.a.key: the same as sources.h.tokens[0]; give each its own",
        ),
        (
            {"sources__t": {"provider": "tellabot", "tokens": [f"T{A}"]}},
            "sources.t.tokens[0]: the same as sources.h.tokens[0]; give each its own",
        ),
        (
            {"sources__h__tokens": [f"T{A}\n"]},
            (
                "sources.h.tokens[0]: begins or ends with a space or a line end; "
                "is that part of the secret?"
            ),
        ),
        (
            {"sources__h__backfill": {"api_key": "a key of theirs"}},
            "sources.h.backfill.api_key: has a space; is that part of the secret?",
        ),
        (
            {"sinks__s__tls": {"ca_file": "missing.pem"}},
            ("sinks.s.tls.ca_file: there is no such file: deliveries wait until you make it"),
        ),
        (
            {"api__keys__a__when": {"type": "sms.received"}},
            (
                "api.keys.a.scopes: calls that need the scope admin refuse a key with a `when`; "
                "write other scopes"
            ),
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_setting_that_leaks_draws_a_warning(tmp_path, changes, said):
    """Mutant: each check left out."""
    assert warned(tmp_path, **changes) == [said]


@pytest.mark.parametrize(
    "changes",
    [
        {"sinks__s__url": "http://127.0.0.1:9000/hook"},
        {"sinks__s__url": "http://localhost/hook"},
        {"sinks__s__url": "http://[::1]/hook"},
        {"sinks__s__proxy": "http://proxy.example.com:3128"},
        {"server__trusted_proxies": ["10.0.0.0/8", "192.0.2.7"]},
        {"server__admin_listen": "same"},
        {"server__admin_listen": "[::1]:8081"},
        {"sources__t": {"provider": "tellabot", "tokens": [f"U{A}"]}},
        {
            "sources": {
                name: {"provider": "herosms", "tokens": [f"{name}{A}"], "backfill": {"api_key": A}}
                for name in "ab"
            }
        },
    ],
    ids=str,
)
def test_setting_that_leaks_nothing_draws_no_warning(tmp_path, changes):
    """One account of a provider may have two sources. Mutant: loopback counts as another host."""
    assert warned(tmp_path, **changes) == []


@pytest.mark.parametrize("moved", [-1, 0])
def test_key_that_has_expired_draws_a_warning(tmp_path, moved):
    """It works up to that time. Mutants: `<` in place of `<=`; keys without an end."""
    key = {"key": f"B{A}", "scopes": ["events:read"], "expires": "2026-09-14T18:42:36Z"}
    path = written(tmp_path, json.dumps(configuration(api__keys__b=key)))

    loaded = load(path, environ=ENVIRON, now=lambda: 1789411356.0 + moved)

    said = "is past, so the key is refused; write a later time, or remove the key"
    assert [text.partition(": ")[2] for text in loaded.warnings] == (
        [] if moved else [f"api.keys.b.expires: {said}"]
    )


def test_trusted_internet_beside_allow_from_names_the_sources(tmp_path):
    changes = {"server__trusted_proxies": ["0.0.0.0/0"], "sources__h__allow_from": ["192.0.2.7"]}

    [said] = warned(tmp_path, **changes)

    assert said.endswith("(anyone can bypass allow_from of h)")


def test_file_that_others_can_read_draws_a_warning(tmp_path):
    """Mutants: the journal alone, without its WAL; the folder's mode."""
    sink = {"type": "file", "path": "out/events.jsonl"}
    (tmp_path / "out").mkdir()
    for name in ("smshook.db", "smshook.db-wal", "smshook.db.lock", "out/events.jsonl"):
        (tmp_path / name).touch(mode=0o600)
    before = warned(tmp_path, sinks__s=sink)

    for name in ("smshook.db-wal", "smshook.db.lock", "out/events.jsonl"):
        (tmp_path / name).chmod(0o644)
    (tmp_path / "out").chmod(0o777)
    after = warned(tmp_path, sinks__s=sink)

    assert before == []
    assert after == [
        (
            f"journal.url: others can read {name}, which belongs to the journal; "
            f"chmod 600 {tmp_path}/{name}"
        )
        for name in ("smshook.db-wal", "smshook.db.lock")
    ] + [
        f"sinks.s.path: others can read this file; chmod 600 {tmp_path}/out/events.jsonl",
        f"sinks.s.path: others can replace files in {tmp_path}/out; chmod go-w {tmp_path}/out",
    ]


PLUS = "a phone number of an event begins with +; write +1850… and so on"


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ({"data.to": "18503814729"}, f"data.to: {PLUS}"),
        ({"data.to": 18503814729}, f"data.to: {PLUS}"),
        ({"data.to": {"$in": ["+18503814729", "18503814729"]}}, f"data.to.$in[1]: {PLUS}"),
        ({"data.to": {"$startsWith": "1850"}}, f"data.to.$startsWith: {PLUS}"),
        ({"data.from": "18503814729"}, f"data.from: {PLUS}"),
        (
            {"data.service.key": "Google"},
            "data.service.key: service keys are one word in lower case; write google",
        ),
        (
            {"$or": [{"data.service.key": "Google Voice"}]},
            "$or[0].data.service.key: service keys are one word in lower case; write google",
        ),
        ({"data.country": "us"}, "data.country: countries are two capital letters; write US"),
        ({"data.country": "USA"}, "data.country: countries are two capital letters; write US"),
        (
            {"data.price.amount": {"$gt": "1.5"}},
            (
                "data.price.amount.$gt: compares as texts, in which 9 is more than 10; "
                "write the number without quotes"
            ),
        ),
        ({"type": {"$startsWith": "smss."}}, "type.$startsWith: no event has a type like that"),
        (
            {"source": "heros"},
            "source: no source is named 'heros'; sources: h",
        ),
        (
            {"data.provider": "herosmss"},
            "data.provider: no provider is named 'herosmss'; did you mean 'herosms'?",
        ),
        ({"data.channel": "poll "}, "data.channel: it is one of callback, poll"),
        ({"source": True}, "source: it is a text, never true or false"),
        (
            {"data.sample": "False"},
            "data.sample: write true or false, in small letters and without quotes",
        ),
        ({"data.labels.vip": True}, "data.labels.vip: labels are texts; write it in quotes"),
        (
            {"data.code": True},
            ("data.code: it is a text, never true or false; $exists asks whether it is there"),
        ),
        (
            {"subject": "10000001"},
            "subject: a subject is a kind and an id, such as request/10000001",
        ),
        (
            {"recordedtime": {"$gt": 20260914}},
            "recordedtime.$gt: times are texts; write one such as 2026-09-14T18:42:37Z in quotes",
        ),
        (
            {"type": "number.changed", "data.code": "1"},
            "data.code: no number.changed has data.code; it is a field of sms.received",
        ),
    ],
    ids=str,
)
def test_clause_that_no_event_meets_draws_a_warning(tmp_path, when, said):
    """Mutant: each check left out."""
    [warning] = warned(tmp_path, routes__all__when=when)

    assert warning.startswith(f"routes.all.when.{said}")


@pytest.mark.parametrize(
    "when",
    [
        {"data.to": "+18503814729"},
        {"data.to": {"$endsWith": "4729", "$in": "850"}},
        {"data.from": "22000"},
        {"data.service.key": ["google", "telegram"]},
        {"data.country": {"$in": ["US", "GB"]}},
        {"data.price.amount": {"$gt": 1.5}},
        {"type": {"$startsWith": "sms."}},
        {"type": ["sms.received", "number.changed"], "data.code": {"$ne": None}},
        {"type": "number.changed", "data.code": {"$exists": False}},
        {"source": "h", "data.sample": False, "data.channel": "poll"},
        {"subject": {"$startsWith": "request/"}, "recordedtime": {"$gte": "2026-09-14"}},
        {"data.labels.vip": "true", "data.to": {"$ne": None}},
    ],
    ids=str,
)
def test_clause_that_an_event_meets_draws_no_warning(tmp_path, when):
    assert warned(tmp_path, routes__all__when=when) == []


def test_filter_of_a_key_may_name_a_removed_source(tmp_path):
    """Its events are still stored."""
    key = {"key": f"A{A}", "scopes": ["events:read"], "when": {"source": "gone"}}

    assert warned(tmp_path, api__keys__a=key) == []


LONG = (
    "tries for {} to deliver an event, and retention.{} erases it after {}: what is not delivered"
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"retention": {"codes": "24h"}}, LONG.format("44h", "codes", "1d")),
        ({"retention": {"people": "1h"}}, LONG.format("44h", "people", "1h")),
        (
            {"retention": {"codes": "1d"}, "sinks__s__retry": {"schedule": ["0s", "2d"]}},
            LONG.format("58h", "codes", "1d"),
        ),
    ],
)
def test_retries_longer_than_the_retention_draw_a_warning(tmp_path, changes, said):
    """Mutant: the longest wait counts, and not all of them."""
    [warning] = warned(tmp_path, **changes)

    assert warning.startswith(f"sinks.s.retry: {said}")


@pytest.mark.parametrize(
    "changes",
    [
        {"retention": {"codes": "2d"}},
        {"retention": {"codes": "1h"}, "sinks__s__expire_after": "15m"},
        {"retention": {"codes": "1h"}, "sinks__s__redact": "codes"},
        {"retention": {"codes": "1h"}, "sinks__s__json": {"text": "{data.service.name}"}},
    ],
)
def test_sink_that_needs_no_erased_content_draws_no_warning(tmp_path, changes):
    assert warned(tmp_path, **changes) == []


def test_quarantine_longer_than_codes_draws_a_warning(tmp_path):
    """Not if it is the default: `smshook init` writes `codes` alone."""
    codes = {"codes": "2d"}

    assert warned(tmp_path, retention=codes | {"quarantine": "30d"}) == []
    [warning] = warned(tmp_path, retention=codes | {"quarantine": "7d"})
    assert warning.startswith("retention.quarantine: longer than retention.codes")
