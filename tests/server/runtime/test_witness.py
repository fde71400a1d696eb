"""Witnesses: they sign what continues the log that they have seen, and refuse all else."""

import asyncio
import base64
import contextlib
import json
import threading

import pytest
from anchored import running
from audit_logs import HonestLog
from endpoint import endpoint, reply
from structlog.testing import capture_logs
from witnesses import Refusal, Witness, witness

from journal.audit.note import Checkpoint, Note, VerifierKey
from journal.audit.tree import prove_consistency
from journal.reads import AuditLogs, Checkpoints, EventFilter, Events, PendingBySink
from routes.table import Route
from server.cli import audit_verify
from server.config.options import Anchor
from server.config.options import Witness as WitnessOptions
from server.runtime.watching import Watching
from server.runtime.witness import WitnessClient, encode_request, read_cosignatures
from sinks.file.sink import File
from sinks.sink import Failed

#: Sizes of the trees that all pairs are made of.
SIZES = 65


@contextlib.asynccontextmanager
async def witnessed(folder, *, more=(), **options):
    """A service with a witness, and with `more` of them, that know its log."""
    with contextlib.ExitStack() as stack:
        known = {"friend": stack.enter_context(witness({}))}
        for name in more:
            named = witness({}, name=f"witness.example/{name}", seed=b"m" * 32)
            known[name] = stack.enter_context(named)
        said = {name: WitnessOptions(url=one.url, key=one.key) for name, one in known.items()}
        async with running(folder, witnesses=said, **options) as service:
            for one in known.values():
                one.logs[service.log.origin] = service.log.signer
                one.now = lambda: service.at
            yield service, *known.values()


async def newest(service):
    [stored] = await service.journal.ask(Checkpoints(service.log.first, newest=True))
    return Note.parse(stored.note)


async def signed(service):
    """Ask the witness, and look whether there is something to report."""
    await service.sign()
    await Watching(service.parts).look()


async def events_of(service, type_):
    page = await service.journal.ask(Events(filter=EventFilter(type=(type_,))))
    return [body for _, body in page.items]


async def test_witness_signs_each_state_and_its_signature_is_stored(tmp_path):
    """Mutants: the signature is not added to the note; the proof begins at the wrong line."""
    async with witnessed(tmp_path) as (service, friend):
        for count in (1, 300, 0, 7):
            await service.add(count)
            await service.sign()

            note = await newest(service)
            key = VerifierKey.parse(friend.key)
            assert note.verify(key).at == int(service.at)
            assert friend.seen[service.log.origin][0] == Checkpoint.parse(note.text).size
            assert note.verify(VerifierKey.parse(service.log.signer)) is not None
        assert service.outputs() == {"witness/friend": ""}
        await service.kill()
        assert audit_verify.main([str(service.export()), f"--key={service.key}"]) == 0
        assert " witness.example/w1 " in (tmp_path / "export/checkpoints").read_text()


async def test_witness_that_hangs_delays_no_other(tmp_path):
    """Its signature is added when it comes.

    Mutants: anchors wait for its answer; a late signature takes the place of the others.
    """
    answers, anchors = threading.Event(), {"disk": Anchor(file=str(tmp_path / "notes"))}
    async with witnessed(tmp_path, anchors=anchors, more=("slow",)) as (service, friend, slow):
        at_once = slow.add_checkpoint

        def later(body):
            answers.wait(20)
            return at_once(body)

        slow.add_checkpoint = later
        await service.sign(patience=0.5)
        anchored = (tmp_path / "notes").read_text()
        early = await newest(service)
        answers.set()
        await asyncio.wait(service.parts.anchors._under_way, timeout=20)
        late = await newest(service)
        await service.stop()

    keys = [VerifierKey.parse(one.key) for one in (friend, slow)]
    assert [early.verify(key) is None for key in keys] == [False, True]
    assert [late.verify(key) is None for key in keys] == [False, False]
    assert f" {friend.name} " in anchored


async def test_signed_log_goes_on_after_a_restart(tmp_path):
    """The service does not know how far the witness is. Mutant: 409 is a failure."""
    async with witnessed(tmp_path) as (service, friend):
        await service.add(20)
        await service.sign()
        await service.stop()
        before = len(friend.requests)
        await service.start(witnesses=service.config.audit.witnesses)
        await service.add(300)
        await service.sign()

        assert service.outputs() == {"witness/friend": ""}
        first, second = friend.requests[before:]
        size = int(friend.requests[before - 1].decode().split("\n\n")[1].split("\n")[1])
        assert first.startswith(b"old 0\n\n")
        assert second.startswith(f"old {size}\n".encode())
        assert (await newest(service)).verify(VerifierKey.parse(friend.key)) is not None


