"""Loading of `smshook.yaml`: a Config, or all complaints with their places."""

import copy
import hashlib
import json
import os
import re
from pathlib import Path

import pytest
import yaml
from config_files import ENVIRON, SERVER, SINK_TYPES, complaints, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.event import kinds
from core.secret import Secret
from core.units import Duration
from receiver.polling.options import Backfill
from receiver.providers.generic import Generic, Paths
from receiver.providers.sms_activate.profiles import HeroSms
from receiver.providers.smspins import SmsPins
from receiver.providers.tellabot.callbacks import TellABot
from receiver.signatures import Basic, HeaderSecret, Hmac, Twilio
from receiver.source import Reply
from routes.match import Invalid, compile_when
from routes.table import Route
from server.config.alerting import Alerting, Heartbeat
from server.config.load import ConfigError, journal_of, load, shown
from server.config.options import (
    Api,
    ApiKey,
    Auditing,
    ConsoleOptions,
    JournalOptions,
    Options,
    Retention,
    Sealing,
    Server,
    Subscribing,
    host_and_port,
)
from server.config.shapes import Group, MapOf, OneOf
from sinks.file.rotation import Rotate
from sinks.file.sink import File
from sinks.http.client import Tls
from sinks.http.sink import Http
from sinks.sink import PauseAfter
from sinks.slack.sink import Slack

SECOND_COLON = "a second `:` in the line; put a value that holds one into quotes"
EXAMPLE = Path(__file__).parents[3] / "config.example.yaml"
DIGEST = "sha256:" + "0a" * 32


def test_file_becomes_a_configuration(tmp_path):
    """Paths become absolute, and missing options get their defaults."""
    (tmp_path / "out").mkdir()
    path = written(
        tmp_path,
        """\
sources:
  tellabot: {provider: tellabot, tokens: ["${TELLABOT_TOKEN}"], labels: {team: growth}}
  herosms: {provider: herosms, tokens: ["${HEROSMS_TOKEN}"], timezone: Europe/Kyiv}
sinks:
  log: {type: file, path: out/events.jsonl, redact: codes}
routes:
  google-codes: {when: {data.service.key: google}, to: [log]}
server: {secret: "${HOOK_SECRET}", public_url: "https://hooks.example.com/sms/"}
api:
  keys:
    admin: {key: "${ADMIN_KEY}", scopes: [admin]}
subscriptions: {allow_networks: [10.20.0.0/16]}
""",
    )

    loaded = load(path, environ=ENVIRON)

    assert loaded.warnings == ()
    # As the audit log shows it. Mutant: half of it.
    assert loaded.config.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    known = [name for name in loaded.config.__struct_fields__ if name != "digest"]
    assert {name: getattr(loaded.config, name) for name in known} == {
        "sources": {
            "tellabot": TellABot(
                tokens=(Secret("tellabot-token-0123456789"),), labels={"team": "growth"}
            ),
            "herosms": HeroSms(
                tokens=(Secret("herosms-token-0123456789"),), timezone="Europe/Kyiv"
            ),
        },
        "sinks": {"log": File(path=f"{tmp_path}/out/events.jsonl", redact="codes")},
        "routes": {"google-codes": Route(when={"data.service.key": "google"}, to=("log",))},
        "server": Server(
            secret=Secret("server-secret-0123456789-0123456789"),
            public_url="https://hooks.example.com/sms",
        ),
        "journal": JournalOptions(url=f"sqlite:///{tmp_path}/smshook.db"),
        "retention": Retention(),
        "retention_is_set": False,
        "seal": Sealing(file=f"{tmp_path}/smshook.keys"),
        "audit": Auditing(record="access"),
        "console": ConsoleOptions(),
        "tracing": None,
        "api": Api(
            keys={"admin": ApiKey(key=Secret("admin-key-0123456789"), scopes=("admin",))}
        ),
        "subscriptions": Subscribing(allow_networks=("10.20.0.0/16",)),
        "alerts": Alerting(),
        "heartbeat": Heartbeat(),
        "path": path,
    }  # fmt: skip
    assert loaded.config.folder == tmp_path


@pytest.mark.parametrize("written_", ["", "routes:\nsinks:\nsources:\napi:\n  keys:\njournal:\n"])
def test_only_server_secret_is_required(tmp_path, written_):
    """A section with all lines commented out is null. Mutant: it crashes or is a complaint."""
    config = load(written(tmp_path, SERVER + written_), environ={}).config

    assert (config.sources, config.sinks, config.routes, config.api) == ({}, {}, {}, Api())


