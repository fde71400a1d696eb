"""An auditor checks the log of a service that was killed, and whose signing keys changed."""

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import live
import load
from pages import blocks
from serving import Handler, serving

MOVED_CLOCK = Path(__file__).parent / "failpoints" / "moved_clock.py"
CONFIG = live.CONFIG + "audit: {checkpoint: 1s, epoch: 10m}\n"
EPOCH = 600
CLIENTS = 8

numbers = itertools.count(1)


class Service(live.Live):
    """Its clock is as far ahead as the file `ahead` says."""

    def __init__(self, folder):
        self.ahead = folder / "ahead"
        self.ahead.write_text("0")
        program = [sys.executable, str(MOVED_CLOCK), str(self.ahead)]
        super().__init__(folder, CONFIG, program=program)

    def accept(self, count, *, amid=lambda: None):
        """Send callbacks; call `amid` near the end. Return the ids of acknowledged events."""

        def messages():
            for left in range(count, 0, -1):
                if left == 2 * CLIENTS:
                    amid()
                number = next(numbers)
                yield number, live.sms(number)

        path = self.callback_url().removeprefix(self.url)
        answers = asyncio.run(load.send(self.address(), path, messages(), clients=CLIENTS))
        return [event for answer in answers for event in answer.accepted]

    def epochs_ended(self):
        lines = self.api("/audit", params={"do": "audit.epoch"}).json()["data"]
        return len(lines)

    def end_epoch(self):
        new = self.ahead.with_name("ahead.new")
        new.write_text(str(int(self.ahead.read_text()) + EPOCH))
        new.replace(self.ahead)

    def checkpoint(self):
        return self.api("/audit/log/checkpoint").text


