"""The Dockerfile, without a build. test_image.py builds it in `make nightly`."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from dockerfile import TEXT, instructions, last, pairs, words

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_hadolint_has_no_complaint():
    """Mutant: `apt-get install` without `--no-install-recommends`, `cd` in place of WORKDIR."""
    hadolint = Path(sys.executable).with_name("hadolint")

    done = subprocess.run(
        [hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_all_stages_share_one_named_debian_release():
    """With two releases, the packages could be built for another interpreter."""
    stages = [text.split() for text in instructions("FROM")]
    names = {stage[2] for stage in stages if len(stage) > 1}

    [base] = {stage[0] for stage in stages} - names

    assert re.fullmatch(r"debian:[a-z]+-slim", base)


def test_user_is_a_number_and_not_root():
    """Mutant: `USER smshook`, which orchestrators cannot distinguish from root."""
    after = TEXT.partition("\nUSER ")[2]

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last("USER"))
    assert not re.search(r"(?m)^(RUN|COPY|USER)\b", after)


def test_configuration_and_journal_are_on_the_volume():
    [volume] = words(last("VOLUME"))

    assert volume == last("WORKDIR")
    assert f"{volume}/smshook.yaml" == pairs("ENV")["SMSHOOK_CONFIG"]


def test_process_one_is_the_service():
    """A shell in between would not pass signals on. Mutant: `CMD smshook serve`."""
    assert '["smshook"]' == last("ENTRYPOINT")
    assert '["serve"]' == last("CMD")
    assert "SIGTERM" == last("STOPSIGNAL")


def test_health_check_is_our_command():
    options, _, command = last("HEALTHCHECK").partition(" CMD ")

    assert '["smshook", "healthcheck"]' == command
    assert {"--interval=30s", "--timeout=5s"} <= set(options.split())


def test_listeners_use_the_exposed_ports():
    """Mutant: EXPOSE of another port."""
    environment = pairs("ENV")

    listens = [environment[f"SMSHOOK_SERVER__{name}"] for name in ("LISTEN", "ADMIN_LISTEN")]

    assert [f"0.0.0.0:{port}" for port in words(last("EXPOSE"))] == listens


def test_labels_repeat_the_project():
    """Mutant: the image of a release has the former version."""
    project, arguments = PROJECT["project"], pairs("ARG")
    labels = {
        name.removeprefix("org.opencontainers.image."): re.sub(
            r"\$\{(\w+)\}", lambda m: arguments[m[1]], value
        )
        for name, value in pairs("LABEL").items()
    }

    assert {
        "title": project["name"],
        "description": project["description"],
        "licenses": project["license"],
        "version": project["version"],
        "revision": "unknown",
    } == labels


def test_installed_packages_are_pinned_or_built_here():
    """Mutant: an installation without `--require-hashes`."""
    installs = [
        command
        for run in instructions("RUN")
        for command in run.split("&&")
        if re.search(r"pip\S* .*\binstall\b", command)
    ]

    pinned = [command for command in installs if "-r requirements/" in command]

    assert 2 == len(pinned)
    assert all("--require-hashes" in command for command in pinned)
    assert all("--only-binary :all:" in command for command in pinned)
    assert all("--no-index" in command for command in installs if command not in pinned)
    assert all("--no-deps" in command for command in installs)
    assert all("--no-cache-dir" in command for command in installs)


def test_layers_keep_no_package_lists():
    runs = [run for run in instructions("RUN") if "apt-get" in run]

    assert runs
    assert all("rm -rf /var/lib/apt/lists/*" in run and "apt-get clean" in run for run in runs)


def test_layers_hold_no_secret_and_name_no_index():
    """Mutant: `ARG INDEX_URL`, `ENV SMSHOOK_API_KEY=…`."""
    names = {*pairs("ENV"), *pairs("ARG")}

    assert [] == [name for name in names if re.search("KEY|TOKEN|SECRET|PASSWORD|URL", name)]
    assert [] == re.findall(r"\w+://\S+", TEXT)


def test_build_context_is_what_the_image_copies():
    """Mutants: a package not copied, `!*.yaml` in .dockerignore, `COPY . .`."""
    copies = [text.split()[:-1] for text in instructions("COPY") if not text.startswith("--from")]
    copied = {source for sources in copies for source in sources}
    packages = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    ignored, *kept = [line for line in lines if line and not line.startswith("#")]

    assert packages <= copied
    assert "*" == ignored
    assert {line[1:].rstrip("/") for line in kept if line.startswith("!")} == copied
    assert {"**/__pycache__", "**/*.pyc"} == {line for line in kept if not line.startswith("!")}