async def test_size_of_a_witness_is_known_after_a_restart(tmp_path):
    """Mutant: the size of witnesses is not kept."""
    async with witnessed(tmp_path) as (service, friend):
        await service.add(20)
        await service.sign()
        size, _ = friend.seen[service.log.origin]
        await service.kill()
        gone = WitnessOptions(url="http://127.0.0.1:9/", key=friend.key)
        await service.start(witnesses={"friend": gone})
        await service.add()
        await service.sign()

        [state] = service.parts.anchors.states()
        assert (state.size, state.failing_since) == (size, service.at)


async def test_forked_log_is_refused_and_raises_an_alert_once(tmp_path):
    """Mutants: a 422 is tried as any failure; each attempt raises an event."""
    file = File(path=str(tmp_path / "events.jsonl"))
    routes = {"alerts": Route(to=("log",), when={"type": {"$startsWith": "system."}})}
    options = {"sinks": {"log": file}, "routes": routes}
    async with witnessed(tmp_path, options=options) as (service, friend):
        await service.add(5)
        await service.sign()
        size, _ = friend.seen[service.log.origin]
        # The witness has seen another log of this name, which has the same key.
        friend.seen[service.log.origin] = size, b"\1" * 32
        with capture_logs() as logs:
            for _ in range(3):
                await service.add()
                await signed(service)

        assert service.outputs() == {"witness/friend": "refused"}
        assert service.parts.anchors.refusing() == {"witness/friend": True}
        errors = [one["event"] for one in logs if one["log_level"] == "error"]
        assert errors == ["audit.refused", "alert.raised"]
        [event] = map(json.loads, await events_of(service, "system.audit_refused"))
        assert (event["source"], event["subject"]) == ("smshook", "anchor/friend")
        assert event["data"]["severity"] == "critical"
        assert event["data"]["provider"] is None
        assert await service.journal.ask(PendingBySink()) == {"log": 1}
        assert (await newest(service)).verify(VerifierKey.parse(friend.key)) is None


async def test_log_that_lost_its_end_is_refused(tmp_path):
    """The witness is ahead, as after a copy of the journal was put back.

    Mutant: the service waits until its log is as long again."""
    async with witnessed(tmp_path) as (service, friend):
        friend.seen[service.log.origin] = 1000, b"\1" * 32
        await signed(service)

        assert service.outputs() == {"witness/friend": "refused"}
        assert len(await events_of(service, "system.audit_refused")) == 1


async def test_alert_ends_when_the_witness_signs_again(tmp_path):
    async with witnessed(tmp_path) as (service, friend):
        friend.seen[service.log.origin] = 1000, b"\1" * 32
        await signed(service)
        del friend.seen[service.log.origin]
        with capture_logs() as logs:
            await signed(service)

        assert service.parts.anchors.refusing() == {"witness/friend": False}
        assert [one["event"] for one in logs if one["event"] != "audit.checkpoint"] == [
            "audit.output_recovered",
            "alert.cleared",
        ]
        friend.seen[service.log.origin] = 1000, b"\1" * 32
        await signed(service)
        assert len(await events_of(service, "system.audit_refused")) == 2


@pytest.mark.parametrize(("logs", "word"), [("other key", "unknown_key"), ("none", "unknown_log")])
async def test_witness_that_does_not_know_the_log_is_named(tmp_path, logs, word):
    async with witnessed(tmp_path) as (service, friend):
        other = HonestLog(service.log.origin, owner="stranger").log_key.verifier
        friend.logs = {service.log.origin: str(other)} if logs == "other key" else {}
        await service.sign()

        assert service.outputs() == {"witness/friend": word}
        assert await events_of(service, "system.audit_refused") == []