def proof_of(service, event):
    """Return the proof of an event; None: its line is not signed yet."""
    done = service.run("audit", "prove", event, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def audited(folder, key, *options):
    """Run the auditor's program on an export; return its exit code and its verdict."""
    done = subprocess.run(
        [sys.executable, "-I", "audit_verify.py", "export", "--key", key, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def proved(folder, proof):
    """Run the program of the page for auditors."""
    (folder / "proof.json").write_text(json.dumps(proof))
    [program] = blocks("auditing.md", "python")
    return subprocess.run(
        [sys.executable, "-I", "-c", program, "proof.json", "export/entries.jsonl"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_auditor_verifies_and_proves_across_epochs_and_kills(tmp_path):
    """The auditor has the first key, an export, and what was noted on the way; nothing else.

    Mutants: the old key signs no checkpoint at the end of its epoch; an old key is not destroyed;
    a start after a kill begins another epoch; the lines of a commit are written after it.
    """
    folder, auditor = tmp_path / "service", tmp_path / "auditor"
    folder.mkdir()
    auditor.mkdir()
    with Service(folder) as service:
        [key] = live.eventually(lambda: [one["key"] for one in service.logged("audit.begun")])
        events, notes = [service.accept(60, amid=service.end_epoch)], []
        live.eventually(lambda: service.epochs_ended() == 1, within=30)
        notes.append(service.checkpoint())
        events.append(service.accept(60, amid=service.kill))
        service.start()
        events.append(service.accept(60, amid=service.end_epoch))
        live.eventually(lambda: service.epochs_ended() == 2, within=30)
        service.kill()
        service.start()
        events.append(service.accept(60))
        notes.append(service.checkpoint())

        chosen = [some[len(some) // 2] for some in events]
        proofs = [live.eventually(partial(proof_of, service, event), within=30) for event in chosen]
        service.run("audit", "export", str(auditor / "export"))
        verifier = service.run("audit", "verifier").stdout
        assert service.stop() == 0
        keys = (folder / "smshook.keys").read_text()

    (auditor / "audit_verify.py").write_text(verifier)
    (auditor / "notes").write_text("\n".join(notes))
    entries = auditor / "export" / "entries.jsonl"
    lines = [json.loads(line) for line in entries.read_text().splitlines()]
    assert [line["do"] for line in lines].count("audit.epoch") == 2
    assert keys.count("\nepoch ") == 1
    code, said = audited(auditor, key, "--anchor", "notes")
    assert (code, "unchanged" in said) == (0, True), said
    accepted = [line["event"] for line in lines if line["do"] == "callback.accepted"]
    assert {event for some in events for event in some} <= set(accepted)
    assert len(set(accepted)) == len(accepted)
    assert [json.loads(proof["event"])["id"] for proof in proofs] == chosen
    assert {proved(auditor, proof) for proof in proofs} == {"proved"}

    # Another code in the event, and a line of the first epoch that was changed.
    other = proofs[0] | {"event": proofs[0]["event"].replace("ZQ7", "ZQ8", 1)}
    assert proved(auditor, other) == "NOT proved"
    entries.write_text(entries.read_text().replace(chosen[0], chosen[1], 1))
    code, said = audited(auditor, key)
    assert (code, "CHANGED" in said) == (1, True), said


#: The events of the ordinary log whose fact has another name.
FACT = {
    "key.created": "key.made",
    "config.reloaded": "config.loaded",
    "config.rejected": "config.refused",
    "subscription.created": "subscription.made",
    "alert.raised": "callback.accepted",
}
#: Lines that each have a fact here.
PROVED = {
    *("key.created", "key.revoked", "config.reloaded", "config.rejected", "alert.raised"),
    *("subscription.created", "subscription.deleted", "service.started", "retention.pruned"),
    *("content.erased", "sink.paused", "sink.resumed", "order.expired", "delivery.expired"),
}


@contextlib.contextmanager
def echo():
    """Serve an endpoint that accepts a subscription, and yield its URL."""

    class Echo(Handler):
        def respond(self, body):
            self.answer(200, body)

    with serving(Echo) as server:
        yield f"{server.url}/"


def act(service, endpoint):
    """Do what has a line of its own."""

    def post(path, **body):
        answer = service.api(path, method="POST", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    config = service.folder / "smshook.yaml"
    good = config.read_text()
    post("/sinks/crm/pause")
    for number in (1, 2):
        assert service.post(live.sms(number)).status_code == 200
    one, two = [item["event"] for item in service.api("/events?order=asc").json()["data"]]
    assert service.api(f"/events/{one['id']}/content", method="DELETE").is_success
    post("/erasures", number=two["data"]["to"])
    post("/sinks/crm/resume")
    key = post("/keys", name="app", scopes=["subscriptions:write", "codes:read"])["key"]
    subscription = service.api(
        "/subscriptions", method="POST", key=key, json={"url": endpoint}
    ).json()["id"]
    service.api(f"/subscriptions/{subscription}", method="DELETE", key=key)
    service.api("/keys/app", method="DELETE")
    post("/orders", source="tellabot", request_id="4711", expires="1s")
    config.write_text(good + "nonsense: true\n")
    assert service.api("/reload", method="POST").status_code == 422
    config.write_text(good.replace("events: 90d", "events: 1s"))
    post("/reload")
    live.eventually(lambda: any(one["event"] == "order.expired" for one in service.logged()))
    service.run("prune")


def test_log_line_of_each_fact_names_its_line_in_the_audit_log(tmp_path):
    """Mutants: `line.n` counts from the last line of the commit; a write of nobody has no number;
    the fact of a delivery that expired by an erasure is not numbered.
    """
    more = (
        "retention: {events: 90d}\naudit: {record: all}\nsubscriptions: {allow_networks:"
        ' ["127.0.0.0/8"]}\nalerts: {quiet: 1s}\n'
    )
    config = live.CONFIG.replace(
        "path: events.jsonl}", 'path: events.jsonl}\n  crm: {type: http, url: "http://127.0.0.1:9"}'
    ).replace("[log]", "[log, crm]")
    with echo() as url, live.Live(tmp_path, config + more) as service:
        act(service, url)
        live.eventually(lambda: {one["event"] for one in service.logged()} >= PROVED)
        assert service.stop() == 0
        service.run("audit", "export", "lines")
        logged = service.logged()

    entries = (tmp_path / "lines" / "entries.jsonl").read_text().splitlines()
    did = {line["n"]: line["do"] for line in map(json.loads, entries)}
    assert {one["event"] for one in logged if "leaf" in one} >= PROVED
    for one in logged:
        if one["event"] in PROVED or "leaf" in one:
            assert did[one["leaf"]] == FACT.get(one["event"], one["event"]), one
