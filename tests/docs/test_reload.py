"""The examples of the how-to page of reloads, with a real service."""

import secrets

import live
import pytest
from pages import DOCS, ENVIRONMENT, blocks

PAGE = "how-to/reload.md"
BEFORE, AFTER = blocks(PAGE, "yaml")
CHANGED, WRONG, FIXED = blocks(PAGE, "text")
SERVER = f"""\
server: {{secret: "{live.SECRET}", listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0"}}
{live.SEAL}"""
REST = f'api: {{keys: {{admin: {{key: "{live.KEY}", scopes: [admin]}}}}}}\n'


class WithVariables(live.Live):
    def environment(self):
        # Weak tokens would cause warnings.
        tokens = {"TELLABOT_TOKEN": secrets.token_hex(), "TELLABOT_TOKEN_OLD": secrets.token_hex()}
        return super().environment() | ENVIRONMENT | tokens


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with WithVariables(tmp_path_factory.mktemp("service"), BEFORE + SERVER + REST) as running:
        yield running


def reload(service, text):
    (service.folder / "smshook.yaml").write_text(text)
    result = service.run("reload", check=False)
    return result.returncode, result.stdout, result.stderr


def test_examples_of_the_page_print_what_it_says(service):
    """Mutants, on the page: another order, a line left out, another place of an error."""
    wrong = BEFORE.replace("type: file", "type: fiel").replace("[log, crm]", "[log, cmr]")
    moved = SERVER.replace('listen: "127.0.0.1:0"', 'listen: "127.0.0.1:1"', 1)
    url = BEFORE.replace("/old", "/new")

    assert reload(service, AFTER + SERVER + REST) == (0, CHANGED, "")
    assert reload(service, wrong + SERVER + REST) == (2, "", WRONG)
    assert reload(service, BEFORE + SERVER + REST)[0] == 0
    assert reload(service, url + moved + REST) == (0, FIXED, "")


def test_page_names_each_fixed_option():
    """Mutant: an option that needs a restart is not on the page."""
    from server.config.differences import _FIXED  # noqa: PLC0415 - of this test alone

    page = (DOCS / PAGE).read_text()
    assert all(f"`{section}.{name}`" in page for section, names in _FIXED.items() for name in names)
