"""Disks for tests that break them: small ones, frozen ones, and ones that lose their power."""

import contextlib
import os
import shutil
import subprocess

import pytest


def need(tool, package):
    """Skip without that tool; CI installs it, and fails where it could not."""
    if shutil.which(tool) is None:
        assert "CI" not in os.environ, f"{tool} is missing; apt install {package}"
        pytest.skip(f"{tool} is missing; apt install {package}")


def run(*command):
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


@contextlib.contextmanager
def mounted(folder, *arguments):
    """A file system of its own in that folder."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *arguments, folder], check=False, capture_output=True)
    if done.returncode:
        pytest.skip("mounting needs root")
    try:
        yield folder
    finally:
        run("umount", "-l", folder)


class Disk:
    """A disk in a file: it can be frozen, and its power can be cut."""

    def __init__(self, folder, kind):
        need(f"mkfs.{kind}", {"ext4": "e2fsprogs", "xfs": "xfsprogs"}[kind])
        self._image, self._folder = folder / "disk.img", folder / "disk"
        run("truncate", "-s", "400M", self._image)
        run(f"mkfs.{kind}", "-q", self._image)

    def mounted(self):
        return mounted(self._folder, "-o", "loop", str(self._image))

    def cut_power(self):
        """Lose everything that is not synced yet."""
        need("xfs_io", "xfsprogs")
        run("xfs_io", "-x", "-c", "shutdown", self._folder)

    @contextlib.contextmanager
    def frozen(self):
        """Nothing can be written, as while a snapshot is made."""
        need("fsfreeze", "util-linux")
        run("fsfreeze", "-f", self._folder)
        try:
            yield
        finally:
            run("fsfreeze", "-u", self._folder)
