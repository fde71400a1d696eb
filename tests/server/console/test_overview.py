"""The overview: figures of now, and plots with a table under each."""

import pytest


@pytest.fixture
def counted(service):
    """A service whose history has a point."""
    service.run(service.parts.history.count())
    return service


@pytest.mark.usefixtures("counted")
def test_picture_is_svg_that_runs_nothing(admin):
    answer = admin.get("/overview/events.svg?span=1h&at=1")

    assert answer.headers["content-type"] == "image/svg+xml"
    policy = answer.headers["content-security-policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    assert "<script" not in answer.text


@pytest.mark.parametrize("path", ["/overview/nothing", "/overview/nothing.svg"])
def test_unknown_plot_is_404(admin, path):
    assert admin.get(path).status_code == 404


def test_unknown_span_is_refused(admin):
    assert admin.get("/overview?span=2y").status_code == 400


def test_key_with_a_when_has_no_overview(person):
    """It counts all events."""
    growth = person("growth")

    assert growth.get("/overview").status_code == 403
    assert "/console/overview" not in growth.get("/").text


def test_page_counts_what_wants_somebody(counted, admin):
    stats = counted.api("/stats").json()

    text = admin.get("/overview").text

    assert f"<dt>Dead</dt><dd>{stats['deliveries']['dead']}</dd>" in text
    assert f"<dt>Quarantine</dt><dd>{stats['quarantine']}</dd>" in text
    assert stats["deliveries"]["dead"]
    assert stats["quarantine"]
