"""`smshook console`: a link that signs a browser in, once, within a minute."""

import click
import pytest
from click.testing import CliRunner
from consoles import KEYS, ConsoleService

from server.cli.main import smshook


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A service whose clock tests move."""
    with ConsoleService(tmp_path_factory.mktemp("command")) as service:
        yield service


@pytest.fixture
def command(alone):
    """Return a function that runs the command, and returns its result."""

    def run(*arguments, key="reader"):
        text = KEYS[key].key.reveal() if key in KEYS else key
        where = ["--url", alone.admin_url, "--key", text]
        return CliRunner().invoke(smshook, ["console", *where, *arguments])

    return run


def link_of(result):
    assert result.exit_code == 0, result.output
    path, _, ticket = line_of(result).rpartition("/console/enter#")
    return path, ticket


def line_of(result):
    """Return the line with an address. The service, in this process, may log at any time."""
    [line] = [line for line in result.stdout.splitlines() if "http://" in line]
    return line


def entered(service, ticket):
    person = service.browser()
    answer = person.post("/enter", {"ticket": ticket})
    return person, answer.status_code


def test_link_signs_in_once(alone, command):
    """Mutants: a ticket works twice; the key is in the link; another key's rights."""
    result = command("--print")
    begin, ticket = link_of(result)

    first, answered = entered(alone, ticket)
    _, again = entered(alone, ticket)

    assert (alone.admin_url, 303, 403) == (begin, answered, again)
    assert KEYS["reader"].key.reveal() not in result.output
    assert 200 == first.get("/").status_code
    assert "reader</span>" in first.get("/").text


def test_link_is_valid_for_a_minute(alone, command):
    """Mutant: for ever."""
    _, late = link_of(command("--print"))
    alone.moved += 59
    _, other = link_of(command("--print"))
    alone.moved += 2

    assert 403 == entered(alone, late)[1]
    assert 303 == entered(alone, other)[1]


def test_link_of_a_revoked_key_is_refused(alone, command):
    key = alone.api("/keys", method="POST", json={"name": "ben", "scopes": ["events:read"]})
    _, ticket = link_of(command("--print", key=key.json()["key"]))

    alone.api("/keys/ben", method="DELETE")

    assert 403 == entered(alone, ticket)[1]


def test_wrong_key_gets_no_link(command):
    """Mutant: any text is a key."""
    result = command("--print", key="not-a-key-0123456789")

    assert 1 == result.exit_code
    assert result.stderr.startswith("401 unauthorized: unknown key")


@pytest.mark.parametrize(("code", "said"), [(0, "opened http://"), (1, "http://")])
def test_link_is_printed_if_no_browser_opens(command, monkeypatch, code, said):
    """Mutant: the link is printed although a browser has it."""
    opened = []
    monkeypatch.setattr(click, "launch", lambda link: opened.append(link) or code)

    result = command()

    assert line_of(result).startswith(said)
    assert ("#" in line_of(result)) == (code != 0)
    assert "#" in opened[0]


def test_browser_enters_with_the_fragment(browser, alone, command):
    """The ticket is sent by POST, and leaves the address at once."""
    tab = browser.tab(alone)
    begin, ticket = link_of(command("--print"))

    tab.page.goto(f"{begin}/console/enter#{ticket}")
    tab.page.wait_for_url("**/console/")

    assert ticket not in tab.page.content() + tab.page.url
    tab.page.go_back()
    assert ticket not in tab.page.url
    tab.close()