async def test_failed_witness_is_asked_again_after_a_minute(tmp_path):
    async with witnessed(tmp_path) as (service, friend):
        logs, friend.logs = friend.logs, {}
        await service.sign()
        friend.logs = logs
        await service.sign(after=30.0)
        assert len(friend.requests) == 1
        await service.sign(after=31.0)
        assert service.outputs() == {"witness/friend": ""}


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, b"ok"),
        reply(200, b""),
        reply(200, "\u2014 witness.example/w1 AAAAAAAAAAAAAAAAAAAA\n".encode()),
        reply(409, b"as many\n"),
        reply(409, b"0\n"),
        reply(409, b"-1\n"),
    ],
)
async def test_nonsense_is_no_signature(answer):
    log = _grown(3)
    async with endpoint() as end:
        end.says(answer, answer)
        client = WitnessClient(end.url, VerifierKey.parse(Witness({}).key))
        with pytest.raises(Failed, match="answer"):
            await client.cosign(log.sign(), _nothing)


@pytest.mark.parametrize(("status", "word"), [(400, "status"), (302, "status"), (500, "status")])
async def test_other_statuses_are_failures(status, word):
    async with endpoint() as end:
        end.says(reply(status))
        client = WitnessClient(end.url, VerifierKey.parse(Witness({}).key))
        with pytest.raises(Failed, match=word):
            await client.cosign(_grown(3).sign(), _nothing)


async def _nothing(_old):
    return None


async def test_witness_before_pruned_lines_is_a_failure():
    """No proof can be made from there."""
    log = _grown(9)
    with witness({log.origin: str(log.log_key.verifier)}) as friend:
        friend.seen[log.origin] = 3, b"\1" * 32
        client = WitnessClient(friend.url, VerifierKey.parse(friend.key))
        with pytest.raises(Failed, match="pruned"):
            await client.cosign(log.sign(), _nothing)


def _grown(count):
    log = HonestLog()
    log.grow(count)
    return log


def test_only_right_signatures_of_the_witness_count():
    """Mutants: signatures of other keys, of another text or without a time are taken."""
    log = _grown(3)
    friend, other = Witness({}), Witness({}, name="witness.example/w2", seed=b"x" * 32)
    log.grow(1)
    note = log.sign()
    key = VerifierKey.parse(friend.key)
    right, strange = friend._signature(note.text), other._signature(note.text)

    found = read_cosignatures((strange + right).encode(), note, key)
    assert "".join(map(str, found)) == right
    timeless = Witness({}, now=lambda: 0)._signature(note.text)
    for wrong in (strange, friend._signature("another\n"), timeless, right.replace("\u2014", "-")):
        with pytest.raises(Failed, match="answer"):
            read_cosignatures(wrong.encode(), note, key)


def test_proofs_are_accepted_and_bent_ones_refused():
    """The witness checks the proof of every pair of sizes by its own code.

    Mutant: the proof lacks its last hash."""
    log = HonestLog()
    notes = {}
    for size in range(1, SIZES + 1):
        log.grow(size - len(log.lines))
        notes[size] = log.sign()
    friend = Witness({log.origin: str(log.log_key.verifier)})
    accepted = refused = 0
    for size, note in notes.items():
        for old in range(1, size + 1):
            seen = friend.seen[log.origin] = old, Checkpoint.parse(notes[old].text).root
            proof = prove_consistency(old, size, log.hash_at)
            friend.add_checkpoint(encode_request(old, proof, note).encode())
            accepted += 1
            for bent in _bent(proof):
                friend.seen[log.origin] = seen
                with pytest.raises(Refusal) as info:
                    friend.add_checkpoint(encode_request(old, bent, note).encode())
                assert info.value.status == 422
                refused += 1
    assert accepted == SIZES * (SIZES + 1) // 2
    assert refused > accepted


def _bent(proof):
    if not proof:
        return [[b"\0" * 32]]
    first = bytes([proof[0][0] ^ 1]) + proof[0][1:]
    return [[first, *proof[1:]], proof[:-1], [*proof, b"\0" * 32]]


def test_request_is_as_the_specification_has_it():
    log = _grown(3)
    note = log.sign()
    proof = [b"\1" * 32, b"\2" * 32]
    lines = "".join(base64.b64encode(one).decode() + "\n" for one in proof)

    assert encode_request(1, proof, note) == f"old 1\n{lines}\n{note}"
    assert encode_request(0, [], note) == f"old 0\n\n{note}"


async def test_logs_of_a_journal_have_one_signer(tmp_path):
    """A witness is configured with one key for the life of the log."""
    async with witnessed(tmp_path) as (service, _):
        before = service.log.signer
        await service.sign(after=3 * 86_400.0)
        [log] = await service.journal.ask(AuditLogs())
        assert log.signer == before
        assert VerifierKey.parse(before).name == log.origin
