"""The wheel is the product: built, installed away from the sources, and used."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ["journal", "receiver", "rehearsal", "routes", "server", "sinks"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: Nothing that leads Python back to the sources, or the command to a configuration.
BARE = {"PATH": os.defpath, "LANG": "C.UTF-8"}

EVERYTHING = """
import importlib, json, pkgutil, sys
names = sys.argv[1:]
for package in sys.argv[1:]:
    path = importlib.import_module(package).__path__
    names += [module.name for module in pkgutil.walk_packages(path, package + ".")]
print(json.dumps({name: importlib.import_module(name).__file__ for name in names}))
"""


def run(*command, cwd, **kwargs):
    """The standard output of a command that must succeed."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False, **kwargs
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Through the source distribution, so that it is seen to be whole."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    [wheel] = folder.glob("smshook-*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A virtual environment with the wheel, and what it depends on in reach but not the sources.

    A path named by a .pth file does not have its own .pth files read, so the editable install that
    the tests run from stays out.
    """
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=folder)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    (Path(site.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv"


def test_the_wheel_holds_the_packages_whole_and_nothing_else(wheel):
    """Mutant: `*.sql` or `*.csv` left out of the wheel."""
    ours = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert ours == packed
    assert {".py", ".sql", ".csv"} <= {Path(name).suffix for name in packed}


def test_every_module_can_be_imported_from_the_wheel(installed, tmp_path):
    printed = run(installed / "bin" / "python", "-c", EVERYTHING, *PACKAGES, cwd=tmp_path, env=BARE)

    files = json.loads(printed)

    assert set(PACKAGES) < set(files)
    assert {} == {
        name: file for name, file in files.items() if not Path(file).is_relative_to(installed)
    }


def test_the_command_works_in_an_empty_folder(wheel, installed, tmp_path):
    smshook = installed / "bin" / "smshook"

    version = run(smshook, "version", cwd=tmp_path, env=BARE)
    run(smshook, "init", cwd=tmp_path, env=BARE)
    checked = run(smshook, "check", cwd=tmp_path, env=BARE)

    assert wheel.name.split("-")[1] in version
    assert ["smshook.yaml"] == [path.name for path in tmp_path.iterdir()]
    assert 0o600 == (tmp_path / "smshook.yaml").stat().st_mode & 0o777
    assert "everything" in checked
