"""What an engine does with a Dockerfile, with the tools of a Debian: debootstrap, overlays, chroot.

All happens in namespaces of one process that lives as long as its standard input: when the tests
end, whichever way, processes and mounts are gone with it.
"""

import ast
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import dockerfile
import pytest

TOOLS = ("chroot", "debootstrap", "mount", "nsenter", "setpriv", "unshare")
#: What an engine hands to a container if nobody says otherwise.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: Where this machine is seen while a RUN is executed, and its settings of apt.
HOST, APT = "/run/host", "/run/apt.conf"

#: A path, by itself or in a `file://` URL.
LOCAL = re.compile(r"(?:(?<=file://)|(?<![\w/:]))/[\w./-]+")


def missing(*tools, root=False):
    """What a test needs and is not here."""
    lacks = [f"no {tool}" for tool in tools if shutil.which(tool) is None]
    return [*lacks, *(["not root"] if root and os.geteuid() != 0 else [])]


def require(lacks):
    """Skip for a developer; in CI it is a failure, for there this is what keeps it right."""
    if lacks and os.environ.get("CI") != "true":
        pytest.skip(f"cannot be tested here: {', '.join(lacks)}")
    assert [] == lacks


class Namespaces:
    """A mount and a process namespace, and a folder in memory in it."""

    def __init__(self, folder):
        self.folder = folder
        self._outer = subprocess.Popen(
            [
                *("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"),
                *("sh", "-c", 'mount -t tmpfs -o size=3g tmpfs "$0" && echo ready && exec cat'),
                folder,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert "ready\n" == self._outer.stdout.readline()
        self.pid = descendants(self._outer.pid)[0]

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self._outer.stdin.close()
        try:
            self._outer.wait(10)
        except subprocess.TimeoutExpired:
            self._outer.kill()
            self._outer.wait()
        self._outer.stdout.close()

    def seen(self, path):
        """A path in there as this process reaches it."""
        return Path(f"/proc/{self.pid}/root") / Path(path).relative_to("/")

    def typed(self, *command):
        return ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--", *map(str, command)]

    def run(self, *command, timeout=240, **kwargs):
        """The standard output of a command that must succeed."""
        done = subprocess.run(
            self.typed(*command),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            **kwargs,
        )
        assert 0 == done.returncode, f"{command}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout


class Image:
    """One stage of a Dockerfile while it is built, then what is left of it."""

    def __init__(self, builder, stage, layers):
        self.builder, self.stage = builder, stage
        self.layers = layers
        self.environment = {"PATH": PATH}
        self.arguments, self.labels = {}, {}
        self.user, self.workdir = "0:0", "/"
        self.volumes, self.healthcheck = [], []
        self.entrypoint, self.command = [], []

    def inherit(self, image):
        self.environment |= image.environment
        self.user, self.workdir = image.user, image.workdir

    def told(self, instruction):
        """What is no file of the image but said of it."""
        match instruction.name:
            case "ENV":
                self.environment |= instruction.pairs()
            case "ARG":
                self.arguments |= instruction.pairs()
            case "LABEL":
                self.labels |= {
                    name: re.sub(r"\$\{(\w+)\}", lambda m: self.arguments[m[1]], value)
                    for name, value in instruction.pairs().items()
                }
            case "USER":
                self.user = instruction.text
            case "VOLUME":
                self.volumes += instruction.words()
            case "HEALTHCHECK":
                self.healthcheck = dockerfile.parsed(instruction.text).words()
            case "ENTRYPOINT":
                self.entrypoint = instruction.words()
            case "CMD":
                self.command = instruction.words()
            case "EXPOSE" | "STOPSIGNAL":
                pass  # words for people, and what is the default
            case name:
                raise AssertionError(f"{name}: carry it out here, too")

    @property
    def upper(self):
        """What this stage itself has written."""
        return self.layers[0]


class Builder:
    """Executes the instructions of a Dockerfile, stage by stage."""

    def __init__(self, namespaces, files):
        self.ns, self.files = namespaces, files
        self.images = {}

    def debootstrap(self, reference):
        """The base image; its tag names the suite."""
        suite = re.fullmatch(r"debian:([a-z]+)-slim", reference)[1]
        root = self.ns.folder / "debian"
        self.ns.run("debootstrap", "--variant=minbase", suite, root, mirror())
        return root

    def build(self, stages):
        for stage in stages:
            if stage.of not in self.images:
                base = Image(self, None, [self.debootstrap(stage.of)])
                self.images[stage.of] = base
            self.images[stage.name] = self._stage(stage, self.images[stage.of])
        return self.images[stages[-1].name]

    def _stage(self, stage, below):
        folder = self.ns.folder / stage.name
        for name in ("upper", "work", "root"):
            self.ns.run("mkdir", "-p", folder / name)
        image = Image(self, stage, [folder / "upper", *below.layers])
        image.inherit(below)
        root = folder / "root"
        lower = ":".join(map(str, below.layers))
        options = f"lowerdir={lower},upperdir={folder / 'upper'},workdir={folder / 'work'}"
        self.ns.run("mount", "-t", "overlay", "-o", options, "overlay", root)
        for instruction in stage.instructions:
            self._follow(image, root, instruction)
        self.ns.run("umount", root)
        return image

    def _follow(self, image, root, instruction):
        match instruction.name:
            case "RUN":
                self._run(image, root, instruction)
            case "COPY":
                self._copy(image, root, instruction)
            case "WORKDIR":
                image.workdir = instruction.text
                self.ns.run("mkdir", "-p", f"{root}{image.workdir}")
            case _:
                image.told(instruction)

    def _run(self, image, root, instruction):
        # What it needs of this machine is mounted while it runs and leaves nothing behind.
        environment = image.environment | image.arguments | settings_of_this_machine()
        script = f"""
            mount -t proc proc {root}/proc
            mount -t tmpfs tmpfs {root}/run
            mkdir {root}{HOST}
            mount --bind -o ro / {root}{HOST}
            apt-config dump | grep '^Acquire::' > {root}{APT}
            exec chroot --userspec={image.user} {root} env -i "$@"
        """
        inside = ["sh", "-c", f"cd {image.workdir} && {instruction.text}"]
        self.ns.run(
            *("unshare", "--mount", "sh", "-euc", script, "sh"),
            *(f"{name}={value}" for name, value in environment.items()),
            *inside,
        )

    def _copy(self, image, root, instruction):
        *sources, target = instruction.words()
        place = Path(os.path.normpath(root / Path(image.workdir, target).relative_to("/")))
        source_image = next(
            (o.removeprefix("--from=") for o in instruction.options if o.startswith("--from=")),
            None,
        )
        assert len(instruction.options) == (1 if source_image else 0)
        if source_image:
            [source] = sources
            self._copy_between(self.images[source_image], source, place)
            return
        for source in sources:
            inside = {
                Path(path).relative_to(source): file
                for path, file in self.files.items()
                if Path(path).is_relative_to(source)
            }
            assert inside, f"COPY {source}: nothing of that name is in the context"
            for path, file in inside.items():
                # Of a folder its contents, of a file itself.
                into = place / (path if path.name else file.name)
                self.ns.run("install", "-D", "--mode=0644", file, into)

    def _copy_between(self, image, source, place):
        """`cp -a` of a folder that one stage has made."""
        self.ns.run("mkdir", "-p", place)
        self.ns.run("cp", "-a", f"{image.upper}{source}/.", place)


class Container:
    """A process in the root of an image, as `docker run --read-only --cap-drop ALL` starts one.

    The root is read-only, `/tmp` is in memory, `volume` is a folder of this machine; the process is
    number 1 and has no capabilities. The network is this machine's.
    """

    def __init__(self, image, volume, *, environment=(), mounts=(), arguments=None):
        self.image, self.ns = image, image.builder.ns
        self.volume = Path(volume)
        self.root = self.ns.folder / "container"
        command = [*image.entrypoint, *(image.command if arguments is None else arguments)]
        layers = ":".join(map(str, image.layers))
        [place] = image.volumes
        more = "\n".join(f"mount --bind -o ro {here} {self.root}{there}" for here, there in mounts)
        # Without an upper layer an overlay cannot be written: there is nowhere to.
        memory = self.root / "tmp"
        script = f"""
            mkdir -p {self.root}
            mount -t overlay -o ro,lowerdir={layers} overlay {self.root}
            mount -t proc proc {self.root}/proc
            mount -t tmpfs -o mode=1777 tmpfs {memory}
            mount --bind /dev {self.root}/dev
            mount --bind {self.volume} {self.root}{place}
            {more}
            exec "$@"
        """
        self.environment = {**image.environment, **dict(environment)}
        self.process = subprocess.Popen(
            self.ns.typed(
                *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
                *("sh", "-euc", script, "sh", *self._inside(command)),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _inside(self, command):
        uid, _, gid = self.image.user.partition(":")
        return [
            *("chroot", self.root),
            *("/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"),
            *("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"),
            *("/usr/bin/env", "-i", f"--chdir={self.image.workdir}"),
            *(f"{name}={value}" for name, value in self.environment.items()),
            *command,
        ]

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        # All of them: what is left would hold the pipes open that are read to their end here.
        for pid in reversed([self.process.pid, *descendants(self.process.pid)]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate(timeout=20)

    @property
    def pid(self):
        """Of what is process 1 in there: the child of unshare, which is the child of nsenter."""
        return descendants(self.process.pid)[1]

    def exec(self, *command, given=""):
        """Another command in it, like `docker exec`: its exit code and what it prints."""
        done = subprocess.run(
            [
                *("nsenter", f"--target={self.pid}", "--mount", "--pid", "--"),
                *map(str, self._inside(command)),
            ],
            input=given,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def stop(self):
        """SIGTERM to process 1; exit code, what it has printed, what it has complained of."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def wait(self, timeout=20):
        out, errors = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, errors


def descendants(pid):
    """Of a process that still is; children before their own."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [found for child in children for found in (int(child), *descendants(child))]


def mirror():
    """Of Debian, as this machine has it."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return next(
        line.split()[0]
        for line in listed.stdout.splitlines()
        if line.split()[0].rstrip("/").endswith("/debian")
    )


def settings_of_this_machine():
    """Where pip and apt fetch from, as this machine is set up; none of it is the Dockerfile's."""
    kept = {n: v for n, v in os.environ.items() if n.lower().endswith("_proxy")}
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2].upper().replace("-", "_")
        kept[f"PIP_{name}"] = LOCAL.sub(moved, ast.literal_eval(value))
    return kept | {"APT_CONFIG": APT, "DEBIAN_FRONTEND": "noninteractive"}


def moved(match):
    """A path of this machine, as it is seen from inside."""
    path = Path(match[0])
    return f"{HOST}{path.resolve()}" if path.exists() else match[0]
