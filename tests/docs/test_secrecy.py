"""The page about secrecy matches the program and the unit."""

import re
import shlex
import subprocess

import tools
from pages import DOCS, blocks
from prompt import be_in, printed, run

PAGE = "secrecy.md"
UNIT = (DOCS.parent / "packaging" / "smshook.service").read_text()


def test_check_prints_what_the_page_shows(tmp_path, monkeypatch):
    """Mutant: a line that is only on the page."""
    be_in(tmp_path, monkeypatch)
    [shown] = [block for block in blocks(PAGE, "") if block.startswith("secrecy\n")]
    printed("init")

    said = printed("check")

    assert said.endswith(f"\n{shown}")


def test_credential_of_the_page_is_that_of_the_unit():
    """Mutants: another name in the command; another path in the unit."""
    *_, encrypt, shred = blocks(PAGE, "sh")[0].splitlines()
    [name, made] = re.findall(r"(?m)^#LoadCredentialEncrypted=(\w+):(\S+)$", UNIT)[0]
    places = re.findall(r"\$\{file:(/run/credentials/[^}]+)}", (DOCS / PAGE).read_text())

    words = shlex.split(encrypt)

    assert words[:2] == ["systemd-creds", "encrypt"]
    assert words[-2:] == [shred.split()[-1], made]
    assert f"--name={name}" in words
    assert places == [f"/run/credentials/smshook.service/{name}"]
    assert f"LoadCredentialEncrypted={name}:{made}" in (DOCS / PAGE).read_text()


def test_command_gets_the_root_key_from_the_variable_of_the_page(tmp_path, monkeypatch):
    """The file of the credential exists only for the service. Mutant: `SMSHOOK_SEAL_ROOT`."""
    be_in(tmp_path, monkeypatch)
    printed("init")
    path = tmp_path / "smshook.yaml"
    credential = "${file:/run/credentials/none.service/root}"
    path.write_text(path.read_text().replace("${file:smshook.root}", credential))
    export, _ = blocks(PAGE, "sh")[1].splitlines()
    script = export.replace(
        "systemd-creds decrypt --name=root /etc/smshook/root.cred -", "cat smshook.root"
    )
    name = re.findall(r"export (\w+)=", export)[0]
    value = subprocess.run(
        ["sh", "-ec", f'{script}; printf %s "${name}"'], capture_output=True, text=True, check=True
    ).stdout

    assert run("check").exit_code == 2
    assert "the root key comes from the environment" in printed("check", **{name: value})


def test_options_of_systemd_creds_exist():
    """Mutants: `--with-keys=`; `--with-key=host,tpm2`."""
    tools.require(tools.missing("systemd-creds"))
    encrypt = next(line for line in blocks(PAGE, "sh")[0].splitlines() if "encrypt" in line)

    usage = subprocess.run(
        ["systemd-creds", "--help"], capture_output=True, text=True, check=True
    ).stdout

    listed = set(re.findall(r"--([\w-]+)=", usage))
    options = dict(re.findall(r"--([\w-]+)=(\S+)", encrypt))
    assert options.keys() <= listed
    assert re.search(rf"[=|]{re.escape(options['with-key'])}[|\s]", usage)
