"""The Dockerfile's very steps, in a clean Debian, and what comes of them: a service.

No engine takes part: `roots` does what one does. What an engine alone can show (that a registry has
the base image, its networks) is not shown here.
"""

import os
import re
import stat
from pathlib import Path

import dockerfile
import httpx
import live
import pytest
import roots
import typed
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/run-in-a-container.md").read_text()
USER = 10001

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: Any free port, of loopback only: the network is this machine's.
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


@pytest.fixture
def namespaces(tmp_path):
    roots.require(roots.missing(*roots.TOOLS, root=True))
    folder = tmp_path / "in-memory"
    folder.mkdir()
    with roots.Namespaces(folder) as namespaces:
        yield namespaces


@pytest.fixture
def volume(tmp_path):
    """A folder as an engine makes a named volume of this image."""
    return empty_volume(tmp_path / "volume")


def empty_volume(folder):
    folder.mkdir()
    folder.chmod(0o700)
    os.chown(folder, USER, USER)
    return folder


def test_the_image_is_built_and_serves_as_its_pages_say(namespaces, volume, tmp_path):
    """One test, for the root takes a minute or two to make.

    Mutants, of the image when it is made: PATH without the environment; SMSHOOK_CONFIG on the
    read-only root; a shell as process 1, which keeps the signal to itself; root as its user; a
    health check of another port.
    """
    files = dockerfile.context(ROOT, (ROOT / ".dockerignore").read_text())
    stages = dockerfile.read((ROOT / "Dockerfile").read_text())

    image = roots.Builder(namespaces, files).build(stages)

    holds_what_runs_and_nothing_else(image)
    belongs_to_a_user_that_is_not_root(image)
    says_what_to_do_without_a_configuration(image, volume)
    writes_a_first_configuration(image, volume)
    takes_a_callback_is_healthy_and_ends_in_order(image, volume)
    goes_on_where_it_was(image, volume)
    does_what_the_page_tells_to_type(image, volume)
    runs_on_a_configuration_from_elsewhere(image, tmp_path)


def holds_what_runs_and_nothing_else(image):
    """Mutants: no .sql; a file that is not compiled; one in /etc; a cache in /root."""
    ours, base = (image.builder.ns.seen(layer) for layer in image.layers[:2])
    written, below = files_of(ours), files_of(base)
    [packages] = (ours / "opt/smshook/lib").glob("python3.*/site-packages")
    modules = {name for name in image.builder.files if "/" in name and "requirements" not in name}
    sources = [
        path for path in packages.rglob("*.py") if path.relative_to(ours).as_posix() in written
    ]
    caches = ("root/", "tmp/", "var/cache/apt/archives/", "var/lib/apt/lists/", "var/log/")

    assert {name for name in written if not name.startswith("opt/smshook/")} == set()
    assert {name for name in modules if not (packages / name).is_file()} == set()
    assert {path for path in sources if not compiled(path)} == set()
    assert pinned() | {("smshook", image.labels["org.opencontainers.image.version"])} == {
        (canonicalize_name(name), version)
        for name, version in (
            path.name.removesuffix(".dist-info").rsplit("-", 1)
            for path in packages.glob("*.dist-info")
        )
    }
    assert [name for name in below if name.startswith(caches) and not name.endswith("/lock")] == []


def files_of(layer):
    """Relative paths; what is taken away from the layer below is a device, and none of them."""
    return {
        path.relative_to(layer).as_posix()
        for path in layer.rglob("*")
        if not path.is_dir() and not stat.S_ISCHR(path.lstat().st_mode)
    }


def compiled(path):
    return any((path.parent / "__pycache__").glob(f"{path.stem}.cpython-3??.pyc"))


def pinned():
    """Name and version of what requirements/run.txt asks for on this system."""
    text = (ROOT / "requirements" / "run.txt").read_text()
    lines = re.findall(r"(?m)^([A-Za-z0-9][^\\\n]+?) *\\?$", text)
    asked = [Requirement(line) for line in lines]
    return {
        (canonicalize_name(one.name), str(one.specifier).removeprefix("=="))
        for one in asked
        if one.marker is None or one.marker.evaluate()
    }


def belongs_to_a_user_that_is_not_root(image):
    """All but the volume is root's: what runs cannot change itself. Mutant: root's volume."""
    ours = image.builder.ns.seen(image.upper)
    [place] = image.volumes
    folder = (ours / place.removeprefix("/")).stat()

    others = {path for path in ours.rglob("*") if path.lstat().st_uid != 0}

    assert (USER, USER, 0o700) == (folder.st_uid, folder.st_gid, stat.S_IMODE(folder.st_mode))
    assert {ours / place.removeprefix("/")} == others


def says_what_to_do_without_a_configuration(image, volume):
    with roots.Container(image, volume) as container:
        ended = container.wait()

    said = f"{image.environment['SMSHOOK_CONFIG']}: no such file; `smshook init` writes one\n"
    assert (2, "", said) == ended
    assert [] == list(volume.iterdir())