def test_all_complaints_are_shown_with_lines_and_remedies(tmp_path):
    """Mutant: msgspec converts the whole file. It stops at the first and names `$.sinks[...]`."""
    path = written(
        tmp_path,
        """\
sources:
  Main: {provider: tellabot, tokens: [0123456789abcdef]}
  a: {provider: tellabott, tokens: [0123456789abcdef]}
  b:
    provider: herosms
    tokens: [short, 0123456789abcdef, 0123456789abcdef, 12345678901234567890, sha256:00]
    allow_from: [documented, 10.0.0.1/8, somewhere]
    rate: 5
    labels: {team: null}
  c: {tokens: 0123456789abcdef}
  d: {provider: daisysms, allow_from: [documented]}
sinks:
  log: {type: fiel, path: x}
  one: {type: file, path: x, redact: codse, timeout: 0s}
  two: {type: file, path: y, concurrency: "${MANY}", rotate: {keep: 0}, redcat: codes}
  three: {type: file, path: z}
  four: {type: file, path: x/../z}
routes:
  r: {to: [lgo, three, four], when: {data.code: {$near: 1}}}
  s: {when: 5}
server:
  listen: 8080
  admin_listen: "127.0.0.1"
  public_url: https://hooks.example.com/?x=1
  trusted_proxies: [documented]
  max_body: 0B
  secret: too short
journal: {url: "postgresql://user:pass@host/db"}
api:
  keys:
    a: {key: 0123456789abcdea, scopes: [root]}
    b: {key: 0123456789abcdeb, scopes: []}
    c: {key: 0123456789abcdef, scopes: [admin]}
    d: {key: 0123456789abcdef, scopes: [admin], when: {data.code: {$near: 1}}}
extra: 1
""",
    )
    known = (
        "daisysms, generic, grizzlysms, herosms, sms_activate, sms_online, smsbower, smspins,"
        " tellabot"
    )
    with pytest.raises(Invalid) as invalid:
        compile_when({"data.code": {"$near": 1}}, "")
    ((_, near),) = invalid.value.complaints

    assert complaints(path, {"MANY": "many"}) == [
        f"smshook.yaml:{complaint}"
        for complaint in (
            "2: sources.Main: a name is up to 63 of a-z 0-9 _ - and begins with a letter or digit",
            f"3: sources.a.provider: 'tellabott' is not one of {known}; did you mean 'tellabot'?",
            (
                "6: sources.b.tokens[0]: shorter than 16 characters, so it can be guessed; "
                "`openssl rand -hex 16`"
            ),
            "6: sources.b.tokens[2]: the same as tokens[1]",
            "6: sources.b.tokens[4]: not a digest; after sha256: come 64 hexadecimal digits",
            (
                "7: sources.b.allow_from[2]: neither an address nor a network; write 192.0.2.7, "
                "192.0.2.0/24 or 2001:db8::/32"
            ),
            "8: sources.b.rate: not a rate; write 10/s, 100/m or 1000/h",
            "9: sources.b.labels.team: expected text, got nothing",
            f"10: sources.c.provider: required; one of {known}",
            "10: sources.c.tokens: expected a list, got text; write it in [ ]",
            "11: sources.d.tokens: empty; a callback URL needs one: `openssl rand -hex 16`",
            (
                "11: sources.d.allow_from[0]: this provider documents no addresses; write them, or "
                "leave it empty"
            ),
            f"13: sinks.log.type: 'fiel' is not one of {SINK_TYPES}; did you mean 'file'?",
            "14: sinks.one.timeout: must be longer than 0s",
            (
                "14: sinks.one.redact: 'codse' is not one of codes, people; paths are written as a "
                "list, such as [data.price]"
            ),
            "15: sinks.two.redcat: unknown option; did you mean 'redact'?",
            "15: sinks.two.concurrency: expected a whole number, got text",
            "15: sinks.two.rotate.keep: must be 1 or more",
            "17: sinks.four.path: sinks.three writes to this file; two writers would damage it",
            (
                "19: routes.r.to[0]: no sink is named 'lgo'; sinks: log, one, two, three, four; "
                "did you mean 'log'?"
            ),
            f"19: routes.r.when.data.code.$near: {near}",
            "20: routes.s.to: required but missing",
            "20: routes.s.when: expected a mapping, got a whole number",
            "22: server.listen: write host:port, such as 127.0.0.1:8080 or [::1]:8080",
            "23: server.admin_listen: write host:port, such as 127.0.0.1:8080 or [::1]:8080",
            (
                "24: server.public_url: write http:// or https://, a host and maybe a path, and "
                "nothing after it"
            ),
            (
                "25: server.trusted_proxies[0]: neither an address nor a network; write 192.0.2.7, "
                "192.0.2.0/24 or 2001:db8::/32"
            ),
            "26: server.max_body: write more than 0, such as 64KiB",
            (
                "27: server.secret: shorter than 32 bytes, so it can be guessed; "
                "`openssl rand -hex 32`"
            ),
            "28: journal.url: PostgreSQL is not yet supported; write sqlite:///smshook.db",
            (
                "31: api.keys.a.scopes[0]: 'root' is not one of events:read, codes:read, "
                "codes:reveal, deliveries:write, subscriptions:write, audit:read, admin"
            ),
            (
                "32: api.keys.b.scopes: empty, so the key allows nothing; name a scope, or leave "
                "the key out"
            ),
            "34: api.keys.d.key: the same as api.keys.c.key; give each its own",
            f"34: api.keys.d.when.data.code.$near: {near}",
            "35: extra: unknown option",
        )
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "smshook.yaml: server.secret: required but missing"),
        ("# nothing", "smshook.yaml: server.secret: required but missing"),
        ("[a]", "smshook.yaml: expected a mapping, such as `sources:` and `sinks:`"),
        ("a: b: c", f"smshook.yaml:1: {SECOND_COLON}"),
        (SERVER + "sinks: {a: null}", "smshook.yaml:2: sinks.a: expected a mapping, got nothing"),
        (SERVER + "sources: []", "smshook.yaml:2: sources: expected a mapping, got a list"),
        (SERVER + SERVER, "smshook.yaml:2: server: given twice, first in line 1; remove one"),
        (SERVER + "routes: {a: {to: log}}",
         "smshook.yaml:2: routes.a.to: expected a list, got text; write it in [ ]"),
        (SERVER + "routes: {a: {to: {log: 1}}}",
         "smshook.yaml:2: routes.a.to: expected a list, got a mapping"),
        (SERVER + "routes: {a: {to: [log]}}",
         "smshook.yaml:2: routes.a.to[0]: no sink is named 'log'; there are no sinks"),
        (SERVER + "sources: {a: {provider: smspins}}",
         ("smshook.yaml:2: sources.a.backfill: missing; this provider sends no callbacks, so it "
          "must be polled")),
        (SERVER + "sources: {a: {provider: smspins, backfill: {every: 30s}}}",
         "smshook.yaml:2: sources.a.backfill.api_key: required but missing"),
        (SERVER + "sources: {a: {provider: tellabot, tokens: [t0ken-of-16-characters], "
         "backfill: {api_key: k}}}",
         ("smshook.yaml:2: sources.a.backfill: user: TellABot wants the user name or email with "
         "the key")),
        (SERVER + "sinks: {a: {type: file}}",
         "smshook.yaml:2: sinks.a.path: required but missing"),
        (SERVER + "sinks: {a: {type: [file], path: x}}",
         f"smshook.yaml:2: sinks.a.type: this value is not one of {SINK_TYPES}"),
        (SERVER + "sinks: {a: {type: http, url: 'crm.example.com'}}",
         ("smshook.yaml:2: sinks.a.url: not a URL to send to; write http:// or https://, a host, "
         "and a path if it has one")),
        (SERVER + "sinks: {a: {type: http, url: 'http://h', secrets: [whsec_x]}}",
         ("smshook.yaml:2: sinks.a.secrets[0]: not whsec_ and base64 of 24 to 64 bytes: "
         "echo whsec_$(openssl rand -base64 32)")),
        (SERVER + "sinks: {a: {type: http, url: 'http://h', json: {a: ['{data.cod}']}}}",
         ("smshook.yaml:2: sinks.a.json: a[0]: character 1: no event has 'data.cod'; did you mean "
         "data.code?")),
        (SERVER + "sinks: {a: {type: http, url: 'http://h', json: {a: b}, format: standard}}",
         "smshook.yaml:2: sinks.a: json and format exclude each other; leave one out"),
        (SERVER + "sinks: {a: {type: http, url: 'http://h', headers: {Host: b}}}",
         "smshook.yaml:2: sinks.a.headers: Host is written by smshook itself; leave it out"),
        (SERVER + "sinks: {a: {type: http, url: 'http://h', tls: {cert_file: b}}}",
         "smshook.yaml:2: sinks.a.tls.cert_file: and key_file go together: give both"),
        (SERVER + "sinks: {a: {type: file, path: x, timeout: 30}}",
         "smshook.yaml:2: sinks.a.timeout: not a duration; write 200ms, 30s, 5m, 3h or 7d"),
        (SERVER + "sinks: {a: {type: file, path: x, redact: {}}}",
         "smshook.yaml:2: sinks.a.redact: expected text or a list, got a mapping"),
        (SERVER + "sinks: {a: {type: file, path:}}",
         "smshook.yaml:2: sinks.a.path: expected text, got nothing"),
        (SERVER + "sinks: {a: {type: file, path: x, concurrency: 1e999}}",
         ("smshook.yaml:2: sinks.a.concurrency: a number that is too large; write it in quotes "
         "if it is a text")),
        (SERVER + "sinks: {a: {type: file, path: x, concurrency: '8'}}",
         "smshook.yaml:2: sinks.a.concurrency: expected a whole number, got text"),
        (SERVER + "sinks: {a: {type: file, path: x}}\nroutes: {a: {to: [a], when: {data.to: "
         + "9" * 5000 + "}}}",
         ("smshook.yaml:3: routes.a.when.data.to: a number that is too large; write it in quotes "
         "if it is a text")),
        (SERVER.replace("{", "{connections: -" + "9" * 400 + ", "),
         "smshook.yaml:1: server.connections: write 1 or more, or leave it out"),
        (SERVER + "sinks: {a: {type: file, path: ''}}",
         "smshook.yaml:2: sinks.a.path: must be that of a file, such as events.jsonl"),
        (SERVER + 'api: {keys: {"a\\nb": {key: 0123456789abcdef, scopes: [admin]}}}',
         ("smshook.yaml:2: api.keys.'a\\nb': a name is up to 63 of a-z 0-9 _ - and begins with "
         "a letter or digit")),
        (SERVER + "journal: {url: '${NOPE}'}",
         "smshook.yaml:2: journal.url: NOPE is not set in the environment; set it, or ${NOPE:-…}"),
        (SERVER + "server.listen: x",
         "smshook.yaml:2: server.listen: unknown option; did you mean 'server'?"),
    ],
)  # fmt: skip
def test_wrong_value_is_one_clear_complaint(tmp_path, text, complaint):
    assert complaints(written(tmp_path, text)) == [complaint]


