"""Output and exit codes of commands without a running service."""

import contextlib
import hashlib
import io
import json
import os
import platform
import re
import shlex
import sqlite3
import stat
import tempfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from config_files import SINK_TYPES
from hypothesis import example, given
from hypothesis import strategies as st
from journals import shell

from core.printable import plain
from journal.lock import Lock
from server import __version__
from server.api.deliveries import DeliveryParameters
from server.api.events import EventParameters
from server.api.orders import OrderParameters
from server.cli.command import failure_of
from server.cli.main import commands, smshook
from server.cli.output import print_json, print_table

#: A user without files.
NOBODY = 65534
TOKEN = "t0ken-of-tellabot-0123456789"
KEY = "k3y-of-the-admin-0123456789"
SECRET = "a secret of the tests that is long enough, 0123456789"
CONFIG = f"""\
sources:
  tellabot: {{provider: tellabot, tokens: ["{TOKEN}"]}}
  herosms: {{provider: herosms, tokens: ["{TOKEN}"]}}
sinks:
  log: {{type: file, path: events.jsonl, redact: codes}}
routes:
  everything: {{to: [log]}}
server: {{secret: "{SECRET}"}}
api: {{keys: {{admin: {{key: "{KEY}", scopes: [admin]}}}}}}
"""

SO_FAR = [
    *("init", "check", "serve", "send", "simulate", "dev"),
    *("sources list", "sources url", "events list", "events show", "events replay"),
    *("events erase", "events tail", "events wait", "routes test"),
    *("deliveries list", "deliveries show", "deliveries retry"),
    *("sinks list", "sinks test", "sinks pause", "sinks resume"),
    *("quarantine list", "quarantine show", "quarantine replay", "quarantine delete"),
    "rejections",
    *("backfill", "replay", "why", "prune", "erase"),
    "console",
    *("consumers list", "consumers seek", "consumers delete", "listen", "mcp"),
    *("orders list", "orders show", "orders add", "orders cancel"),
    *("subscriptions list", "subscriptions show", "subscriptions create"),
    *("subscriptions rotate", "subscriptions resume", "subscriptions delete"),
    *("keys list", "keys create", "keys revoke"),
    *("report", "reload", "backup", "restore"),
    *("seal init", "seal show", "seal migrate", "seal rotate"),
    *("audit verify", "audit verifier", "audit list", "audit who", "audit prove", "audit key"),
    *("audit export", "audit erase", "audit compare"),
    *("alerts list", "alerts test"),
    *("config show", "config schema", "healthcheck", "migrate", "version"),
]


pytestmark = pytest.mark.usefixtures("folder")
COMMANDS = dict(commands(smshook, click.Context(smshook)))


@pytest.fixture
def configured(folder):
    return write(folder)


def write(folder, text=CONFIG, name="smshook.yaml"):
    (folder / name).write_text(text)
    (folder / name).chmod(0o600)
    return folder


def run(*arguments, **environment):
    return CliRunner().invoke(smshook, arguments, prog_name="smshook", env=environment)


def outcome(result):
    return result.exit_code, result.stdout, result.stderr


# Help


def test_help_lists_every_command():
    """Mutant: a command that is listed before it works."""
    listed = run("--help").stdout.partition("Commands:\n")[2]

    names = re.findall(r"(?m)^  (\S+(?: \S+)*)  ", listed)

    assert names == SO_FAR


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_has_a_valid_example(name):
    """Mutant: an example that names an option which is not there."""
    typed, command = name.split(), COMMANDS[name]

    result = run(*typed, "--help")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: smshook {name} ")
    [example] = re.findall(r"Example:\n +(smshook .*)", result.stdout)
    words = shlex.split(example.partition(" > ")[0])
    assert words[: len(typed) + 1] == ["smshook", *typed]
    with command.make_context(name, words[len(typed) + 1 :]):
        pass


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("events list", EventParameters),
        ("deliveries list", DeliveryParameters),
        ("orders list", OrderParameters),
    ],
)
def test_filters_of_a_list_are_parameters_of_the_api(name, parameters):
    """Mutant: a filter with a name that the API does not know."""
    everywhere = {"config", "no_color", "output", "url", "key"}
    options = {param.name for param in COMMANDS[name].params} - everywhere

    assert options <= set(parameters.__struct_fields__)
    assert len(options) > 5


