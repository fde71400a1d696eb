"""Lists in the documentation are complete."""

import re
from pathlib import Path

import pytest

from receiver.providers import PROVIDERS
from sinks import SINKS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "config.example.yaml", *sorted(DOCS.rglob("*.md"))]


def tags(kinds):
    return {kind.__struct_config__.tag for kind in kinds}


def test_configuration_names_each_type_of_sink():
    """Mutant: a new sink in SINKS that the page does not name."""
    [sentence] = re.findall(
        r"Sinks are of type ([^;.]+)", (DOCS / "configuration.md").read_text(encoding="utf-8")
    )

    assert set(re.findall(r"`(\w+)`", sentence)) == tags(SINKS)


def test_providers_page_names_each_provider():
    page = (DOCS / "providers.md").read_text(encoding="utf-8")

    assert {tag for tag in tags(PROVIDERS) if f"`{tag}`" not in page} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_page_promises_no_metrics_before_they_are_there(page):
    """Mutant: `/metrics` in a comment of the configuration while the call answers 404."""
    served = "metrics" in {path.stem for path in (ROOT / "server" / "api").glob("*.py")}

    assert served or "/metrics" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", ["how-to", "decisions"])
def test_index_links_each_page_of_the_folder(folder):
    index = DOCS / ("README.md" if folder == "how-to" else f"{folder}/README.md")
    text = index.read_text(encoding="utf-8")

    pages = [page for page in (DOCS / folder).glob("*.md") if page != index]
    assert [page.name for page in pages if page.name not in text] == []


def test_index_links_each_page():
    text = (DOCS / "README.md").read_text(encoding="utf-8")

    pages = [page for page in DOCS.glob("*.md") if page.name != "README.md"]
    assert [page.name for page in pages if page.name not in text] == []


def test_changelog_has_each_heading_once_in_a_version():
    """Mutant: a second `### Changed` below one version."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    for version in re.split(r"(?m)^## ", changelog)[1:]:
        headings = re.findall(r"(?m)^### (.+)$", version)
        assert len(headings) == len(set(headings))
        assert set(headings) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
