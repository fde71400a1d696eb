"""The options of the audit log's file, anchors and witnesses."""

import pytest
from config_files import SERVER, complaints, written
from witnesses import Witness

from server.config.load import load

KEY = Witness({}).key
LOG_KEY = "w+3e1fbbf0+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
SINK = "sinks: {log: {type: file, path: events.jsonl}}\n"
NO_URL = "not a URL to send to; write http:// or https://, a host, and a path if it has one"
NO_PREFIX = "write http:// or https://, a host and maybe a path, and nothing after it"
NO_KEY = "not the key of a witness; write it as the witness shows it: name+id+key"


def test_paths_are_those_of_the_configuration(tmp_path):
    (tmp_path / "sub").mkdir()
    text = (
        "audit:\n  file: sub/audit.jsonl\n  anchors: {a: {file: notes}, b: {command: [anchor]}}\n"
        f"  witnesses: {{w: {{url: 'https://w.example/log/', key: '{KEY}'}}}}\n"
    )
    loaded = load(written(tmp_path, SERVER + text), environ={})

    audit = loaded.config.audit
    assert loaded.warnings == ()
    assert audit.file == str(tmp_path / "sub/audit.jsonl")
    assert audit.anchors["a"].file == str(tmp_path / "notes")
    assert audit.anchors["b"].command == ("anchor",)
    assert audit.witnesses["w"].url == "https://w.example/log"


def test_without_the_section_nothing_leaves(tmp_path):
    audit = load(written(tmp_path, SERVER), environ={}).config.audit
    assert (audit.record, audit.file, audit.anchors, audit.witnesses) == ("access", None, {}, {})


def test_sink_of_an_anchor_gets_events_without_a_route(tmp_path):
    """Mutant: `check` warns that it gets none."""
    text = SINK + "audit: {anchors: {a: {sink: log}}}\n"
    assert load(written(tmp_path, SERVER + text), environ={}).warnings == ()


def test_missing_folder_is_a_warning(tmp_path):
    """The disk of an anchor may be mounted later."""
    text = "audit: {anchors: {a: {file: usb/notes}}}\n"
    [warning] = load(written(tmp_path, SERVER + text), environ={}).warnings
    folder = tmp_path / "usb"
    assert f"there is no folder {folder}: checkpoints wait until you make it" in warning


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "{file: events.jsonl}",
            "file: sinks.log writes to this file; two writers would damage it",
        ),
        ("{file: smshook.db}", "file: is the journal; name another file"),
        ("{file: smshook.keys}", "file: has the keys of `seal`; name another file"),
        ("{file: sub/}", "file: write the path of a file, such as audit.jsonl"),
        (
            "{file: a, rotate: {size: 1MiB}, anchors: {x: {file: a.1}}}",
            "anchors.x.file: audit renames its full files to this name; name another file",
        ),
        (
            "{file: a, anchors: {x: {file: a}}}",
            "anchors.x.file: audit writes to this file; two writers would damage it",
        ),
        ("{anchors: {x: {}}}", "anchors.x: write one of file, sink and command"),
        ("{anchors: {x: {file: a, sink: log}}}", "anchors.x: write one of file, sink and command"),
        ("{anchors: {x: {file: a, every: 0s}}}", "anchors.x.every: write 1s or more"),
        (
            "{anchors: {x: {sink: lgo}}}",
            "anchors.x.sink: no sink is named 'lgo'; sinks: log; did you mean 'log'?",
        ),
        (
            f"{{witnesses: {{w: {{url: 'ftp://w', key: '{KEY}'}}}}}}",
            f"witnesses.w.url: {NO_URL}",
        ),
        (
            f"{{witnesses: {{w: {{url: 'https://w/?a=b', key: '{KEY}'}}}}}}",
            f"witnesses.w.url: {NO_PREFIX}",
        ),
        *(
            (
                f"{{witnesses: {{w: {{url: 'https://w', key: '{key}'}}}}}}",
                f"witnesses.w.key: {NO_KEY}",
            )
            for key in ("", "w", "w+00000000+AA==", LOG_KEY, KEY.replace("w1+", "w2+"), KEY + "*")
        ),
    ],
)
def test_wrong_options_are_explained(tmp_path, text, complaint):
    path = written(tmp_path, f"{SERVER}{SINK}audit: {text}\n")
    assert complaints(path) == [f"smshook.yaml:3: audit.{complaint}"]


def test_command_names_a_program(tmp_path):
    path = written(tmp_path, f"{SERVER}audit: {{anchors: {{x: {{command: []}}}}}}\n")
    assert "smshook.yaml:2: audit.anchors.x.command: empty; name a program" in complaints(path)