# The path of the configuration


@pytest.mark.parametrize(
    "arguments",
    [
        ("--config", "other.yaml", "config", "show"),
        ("config", "--config", "other.yaml", "config.show"),
        ("config", "show", "--config", "other.yaml"),
        ("--config", "missing.yaml", "config", "show", "--config", "other.yaml"),
    ],
)
def test_config_option_works_before_and_after_the_command(folder, arguments):
    """Mutants: only the option of the group; one that resets the other."""
    write(folder, CONFIG.replace("log:", "other:").replace("[log]", "[other]"), "other.yaml")

    result = run(*(word.replace("config.show", "show") for word in arguments))

    assert result.exit_code == 0
    assert "other:" in result.stdout


def test_config_option_wins_over_the_variable(folder):
    write(folder, CONFIG.replace("everything:", "variable:"), "variable.yaml")
    write(folder, CONFIG.replace("everything:", "typed:"), "typed.yaml")
    variable = {"SMSHOOK_CONFIG": "variable.yaml"}

    by_variable = run("config", "show", **variable)
    by_option = run("config", "show", "--config", "typed.yaml", **variable)

    assert "variable:" in by_variable.stdout
    assert "typed:" in by_option.stdout


# Wrong configurations

WRONG = CONFIG.replace("type: file", "type: fiel").replace("to: [log]", "to: [lgo]")
COMPLAINTS = f"""\
smshook.yaml:5: sinks.log.type: 'fiel' is not one of {SINK_TYPES}; did you mean 'file'?
smshook.yaml:7: routes.everything.to[0]: no sink is named 'lgo'; sinks: log; did you mean 'log'?
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("check",),
        ("serve",),
        ("migrate",),
        ("routes", "test", "events.jsonl"),
    ],
    ids=" ".join,
)
def test_every_complaint_is_printed_with_its_place(folder, arguments):
    """Mutants: only the first complaint; exit code 1; a journal is created."""
    write(folder, WRONG)

    result = run(*arguments)

    # Commands that do not run sinks only complain about routes.
    complaints = COMPLAINTS.partition("\n")[2] if arguments[0] == "routes" else COMPLAINTS
    assert outcome(result) == (2, "", complaints)
    assert [path.name for path in folder.iterdir()] == ["smshook.yaml"]


def test_missing_configuration_suggests_init():
    result = run("check")

    assert outcome(result) == (2, "", "smshook.yaml: no such file; `smshook init` writes one\n")


def test_flag_is_checked_like_its_option(configured):
    result = run("serve", "--listen", "nonsense")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("command line: server.listen: write host:port")
    assert not (configured / "smshook.db").exists()


def test_postgresql_is_refused(folder):
    write(folder, CONFIG + 'journal: {url: "postgresql://here/smshook"}\n')

    result = run("serve")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "journal.url: PostgreSQL is not yet supported" in result.stderr


@pytest.mark.parametrize("arguments", [("check",), ("config", "show")], ids=" ".join)
def test_name_cannot_control_the_terminal(arguments):
    """Mutant: complaints printed as they are."""
    result = run(*arguments, "--config", "\x1b]0;owned\x07\u202e.yaml")

    assert result.exit_code == 2
    assert result.stderr.startswith(r"\u{1b}]0;owned\u{7}\u{202e}.yaml: no such file")


@pytest.mark.parametrize(
    "arguments",
    [("events", "list", "--service"), ("erase", "--number"), ("backup",), ("--config",)],
    ids=" ".join,
)
def test_argument_that_is_not_utf_8_is_refused(arguments):
    """Mutant: `parse_args` removed: a traceback."""
    assert outcome(run(*arguments, os.fsdecode(b"caf\xe9"))) == (
        2,
        "",
        "caf\\u{dce9}: not UTF-8; write ordinary text\n",
    )


# init


def test_init_writes_a_valid_private_configuration(folder):
    result = run("init", "deep/down")

    path = folder / "deep/down/smshook.yaml"
    assert outcome(result) == (
        0,
        """\
