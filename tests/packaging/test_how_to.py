"""The pages about containers and systemd match their files.

test_image.py runs their `docker exec` lines.
"""

import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import tools
import typed
import yaml

from server.config.load import load

ROOT = Path(__file__).parents[2]
CONTAINER = (ROOT / "docs/how-to/run-in-a-container.md").read_text()
SYSTEMD = (ROOT / "docs/how-to/run-under-systemd.md").read_text()
SERVICE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["smshook"]


def test_docker_run_and_compose_start_the_same_container():
    """Mutants: the page without `--cap-drop ALL`; the file without `cap_drop`."""
    [run] = [line for line in typed.commands(CONTAINER) if line.startswith("docker run -d")]

    words = shlex.split(run)
    said = [word for option, word in pairwise(words) if option == "-p"]

    assert SERVICE["ports"] == said
    assert "--read-only" in words
    assert SERVICE["read_only"]
    for option, value in {
        "--cap-drop": SERVICE["cap_drop"][0],
        "--restart": SERVICE["restart"],
        "--security-opt": SERVICE["security_opt"][0].removesuffix(":true"),
        "--stop-timeout": SERVICE["stop_grace_period"].removesuffix("s"),
        "--tmpfs": SERVICE["tmpfs"][0].partition(":")[0],
    }.items():
        assert words[words.index(option) + 1] == value


def test_configuration_behind_a_proxy_loads(tmp_path):
    block = re.findall(r"(?ms)^```yaml\n(.*?)^```$", CONTAINER)[0]
    file = tmp_path / "smshook.yaml"
    file.write_text(f"{block}  secret: {'s' * 40}\n")

    server = load(file, environ={}).config.server

    assert yaml.safe_load(block)["server"]["public_url"] == server.public_url
    assert 1 == len(server.trusted_proxies)


@pytest.mark.parametrize("text", [CONTAINER, (ROOT / "compose.yaml").read_text()])
def test_each_named_variable_is_an_option(text, tmp_path):
    """Mutant: `SMSHOOK_SERVER__PUBLIC_ADDRESS`: the service would refuse to start."""
    pairs = dict(re.findall(r"(SMSHOOK_[A-Z]+__[A-Z_]+)(?:=|: )'?([^\s'`]+)", text))
    pairs = {
        name: value.replace("/var/lib/smshook", str(tmp_path)) for name, value in pairs.items()
    }
    file = tmp_path / "smshook.yaml"
    file.write_text(f"server: {{secret: {'s' * 40}}}\n")

    assert pairs
    assert load(file, environ=pairs).config.path == file


def test_steps_install_pins_and_start_the_program_of_the_unit():
    """Mutant: another folder in the unit."""
    commands = typed.commands(SYSTEMD)
    unit = (ROOT / "packaging" / "smshook.service").read_text()
    [program] = re.findall(r"(?m)^ExecStart=(\S+) serve$", unit)
    [configuration] = re.findall(r"(?m)^Environment=SMSHOOK_CONFIG=(\S+)$", unit)

    installs = [line for line in commands if "/pip install" in line]

    assert all(line.startswith(f"{Path(program).parent}/pip ") for line in installs)
    assert all(("--require-hashes" in line) == ("-r " in line) for line in installs)
    assert all(("--no-index" in line) == line.endswith(" .") for line in installs)
    assert f"ln -s {program} /usr/local/bin/smshook" in commands
    assert f"runuser -u smshook -- smshook init {Path(configuration).parent}" in commands
    assert configuration in SYSTEMD


def test_exposure_on_the_page_is_that_of_systemd():
    """Mutant: the unit without `PrivateUsers=yes`."""
    tools.require(tools.missing("systemd-analyze"))
    [said] = re.findall(r"`systemd-analyze security smshook` gives ([\d.]+) of 10", SYSTEMD)

    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", ROOT / "packaging/smshook.service"],
        capture_output=True,
        text=True,
        check=True,
    )

    # Other versions of systemd count slightly differently.
    [found] = re.findall(r"exposure level for smshook.service: ([\d.]+)", done.stdout)
    assert float(found) == pytest.approx(float(said), abs=0.3)
