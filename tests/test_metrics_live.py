"""A busy service shows each metric."""

from collections import Counter

import live
from prometheus_client.parser import text_string_to_metric_families
from witnesses import Witness

from server.metrics import METRICS

NOWHERE = "http://127.0.0.1:9/"
BACKFILL = f'backfill: {{user: a@b.example, api_key: k, api_url: "{NOWHERE}"}}'
ROUTED = "[log], when: {source: tellabot}"
CONFIG = live.CONFIG.replace("provider: tellabot,", f"provider: tellabot, {BACKFILL},")
CONFIG = f"""{CONFIG.replace("[log]", ROUTED)}
audit:
  record: all
  file: audit.jsonl
  anchors: {{disk: {{file: notes}}}}
  witnesses: {{w: {{url: "{NOWHERE}", key: "{Witness({}).key}"}}}}
"""


def with_samples(text):
    return {
        metric.name
        for family in text_string_to_metric_families(text)
        for metric in METRICS
        if family.samples
        and metric.name.removesuffix("_total") == family.name.removesuffix("_total")
    }


def test_busy_service_shows_each_metric(tmp_path):
    """So a rule or a panel that names one finds it. Each series is there once.

    Mutants: one that nothing adds; one that is added twice, so that Prometheus drops it.
    """
    with live.Live(tmp_path, CONFIG) as service:
        service.api("/orders", method="POST", json={"source": "tellabot", "request_id": "10000001"})
        service.post(live.sms(1))
        service.post("event=unheard")
        service.post("activationId=1&service=go&text=a", source="smsactivate")
        live.client().post(service.callback_url()[:-1])
        live.eventually(service.delivered)
        service.api("/events?limit=1")
        cursor = service.api("/events").json()["data"][0]["cursor"]
        service.api("/consumers/crm/commit", method="POST", json={"cursor": cursor})

        def lacks():
            return {metric.name for metric in METRICS} - with_samples(service.metrics().decode())

        live.eventually(lambda: not lacks(), within=20)
        scraped = service.metrics().decode()

    series = [line.rpartition(" ")[0] for line in scraped.splitlines() if line[:1] != "#"]
    assert [name for name, count in Counter(series).items() if count > 1] == []
