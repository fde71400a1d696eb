"""The configurations of other tools for the audit log."""

import configparser
import json
import re
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from journal.audit.lines import LONGEST, Fact, encode

FOLDER = Path(__file__).parents[2] / "packaging" / "audit"
LINE = encode(7, 1_796_019_121.532104, Fact("code.read", {"by": "key/ana"})).decode()
AT = json.loads(LINE)["at"]
PATH = "/var/lib/smshook/audit.jsonl"


def loaded(name):
    return yaml.safe_load((FOLDER / name).read_text())


def test_vector_reads_whole_lines():
    """Mutant: a limit that is shorter than the longest line."""
    config = loaded("vector.yaml")
    source = config["sources"]["smshook_audit"]
    [stamp] = re.findall(r'"(%Y[^"]+)"', config["transforms"]["smshook_fields"]["source"])

    assert ([PATH], "beginning", LONGEST) == (
        source["include"],
        source["read_from"],
        source["max_line_bytes"],
    )
    assert ["smshook_audit"] == config["transforms"]["smshook_fields"]["inputs"]
    assert ["smshook_fields"] == config["sinks"]["loki"]["inputs"]
    assert parsed(stamp.replace("%.f", ".%f"))


def test_filebeat_keeps_our_fields_apart():
    """`event` of a line is a text, that of ECS an object. Mutant: `target` is empty."""
    config = loaded("filebeat.yml")
    [source] = config["filebeat.inputs"]

    assert [PATH] == source["paths"]
    assert "smshook" == source["parsers"][0]["ndjson"]["target"]
    assert source["message_max_bytes"] >= LONGEST
    assert "smshook.at" == config["processors"][0]["timestamp"]["field"]


def test_promtail_reads_time_and_action():
    [job] = loaded("promtail.yaml")["scrape_configs"]
    [fields, stamp, labels] = job["pipeline_stages"]

    assert PATH == job["static_configs"][0]["labels"]["__path__"]
    assert {"at": "at", "do": "do"} == fields["json"]["expressions"]
    assert {"source": "at", "format": "RFC3339Nano"} == stamp["timestamp"]
    assert {"do": None} == labels["labels"]


def test_splunk_finds_the_time_of_a_line():
    """Mutant: the time is looked for after another prefix."""
    config = configparser.RawConfigParser()
    config.optionxform = str
    config.read(FOLDER / "splunk-props.conf")
    props = config["smshook:audit"]

    _, _, rest = LINE.partition(props["TIME_PREFIX"])
    assert parsed(props["TIME_FORMAT"].replace("%6N", "%f"), rest[:27])
    assert "27" == props["MAX_TIMESTAMP_LOOKAHEAD"]
    assert int(props["TRUNCATE"]) >= LONGEST


def parsed(form, text=AT):
    return datetime.strptime(text, form)  # noqa: DTZ007 - the form ends with Z


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_configuration_is_on_the_page(path):
    page = (FOLDER.parents[1] / "docs" / "auditing.md").read_text()

    assert f"(../packaging/audit/{path.name})" in page
