"""Rules between files of this repository that no tool checks."""

import ast
import importlib.metadata
import importlib.util
import json
import re
import socket
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

pytestmark = pytest.mark.uncounted

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(PYPROJECT)
CLIENT = "smshook_client"
PACKAGES = [
    *("core", "httpd", "journal", "receiver", "rehearsal", "routes", "server", "sinks"),
    CLIENT,
]
FOLDERS = {name: ROOT / name for name in PACKAGES} | {CLIENT: ROOT / "clients/python" / CLIENT}
#: Checked like the product, but not part of the wheel and of the coverage. The glossary does not
#: apply to it: other programs have their own words.
BENCHMARKS = "benchmarks"
MODULES = sorted(path for package in PACKAGES for path in FOLDERS[package].rglob("*.py"))
ALL_MODULES = [*MODULES, *sorted((ROOT / BENCHMARKS).rglob("*.py"))]
DOCUMENTS = sorted(
    path
    for folder in ("", "docs/**", "clients/python")
    for path in ROOT.glob(f"{folder}/*.md".lstrip("/"))
)
LOCKS = {name: ROOT / "requirements" / f"{name}.txt" for name in ("build", "run", "dev", "bench")}

#: Older versions have these vulnerabilities. The advisories were last read on READ_ON.
READ_ON = date(2026, 11, 21)
MINIMUM = {
    "h11": "0.16",  # CVE-2025-43859
    "litestar": "2.25",  # CVE-2025-59152, CVE-2026-25479, CVE-2026-25480, CVE-2026-48060
    "multipart": "1.3.1",  # CVE-2026-28356
    "uvicorn": "0.54",  # the tests of slow clients and of shutdown need it
}


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def declared(requirements):
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def everything_declared():
    return [
        *PROJECT["build-system"]["requires"],
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["mcp"],
        *PROJECT["dependency-groups"]["dev"],
        *PROJECT["dependency-groups"]["bench"],
    ]


def locked(name):
    """Distribution -> version, as a lock file pins them."""
    pins = re.findall(r"(?m)^([A-Za-z0-9._-]+)==(\S+)", LOCKS[name].read_text())
    return {canonicalize_name(name): Version(version) for name, version in pins}


# Packages


def test_every_tool_covers_all_packages():
    """Mutant: a folder of modules that import-linter, mypy, coverage or the wheel leave out."""
    folders = {
        path.parent for found in ("[!.]*", "clients/*/*") for path in ROOT.glob(f"{found}/*.py")
    }
    in_the_tree = sorted({path.name for path in folders} - {"tests"})
    tool = PROJECT["tool"]

    watched = {
        "coverage": sorted(tool["coverage"]["run"]["source"]),
        "import-linter": sorted(tool["importlinter"]["root_packages"]),
        "mypy": sorted(tool["mypy"]["packages"]),
        "wheel": sorted(
            Path(name).name for name in tool["hatch"]["build"]["targets"]["wheel"]["packages"]
        ),
    }

    assert sorted([*PACKAGES, BENCHMARKS]) == in_the_tree
    assert dict.fromkeys(watched, PACKAGES) | {"mypy": in_the_tree} == watched


@pytest.mark.parametrize("package", PACKAGES)
def test_top_level_name_belongs_to_smshook_only(package):
    """Our package names are plain words that another distribution could install, too."""
    owners = importlib.metadata.packages_distributions().get(package, [])
    spec = importlib.util.find_spec(package)

    assert set(owners) <= {"smshook"}
    assert spec is not None
    assert FOLDERS[package] == Path(spec.origin).parent


# Modules