wrote deep/down/smshook.yaml
wrote deep/down/smshook.root: keep a copy elsewhere; the journal needs it
start the service with:
  smshook --config deep/down/smshook.yaml serve
""",
        "",
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert run("check", "--config", str(path)).exit_code == 0


def test_init_never_changes_an_existing_file(configured):
    result = run("init")

    assert outcome(result) == (1, "", "smshook.yaml exists already; nothing was written\n")
    assert (configured / "smshook.yaml").read_text() == CONFIG


def test_init_fails_if_the_folder_cannot_exist(folder):
    (folder / "file").touch()

    results = [run("init", "file"), run("init", "file/below")]

    assert [outcome(result) for result in results] == [
        (1, "", "file/smshook.yaml cannot be written: File exists\n"),
        (1, "", "file/below/smshook.yaml cannot be written: Not a directory\n"),
    ]


def test_init_writes_nothing_into_a_folder_that_is_not_utf_8(folder, monkeypatch):
    """No other command would read it. Mutant: it writes the files and exits with 0."""
    below = folder / os.fsdecode(b"caf\xe9")
    below.mkdir()
    monkeypatch.chdir(below)

    results = [run("init"), run("init", "down"), run("check")]

    text = "smshook.yaml: its folder or its name is not UTF-8; rename it\n"
    assert [outcome(result) for result in results] == [
        (2, "", text),
        (2, "", f"down/{text}"),
        (2, "", text),
    ]
    assert list(below.iterdir()) == []


@pytest.mark.parametrize("by", ["--config", "SMSHOOK_CONFIG"])
def test_init_writes_the_named_file(folder, by):
    """Mutant: always smshook.yaml in the current folder."""
    name = "etc/my hooks.yaml"
    arguments = ("--config", name) if by == "--config" else ()
    variables = {"SMSHOOK_CONFIG": name} if by == "SMSHOOK_CONFIG" else {}

    first, second = (run("init", *arguments, **variables) for _ in range(2))

    assert outcome(first) == (
        0,
        f"""\
wrote {name}
wrote etc/smshook.root: keep a copy elsewhere; the journal needs it
start the service with:
  smshook --config '{name}' serve
""",
        "",
    )
    assert outcome(second) == (1, "", f"{name} exists already; nothing was written\n")
    assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["etc"]
    assert run("check", "--config", name).exit_code == 0


def test_init_with_folder_and_file_is_a_usage_error(folder):
    """An argument wins over the variable."""
    both = run("init", "etc", "--config", "a.yaml")
    typed = run("init", "etc", SMSHOOK_CONFIG="a.yaml")

    assert outcome(both) == (2, "", "DIR and --config both name a place: give only one of them\n")
    assert typed.exit_code == 0
    assert {path.name for path in folder.glob("**/*")} == {"etc", "smshook.root", "smshook.yaml"}


def test_init_says_that_it_uses_an_existing_root_key(folder):
    """Mutant: it says that it wrote one, and the user copies a key that other journals have."""
    (folder / "smshook.root").write_text("the root key of an earlier configuration")

    result = run("init")

    assert outcome(result) == (
        0,
        """\
wrote smshook.yaml
kept smshook.root, which was there: the journal needs it
start the service with:
  smshook serve
