"""What can be said of the Dockerfile without building it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import dockerfile
import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
STAGES = dockerfile.read(TEXT)
FINAL = STAGES[-1]
EVERYWHERE = [one for stage in STAGES for one in stage.instructions]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTEXT = dockerfile.context(ROOT, (ROOT / ".dockerignore").read_text())


def every(name):
    return [one for one in EVERYWHERE if one.name == name]


def only(name):
    [one] = FINAL.all(name)
    return one


def test_the_reader_of_dockerfiles_reads_what_an_engine_does():
    text = """
    # a comment
    FROM debian:trixie-slim AS one
    RUN a \\
        # in between
        && b
    FROM one
    COPY --from=one /a "/b c" ./
    CMD ["x", "y z"]
    """

    one, final = dockerfile.read(text)

    assert ("one", "debian:trixie-slim") == (one.name, one.of)
    assert ["a && b"] == [re.sub(r"\s+", " ", run.text) for run in one.all("RUN")]
    [copy], [cmd] = final.all("COPY"), final.all("CMD")
    assert (("--from=one",), ["/a", "/b c", "./"]) == (copy.options, copy.words())
    assert ["x", "y z"] == cmd.words()


@pytest.mark.parametrize(
    "text",
    [
        "RUN a",
        "FROM debian AS\n",
        "FROM debian\nRUNN a",
        "FROM debian\nADD https://example.com/a /a",
        "FROM debian\nRUN",
        "FROM debian\nRUN a \\",
    ],
)
def test_the_reader_refuses_what_is_not_known(text):
    with pytest.raises(ValueError, match=r".+"):
        dockerfile.read(text)


def test_hadolint_has_nothing_to_say():
    """Mutant: `apt-get install` without `--no-install-recommends`, `cd` in place of WORKDIR."""
    hadolint = Path(sys.executable).with_name("hadolint")

    done = subprocess.run(
        [hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_all_stages_are_of_one_debian_whose_release_is_named():
    """Two of them, and the interpreter that was built for is not the one that runs."""
    names = {stage.name for stage in STAGES}

    bases = {stage.of for stage in STAGES} - names

    assert len(bases) == 1
    assert re.fullmatch(r"debian:[a-z]+-slim", bases.pop())


def test_it_runs_as_a_numeric_user_that_is_not_root():
    """Mutant: `USER smshook`, which orchestrators cannot tell from root."""
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", only("USER").text)
    after = FINAL.instructions[FINAL.instructions.index(only("USER")) :]
    assert [] == [one.name for one in after if one.name in {"RUN", "COPY"}]


def test_it_has_one_volume_with_configuration_and_journal_on_it():
    [volume] = only("VOLUME").words()
    environment = only("ENV").pairs()

    assert volume == only("WORKDIR").text
    assert f"{volume}/smshook.yaml" == environment["SMSHOOK_CONFIG"]


def test_process_one_is_the_service_itself():
    """A shell in between would keep the signals to itself. Mutant: `CMD smshook serve`."""
    assert ["smshook"] == only("ENTRYPOINT").words()
    assert ["serve"] == only("CMD").words()
    assert "SIGTERM" == only("STOPSIGNAL").text


def test_it_is_asked_for_its_health_by_our_own_command():
    check = only("HEALTHCHECK")

    assert ["smshook", "healthcheck"] == dockerfile.parsed(check.text).words()
    assert {"--interval=30s", "--timeout=5s"} <= set(check.options)


def test_it_listens_where_ports_can_be_published():
    """Mutant: EXPOSE of another port than the one that is listened on."""
    environment = only("ENV").pairs()

    listens = [environment[f"SMSHOOK_SERVER__{name}"] for name in ("LISTEN", "ADMIN_LISTEN")]

    assert [f"0.0.0.0:{port}" for port in only("EXPOSE").words()] == listens


def test_what_it_says_of_itself_is_what_the_project_says():
    """Mutant: a release of which the image says the version before."""
    project = PROJECT["project"]
    arguments = {name: value for one in FINAL.all("ARG") for name, value in one.pairs().items()}
    labels = {
        name.removeprefix("org.opencontainers.image."): re.sub(
            r"\$\{(\w+)\}", lambda m: arguments[m[1]], value
        )
        for name, value in only("LABEL").pairs().items()
    }

    assert {
        "title": project["name"],
        "description": project["description"],
        "licenses": project["license"],
        "version": project["version"],
        "revision": "unknown",
    } == labels


def test_what_is_installed_is_pinned_by_hash_or_built_here():
    """Mutant: `--require-hashes` left out of one of them."""
    installs = [
        command
        for run in every("RUN")
        for command in run.text.split("&&")
        if re.search(r"pip\S* .*\binstall\b", command)
    ]

    pinned = [command for command in installs if "-r requirements/" in command]

    assert 2 == len(pinned)
    assert all("--require-hashes" in command for command in pinned)
    assert all("--only-binary :all:" in command for command in pinned)
    assert all("--no-index" in command for command in installs if command not in pinned)
    assert all("--no-deps" in command for command in installs)
    assert all("--no-cache-dir" in command for command in installs)


def test_a_layer_keeps_no_lists_of_packages():
    runs = [run.text for run in every("RUN") if "apt-get" in run.text]

    assert runs
    assert all("rm -rf /var/lib/apt/lists/*" in run and "apt-get clean" in run for run in runs)


def test_no_secret_is_in_a_layer_and_no_index_is_named():
    """Mutant: `ARG INDEX_URL`, `ENV SMSHOOK_API_KEY=…`."""
    names = {name for kind in ("ENV", "ARG") for one in every(kind) for name in one.pairs()}

    assert [] == [name for name in names if re.search("KEY|TOKEN|SECRET|PASSWORD|URL", name)]
    assert [] == re.findall(r"\w+://\S+", TEXT)


def test_what_is_built_from_holds_what_is_copied_and_nothing_else():
    """Mutants: a package not copied, `!*.yaml` in .dockerignore, `COPY . .`."""
    sources = {
        source.rstrip("/")
        for one in every("COPY")
        if not one.options
        for source in one.words()[:-1]
    }
    packages = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])

    not_copied = [
        name
        for name in CONTEXT
        if not any(name == source or name.startswith(f"{source}/") for source in sources)
    ]

    assert packages <= sources
    assert [] == not_copied
    assert [] == [name for name in CONTEXT if re.search(r"\.ya?ml$|\.db|\.jsonl|\.pyc$|^\.", name)]
