"""The options of encryption."""

import pytest
from config_files import SERVER, complaints, written

from core.secret import Secret
from core.units import Duration
from server.config.load import load

ROOT = "the-root-key-of-these-tests-0123456789"


def test_nothing_is_sealed_by_default(tmp_path):
    config = load(written(tmp_path, SERVER), environ={}).config

    assert not config.seal.is_on
    assert config.seal.path == tmp_path / "smshook.keys"


def test_root_keys_come_from_files_and_variables(tmp_path):
    """One line end is dropped. Mutant: a root key with its line end, which is another key."""
    (tmp_path / "root").write_text(f"{ROOT}-a\n")
    text = 'seal: {root: ["${file:root}", "${B}"], file: sub/keys, period: 10m}\n'
    (tmp_path / "sub").mkdir()

    loaded = load(written(tmp_path, SERVER + text), environ={"B": f"{ROOT}-b"})

    seal = loaded.config.seal
    assert seal.root == (Secret(f"{ROOT}-a"), Secret(f"{ROOT}-b"))
    assert (seal.path, seal.period) == (tmp_path / "sub" / "keys", Duration(600))
    assert loaded.root_files == (tmp_path / "root", None)


@pytest.mark.parametrize("data", ["{}\n\n", "{}\r\n", " {}\t\n", "\ufeff{}\n"])
def test_root_key_of_a_file_has_no_space_around_it(tmp_path, data):
    """Mutant: the same text, saved by another editor, is another root key."""
    (tmp_path / "root").write_text(data.format(ROOT), newline="")

    path = written(tmp_path, f'{SERVER}seal: {{root: ["${{file:root}}"]}}\n')

    assert load(path, environ={}).config.seal.root == (Secret(ROOT),)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            f'{{root: ["{ROOT}\\n{ROOT}"]}}',
            "root[0]: has several lines; write one root key an entry",
        ),
        (
            "{root: [too short]}",
            "root[0]: shorter than 32 characters, so it can be guessed; `openssl rand -base64 32`",
        ),
        ("{period: 9m}", "period: write whole minutes from 10m to 1d"),
        ("{period: 25h}", "period: write whole minutes from 10m to 1d"),
        ("{period: 90s}", "period: write whole minutes from 10m to 1d"),
        ("{period: 601s}", "period: write whole minutes from 10m to 1d"),
        (f"{{root: [{ROOT}], command: [x]}}", "command: `root` is also set; keep one of them"),
        ("{command: []}", "command: empty; name a program, or leave it out"),
        ("{file: smshook.db}", "file: is the journal; name another file"),
        ("{file: smshook.yaml}", "file: is this configuration; name another file"),
        ("{file: none/keys}", "file: there is no folder none; make it (mkdir -p), or name another"),
        (
            "{root: ['${file:root}'], file: root}",
            "file: is read by seal.root[0]; name another file",
        ),
        ("{file: smshook.root}", "file: is the root key; name another file"),
        ("{file: .}", "file: is a folder; name a file in it"),
    ],
)
def test_wrong_option_is_a_complaint(tmp_path, text, complaint):
    (tmp_path / "root").write_text(ROOT)
    path = written(tmp_path, f"{SERVER}seal: {text}\n")

    assert complaints(path) == [f"smshook.yaml:2: seal.{complaint}"]


@pytest.mark.parametrize("name", ["smshook.keys", "smshook.keys.new", "smshook.keys.dead"])
def test_sink_does_not_write_to_the_key_file(tmp_path, name):
    text = f"sinks: {{log: {{type: file, path: {name}}}}}\nroutes: {{all: {{to: [log]}}}}\n"

    [complaint] = complaints(written(tmp_path, SERVER + text))

    assert complaint == "smshook.yaml:2: sinks.log.path: has the keys of `seal`; name another file"


def test_weak_root_key_is_a_warning(tmp_path):
    path = written(tmp_path, f"{SERVER}seal: {{root: [{'ab' * 20}]}}\n")

    [warning] = load(path, environ={}).warnings

    assert warning.endswith("seal.root[0]: is easy to guess; `openssl rand -hex 32` makes another")


@pytest.mark.parametrize("name", ["smshook.keys", "smshook.root"])
def test_file_that_others_can_read_is_a_warning(tmp_path, name):
    """Mutant: only the journal is looked at."""
    (tmp_path / "smshook.root").write_text(ROOT)
    (tmp_path / "smshook.keys").write_text("")
    for each in ("smshook.root", "smshook.keys"):
        (tmp_path / each).chmod(0o644 if each == name else 0o600)

    path = written(tmp_path, SERVER + 'seal: {root: ["${file:smshook.root}"]}\n')
    [warning] = load(path, environ={}).warnings

    assert warning.endswith(f"others can read {name}; chmod 600 {tmp_path / name}")