""",
        "",
    )
    assert (folder / "smshook.root").read_text() == "the root key of an earlier configuration"


def test_init_does_not_write_through_a_dangling_link(folder):
    (folder / "smshook.yaml").symlink_to("elsewhere")

    result = run("init")

    assert outcome(result) == (1, "", "smshook.yaml exists already; nothing was written\n")


# config, version


def test_shown_configuration_is_masked_even_if_wrong(folder):
    """Mutant: an invalid file is printed unmasked."""
    write(folder, WRONG)

    result = run("config", "show")

    assert (result.exit_code, result.stderr) == (0, "")
    assert [secret for secret in (TOKEN, KEY, SECRET) if secret in result.stdout] == []
    assert COMPLAINTS.splitlines() == [
        line.removeprefix("# ") for line in result.stdout.splitlines() if line.startswith("# ")
    ]


def test_config_show_fails_without_a_file():
    result = run("config", "show")

    assert outcome(result) == (2, "", "smshook.yaml: no such file; `smshook init` writes one\n")


def test_schema_is_json_with_every_section():
    result = run("config", "schema")

    assert result.exit_code == 0
    known = json.loads(result.stdout)
    assert {"sources", "sinks", "routes", "server", "journal", "api"} <= set(known["properties"])


def test_version_option_prints_the_version():
    result = run("--version")

    assert outcome(result) == (0, f"smshook {__version__}\n", "")


def test_version_names_python_and_sqlite():
    result = run("version")

    assert result.stdout.splitlines() == [
        f"smshook {__version__}",
        f"Python {platform.python_version()}",
        f"SQLite {sqlite3.sqlite_version}",
    ]


# migrate


@pytest.mark.usefixtures("configured")
def test_migrate_prints_its_steps():
    first, second = run("migrate"), run("migrate")

    assert (first.exit_code, first.stderr) == (0, "")
    assert re.fullmatch(r"(m\d{3}_\w+\n)+", first.stdout)
    assert outcome(second) == (0, "smshook.db is up to date\n", "")


def test_locked_journal_names_its_process(configured):
    """Mutant: two writers."""
    with Lock(configured / "smshook.db"):
        result = run("migrate")

    assert (result.exit_code, result.stdout) == (1, "")
    assert f"is in use by process {os.getpid()};" in result.stderr


def test_file_that_is_no_journal_is_refused(configured):
    (configured / "smshook.db").write_bytes(b"no database at all, but long enough for a header" * 9)

    result = run("migrate")

    said = f"{configured}/smshook.db is not an SQLite database; name another file\n"
    assert outcome(result) == (2, "", said)


@pytest.mark.parametrize("command", ["migrate", "prune"])
def test_database_of_another_program_is_refused(configured, command):
    """Mutant: it becomes a journal, too, and keeps a write-ahead log."""
    path = configured / "smshook.db"
    with shell(path) as conn:
        conn.execute("create table meta (name, value)")
    before = path.read_bytes()

    result = run(command)

    said = f"{path} is a database, but not a journal of smshook; name another file\n"
    assert (result.exit_code, said in result.stderr) == (2, True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("command", ["migrate", "serve", "backup copy", "events list"])
def test_journal_that_links_to_itself_is_one_error(configured, command):
    """Mutant: a traceback, because `Path.resolve` raises RuntimeError."""
    (configured / "smshook.db").symlink_to("smshook.db")

    result = run(*command.split())

    assert (result.exit_code, result.stdout) == (1, "")
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("command", ["migrate", "serve", "check"])
def test_missing_folder_of_a_journal_suggests_a_fix(folder, command):
    write(folder, CONFIG + 'journal: {url: "sqlite:///missing/smshook.db"}\n')

    result = run(command)

    assert outcome(result) == (
        2,
        "",
        (
            f"smshook.yaml:10: journal.url: there is no folder {folder}/missing; "
            "make it (mkdir -p), or name another\n"
        ),
    )


# Output


class Ascii(io.StringIO):
    encoding = "ascii"


@given(st.text())
@example("\x1b]0;owned\x07\x7f\x9b\u202e\U000e0001\udc80 é → 😀\n")
def test_json_is_valid_and_controls_no_terminal(text):
    """Mutants: `\\u00e9` for é; DEL, which JSON does not escape; `\\u{202e}`, which is not JSON."""
    whole, narrow = io.StringIO(), Ascii()
    for out in (whole, narrow):
        with contextlib.redirect_stdout(out):
            print_json({"a": [text]})

    assert json.loads(whole.getvalue()) == json.loads(narrow.getvalue()) == {"a": [text]}
    seen = whole.getvalue().replace("\n", "")
    assert plain(seen) == seen
    assert narrow.getvalue().isascii()
    assert [char for char in "é→😀" if char in text and char not in seen] == []


def test_long_cell_is_cut_in_lists_only(capsys):
    rows = [["x" * 60, "y" * 61, ["z" * 40, "z" * 40]]]

    print_table(("a", "b", "c"), rows, none="")
    cut = capsys.readouterr().out
    print_table(("a", "b", "c"), rows, none="", whole=True)
    whole = capsys.readouterr().out

    tokens = f"{'z' * 40}, {'z' * 40}"  # each last use is seen
    assert cut.splitlines()[1].split("  ") == ["x" * 60, "y" * 59 + "…", tokens]
    assert whole.splitlines()[1].split("  ") == ["x" * 60, "y" * 61, tokens]


# Without a service

TALKING = [
    ("events", "list"),
    ("events", "show", "01931c5e"),
    ("sources", "list"),
    ("quarantine", "list"),
    ("quarantine", "show", "01931c5e"),
    ("quarantine", "replay", "01931c5e"),
    ("quarantine", "delete", "01931c5e"),
    ("rejections",),
    ("healthcheck",),
    ("send", "tellabot"),
]


@pytest.mark.parametrize("arguments", TALKING, ids=" ".join)
@pytest.mark.usefixtures("configured")
def test_stopped_service_suggests_the_command_to_start_it(arguments):
    result = run(*arguments)

    assert outcome(result) == (
        1,
        "",
        "smshook is not running here (no process has smshook.db); start it with: smshook serve\n",
    )


def test_suggested_start_command_names_the_configuration(folder):
    write(folder, name="other.yaml")

    result = run("healthcheck", "--config", "other.yaml")

    assert result.stderr.endswith("start it with: smshook --config other.yaml serve\n")


def test_process_that_does_not_listen_yet_is_reported(configured):
    with Lock(configured / "smshook.db"):
        result = run("healthcheck")

    assert outcome(result) == (
        1,
        "",
        f"process {os.getpid()} has smshook.db but does not listen yet; try again\n",
    )


@pytest.fixture
def shared(folder, monkeypatch):
    """A configuration that another user can read. The journal is in use."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")
    with tempfile.TemporaryDirectory() as made:  # another user cannot pass through `tmp_path`
        folder = Path(made).resolve()
        folder.chmod(0o755)
        (write(folder) / "smshook.yaml").chmod(0o644)
        monkeypatch.chdir(folder)
        with Lock(folder / "smshook.db"):
            yield folder
        monkeypatch.undo()


