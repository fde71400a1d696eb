"""Examples and tables of the pages match the code."""

import json
import re
import time
from datetime import datetime

import msgspec
import pytest
from click.testing import CliRunner
from endpoint import endpoint
from pages import DOCS, ENVIRONMENT, REST, WHSEC, blocks

from core.secret import Secret
from receiver.callback import Callback
from receiver.decode import decode
from receiver.providers import PROVIDERS
from receiver.providers.tellabot.callbacks import TellABot
from server.cli.main import smshook
from server.config.load import load
from server.log.facts import SHOWN
from sinks.http.sink import Http
from sinks.sink import Outgoing

PAGES = [
    "backfill.md",
    "configuration.md",
    "console.md",
    "getting-started.md",
    "orders.md",
    "providers.md",
    "providers-generic.md",
    "secrecy.md",
    *sorted(f"how-to/{page.name}" for page in (DOCS / "how-to").iterdir()),
]


@pytest.mark.parametrize("block", [block for page in PAGES for block in blocks(page, "yaml")])
def test_example_of_the_configuration_loads(block, tmp_path):
    """Mutants: an option renamed in the code; an option misspelt on the page."""
    rest = [text for section, text in REST.items() if f"{section}:\n" not in block]
    if "secret:" not in block:
        block = block.replace("server:\n", 'server:\n  secret: "${HOOK_SECRET}"\n')
    block = re.sub(r"\${file:/run/[\w./]+/(\w+)}", r"${file:\1}", block)
    file = tmp_path / "smshook.yaml"
    file.write_text("".join(rest) + block)
    file.chmod(0o600)
    for name in re.findall(r"\${file:([\w.]+)}", block):
        (tmp_path / name).write_text("nT2v8Qx4Lk9Zr1Wp6Yb3Hd7Mc5Jf0Gs8")

    loaded = load(file, environ=ENVIRONMENT)

    written = re.findall(r"(?m)^  ([a-z][\w-]*):", block)
    config = loaded.config
    named = {*config.sources, *config.sinks, *config.routes}
    sections = (
        config.server,
        config.api,
        config.seal,
        config.subscriptions,
        config.retention,
        config.console,
    )
    options = {name for section in sections for name in section.__struct_fields__}
    assert set(written) <= named | options


async def test_signature_is_verified_by_the_code_of_the_page():
    """Mutants: the page signs in another order, or without the time."""
    [code] = blocks("how-to/http.md", "python")
    page = {}
    exec(code, page)  # noqa: S102 - readers run this code
    other = "whsec_b3RoZXItc2VjcmV0LTAxMjM0NTY3ODktMDEyMzQ1Njc="
    event = Outgoing(event_id="event-1", body=b'{"a":"\xc3\xa9"}', attempt=1, at=time.time())
    late = msgspec.structs.replace(event, at=event.at - 3600)

    async with endpoint() as end:
        sink = Http(url=Secret(end.url), secrets=(Secret(other), Secret(WHSEC)))
        async with sink.open() as send:
            await send(event)
            await send(late)
    first, second = end.requests

    assert page["is_ours"](WHSEC, first.headers, first.body)
    assert page["is_ours"](other, first.headers, first.body)
    assert not page["is_ours"](WHSEC, first.headers, first.body + b" ")
    assert not page["is_ours"](WHSEC, second.headers, second.body)


def test_worked_example_becomes_the_event_shown():
    """Mutant: a field of `sms.received` that is missing or different on the page."""
    [form] = [block for block in blocks("events.md", "") if "incoming_message" in block]
    [shown] = [json.loads(block) for block in blocks("events.md", "json")]
    source = TellABot(tokens=(Secret("a" * 20),), labels=shown["data"]["labels"], currency="USD")
    callback = Callback(
        headers=(),
        body=form.replace("\n", "").encode(),
        peer="192.0.2.1",
        received=datetime.fromisoformat(shown["recordedtime"]),
    )

    [happening] = source.normalize(
        decode(callback.body, content_encoding=None, encodings=source.encodings), callback
    )

    assert shown["data"] == json.loads(msgspec.json.encode(happening.data))
    assert (shown["type"], shown["subject"], shown["time"]) == (
        happening.data.type,
        happening.subject,
        happening.time,
    )
    assert shown["dedupekey"].startswith(f"{happening.keys[0].second:08x}")


def test_routes_test_prints_what_the_page_shows(tmp_path):
    """Mutant: a column or a word of the output that is not on the page."""
    [routes] = [block for block in blocks("configuration.md", "yaml") if "dear:" in block][1:]
    page = (DOCS / "configuration.md").read_text()
    [shown] = re.findall(r"(?ms)^The command prints:\n\n```\n(.*?)^```$", page)
    [event] = blocks("events.md", "json")
    config, file = tmp_path / "smshook.yaml", tmp_path / "event.json"
    config.write_text("".join(REST.values()).replace("${HOOK_SECRET}", "a" * 32) + routes)
    config.chmod(0o600)
    file.write_text(event)

    words = ["routes", "test", str(file), "--config", str(config)]
    result = CliRunner().invoke(smshook, words, env={"COLUMNS": "80"})

    assert (result.exit_code, result.stdout, result.stderr) == (0, shown, "")


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda p: p.__struct_config__.tag)
def test_table_of_providers_matches_the_code(provider):
    """Mutant: an address of a provider, or a place for its URL, that is not on the page."""
    tag = provider.__struct_config__.tag
    page = (DOCS / "providers.md").read_text().partition("## Backfill by provider")[0]
    rows = re.findall(rf"(?m)^\| `{tag}` \|.*$", page)

    [[_, _, paste_at, body, addresses, _, _]] = [re.split(r"\s*\|\s*", row) for row in rows]

    names = {"form": "form", "multipart": "multipart", "json": "JSON"}
    assert provider.paste_at == paste_at
    assert {names[encoding] for encoding in provider.encodings} == set(
        re.findall(r"form|multipart|JSON", body)
    )
    assert provider.documented == tuple(re.findall(r"[\d.]{7,}", addresses))


def test_each_log_event_is_explained():
    """Mutant: a new log event that the page does not explain."""
    sources = [
        p for name in ("receiver", "sinks", "server") for p in (DOCS.parent / name).rglob("*.py")
    ]
    logged = {
        name
        for path in sources
        for name in re.findall(r'\blog\.\w+\(\s*"([a-z_]+\.[a-z_]+)"', path.read_text())
    }

    logged |= {*SHOWN, "callback.accepted", "code.read"}  # they have no call of their own

    page = (DOCS / "operations.md").read_text()

    assert len(logged) > 10
    assert [name for name in sorted(logged) if f"`{name}`" not in page] == []


def test_diff_in_contributing_matches_the_code():
    """Mutant: a line of the class changed, but not in the diff."""
    [diff] = re.findall(
        r"```diff\n(.*?)```", (DOCS.parent / "CONTRIBUTING.md").read_text(), re.DOTALL
    )
    files = re.split(r"(?m)^--- a/.*\n\+\+\+ b/(.*)\n", diff)[1:]

    for name, changes in zip(files[::2], files[1::2], strict=True):
        source = (DOCS.parent / name).read_text()
        hunks = ["\n".join(re.findall(r"(?m)^\+(.*)$", hunk)) for hunk in changes.split("@@\n")]
        assert [hunk for hunk in hunks if hunk not in source] == []
    assert files[::2] == [
        "receiver/providers/sms_activate/profiles.py",
        "receiver/providers/__init__.py",
    ]
