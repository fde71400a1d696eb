"""Make the dashboard of Grafana, `smshook.json`. Each panel is a line of `PANELS`."""

import json
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("smshook.json")
#: Panels in a row, and the height of one. Grafana divides the width into 24.
_COLUMNS, _HEIGHT = 2, 8
_OF = 'instance=~"$instance"'
_SOURCE, _SINK = f'{_OF},source=~"$source"', f'{_OF},sink=~"$sink"'


def _quantile(of: float, name: str, labels: str, by: str) -> str:
    rate = f"rate({name}_bucket{{{labels}}}[$__rate_interval])"
    return f"histogram_quantile({of}, sum by (le, {by}) ({rate}))"


def _rate(name: str, labels: str, by: str) -> str:
    return f"sum by ({by}) (rate({name}{{{labels}}}[$__rate_interval]))"


class Panel(NamedTuple):
    """A panel: its title, its unit in Grafana, and its legends with their expressions."""

    title: str
    unit: str
    series: dict[str, str]
    #: The legend of a count beside other units. It has an axis of its own.
    counted: str = ""


# fmt: off
PANELS = (
    Panel("Callbacks", "reqps", {"{{source}} {{outcome}}": _rate("smshook_callbacks_total", _SOURCE, "source, outcome")}),
    Panel("Time to an answer", "s", {f"{{{{source}}}} p{of * 100:g}": _quantile(of, "smshook_callback_seconds", _SOURCE, "source") for of in (0.5, 0.99)}),
    Panel("From acceptance to delivery", "s", {f"{{{{sink}}}} p{of * 100:g}": _quantile(of, "smshook_delivery_lag_seconds", _SINK, "sink") for of in (0.5, 0.95)}),
    Panel("Attempts", "reqps", {"{{sink}} {{outcome}} {{error}}": _rate("smshook_attempts_total", _SINK, "sink, outcome, error")}),
    Panel("Pending deliveries", "short", {"{{sink}}": f"smshook_owed{{{_SINK}}}", "{{sink}} in flight": f"smshook_sink_in_flight{{{_SINK}}}"}),
    Panel("Age of the oldest pending delivery", "s", {"{{sink}}": f"(time() - smshook_owed_oldest_seconds{{{_SINK}}}) * (smshook_owed{{{_SINK}}} > bool 0)"}),
    Panel("Given up in an hour", "short", {"{{sink}} {{state}}": f'increase(smshook_deliveries_total{{{_SINK},state=~"dead|expired"}}[1h])'}),
    Panel("Rejected requests", "reqps", {"{{reason}} {{source}}": _rate("smshook_rejections_total", _OF, "reason, source")}),
    Panel("Quarantine", "short", {"callbacks": f"smshook_quarantine{{{_OF}}}"}),
    Panel("Codes that were read", "cps", {"{{key}} {{how}}": _rate("smshook_codes_read_total", _OF, "key, how")}),
    Panel("Transactions of the journal", "s", {"p50": _quantile(0.5, "smshook_journal_commit_seconds", _OF, "instance"), "p99": _quantile(0.99, "smshook_journal_commit_seconds", _OF, "instance"), "waiting writes": f"smshook_journal_waiting{{{_OF}}}"}, "waiting writes"),
    Panel("Disk", "bytes", {"free": f"smshook_disk_free_bytes{{{_OF}}}", "journal": f"smshook_journal_bytes{{{_OF}}}", "its log": f"smshook_journal_wal_bytes{{{_OF}}}"}),
    Panel("Time since the last callback", "s", {"{{source}}": f"time() - (smshook_source_last_callback_seconds{{{_SOURCE}}} > 0)"}),
)
# fmt: on
#: Each with the query that finds its values.
VARIABLES = {
    "instance": "label_values(smshook_ready, instance)",
    "source": "label_values(smshook_callbacks_total, source)",
    "sink": "label_values(smshook_owed, sink)",
}
_COUNT = {
    "properties": [
        {"id": "unit", "value": "short"},
        {"id": "custom.axisPlacement", "value": "right"},
    ]
}
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    width = 24 // _COLUMNS
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _DATASOURCE,
        "gridPos": {"x": column * width, "y": row * _HEIGHT, "w": width, "h": _HEIGHT},
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0},
            "overrides": [_COUNT | {"matcher": {"id": "byName", "options": panel.counted}}]
            if panel.counted
            else [],
        },
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": _DATASOURCE,
                "expr": expr,
                "legendFormat": legend,
            }
            for at, (legend, expr) in enumerate(panel.series.items())
        ],
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _DATASOURCE,
        "query": {"query": query, "refId": name},
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
        "allValue": ".*",
        "refresh": 2,
    }


def dashboard() -> str:
    """Return the dashboard as Grafana imports it."""
    variables = [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
    made = {
        "title": "smshook",
        "uid": "smshook",
        "tags": ["smshook"],
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [*variables, *(_variable(*one) for one in VARIABLES.items())]},
        "panels": [_panel(*one) for one in enumerate(PANELS)],
    }
    return json.dumps(made, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(dashboard())