def run_as_another_user(*arguments):
    # Imports first: another user may be unable to read them.
    run(*arguments)
    failure_of(OSError())
    os.seteuid(NOBODY)
    try:
        return run(*arguments)
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("arguments", TALKING, ids=" ".join)
def test_service_of_another_user_is_not_called_stopped(arguments, shared):
    """Mutant: `except PermissionError: return None`."""
    result = run_as_another_user(*arguments)

    denied = f"{shared}/smshook.db.lock: Permission denied; it belongs to the user root\n"
    assert outcome(result) == (1, "", denied)


@pytest.mark.parametrize("arguments", [("check",), ("sources", "url", "tellabot")], ids=" ".join)
@pytest.mark.usefixtures("shared")
def test_configuration_is_enough_for_another_user(arguments):
    """Mutants: they fail, because they cannot find out whether the service runs."""
    result = run_as_another_user(*arguments)

    assert (result.exit_code, "Permission denied" in result.stderr) == (0, False)


def test_unreachable_address_is_reported_without_password():
    url = "http://user:pass-0123456789@127.0.0.1:9"

    result = run("events", "list", "--url", url, "--key", KEY)

    assert outcome(result) == (1, "", "cannot connect to http://127.0.0.1:9\n")


@pytest.mark.parametrize("text", [WRONG, "a: b: c", None], ids=["wrong", "no yaml", "none"])
def test_healthcheck_works_with_a_broken_configuration(folder, text):
    """Mutant: exit code 2, which container managers do not know."""
    if text is not None:
        write(folder, text)

    alone = run("healthcheck")
    with Lock(folder / "smshook.db"):
        held = run("healthcheck")

    assert outcome(alone) == (
        1,
        "",
        "smshook is not running here (no process has smshook.db); start it with: smshook serve\n",
    )
    assert outcome(held) == (
        1,
        "",
        f"process {os.getpid()} has smshook.db but does not listen yet; try again\n",
    )


