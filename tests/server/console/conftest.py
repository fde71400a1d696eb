"""A service with events, a browser and pages, for the tests of the console."""

import pytest
from browsers import chromium
from consoles import PAGES, seeded


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service that the tests of a file read. Those that change it use events of their own.

    It does not outlive the file: what it logs would be in the output of other tests.
    """
    with seeded(tmp_path_factory.mktemp("console")) as service:
        yield service


@pytest.fixture(scope="module")
def admin(service):
    """A person who may see all."""
    return service.browser("admin")


@pytest.fixture
def person(service):
    """Return a function: sign in with a key."""
    return service.browser


@pytest.fixture(scope="module")
def browser():
    """A Chromium that the tests of a file share.

    As long as it runs, no coroutine can be a test: Playwright runs an event loop in this thread.
    """
    with chromium() as browser:
        yield browser


@pytest.fixture
def tab(browser, service):
    """Return a function that opens a tab, signed in with a key: `tab("admin", phone=True)`.

    At its end, no tab may have seen an error, a dialog or a violation of the policy.
    """
    opened = []

    def open_tab(key="admin", **named):
        opened.append(browser.tab(service, key, **named))
        return opened[-1]

    yield open_tab
    for one in opened:
        one.close()


@pytest.fixture(params=PAGES)
def page(request, service):
    """The address of a page, with an id."""
    return request.param.format(**service.events)


@pytest.fixture(scope="session")
def pages():
    """The addresses of all pages, with names of events in place of their ids."""
    return PAGES