def test_complaint_repeats_no_long_name(tmp_path):
    """Mutants: its place, or its text, is as long as the name."""
    name = "x" * 900
    route = f"{{to: [], when: {{{name}: 1, data.code: {{{name}: 1}}}}}}"
    text = f"{SERVER}{name}: 1\nroutes: {{r: {route}}}\n"
    found = complaints(written(tmp_path, text))
    assert len(found) == 3
    assert all(len(one) < 600 and "x" * 161 not in one for one in found)


@pytest.mark.parametrize(("text", "place"), [("'${VALUE}'", ""), ("['${VALUE}']", "[0]")])
def test_complaint_repeats_no_value_of_the_environment(tmp_path, text, place):
    """Mutant: the message of the sink's own check, unchanged."""
    path = written(tmp_path, f"{SERVER}sinks: {{a: {{type: file, path: x, redact: {text}}}}}")

    (complaint,) = complaints(path, {"VALUE": "s3cret"})

    assert complaint.startswith(f"smshook.yaml:2: sinks.a.redact{place}: ")
    assert "'***'" in complaint
    assert "s3cret" not in complaint


def test_unreadable_file_is_one_clear_complaint(tmp_path):
    assert complaints(tmp_path / "smshook.yaml") == [
        "smshook.yaml: no such file; `smshook init` writes one"
    ]
    assert complaints(tmp_path) == [f"{tmp_path.name}: cannot be read: Is a directory"]


def test_pipe_without_data_is_one_clear_complaint(tmp_path):
    """A reload reads the file of `--config <(…)` again. Mutant: an open that waits."""
    reader, writer = os.pipe()
    os.close(writer)
    pipe = Path(f"/dev/fd/{reader}")
    text = "a pipe without data; it was perhaps read before"

    with os.fdopen(reader):
        assert complaints(pipe) == [f"{pipe.name}: cannot be read: {text}"]
        assert journal_of(pipe, {}).name == "smshook.db"
        path = written(tmp_path, f"server: {{secret: '${{file:{pipe}}}'}}")
        assert f"cannot read {pipe}: {text}" in complaints(path)[0]