def test_url_without_a_key_asks_for_the_key():
    """Mutant: `no such file`, without a word about the key."""
    result = run("events", "list", "--url", "http://127.0.0.1:9")

    assert outcome(result) == (
        2,
        "",
        (
            "no API key: there is no smshook.yaml to take one from; "
            "set SMSHOOK_API_KEY, or give --key\n"
        ),
    )


@pytest.mark.parametrize("url", ["127.0.0.1:8081", "ftp://host", "http://", "http://a:b:c"])
def test_invalid_url_is_a_usage_error(url):
    result = run("healthcheck", "--url", url)

    assert result.exit_code == 2
    assert "write http:// or https:// and a host" in result.stderr


# Keys


def with_keys(folder, **keys):
    entries = ", ".join(f"{name}: {{{key}}}" for name, key in keys.items())
    write(folder, CONFIG.partition("api:")[0] + f"api: {{keys: {{{entries}}}}}\n")


def test_missing_clear_key_names_the_variable(folder):
    """Mutant: a digest is sent as the key."""
    digest = hashlib.sha256(b"key").hexdigest()
    with_keys(folder, admin=f'key: "sha256:{digest}", scopes: [admin]')

    result = run("events", "list")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "no API key in the configuration is in clear and has the scope events:read; "
        "set SMSHOOK_API_KEY, or give --key\n"
    )


@pytest.mark.parametrize(
    ("scopes", "when", "arguments", "lacking"),
    [
        ("deliveries:write", "", ("events", "list"), "events:read"),
        ("codes:read", "", ("quarantine", "list"), "admin"),
        ("events:read", "", ("events", "show", "01931c5e", "--raw"), "codes:read"),
        # A key with a `when` sees only some events, and may not list sources.
        ("events:read", ", when: {type: sms.received}", ("sources", "list"), "events:read"),
    ],
)
def test_key_is_chosen_by_its_scopes(folder, scopes, when, arguments, lacking):
    with_keys(folder, some=f'key: "{KEY}", scopes: ["{scopes}"]{when}')

    result = run(*arguments)

    assert result.exit_code == 2
    assert f"has the scope {lacking};" in result.stderr


@pytest.mark.parametrize("scope", ["events:read", "codes:read", "admin"])
def test_included_scope_qualifies_a_key(folder, scope):
    with_keys(folder, some=f'key: "{KEY}", scopes: ["{scope}"]')

    result = run("events", "list")

    assert (result.exit_code, "not running" in result.stderr) == (1, True)


def test_key_unfit_for_a_header_is_not_repeated():
    """Mutant: the message of the HTTP library, which quotes the header."""
    key = "k3y-with-a-line\nbreak"

    result = run("events", "list", "--url", "http://127.0.0.1:9", "--key", key)

    assert outcome(result) == (
        2,
        "",
        "the API key has a character that no HTTP header may hold\n",
    )


