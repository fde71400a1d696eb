"""The wheel is built, installed into a separate environment, and used."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import httpx
import pytest
from developing import Developing
from live import eventually
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = [
    ROOT / name for name in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
]
PACKAGES = [folder.name for folder in FOLDERS]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: No variable that leads Python to the sources, or the command to a configuration.
BARE = {"PATH": os.defpath, "LANG": "C.UTF-8"}
PORTS = ("--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")

EVERYTHING = """
import importlib, json, pkgutil, sys
names = sys.argv[1:]
for package in sys.argv[1:]:
    path = importlib.import_module(package).__path__
    names += [module.name for module in pkgutil.walk_packages(path, package + ".")]
print(json.dumps({name: importlib.import_module(name).__file__ for name in names}))
"""


def run(*command, cwd, **kwargs):
    """Return the standard output of a command that must succeed."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False, **kwargs
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build it as the README says, from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    [wheel] = folder.glob("smshook-*.whl")
    return wheel


@pytest.fixture(scope="module")
def smshook(wheel, tmp_path_factory):
    """Return the command that `uv tool install` installs from the wheel.

    Tests download nothing. Overrides leave the dependencies out, and a .pth file names their
    folder. Python does not read the .pth files of that folder, so it cannot find the sources.
    """
    folder = tmp_path_factory.mktemp("tools")
    dependencies = [Requirement(text).name for text in PROJECT["project"]["dependencies"]]
    left_out = [f"{name}; python_version < '3'\n" for name in dependencies]
    (folder / "left-out.txt").write_text("".join(left_out))
    run(
        *(Path(sys.executable).with_name("uv"), "tool", "install", "--python", sys.executable),
        *("--no-config", "--no-cache", "--no-index", "--overrides", "left-out.txt", wheel),
        cwd=folder,
        env=BARE | {"UV_TOOL_DIR": str(folder), "UV_TOOL_BIN_DIR": str(folder / "bin")},
    )
    [site] = folder.glob("smshook/lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "smshook"


def test_wheel_holds_all_files_of_the_packages_only(wheel):
    """Mutant: `*.sql` or `*.csv` left out of the wheel."""
    ours = {
        path.relative_to(folder.parent).as_posix()
        for folder in FOLDERS
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert ours == packed
    assert {".py", ".sql", ".csv"} <= {Path(name).suffix for name in packed}


def test_every_module_can_be_imported_from_the_wheel(smshook, tmp_path):
    environment = smshook.resolve().parents[1]
    python = environment / "bin" / "python"

    files = json.loads(run(python, "-c", EVERYTHING, *PACKAGES, cwd=tmp_path, env=BARE))

    assert set(PACKAGES) < set(files)
    assert {} == {
        name: file for name, file in files.items() if not Path(file).is_relative_to(environment)
    }


def test_installed_command_serves_from_any_folder(wheel, smshook, tmp_path):
    """Migrations and tables are in the wheel. Mutant: `core/*.csv` left out of it."""
    version = run(smshook, "version", cwd=tmp_path, env=BARE)
    run(smshook, "init", cwd=tmp_path, env=BARE)
    made = {path.name for path in tmp_path.iterdir()}
    checked = run(smshook, "check", cwd=tmp_path, env=BARE)

    with subprocess.Popen(
        [smshook, "serve", *PORTS], cwd=tmp_path, env=BARE, stdout=subprocess.PIPE, text=True
    ) as service:
        try:
            # Before it, there may be warnings about the configuration.
            assert "service.started" in (json.loads(line)["event"] for line in service.stdout)
            run(smshook, "send", "tellabot", cwd=tmp_path, env=BARE)
            listed = run(smshook, "events", "list", "--output", "json", cwd=tmp_path, env=BARE)
            eventually((tmp_path / "events.jsonl").exists)
        finally:
            service.send_signal(signal.SIGTERM)
        service.communicate(timeout=15)

    assert wheel.name.split("-")[1] in version
    assert {"smshook.root", "smshook.yaml"} == made
    assert 0o600 == (tmp_path / "smshook.yaml").stat().st_mode & 0o777
    assert "everything" in checked
    assert '"country": "US"' in listed
    assert 0 == service.returncode
    assert {"smshook.yaml", "smshook.db", "events.jsonl"} <= {
        path.name for path in tmp_path.iterdir()
    }


@pytest.mark.nightly
def test_installed_command_rehearses_in_any_folder(smshook, tmp_path):
    """The page of the simulated providers is in the wheel."""
    with Developing(tmp_path, "--output", "json", command=str(smshook)) as dev:
        page = httpx.get(dev.said["page"], trust_env=False, follow_redirects=True)
        order = dev.post("herosms/rehearsal/orders")
        dev.post(f"herosms/rehearsal/orders/{order['id']}/messages", text="Your code is 4711")
        [event] = eventually(dev.events)

    assert (200, "text/html") == (page.status_code, page.headers["content-type"].split(";")[0])
    assert "herosms" == event["source"]
    assert [".smshook-dev"] == [path.name for path in tmp_path.iterdir()]
