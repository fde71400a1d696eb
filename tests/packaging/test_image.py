"""podman builds the image and runs it as its page says. For `make nightly`.

debootstrap makes the base image, so the tests need no registry.
"""

import json
import re
import shlex
import subprocess
from pathlib import Path

import httpx
import live
import pytest
import tools
import typed
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/run-in-a-container.md").read_text()
USER = "10001:10001"
#: Any free port of loopback: the containers use the network of this machine.
PORTS = {
    "SMSHOOK_SERVER__LISTEN": "127.0.0.1:0",
    "SMSHOOK_SERVER__ADMIN_LISTEN": "127.0.0.1:0",
}
CONFIGURED = """
sources:
  tellabot: {provider: tellabot, tokens: ["${TELLABOT_TOKEN}"]}
sinks:
  log: {type: file, path: /var/lib/smshook/events.jsonl}
routes:
  everything: {to: [log]}
server: {secret: "${file:/run/secrets/hook_secret}"}
"""
#: Prints each installed package with its version.
INSTALLED = """
import json; from importlib.metadata import distributions
print(json.dumps([[d.metadata["Name"], d.version] for d in distributions()]))
"""

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]


class Engine:
    """podman with a store of its own."""

    def __init__(self, folder):
        self.folder = folder
        self._command = [
            *("podman", "--root", folder / "store", "--runroot", folder / "run"),
            *("--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", "runc"),
            # Without systemd, podman complains at each start that it times no health check.
            "--log-level=fatal",
        ]

    def run(self, *arguments, given=""):
        """Run a command of the engine; return its exit code and what it printed."""
        done = subprocess.run(
            [*self._command, *map(str, arguments)],
            input=given, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def must(self, *arguments):
        code, said = self.run(*arguments)
        assert code == 0, said[-4000:]
        return said.strip()

    def start(self, volume, *arguments, options=(), environment=()):
        """Start a container as the page does: read-only, without capabilities."""
        named = [f"--env={name}={value}" for name, value in dict(environment).items()]
        return (
            "run", *options, "--read-only", "--cap-drop=ALL", "--tmpfs=/tmp", "--network=host",
            "--ulimit=nofile=4096:4096", "--ulimit=nproc=1000:1000",
            f"--volume={volume}:/var/lib/smshook:U", *named, "localhost/smshook", *arguments,
        )  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    tools.require(tools.missing("podman", "runc", "debootstrap", root=True))
    folder = tmp_path_factory.mktemp("engine")
    engine = Engine(folder)
    [base] = re.findall(r"(?m)^FROM (debian:\S+)", (ROOT / "Dockerfile").read_text())
    suite = base.removeprefix("debian:").removesuffix("-slim")
    subprocess.run(
        ["debootstrap", "--variant=minbase", suite, folder / "debian"],
        check=True, capture_output=True, timeout=600,
    )  # fmt: skip
    subprocess.run(["tar", "-C", folder / "debian", "-cf", folder / "base.tar", "."], check=True)
    engine.must("import", "--quiet", folder / "base.tar", f"docker.io/library/{base}")
    engine.must(
        "build", "--pull=never", "--isolation=chroot", "--network=host", "--format=docker",
        *settings_of_this_machine(folder), "--tag=localhost/smshook", ROOT,
    )  # fmt: skip
    yield engine
    engine.run("rm", "--all", "--force", "--time=0")


def settings_of_this_machine(folder):
    """Return options of the build for the package indexes of this machine."""
    roots = Path("/etc/ssl/certs/ca-certificates.crt")
    (folder / "pip.conf").write_text("[global]\ncert = /run/roots.crt\n")
    (folder / "apt.conf").write_text('Acquire::https::CAInfo "/run/roots.crt";\n')
    mounted = {
        roots: "/run/roots.crt",
        folder / "pip.conf": "/etc/pip.conf",
        folder / "apt.conf": "/etc/apt/apt.conf.d/00-roots",
    }
    return [f"--volume={here}:{there}:ro" for here, there in mounted.items()]


@pytest.fixture
def volume(tmp_path):
    folder = tmp_path / "volume"
    folder.mkdir()
    return folder


@pytest.fixture
def serving(engine, volume):
    """Start a service on the volume; return its container and its callback URL."""
    started = []

    def start(**options):
        environment = {**PORTS, **options.pop("environment", {})}
        container = engine.must(
            *engine.start(volume, options=["--detach", *options.pop("options", ())],
                          environment=environment)
        )  # fmt: skip
        started.append(container)
        live.eventually(lambda: live.holder_of(volume), within=30)
        return container

    yield start
    for container in started:
        engine.run("rm", "--force", "--time=0", container)


def callback_url(engine, container):
    return engine.must("exec", container, "smshook", "sources", "url", "tellabot")


def configure(engine, volume):
    """Write a configuration with the first command of the page."""
    begins = "docker run --rm -v smshook:/var/lib/smshook smshook "
    [command] = [line for line in typed.commands(PAGE) if line.startswith(begins)]
    arguments = shlex.split(command.removeprefix(begins))
    return engine.run(*engine.start(volume, *arguments, options=["--rm"]))


def test_image_holds_the_pinned_packages(engine):
    """Mutants: a package left out of COPY; no .sql; a cache in /root."""
    text = (ROOT / "requirements" / "run.txt").read_text()
    asked = map(Requirement, re.findall(r"(?m)^([A-Za-z0-9][^\\\n]+?) *\\?$", text))
    pinned = {
        (canonicalize_name(one.name), str(one.specifier).removeprefix("=="))
        for one in asked
        if one.marker is None or one.marker.evaluate()
    }
    python = ("run", "--rm", "--network=host", "--ulimit=nofile=4096:4096",
              "--ulimit=nproc=1000:1000", "--entrypoint=/opt/smshook/bin/python",
              "localhost/smshook")  # fmt: skip

    installed = json.loads(engine.must(*python, "-c", INSTALLED))
    caches = engine.must(*python, "-c", "import os; print(os.listdir('/var/lib/apt/lists'))")

    assert {(canonicalize_name(name), version) for name, version in installed} - pinned == {
        ("smshook", json.loads(engine.must("inspect", "localhost/smshook"))[0]["Labels"][
            "org.opencontainers.image.version"]),
    }  # fmt: skip
    assert caches == "[]"


def test_only_the_volume_belongs_to_the_user(engine):
    """The program cannot change itself. Mutant: `--owner=10001` on /opt."""
    found = engine.must(
        "run", "--rm", "--network=host", "--ulimit=nofile=4096:4096", "--ulimit=nproc=1000:1000",
        "--user=0", "--entrypoint=/usr/bin/find", "localhost/smshook",
        "/", "-xdev", "-user", USER.partition(":")[0],
    )  # fmt: skip

    assert found == "/var/lib/smshook"


def test_start_without_configuration_says_what_to_do(engine, volume):
    code, said = engine.run(*engine.start(volume, options=["--rm"]))

    complaint = "/var/lib/smshook/smshook.yaml: no such file; `smshook init` writes one\n"
    assert (2, complaint) == (code, said)


def test_container_serves_and_stops_in_order(engine, volume, serving):
    """It takes a callback, is healthy, cannot write its root, and ends in order on SIGTERM.

    Mutants: PATH without the environment; SMSHOOK_CONFIG on the read-only root; a shell as process
    1, which does not pass the signal on; root as user; a health check of another port.
    """
    code, said = configure(engine, volume)
    assert (0, True) == (code, "wrote /var/lib/smshook/smshook.yaml" in said)

    container = serving()
    answer = httpx.post(callback_url(engine, container), content=live.sms(1), trust_env=False)
    [line] = live.eventually(lambda: (volume / "events.jsonl").read_text().splitlines())
    health = json.loads(engine.must("inspect", "localhost/smshook"))[0]["Healthcheck"]["Test"]
    healthy = engine.run("exec", container, *health[1:])
    _, writing = engine.run("exec", container, "sh", "-c", "touch /opt/smshook/x /tmp/x /x")
    pid = engine.must("inspect", "--format={{.State.Pid}}", container)
    status = Path(f"/proc/{pid}/status").read_text()
    engine.must("stop", "--time=15", container)
    code = engine.must("inspect", "--format={{.State.ExitCode}}", container)
    log = engine.must("logs", container)

    assert (200, "accepted") == (answer.status_code, answer.json()["status"])
    assert answer.json()["events"][0] in line
    assert (0, "ready\n") == healthy
    assert 2 == writing.count("Read-only file system")
    assert "Uid:\t10001\t10001\t10001\t10001\n" in status
    assert "CapEff:\t0000000000000000\n" in status
    assert "1" == re.search(r"NSpid:.*\t(\d+)\n", status)[1]
    assert "0" == code
    assert '"event":"service.stopping"' in log


def test_commands_of_the_page_work(engine, volume, serving):
    """Run each `docker exec` of the page in order. Mutant: `smshook source url` on the page."""
    configure(engine, volume)
    before = (volume / "smshook.yaml").read_text()
    container = serving()

    done = [
        (words, engine.run("exec", "-i", container, *words, given=before if is_fed else ""))
        for words, is_fed in typed.in_the_container(PAGE)
    ]

    assert 5 <= len(done)
    assert [(words, said) for words, (code, said) in done if code != 0] == []
    assert before in [said for _, (_, said) in done]
    assert before == (volume / "smshook.yaml").read_text()


def test_next_container_continues_with_the_volume(engine, volume, serving):
    configure(engine, volume)
    for number in (1, 2):
        container = serving()
        url = callback_url(engine, container)
        answer = httpx.post(url, content=live.sms(number), trust_env=False)
        listed = engine.must("exec", container, "smshook", "events", "list")
        engine.must("rm", "--force", "--time=15", container)

        assert "accepted" == answer.json()["status"]
        assert 1 + number == len(listed.splitlines())


def test_mounted_configuration_is_used(volume, serving, tmp_path):
    """Mounted read-only beside its secret; only the journal is on the volume."""
    (tmp_path / "smshook.yaml").write_text(CONFIGURED)
    (tmp_path / "hook_secret").write_text("s" * 40)

    serving(
        options=[
            f"--volume={tmp_path / 'smshook.yaml'}:/mnt/smshook.yaml:ro",
            f"--volume={tmp_path / 'hook_secret'}:/run/secrets/hook_secret:ro",
        ],
        environment={
            "SMSHOOK_CONFIG": "/mnt/smshook.yaml",
            "SMSHOOK_JOURNAL__URL": "sqlite:////var/lib/smshook/smshook.db",
            "TELLABOT_TOKEN": live.TOKEN,
        },
    )
    url = live.holder_of(volume).url
    posted = httpx.post(f"{url}/in/tellabot/{live.TOKEN}", content=live.sms(3), trust_env=False)

    assert 200 == posted.status_code
    assert live.eventually(lambda: (volume / "events.jsonl").read_text().splitlines())
