"""`compose.yaml` is what a user copies: it is valid, and as closed as its page says."""

import re
import subprocess
from pathlib import Path

import live
import pytest
import tools
import yaml
from dockerfile import last, pairs, words

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]
INIT, SERVICE = SERVICES["init"], SERVICES["smshook"]


def with_all_options():
    """As if each `#` in the first column, below the words at the top, were taken away."""
    top, rest = TEXT.split("\n\n", 1)
    return f"{top}\n\n{re.sub('(?m)^#', '', rest)}"


@pytest.mark.parametrize("text", [TEXT, with_all_options()], ids=["as it is", "all options"])
def test_compose_takes_it(text, tmp_path):
    """By Debian's docker-compose, which needs no engine to check a file.

    Mutants: `cap_dropp`; `tmpfs: {}`; a blank less before an option.
    """
    tools.require(tools.missing("docker-compose"))
    (tmp_path / "compose.yaml").write_text(text)
    for name in ("smshook.env", "tellabot_token.txt", "smshook.yaml"):
        (tmp_path / name).touch()

    done = subprocess.run(
        ["docker-compose", "--file", tmp_path / "compose.yaml", "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_each_option_is_one_that_is_not_there_yet():
    """A key given twice would hide what it was before. Mutant: a second `volumes:`."""
    services = with_all_options().partition("\n  smshook:\n")

    for text in (services[0], services[2]):
        lines = re.findall(r"(?m)^ {4}([a-z_]+):", text)
        assert sorted(set(lines)) == sorted(lines)


def test_up_alone_makes_the_configuration_first_and_once():
    """Mutants: the service started beside `init`; an `init` that fails the second time."""
    shell = INIT["entrypoint"]

    assert SERVICE["depends_on"] == {"init": {"condition": "service_completed_successfully"}}
    assert [INIT[name] for name in ("build", "image", "volumes")] == [
        SERVICE[name] for name in ("build", "image", "volumes")
    ]
    assert shell[:2] == ["sh", "-c"]
    assert "restart" not in INIT


def test_what_init_runs_writes_one_configuration_and_keeps_it(tmp_path):
    """The line as it is in the file. Mutant: `smshook init`, which exits 1 if there is one."""
    environment = {"PATH": f"{Path(live.command()).parent}:/usr/bin:/bin"}

    def run():
        subprocess.run(INIT["entrypoint"], cwd=tmp_path, env=environment, check=True, timeout=60)
        return (tmp_path / "smshook.yaml").read_text()

    assert run() == run()


def test_a_slow_log_driver_blocks_nothing():
    """Mutant: the default, by which the pipe to the driver fills up."""
    assert SERVICE["logging"]["options"]["mode"] == "non-blocking"


def test_the_container_is_closed():
    """Mutant: any of these lines taken out."""
    asked = {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "restart": "unless-stopped",
        "stop_grace_period": "15s",
    }

    assert asked == {name: SERVICE.get(name) for name in asked}
    assert {"privileged", "network_mode", "user", "cap_add", "init"} & set(SERVICE) == set()
    for name in ("read_only", "cap_drop", "security_opt"):
        assert asked[name] == INIT[name]
    assert INIT["network_mode"] == "none"
    assert SERVICE["mem_limit"]
    assert SERVICE["pids_limit"]


def test_ports_are_those_of_the_image_on_loopback():
    """Mutant: `8081:8081`, by which the API is on the internet."""
    exposed = words(last("EXPOSE"))

    assert [f"127.0.0.1:{port}:{port}" for port in exposed] == SERVICE["ports"]


def test_volume_of_the_image_has_a_name():
    [place] = words(last("VOLUME"))

    assert [f"data:{place}"] == SERVICE["volumes"]
    assert {"data": None} == yaml.safe_load(TEXT)["volumes"]


def test_health_check_is_that_of_the_image():
    options, _, command = last("HEALTHCHECK").partition(" CMD ")
    names = {"interval": "--interval", "timeout": "--timeout", "retries": "--retries"}

    asked = SERVICE["healthcheck"]

    assert ["CMD", *words(command)] == asked["test"]
    assert {f"{option}={asked[name]}" for name, option in names.items()} <= set(options.split())
    assert f"--start-period={asked['start_period']}" in options.split()


def test_image_has_the_version_of_the_project():
    assert f"smshook:{pairs('ARG')['VERSION']}" == SERVICE["image"]