# sources url


@pytest.mark.usefixtures("configured")
def test_sources_url_works_while_the_service_is_stopped():
    result = run("sources", "url", "tellabot")

    assert outcome(result) == (0, f"http://127.0.0.1:8080/in/tellabot/{TOKEN}\n", "")


@pytest.mark.parametrize(
    ("server", "begins"),
    [
        ('public_url: "https://hooks.example.com/sms/"', "https://hooks.example.com/sms/in/"),
        ('listen: "[::1]:9000"', "http://[::1]:9000/in/"),
        ('listen: "0.0.0.0:9000"', "http://127.0.0.1:9000/in/"),
        ('listen: "[::]:9000"', "http://[::1]:9000/in/"),
    ],
)
def test_sources_url_begins_with_the_public_url(folder, server, begins):
    write(folder, CONFIG.replace("server: {", f"server: {{{server}, "))

    result = run("sources", "url", "herosms")

    assert result.stdout == f"{begins}herosms/{TOKEN}\n"


def test_token_is_quoted_in_the_url(folder):
    write(folder, CONFIG.replace(f'["{TOKEN}"]', '["a/b?c#d%e é 0123456789"]', 1))

    result = run("sources", "url", "tellabot")

    assert result.stdout.endswith("/in/tellabot/a%2Fb%3Fc%23d%25e%20%C3%A9%200123456789\n")


def test_sources_url_needs_a_token_in_clear(folder):
    digest = f"sha256:{hashlib.sha256(b'one').hexdigest()}"
    first = CONFIG.replace(f'["{TOKEN}"]', f'["{digest}", "{TOKEN}"]', 1)
    write(folder, first.replace(f'herosms, tokens: ["{TOKEN}"]', f'herosms, tokens: ["{digest}"]'))

    second, none = run("sources", "url", "tellabot"), run("sources", "url", "herosms")

    assert second.stdout == f"http://127.0.0.1:8080/in/tellabot/{TOKEN}\n"
    assert outcome(none) == (
        1,
        "",
        "herosms has only sha256 tokens: smshook does not know its URL\n",
    )


def test_sources_url_fails_for_port_0_without_a_service(folder):
    write(folder, CONFIG.replace("server: {", 'server: {listen: "127.0.0.1:0", '))

    result = run("sources", "url", "tellabot")

    assert outcome(result) == (
        1,
        "",
        "server.listen has port 0, any free one: start the service first\n",
    )


# send


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("tellabto",),
            "no source is named 'tellabto'; sources: tellabot, herosms; did you mean 'tellabot'?",
        ),
        (("herosms", "retn"), "no kind is named 'retn'; kinds: sms, rent; did you mean 'rent'?"),
        (
            ("herosms", "--encoding", "multipart"),
            "--encoding: this provider uses form, json, not multipart",
        ),
    ],
)
@pytest.mark.usefixtures("configured")
def test_impossible_sample_is_a_usage_error(arguments, said):
    result = run("send", *arguments)

    assert outcome(result) == (2, "", f"{said}\n")


def test_send_needs_a_token_in_clear(folder):
    digest = f"sha256:{hashlib.sha256(b'one').hexdigest()}"
    write(folder, CONFIG.replace(f'["{TOKEN}"]', f'["{digest}"]', 1))

    result = run("send", "tellabot")

    assert outcome(result) == (
        1,
        "",
        "tellabot has only sha256 tokens; sending needs one in clear\n",
    )


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["simulate", "tellabot"], "--speed"),
        (["dev"], "--speed"),
        (["events", "wait"], "--timeout"),
    ],
    ids=["simulate", "dev", "wait"],
)
def test_number_that_is_none_is_wrong(command, option, number):
    """Mutant: click's range, in which it lies."""
    result = run(*command, option, number)

    assert result.exit_code == 2
    assert f"Invalid value for '{option}': '{number}' is not a number" in result.stderr