def writes_a_first_configuration(image, volume):
    """By the first command of the page."""
    start = f"docker run --rm -v smshook:{image.volumes[0]} smshook "
    [command] = [line for line in typed.commands(PAGE) if line.startswith(start)]
    arguments = command.removeprefix(start).split()
    with roots.Container(image, volume, arguments=arguments) as container:
        code, said, complaints = container.wait()

    file = volume / "smshook.yaml"
    assert (0, "") == (code, complaints)
    assert "wrote /var/lib/smshook/smshook.yaml" in said
    assert (USER, 0o600) == (file.stat().st_uid, stat.S_IMODE(file.stat().st_mode))


def takes_a_callback_is_healthy_and_ends_in_order(image, volume):
    """On a root that cannot be written, as the user of the image, as process 1."""
    before = state(image)
    with roots.Container(image, volume, environment=PORTS) as container:
        live.eventually(lambda: live.holder_of(volume), within=20)
        code, url = container.exec("smshook", "sources", "url", "tellabot")
        answer = httpx.post(url.strip(), content=live.sms(1), trust_env=False)
        [line] = live.eventually(lambda: (volume / "events.jsonl").read_text().splitlines())
        healthy = container.exec(*image.healthcheck)
        root_is_writable = container.exec("sh", "-c", "touch /opt/smshook/x /tmp/x /x; ls /tmp")
        status = Path(f"/proc/{container.pid}/status").read_text()
        ended, log, complaints = container.stop()

    assert (0, 200, "accepted") == (code, answer.status_code, answer.json()["status"])
    assert answer.json()["events"][0] in line
    assert (0, "ready\n") == healthy
    assert root_is_writable[1].count("Read-only file system") == 2
    assert root_is_writable[1].startswith("x\n")
    assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}\n" in status
    assert "CapEff:\t0000000000000000\n" in status
    assert "NSpid:" in status
    assert status.partition("NSpid:")[2].splitlines()[0].split()[-1] == "1"
    assert (0, "") == (ended, complaints)
    assert '"event":"service.stopping"' in log
    assert before == state(image)


def does_what_the_page_tells_to_type(image, volume):
    """Each `docker exec` of the page, in their order; the configuration stays what it was.

    Mutant: `smshook source url` on the page.
    """
    file = volume / "smshook.yaml"
    before = file.stat(), file.read_text()
    with roots.Container(image, volume, environment=PORTS) as container:
        live.eventually(lambda: live.holder_of(volume), within=20)
        done = [
            (words, container.exec(*words, given=before[1] if is_fed else ""))
            for words, is_fed in typed.in_the_container(PAGE)
        ]
        container.stop()

    assert 5 <= len(done)
    assert [words for words, (code, _) in done if code != 0] == []
    assert before[1] in [said for _, (_, said) in done]
    after = file.stat(), file.read_text()
    assert (before[0].st_uid, before[0].st_mode, before[1]) == (
        after[0].st_uid, after[0].st_mode, after[1],
    )  # fmt: skip


def goes_on_where_it_was(image, volume):
    """Another container on the same volume, as after an update."""
    with roots.Container(image, volume, environment=PORTS) as container:
        live.eventually(lambda: live.holder_of(volume), within=20)
        _, url = container.exec("smshook", "sources", "url", "tellabot")
        again = httpx.post(url.strip(), content=live.sms(2), trust_env=False)
        stats = container.exec("smshook", "events", "list")
        ended, _, _ = container.stop()

    assert 0 == ended
    assert "accepted" == again.json()["status"]
    assert [0, 3] == [stats[0], len(stats[1].splitlines())]


def runs_on_a_configuration_from_elsewhere(image, tmp_path):
    """Mounted read-only beside its secret; only the journal is on the volume."""
    volume = empty_volume(tmp_path / "another")
    (tmp_path / "smshook.yaml").write_text(CONFIGURED)
    (tmp_path / "hook_secret").write_text("s" * 40)
    environment = {
        **PORTS,
        "SMSHOOK_CONFIG": "/mnt/smshook.yaml",
        "SMSHOOK_JOURNAL__URL": "sqlite:////var/lib/smshook/smshook.db",
        "TELLABOT_TOKEN": live.TOKEN,
    }
    mounts = [(tmp_path / "mnt", "/mnt"), (tmp_path / "secrets", "/run")]
    (tmp_path / "mnt").mkdir()
    (tmp_path / "secrets" / "secrets").mkdir(parents=True)
    (tmp_path / "smshook.yaml").rename(tmp_path / "mnt" / "smshook.yaml")
    (tmp_path / "hook_secret").rename(tmp_path / "secrets" / "secrets" / "hook_secret")

    with roots.Container(image, volume, environment=environment, mounts=mounts) as container:
        holder = live.eventually(lambda: live.holder_of(volume), within=20)
        posted = httpx.post(
            f"{holder.url}/in/tellabot/{live.TOKEN}", content=live.sms(3), trust_env=False
        )
        live.eventually(lambda: (volume / "events.jsonl").read_text().splitlines())
        healthy = container.exec(*image.healthcheck)
        ended, _, complaints = container.stop()

    assert (200, (0, "ready\n")) == (posted.status_code, healthy)
    assert (0, "") == (ended, complaints)


def state(image):
    """Of the image's own layer: each path, its size and when it was changed."""
    ours = image.builder.ns.seen(image.upper)
    return {path: (path.lstat().st_size, path.lstat().st_mtime_ns) for path in ours.rglob("*")}
