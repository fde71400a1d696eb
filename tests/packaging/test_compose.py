"""`compose.yaml` is valid, and restricts the container as its page says."""

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
    """Return the file without the `#` of its options."""
    top, rest = TEXT.split("\n\n", 1)
    return f"{top}\n\n{re.sub('(?m)^#', '', rest)}"


@pytest.mark.parametrize("text", [TEXT, with_all_options()], ids=["as it is", "all options"])
def test_compose_file_is_valid(text, tmp_path):
    """Debian's docker-compose checks a file without an engine.

    Mutants: `cap_dropp`; `tmpfs: {}`; one blank less before an option.
    """
    tools.require(tools.missing("docker-compose"))
    (tmp_path / "compose.yaml").write_text(text)
    for name in ("smshook.env", "tellabot_token.txt", "smshook.root", "smshook.yaml"):
        (tmp_path / name).touch()

    done = subprocess.run(
        ["docker-compose", "--file", tmp_path / "compose.yaml", "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_option_does_not_repeat_a_key():
    """A repeated key would replace the first. Mutant: a second `volumes:`."""
    for text in re.split(r"\n  [a-z]+:\n", with_all_options()):
        lines = re.findall(r"(?m)^ {4}([a-z_]+):", text)
        assert sorted(set(lines)) == sorted(lines)


def test_up_makes_the_configuration_before_the_service():
    """Mutants: the service starts at the same time; `init` fails the second time."""
    shell = INIT["entrypoint"]

    assert SERVICE["depends_on"] == {"init": {"condition": "service_completed_successfully"}}
    assert [INIT[name] for name in ("build", "image", "volumes")] == [
        SERVICE[name] for name in ("build", "image", "volumes")
    ]
    assert shell[:2] == ["sh", "-c"]
    assert "restart" not in INIT


def test_init_keeps_an_existing_configuration(tmp_path):
    """Mutant: `smshook init` alone exits with 1 if the file exists."""
    environment = {"PATH": f"{Path(live.command()).parent}:/usr/bin:/bin"}

    def run():
        subprocess.run(INIT["entrypoint"], cwd=tmp_path, env=environment, check=True, timeout=60)
        return (tmp_path / "smshook.yaml").read_text()

    assert run() == run()


def test_slow_log_driver_does_not_block():
    """Mutant: the default, where the pipe to the driver fills up."""
    assert SERVICE["logging"]["options"]["mode"] == "non-blocking"


def test_container_is_restricted():
    """Mutant: any of these lines removed."""
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
    assert SERVICE["mem_limit"] == SERVICE["memswap_limit"]
    assert SERVICE["pids_limit"]


def test_ports_are_those_of_the_image_on_loopback():
    """Mutant: `8081:8081` puts the API on the internet."""
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
