"""The client's own wheel is built, installed into an empty environment, and used."""

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "clients/python"
PROJECT = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
BARE = {"PATH": os.defpath, "LANG": "C.UTF-8"}
USE = """
import json, sys, smshook_client
from smshook_client import Client, AsyncClient
client = Client("http://127.0.0.1:9", "k")
imported = sorted({"core", "pytest"} & set(sys.modules))
print(json.dumps([smshook_client.__file__, repr(client), imported]))
"""


def run(*command, cwd):
    """Return the standard output of a command that must succeed."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False, env=BARE
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build it from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, FOLDER, cwd=folder)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """Return the Python of a new environment with the wheel.

    Tests download nothing: a .pth file names the folder of httpx and pytest.
    """
    folder = tmp_path_factory.mktemp("environment")
    uv = Path(sys.executable).with_name("uv")
    python = folder / "venv/bin/python"
    run(uv, "venv", "--no-config", "--python", sys.executable, "venv", cwd=folder)
    plain = ("--no-config", "--no-cache", "--no-index", "--no-deps")
    run(uv, "pip", "install", *plain, "--python", python, wheel, cwd=folder)
    [site] = folder.glob("venv/lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_wheel_holds_the_typed_module_only(wheel):
    """Mutant: `py.typed` left out, so that users get no types."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}

    module = FOLDER / "smshook_client"
    ours = {f"smshook_client/{path.name}" for path in module.iterdir() if path.is_file()}
    assert ours == packed
    assert "smshook_client/py.typed" in packed


def test_installed_client_needs_no_smshook(python, tmp_path):
    """Mutants: an import of `core`; an import of pytest without the extra."""
    file, shown, imported = json.loads(run(python, "-c", USE, cwd=tmp_path))

    assert Path(file).is_relative_to(python.parents[1])
    assert ("<Client http://127.0.0.1:9>", []) == (shown, imported)


def test_installed_client_brings_the_fixture(python, tmp_path):
    """Mutant: the entry point `pytest11` left out."""
    fixtures = run(python, "-m", "pytest", "--fixtures", "-p", "no:cacheprovider", cwd=tmp_path)

    assert "sms [session scope]" in fixtures
    assert {"httpx>=0.28"} == set(PROJECT["dependencies"])