def test_folder_that_is_not_utf_8_is_a_complaint(tmp_path):
    """The service could not publish its address. Mutant: not refused."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()

    assert complaints(written(folder, SERVER)) == [
        "smshook.yaml: its folder or its name is not UTF-8; rename it"
    ]


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_listen_address_is_split(listen, address):
    assert host_and_port(listen) == address


@pytest.mark.parametrize(
    "listen",
    ["", ":8080", "8080", "localhost", "::1:8080", "[::g]:1", "256.1.1.1:1", "a:65536", "a b:1"],
)
def test_wrong_listen_address_is_refused(listen):
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:8080"):
        host_and_port(listen)


@pytest.mark.parametrize(
    ("listens", "right"),
    [
        ("listen: 'a:1', admin_listen: same", True),
        ("listen: 'a:0', admin_listen: 'a:0'", True),
        ("listen: same", False),
        ("listen: 'a:1', admin_listen: 'a:1'", False),
    ],
)
def test_one_port_for_both_needs_same(tmp_path, listens, right):
    path = written(tmp_path, SERVER.replace("{", f"{{{listens}, "))

    assert (complaints(path) == []) is right


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("http://a", True),
        ("https://a.b:8443/c/d", True),
        ("ftp://a", False),
        ("https://", False),
        ("https://a:x", False),
        ("https://a/?b", False),
        ("https://a/#b", False),
        ("https://user:pass@a", False),
        ("a.example.com", False),
    ],
)
def test_public_url_has_a_host_and_nothing_after_its_path(tmp_path, url, right):
    path = written(tmp_path, SERVER.replace("{", f"{{public_url: '{url}', "))

    assert (complaints(path) == []) is right


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///a.db", "{folder}/a.db"),
        ("sqlite:///b/a.db", "{folder}/b/a.db"),
        ("sqlite:////var/a.db", "/var/a.db"),
    ],
)
def test_journal_is_beside_the_file_or_at_an_absolute_path(tmp_path, url, path):
    (tmp_path / "b").mkdir()
    journal = load(
        written(tmp_path, f"{SERVER}journal: {{url: '{url}'}}"), environ={}
    ).config.journal

    assert journal.path == Path(path.format(folder=tmp_path))
    assert journal.url == f"sqlite:///{journal.path}"


@pytest.mark.parametrize("url", ["a.db", "sqlite://a.db", "sqlite:///", "sqlite:///a/", "mysql://"])
def test_journal_url_of_another_kind_is_refused(tmp_path, url):
    assert complaints(written(tmp_path, f"{SERVER}journal: {{url: '{url}'}}")) == [
        "smshook.yaml:2: journal.url: write sqlite:///smshook.db, or sqlite:////var/lib/smshook.db"
    ]


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        (["0123456789abcdef", DIGEST], []),
        (["0123456789abcde"], [("[0]: shorter than 16 characters, so it can be guessed; "
                               "`openssl rand -hex 16`")]),
        ([DIGEST, "0123456789abcdef", DIGEST], ["[2]: the same as tokens[0]"]),
        (["0123456789abcdef", "0123456789abcdef"], ["[1]: the same as tokens[0]"]),
        # The digest of the text is the text.
        (["0123456789abcdef",
          "sha256:9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f"],
         ["[1]: the same as tokens[0]"]),
        (["sha256:0a"], ["[0]: not a digest; after sha256: come 64 hexadecimal digits"]),
        ([], [": empty; a callback URL needs one: `openssl rand -hex 16`"]),
    ],
)  # fmt: skip
def test_tokens_are_hard_to_guess_and_differ(tmp_path, tokens, found):
    source = f"{{provider: tellabot, tokens: {json.dumps(tokens)}}}"

    path = written(tmp_path, f"{SERVER}sources: {{a: {source}}}")

    assert complaints(path) == [f"smshook.yaml:2: sources.a.tokens{text}" for text in found]


def test_allow_from_takes_documented_addresses(tmp_path):
    source = "{provider: herosms, tokens: [0123456789abcdef], allow_from: [documented, '::1']}"

    path = written(tmp_path, f"{SERVER}sources: {{a: {source}}}")

    assert load(path, environ={}).config.sources["a"].allow_from == ("documented", "::1")


def test_probable_mistake_is_a_warning(tmp_path):
    path = written(
        tmp_path,
        SERVER
        + "sinks:\n  a: {type: file, path: a}\n  b: {type: file, path: later/b}\n"
        + "routes:\n  r: {to: [a, a]}\n  s: {to: []}\n",
    )
    path.chmod(0o640)

    assert load(path, environ={}).warnings == (
        f"{path}: others can read it, secrets included; chmod 600 {path}",
        (
            f"{path}:4: sinks.b.path: there is no folder {tmp_path}/later: deliveries wait until "
            "you make it"
        ),
        f"{path}:4: sinks.b: no route names it: it gets no events",
        f"{path}:7: routes.s.to: empty: its events are sent nowhere",
    )


def test_file_that_no_sink_can_write_is_a_warning(tmp_path):
    """Mutants: links are looked through; devices and pipes count as files."""
    (tmp_path / "real").touch(0o600)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "nowhere").symlink_to("missing")
    os.mkfifo(tmp_path / "pipe")
    files = {"a": "link", "b": "nowhere", "c": "pipe", "d": "/dev/null"}
    sinks = "".join(f"  {name}: {{type: file, path: {file}}}\n" for name, file in files.items())
    path = written(tmp_path, f"{SERVER}sinks:\n{sinks}routes:\n  r: {{to: [a, b, c, d]}}\n")

    link = "is a symbolic link, which is not followed: deliveries wait until you name its file"
    pipe = "is a device or a pipe: deliveries wait until you name a file"
    assert warned(path) == [
        f"{line}: sinks.{name}.path: {text}"
        for line, (name, text) in enumerate(zip(files, [link, link, pipe, pipe], strict=True), 3)
    ]


def warned(path):
    return [text.removeprefix(f"{path}:") for text in load(path, environ={}).warnings]


def test_former_key_of_a_service_is_a_warning(tmp_path):
    """Mutant: no warning, so an operator never learns the new key."""
    path = written(
        tmp_path,
        SERVER
        + """\
sinks: {a: {type: file, path: a}}
routes:
  a: {to: [a], when: {data.service.key: [linemessenger, google]}}
  b: {to: [a], when: {data.service.name: {$eq: TikTok/Douyin}}}
  c: {to: [a], when: {data.service.key: bip}}
api: {keys: {k: {key: 0123456789abcdef, scopes: ['events:read'], when: {data.service.key: vkcom}}}}
""",
    )

    assert warned(path) == [
        "4: routes.a.when.data.service.key[0]: 'linemessenger' is now 'line'; it still matches",
        "5: routes.b.when.data.service.name.$eq: 'TikTok/Douyin' is now 'TikTok'; it still matches",
        "7: api.keys.k.when.data.service.key: 'vkcom' is now 'vk'; it still matches",
    ]


def test_unknown_type_is_a_warning_with_the_nearest_name(tmp_path):
    """Later versions add types. Mutant: an error, or only plain values are checked."""
    path = written(
        tmp_path,
        SERVER
        + """\
sinks: {a: {type: file, path: a}}
routes:
  a: {to: [a], when: {type: sms.recieved}}
  b: {to: [a], when: {type: [sms.received, rental.bild]}}
  c: {to: [a], when: {type: {$eq: fax.received, $in: [call.recived], $regex: x}}}
  d: {to: [a], when: {$or: [{type: {$not: order.expird}}, {$not: {type: nonsense}}]}}
  e: {to: [a], when: {type: {$or: [numbr.changed, {$in: sms}]}, data.to: sms.recieved}}
  f: {to: [a], when: {type: [call.received, number.changed, order.expired, rental.renewed]}}