def test_module_docstring_states_its_purpose():
    sources = {name_of(path): path.read_text() for path in ALL_MODULES}

    first = {
        name: (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
        for name, source in sources.items()
        if source
    }

    assert [] == [name for name, line in first.items() if len(line.split()) <= 2]


def test_module_has_no_open_end():
    open_ends = re.compile(r"\b([T]ODO|[F]IXME|[X]XX)\b|[p]ragma: no cover")

    found = [
        (name_of(path), number, line.strip())
        for path in ALL_MODULES
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if open_ends.search(line)
    ]

    assert [] == found


# Refusals


def test_each_ignored_rule_has_a_reason():
    """Mutant: a code added to an `ignore` list without its reason."""
    section = PYPROJECT.partition("[tool.ruff.lint]")[2].partition("[tool.ruff.lint.pylint]")[0]
    refusals = re.findall(r'(?m)^  "([A-Z]+[0-9]*)",?(.*)$', section)
    ruff = PROJECT["tool"]["ruff"]["lint"]
    ignored = ruff["ignore"] + [
        code for codes in ruff["per-file-ignores"].values() for code in codes
    ]

    assert sorted(ignored) == sorted(code for code, _ in refusals), "one refusal a line"
    assert [] == [code for code, reason in refusals if not re.fullmatch(r" +# \S.{3,}", reason)]


# Dependencies


@pytest.mark.parametrize("name", MINIMUM)
def test_dependency_includes_all_known_security_fixes(name):
    """A table replaces an audit service, which reports no problem when unreachable.

    Mutant: an older version in a lock file, or installed in its place.
    """
    age = (datetime.now(UTC).date() - READ_ON).days
    advice = f"; the table is {age} days old: read the advisories again" if age > 90 else ""

    found = {"installed": Version(importlib.metadata.version(name)), "locked": locked("run")[name]}

    assert all(version >= Version(MINIMUM[name]) for version in found.values()), (
        f"{name} must be {MINIMUM[name]} or newer, found {found}{advice}"
    )


@pytest.mark.parametrize("name", LOCKS)
def test_lock_file_pins_hashes_and_names_no_index(name):
    text = LOCKS[name].read_text()
    entries = re.split(r"(?m)^(?=\w)", text.replace("\\\n", ""))[1:]

    unpinned = [entry for entry in entries if not re.match(r"\S+==\S+ .*--hash=sha256:", entry)]
    places = re.findall(r"(?m)://|^-.*|(?<=\s)/\S+| @ \S+", text)

    assert entries
    assert [] == unpinned
    assert [] == places


def test_npm_lock_file_pins_hashes_and_names_no_registry():
    """Mutant: `npm install` without `omit-lockfile-registry-resolved`."""
    folder = ROOT / "tests/javascript"
    asked = json.loads((folder / "package.json").read_text())["dependencies"]
    text = (folder / "package-lock.json").read_text()
    packages = json.loads(text)["packages"]

    locked = {name.rpartition("node_modules/")[2]: it for name, it in packages.items() if name}

    assert asked == {name: locked[name]["version"] for name in asked}
    assert all(it["integrity"].startswith("sha512-") for it in locked.values())
    assert "://" not in text


def test_lock_files_include_declared_dependencies():
    """Mutant: a dependency added to pyproject.toml without `make lock`."""
    asked = {
        "build": PROJECT["build-system"]["requires"],
        "run": PROJECT["project"]["dependencies"],
        "dev": [
            *PROJECT["project"]["dependencies"],
            *PROJECT["project"]["optional-dependencies"]["mcp"],
            *PROJECT["dependency-groups"]["dev"],
        ],
        "bench": PROJECT["dependency-groups"]["bench"],
    }

    missing = [
        (lock, text)
        for lock, requirements in asked.items()
        for text in requirements
        if not satisfied(Requirement(text), locked(lock))
    ]

    assert [] == missing


def satisfied(requirement, pins):
    version = pins.get(canonicalize_name(requirement.name))
    return version is not None and version in requirement.specifier


def test_tests_and_service_use_the_same_versions():
    build, run, dev, bench = (locked(name) for name in ("build", "run", "dev", "bench"))

    assert run == {name: dev.get(name) for name in run}
    assert {name: dev[name] for name in dev.keys() & bench} == {
        name: bench[name] for name in dev.keys() & bench
    }
    assert {name: build[name] for name in build.keys() & dev} == {
        name: dev[name] for name in build.keys() & dev
    }


def test_each_dependency_has_a_reason_in_the_decision():
    reasons = (ROOT / "docs/decisions/0002-dependencies.md").read_text()

    explained = set(re.findall(r"(?m)^\* \*\*([\w.-]+)\*\*", reasons))

    assert declared(everything_declared()) == explained


def test_client_needs_httpx_only():
    """Mutant: a dependency of the service in the client, which has its own distribution."""
    client = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]

    assert {"httpx"} == declared(client["dependencies"])
    assert client["version"] == PROJECT["project"]["version"]
    assert client["requires-python"] == PROJECT["project"]["requires-python"]
    assert "smshook-client" not in declared(everything_declared())
    assert (ROOT / "clients/python/LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


# Documents


def glossary():
    """Word -> the words that are not used for it, from the table of the glossary."""
    rows = re.findall(
        r"(?m)^\| \*\*(.+?)\*\* \| .+? \| (.*?) ?\|$", (ROOT / "docs/glossary.md").read_text()
    )
    return {word: re.findall(r"`(\w+)`", instead) for word, instead in rows}


def test_glossary_has_one_row_per_word_in_order():
    words = list(glossary())

    assert sorted(set(words), key=str.lower) == words
    assert {"attempt", "callback", "delivery", "event", "journal", "route", "sink"} <= set(words)


def test_classes_and_modules_use_glossary_words():
    """Mutant: a class `Endpoint`, a module `adapter.py`."""
    other_words = {word for instead in glossary().values() for word in instead}
    named = [
        (name_of(path), name)
        for path in MODULES
        for name in [
            path.stem,
            *(
                node.name
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.ClassDef)
            ),
        ]
    ]

    found = [
        (path, name)
        for path, name in named
        if other_words & {part.lower() for part in re.findall(r"[A-Z]?[a-z0-9]+", name)}
    ]

    assert [] == found


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_link_in_a_document_has_a_target(path):
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", path.read_text())

    lost = [
        f"{target}#{anchor}"
        for target, anchor in links
        if not leads_somewhere(path.parent / target if target else path, anchor)
    ]

    assert [] == lost


def leads_somewhere(file, anchor):
    if not file.exists():
        return False
    if not anchor:
        return True
    headings = re.findall(r"(?m)^#+ (.+)$", file.read_text())
    return anchor in {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}


# The tests themselves


@pytest.mark.parametrize(
    "reach",
    [
        lambda: socket.create_connection(("192.0.2.1", 80), timeout=0.1),
        lambda: socket.getaddrinfo("example.com", 80),
        lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9)),
        lambda: socket.socket().bind(("0.0.0.0", 0)),  # noqa: S104 - this is what is refused
    ],
    ids=["connect", "look up", "send", "listen"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_network_access_beyond_loopback_is_stopped(reach):
    with pytest.raises(PermissionError, match="loopback only"):
        reach()