api: {keys: {k: {key: 0123456789abcdef, scopes: ["events:read"], when: {type: number.asigned}}}}
""",
    )
    types = [kind.type for kind in kinds()]
    known = ", ".join(types)

    def unknown(place, written, near):
        return f"{place}: no event has the type '{written}'; {near}"

    assert {"sms.received", "rental.billed", "number.assigned", "call.received"} <= {*types}
    assert warned(path) == [
        unknown("4: routes.a.when.type", "sms.recieved", "did you mean 'sms.received'?"),
        unknown("5: routes.b.when.type[1]", "rental.bild", "did you mean 'rental.billed'?"),
        unknown("6: routes.c.when.type.$eq", "fax.received", "did you mean 'call.received'?"),
        unknown("6: routes.c.when.type.$in[0]", "call.recived", "did you mean 'call.received'?"),
        unknown("7: routes.d.when.$or[0].type.$not", "order.expird", (
            "did you mean 'order.expired'?")),
        unknown("7: routes.d.when.$or[1].$not.type", "nonsense", f"types: {known}"),
        unknown("8: routes.e.when.type.$or[0]", "numbr.changed", "did you mean 'number.changed'?"),
        unknown("10: api.keys.k.when.type", "number.asigned", "did you mean 'number.assigned'?"),
    ]  # fmt: skip


# Files


def of_sinks(folder, *options, journal="smshook.db"):
    sinks = "".join(
        f"  {name}: {{type: file, {text}}}\n" for name, text in zip("abc", options, strict=False)
    )
    url = f'journal: {{url: "sqlite:///{journal}"}}\n'
    return complaints(written(folder, f"{SERVER}{url}sinks:\n{sinks}"))


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("smshook.db", "is the journal; name another file"),
        ("x/../smshook.db", "is the journal; name another file"),
        ("link/smshook.db", "is the journal; name another file"),
        ("smshook.db-wal", "is part of the journal; name another file"),
        ("smshook.db-shm", "is part of the journal; name another file"),
        ("smshook.db.lock", "is part of the journal; name another file"),
        ("smshook.yaml", "is this configuration; name another file"),
        ("alias", "is this configuration; name another file"),
        ("hard", "is this configuration; name another file"),
        ("smshook.root", "is the root key; name another file"),
        ("smshook.erased", "has the ids of erased events; name another file"),
        ("foo/", "must be that of a file, such as events.jsonl"),
        (".", "must be that of a file, such as events.jsonl"),
        ("a/..", "must be that of a file, such as events.jsonl"),
        ("link", "is a folder; name a file in it, such as events.jsonl"),
    ],
)
def test_file_sink_refuses_our_files_and_folders(tmp_path, path, complaint):
    """Otherwise a sink would overwrite the journal: all events and pending deliveries.

    Mutants: paths compared as text; links not followed; only the journal's own path checked.
    """
    (tmp_path / "link").symlink_to(".")
    (tmp_path / "alias").symlink_to("smshook.yaml")
    (tmp_path / "smshook.yaml").touch()
    (tmp_path / "hard").hardlink_to(tmp_path / "smshook.yaml")

    assert of_sinks(tmp_path, f"path: {path}") == [f"smshook.yaml:4: sinks.a.path: {complaint}"]


@pytest.mark.parametrize(
    ("path", "option"),
    [
        ("keys/root", "seal.root[0]"),
        ("link", "seal.root[0]"),
        ("api", "api.keys.app.key"),
        ("ca.pem", "sinks.b.tls.ca_file"),
    ],
)
def test_file_sink_refuses_a_file_that_is_read(tmp_path, path, option):
    """Its next start would fail, and events sealed with that root key could not be opened.

    Mutants: files of `${file:}` are not known; certificates are not; only names are compared.
    """
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "root").write_text("the root key of these tests, 0123456789")
    (tmp_path / "link").symlink_to("keys/root")
    (tmp_path / "api").write_text("5f8a21c09e7b4d36")
    (tmp_path / "ca.pem").touch()
    text = (
        f"{SERVER}seal: {{root: ['${{file:keys/root}}']}}\n"
        "api: {keys: {app: {key: '${file:api}', scopes: [events:read]}}}\n"
        f"sinks:\n  a: {{type: file, path: {path}}}\n"
        "  b: {type: http, url: https://example.com/x, tls: {ca_file: ca.pem}}\n"
    )

    assert complaints(written(tmp_path, text)) == [
        f"smshook.yaml:5: sinks.a.path: is read by {option}; name another file"
    ]


def test_files_that_are_read_are_known_beside_a_wrong_journal(tmp_path):
    """Mutant: only a right journal makes them known."""
    (tmp_path / "api").write_text("5f8a21c09e7b4d36")
    text = (
        f"{SERVER}journal: {{url: 5}}\n"
        "api: {keys: {app: {key: '${file:api}', scopes: [events:read]}}}\n"
        "sinks: {a: {type: file, path: api}}\n"
    )

    assert complaints(written(tmp_path, text))[-1] == (
        "smshook.yaml:4: sinks.a.path: is read by api.keys.app.key; name another file"
    )


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"SQLite format 3\0", "is a backup or another database"),
        (b"smshook keys 1\n", "is a copy of the keys"),
        (b'{"id": 1}\n', None),
    ],
)
def test_file_sink_refuses_a_backup(tmp_path, start, what):
    """Lines at its end would spoil it. Mutants: it may append to a backup, or to a copy of keys."""
    (tmp_path / "copy").write_bytes(start)

    found = of_sinks(tmp_path, "path: copy")

    expected = f"smshook.yaml:4: sinks.a.path: {what}; name another file"
    assert found == ([] if what is None else [expected])


def test_file_sink_sets_nothing_aside_under_our_names(tmp_path):
    found = of_sinks(tmp_path, "path: e.jsonl, rotate: {keep: 3}", journal="e.jsonl.3")

    [complaint] = found
    assert complaint == (
        "smshook.yaml:4: sinks.a.path: it renames full files to e.jsonl.3, which is the journal; "
        "name another file"
    )


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        *((name, True) for name in ("e.jsonl.1", "link/e.jsonl.3", "e.jsonl.2.gz")),
        ("e.jsonl.gz.unfinished", True),
        *((name, False) for name in ("e.jsonl.4", "e.jsonl.01", "e.jsonl.0", "e.jsonl.1.bz2")),
        *((name, False) for name in ("f.jsonl.1", "other/e.jsonl.1", "e.jsonl1")),
    ],
)
@pytest.mark.parametrize("earlier", [True, False])
def test_name_of_a_rotated_file_of_another_sink_is_refused(tmp_path, name, taken, earlier):
    """Mutant: rotation renames or deletes the file of the other sink."""
    (tmp_path / "link").symlink_to(".")
    (tmp_path / "other").mkdir()
    rotating = "path: e.jsonl, rotate: {keep: 3}"
    pair = (f"path: {name}", rotating) if earlier else (rotating, f"path: {name}")

    line, one, other = (4, "a", "b") if earlier else (5, "b", "a")
    complaint = f"sinks.{other} renames its full files to this name; name another file"
    assert (
        of_sinks(tmp_path, *pair) == [f"smshook.yaml:{line}: sinks.{one}.path: {complaint}"] * taken
    )


def test_file_sinks_are_compared_by_file_not_by_path(tmp_path):
    (tmp_path / "link").symlink_to(".")

    found = of_sinks(tmp_path, "path: e.jsonl", "path: link/e.jsonl", "path: e.jsonl.1")

    assert found == [
        "smshook.yaml:5: sinks.b.path: sinks.a writes to this file; two writers would damage it"
    ]


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("later/a.db", "there is no folder {}/later; make it (mkdir -p), or name another"),
        ("here", "is a folder; name a file in it"),
    ],
)
def test_impossible_journal_is_a_complaint_with_a_remedy(tmp_path, url, complaint):
    (tmp_path / "here").mkdir()

    assert of_sinks(tmp_path, journal=url) == [
        f"smshook.yaml:2: journal.url: {complaint.format(tmp_path)}".replace(f"{tmp_path}/", "")
    ]


# All at once


def test_each_bad_path_of_a_list_has_its_place(tmp_path):
    """Mutants: only the first one; places counted without the item that is no text."""
    path = written(
        tmp_path,
        SERVER + 'sinks: {a: {type: file, path: x, redact: [[], data.nope, data.to, text, ""]}}',
    )

    assert [text.partition("; ")[0] for text in complaints(path)] == [
        f"smshook.yaml:2: sinks.a.redact[{complaint}"
        for complaint in (
            "0]: expected text, got a list",
            "1]: no event has 'data.nope'",
            "3]: no event has 'text'",
            "4]: no event has ''",
        )
    ]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("sources: {a: {provider: nope, tokens: [short], allow_from: [documented, x], rate: 5}}",
         ["provider", "tokens[0]", "allow_from[1]", "rate"]),
        (("sources: {a: {provider: generic, tokens: [0123456789abcdef], timezone: Mars,"
         " fields: {text: a..b, txt: a}, subject: order, region: XX, methods: [PUT],"
         " types: {a: sms.sent}, hmac: {secrets: [], algorithm: md5, signed: x}, standard: [x],"
         " basic: {user: 'a:b'}, twilio: {auth_tokens: [x], url: x}}}"),
         ["timezone", "fields.txt", "fields.text", "subject", "region", "methods[0]", "types.a",
          "hmac.secrets", "hmac.algorithm", "standard[0]", "basic.password",
          "twilio"]),
        ("sources: {a: {allow_from: [5, x]}}",
         ["provider", "tokens", "allow_from[0]", "allow_from[1]"]),
        ("sinks: {a: {type: nope, url: x, timeout: 0s, redact: [x], retry: {attempts: 0}}}",
         ["type", "timeout", "redact[0]", "retry.attempts"]),
        ("sinks: {a: {type: file, concurrency: 0, redact: nope, expire_after: 0s}}",
         ["path", "concurrency", "redact", "expire_after"]),
        ("sinks: {a: {type: file, path: x/, concurrency: 0, rotate: {keep: 0}}}",
         ["path", "concurrency", "rotate.keep"]),
        ("api: {keys: {a: {key: short, scopes: [root], when: {nope: 1}}}}",
         ["key", "scopes[0]", "when.nope"]),
        (("api: {keys: {a: {key: 0123456789abcdef, scopes: [audit:read], reason: required,"
         " when: {type: sms.received}, reads: 5}}}"),
         ["when", "reason", "reads"]),
        ("routes: {a: {to: 5, when: {nope: 1}}}", ["to", "when.nope"]),
        ("routes: {a: {to: [5, b], when: {nope: 1, data.to: {$gt: '${NOPE}'}}}}",
         ["to[0]", "to[1]", "when.nope", "when.data.to.$gt"]),
    ],
)  # fmt: skip
def test_every_error_is_reported_at_once(tmp_path, text, places):
    """Mutant: a part of an unknown type, or an incomplete one, is not checked further."""
    found = complaints(written(tmp_path, SERVER + text))

    found_at = [re.match(r"smshook.yaml:2: (?:\w+\.|api\.\w+\.)a\.(\S+):", it) for it in found]
    assert sorted(match[1] for match in found_at) == sorted(places)


# The type of an option decides what a scalar is


@pytest.mark.parametrize(
    "text",
    ["0123456789012345", "1e3", "5", "1.50", "0x1F", "no", "true", "07", "+18503814729",
     "2026-01-01", "99999999999999999999", "9e999"],
)  # fmt: skip
def test_text_stays_as_written_without_quotes(tmp_path, text):
    """Mutant: scalars read before their type is known: 1.50 becomes 1.5, and true an error."""
    path = written(
        tmp_path,
        f"{SERVER}sources:\n  a:\n    provider: tellabot\n    tokens: [0123456789abcdef]\n"
        f"    labels: {{x: {text}}}\n    currency: {text}\n"
        f"    backfill: {{user: u, api_key: {text}}}\n",
    )

    source = load(path, environ={}).config.sources["a"]

    assert (source.labels, source.currency) == ({"x": text}, text)
    assert source.backfill.api_key == Secret(text)


def test_token_of_digits_needs_no_quotes(tmp_path):
    text = f"{SERVER}sources: {{a: {{provider: tellabot, tokens: [01234567890123456789]}}}}"

    source = load(written(tmp_path, text), environ={}).config.sources["a"]

    assert source.tokens == (Secret("01234567890123456789"),)


def test_conditions_resolve_by_the_core_schema(tmp_path):
    """Mutants: all text; `"7"` as a number; the value of a variable as a number."""
    conditions = """{data.to: [7, "7", 07, 1e3, true, "true", no, null, "${N}"]}"""
    path = written(
        tmp_path,
        f"{SERVER}sinks: {{a: {{type: file, path: x}}}}\n"
        f"routes: {{a: {{to: [a], when: {conditions}}}}}",
    )

    when = load(path, environ={"N": "7"}).config.routes["a"].when

    wanted = [7, "7", "07", 1000.0, True, "true", "no", None, "7"]
    assert [(it, type(it)) for it in when["data.to"]] == [(it, type(it)) for it in wanted]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("concurrency: 0x1F", 31),
        ("concurrency: ${N}", 8),
        ("redact: null", None),
        ("redact: ", None),
        ("redact: ${NULL}", None),
        ("rotate: {size: 1500}", 1500),
        ("rotate: {size: 0x1F}", 31),
        ("rotate: {size: '1500'}", 1500),
        ("rotate: {compress: true}", True),
        ('rotate: {compress: "${TRUE}"}', True),
    ],
)
def test_option_reads_its_own_spelling(tmp_path, option, value):
    sink = f"type: file\n    path: x\n    {option}"
    path = written(tmp_path, f"{SERVER}sinks:\n  a:\n    {sink}\n")

    sink = load(path, environ={"N": " 8 ", "NULL": "null", "TRUE": "true"}).config.sinks["a"]

    name = re.findall(r"\w+(?=:)", option)[-1]
    assert getattr(sink if hasattr(sink, name) else sink.rotate, name) == value


@pytest.mark.parametrize(
    ("value", "backfill", "complaint"),
    [
        ('"5"', "{user: u, api_key: k}", None),
        ('"0.50"', "{user: u, api_key: k}", None),
        ("5", "{user: u, api_key: k}", None),
        ("0.50", "{user: u, api_key: k}", None),
        ('"-5"', "{user: u, api_key: k}", "not an amount; write digits, such as 5 or 0.50"),
        ("5 USD", "{user: u, api_key: k}", "not an amount; write digits, such as 5 or 0.50"),
        ('"5"', "null", "needs a `backfill`, which asks for the balance"),
    ],
)
def test_low_balance_is_an_amount_with_a_backfill(tmp_path, value, backfill, complaint):
    """Mutant: a text that is no amount is accepted, and no balance is ever low."""
    source = "{provider: tellabot, tokens: [0123456789abcdef], low_balance: %s, backfill: %s}"
    path = written(tmp_path, f"{SERVER}sources: {{a: {source % (value, backfill)}}}")

    found = complaints(path)

    assert found == ([f"smshook.yaml:2: sources.a.low_balance: {complaint}"] if complaint else [])


@pytest.mark.parametrize("value", ["True", "TRUE", "False", "FALSE", "yes"])
def test_only_true_and_false_are_booleans_in_both_places(tmp_path, value):
    """Mutant: the file or the environment takes `True` for true."""
    sink = "sinks: {a: {type: file, path: x, rotate: {compress: %s}}}"
    place = "sinks.a.rotate.compress: expected true or false, got text"
    right, wrong = (written(tmp_path, SERVER + sink % text) for text in ("true", value))
    name = "SMSHOOK_SINKS__A__ROTATE__COMPRESS"

    assert complaints(wrong) == [f"smshook.yaml:2: {place}"]
    right.write_text(SERVER + sink % "true")
    assert complaints(right, {name: value}) == [f"{name}: {place}"]
    assert complaints(right, {name: "false"}) == []


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("0123456789abcde", "shorter than 16 characters, so it can be guessed"),
        *(
            (
                key,
                (
                    "has a space, a control or a character beyond ASCII, which HTTP headers "
                    "cannot hold"
                ),
            )
            for key in ("0123456789 abcdef", r"0123456789abcdef\n", "0123456789abcdefé", "short é")
        ),
    ],
)
def test_api_key_is_hard_to_guess_and_fits_in_a_header(tmp_path, key, complaint):
    """Mutant: any text is accepted, and no client can send it."""
    path = written(tmp_path, f'{SERVER}api: {{keys: {{a: {{key: "{key}", scopes: [admin]}}}}}}')

    assert complaints(path) == [
        f"smshook.yaml:2: api.keys.a.key: {complaint}; `openssl rand -hex 16`"
    ]


# The journal of a wrong file


@pytest.mark.parametrize(
    ("text", "environ", "journal"),
    [
        (None, {}, "smshook.db"),
        ("", {}, "smshook.db"),
        ("a: b: c", {}, "smshook.db"),
        ("server: nonsense\njournal: {url: 'sqlite:///b.db', x: y}", {}, "b.db"),
        ("journal: {url: 'sqlite:///${N}.db'}", {"N": "c"}, "c.db"),
        ("journal: {url: 'sqlite:///${N}.db'}", {}, "smshook.db"),
        ("journal: {url: nonsense}", {}, "smshook.db"),
        ("journal: [nonsense]", {}, "smshook.db"),
        ("a: b: c", {"SMSHOOK_JOURNAL__URL": "sqlite:///d.db", "SMSHOOK_NO__NO": "x"}, "d.db"),
        ("a: b: c\njournal:\n  # url: sqlite:///e.db\n  url: 'sqlite:///f.db'", {}, "f.db"),
    ],
)
def test_journal_is_found_in_a_wrong_file(tmp_path, text, environ, journal):
    """Mutant: the healthcheck kills a healthy service after a bad edit of its file."""
    path = tmp_path / "smshook.yaml" if text is None else written(tmp_path, text)

    assert journal_of(path, environ) == tmp_path / journal


def test_example_loads_without_warnings_of_its_own():
    loaded = load(EXAMPLE, environ=ENVIRON)

    assert [re.sub(".*: ", "", warning) for warning in loaded.warnings] in (
        [],
        [f"others can read it, secrets included; chmod 600 {EXAMPLE}"],
    )


def _options(kind) -> set[tuple[str, ...]]:
    """Return every option below a kind, of all providers: ("sources", "*", "tokens")."""
    if isinstance(kind, MapOf):
        below = [_options(each) for each in kind.items.kinds]
        return {("*", *path) for path in set().union(*below)}
    if isinstance(kind, OneOf):
        below = [_options(group) for group in kind.groups.values()]
        return {(kind.tag_field,)}.union(*below)
    found = set()
    for key, option in kind.options.items() if isinstance(kind, Group) else ():
        below = [_options(each) for each in option.shape.kinds]
        found |= {(key,)} | {(key, *path) for path in set().union(*below)}
    return found


def _said(value: object, path: tuple[str, ...] = ()):
    """Yield every path of the example, with `*` for names."""
    named = {("sources",), ("sinks",), ("routes",), ("api", "keys")}
    if path in named | {("audit", "anchors"), ("audit", "witnesses")}:
        for item in value.values():
            yield from _said(item, (*path, "*"))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from _said(item, (*path, key))


def test_example_has_every_option():
    """Mutant: an option is new, or missing in the example."""
    options = _options(Group(Options))

    assert {("sources", "*", "timezone"), ("sinks", "*", "retry", "attempts")} < options
    assert options - set(_said(yaml.safe_load(EXAMPLE.read_text()))) == set()


def test_options_of_the_example_are_at_their_defaults():
    """Except options without a default, and options that the example explains by setting them."""
    config = load(EXAMPLE, environ=ENVIRON).config

    assert config.sources == {
        "tellabot": TellABot(
            tokens=(Secret("tellabot-token-0123456789"),),
            backfill=Backfill(
                user="me@example.com", api_key=Secret("the-key-that-TellABot-gave-you")
            ),
        ),
        "herosms": HeroSms(tokens=(Secret("herosms-token-0123456789"),)),
        "bulk": SmsPins(backfill=Backfill(api_key=Secret("the-key-that-SMSPins-gave-you"))),
        "other": Generic(
            tokens=(Secret(ENVIRON["OTHER_TOKEN"]),),
            fields=Paths(event="event"),
            types={"sms_received": "sms.received", "number_ready": "number.assigned"},
            hmac=Hmac(secrets=(Secret(ENVIRON["OTHER_SECRET"]),)),
            standard=(Secret(ENVIRON["OTHER_WHSEC"]),),
            basic=Basic(user="other", password=Secret(ENVIRON["OTHER_PASSWORD"])),
            answer=Reply(content_type="text/plain", body="OK"),
            header=HeaderSecret(
                name="X-Webhook-Token", secrets=(Secret(ENVIRON["OTHER_HEADER_SECRET"]),)
            ),
            twilio=Twilio(
                auth_tokens=(Secret(ENVIRON["TWILIO_AUTH_TOKEN"]),), url="https://hooks.example.com"
            ),
        ),
    }
    file = {"path": str(EXAMPLE.parent / "events.jsonl"), "rotate": Rotate()}
    assert config.sinks == {
        "log": File(**file, pause_after=PauseAfter(failing_for=Duration(3600))),
        "crm": Http(
            url=Secret("https://crm.example.com/hooks/sms"),
            secrets=(Secret(ENVIRON["CRM_SECRET"]),),
            headers={"Authorization": Secret(f"Bearer {ENVIRON['CRM_KEY']}")},
            tls=Tls(),
            expire_after=Duration(900),
        ),
        "team": Slack(url=Secret(ENVIRON["SLACK_WEBHOOK_URL"]), tls=Tls()),
    }
    assert config.routes["everything"] == Route(to=("log",))
    assert config.server == Server(secret=Secret("server-secret-0123456789-0123456789"))
    assert config.journal == JournalOptions().under(EXAMPLE.parent)


TREE = yaml.safe_load(EXAMPLE.read_text())
SECRET = "zq-secret-zq-secret-zq-secret-zq-secret"
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["${NOPE}", "${", "documented", "file", "tellabot", "null", SECRET]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner,
                                                                max_size=3),
    max_leaves=5,
)  # fmt: skip


def _places(value: object, path: tuple = ()):
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else ()
    for key, item in [*items, *(enumerate(value) if isinstance(value, list) else ())]:
        yield from _places(item, (*path, key))


def _with(tree: object, path: tuple, value: object) -> object:
    changed = copy.deepcopy(tree)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return changed


def _part(tree: dict, place: tuple) -> dict:
    """Return the source, sink or route at that place, and a server."""
    named = place[0] in {"sources", "sinks", "routes"} and len(place) > 1
    section = {place[1]: tree[place[0]][place[1]]} if named else tree[place[0]]
    return {"server": {"secret": tree["server"]["secret"]}, place[0]: section}


@pytest.mark.uncounted
# Most examples are parts, as JSON: they are read in a tenth of the time of the whole.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.sampled_from(list(_places(TREE))),
    value=ANYTHING,
    unknown=st.booleans(),
    whole=st.sampled_from([True] + [False] * 7),
)
def test_any_value_anywhere_reveals_no_secret(tmp_path, place, value, unknown, whole):
    """Every token and key is one text here. No complaint repeats it from a wrong place.

    Mutants: the message of msgspec or of a Struct's own check, unchanged; `'…' is not one of` for
    any text; unknown options shown by `shown`.
    """
    environ = dict.fromkeys(ENVIRON, SECRET) | {
        "ADMIN_KEY": SECRET[1:],
        "DASHBOARD_KEY": SECRET[2:],
        "SUPPORT_KEY": SECRET[3:],
    }
    tree = TREE if whole else _part(TREE, place)
    if unknown:
        place = (*place[:-1], "unheard-of") if isinstance(place[-1], str) else place
    tree = _with(tree, place, value)
    text = yaml.safe_dump(tree) if whole else json.dumps(tree, ensure_ascii=False)
    path = written(tmp_path, text)

    seen = shown(path, environ)
    try:
        seen += repr(load(path, environ=environ))
    except ConfigError as exc:
        seen += repr(exc)

    assert SECRET[2:] not in seen


@pytest.mark.parametrize("network", ["8.8.8.0/24", "169.254.0.0/16", "fe80::/10"])
def test_network_that_is_not_private_is_an_error(tmp_path, network):
    """Mutant: the operator believes that a metadata service is allowed, or needs to be."""
    text = SERVER + f'subscriptions: {{allow_networks: ["{network}"]}}\n'
    with pytest.raises(ConfigError, match="not a private network; write one such as"):
        load(written(tmp_path, text), environ={})
