"""The promises that every sink keeps."""

import asyncio
import json
from collections import Counter
from contextlib import contextmanager

import msgspec
import pytest

from core.units import Duration
from sinks.sink import Failed, Outgoing, Receipt, Refused

#: A test that takes longer hangs.
SOON = 10


def outgoing(number=1):
    """Return an event; its id and its code have the number."""
    name = f"event-{number:04d}"
    body = {
        "specversion": "1.0",
        "id": name,
        "source": "tellabot",
        "type": "sms.received",
        "subject": f"request/{number}",
        "time": "2020-09-14T18:42:36Z",
        "recordedtime": "2020-09-14T18:42:37.123456Z",
        "dedupekey": name,
        "datacontenttype": "application/json",
        "data": {
            "provider": "tellabot",
            "channel": "callback",
            "labels": {},
            "text": f"Your code is\n{name}",
            "code": name,
            "to": "+18503814729",
        },
    }
    return Outgoing(event_id=name, body=msgspec.json.encode(body), attempt=1, at=1_600_108_957.0)


def always_answering(end, answer):
    """Return a function that returns a context manager: inside it `end` gives this answer."""

    @contextmanager
    def answering():
        usual, end.usual = end.usual, answer
        yield
        end.usual = usual

    return answering


class SinkContract:
    """Subclass it as `TestX`; write the fixtures `sink`, `arrived` and `broken`.

    sink      the configured sink
    arrived   a function that returns the bodies at the destination: a list of bytes, one an event
    broken    a function that returns an async context manager: inside it the destination does not
              work, after it the destination works again

    Two more where the destination can do it, each a function that returns a context manager:

    slow      inside it the destination accepts requests and does not answer
    refusing  inside it the destination refuses each event for good
    """

    @pytest.fixture
    def slow(self):
        pytest.skip("only its disk could be slow")

    @pytest.fixture
    def refusing(self):
        pytest.skip("it refuses no event")

    #: The sink's secrets. A failure must not show them, nor the event's code and number.
    secrets: tuple[str, ...] = ()

    def event_id(self, body):
        """Return the id of an event that arrived; override it if bodies are no events."""
        return json.loads(body)["id"]

    def events(self, arrived):
        return Counter(self.event_id(body) for body in arrived())

    async def test_sent_event_arrives(self, sink, arrived):
        async with sink.open() as send:
            receipt = await send(outgoing(1))

        assert isinstance(receipt, Receipt)
        assert self.events(arrived) == {"event-0001": 1}

    async def test_reopened_sink_sends_again(self, sink, arrived):
        for number in (1, 2):
            async with sink.open() as send:
                await send(outgoing(number))

        assert self.events(arrived) == {"event-0001": 1, "event-0002": 1}

    async def test_simultaneous_events_arrive_whole_and_once(self, sink, arrived):
        async with asyncio.timeout(SOON), sink.open() as send:
            await asyncio.gather(*(send(outgoing(number)) for number in range(200)))

        assert self.events(arrived) == {f"event-{number:04d}": 1 for number in range(200)}

    async def test_cancelled_send_does_not_block_others(self, sink, arrived):
        """Mutant: `set_result` on a cancelled future raises, and other callers wait for ever."""
        async with asyncio.timeout(SOON), sink.open() as send:
            tasks = [asyncio.create_task(send(outgoing(number))) for number in range(50)]
            await asyncio.sleep(0)
            for task in tasks[::3]:
                task.cancel()
            others = [task for number, task in enumerate(tasks) if number % 3]
            await asyncio.gather(*others)
            await send(outgoing(50))

        events = self.events(arrived)
        kept = {f"event-{number:04d}" for number in range(51) if number % 3}
        assert {name: events[name] for name in kept} == dict.fromkeys(kept, 1)
        assert set(events.values()) == {1}

    async def test_close_while_sending_loses_no_confirmed_event(self, sink, arrived):
        async with asyncio.timeout(SOON):
            async with sink.open() as send:
                tasks = [asyncio.create_task(send(outgoing(number))) for number in range(50)]
                await asyncio.sleep(0)
            answers = await asyncio.gather(*tasks, return_exceptions=True)

        confirmed = {
            f"event-{number:04d}"
            for number, answer in enumerate(answers)
            if isinstance(answer, Receipt)
        }
        assert confirmed <= set(self.events(arrived))

    async def test_failure_has_a_word_and_no_secret(self, sink, broken):
        secrets = ("event-0001", "Your code", "8503814729", *self.secrets)

        async with asyncio.timeout(SOON), sink.open() as send:
            await send(outgoing(2))
            async with broken():
                with pytest.raises(Failed) as failure:
                    await send(outgoing(1))

        shown = f"{failure.value!r} {failure.value}"
        assert failure.value.word.replace("_", "").isalpha()
        assert [secret for secret in secrets if secret in shown] == []

    async def test_sink_opens_while_its_destination_is_broken(self, sink, arrived, broken):
        """A broken destination must not prevent the service from starting."""
        async with asyncio.timeout(SOON):
            async with broken(), sink.open() as send:
                with pytest.raises(Failed):
                    await send(outgoing(1))
            async with sink.open() as send:
                await send(outgoing(2))

        assert self.events(arrived)["event-0002"] == 1

    async def test_open_sink_sends_again_after_its_destination_recovers(
        self, sink, arrived, broken
    ):
        async with asyncio.timeout(SOON), sink.open() as send:
            await send(outgoing(1))
            async with broken():
                with pytest.raises(Failed):
                    await send(outgoing(2))
            await send(outgoing(3))

        events = self.events(arrived)
        assert (events["event-0001"], events["event-0003"]) == (1, 1)

    async def test_slow_send_times_out_and_the_next_succeeds(self, sink, arrived, slow):
        sink = msgspec.structs.replace(sink, timeout=Duration(1.5), concurrency=1)

        async with asyncio.timeout(SOON), sink.open() as send:
            with slow(), pytest.raises((TimeoutError, Failed)) as failure:
                async with asyncio.timeout(sink.timeout):
                    await send(outgoing(1))
            await send(outgoing(2))

        assert getattr(failure.value, "word", "timeout") == "timeout"
        assert self.events(arrived)["event-0002"] == 1

    async def test_refusal_is_not_a_failure_and_has_no_secret(self, sink, refusing):
        secrets = ("event-0001", "Your code", "8503814729", *self.secrets)

        async with asyncio.timeout(SOON), sink.open() as send:
            with refusing(), pytest.raises(Refused) as refusal:
                await send(outgoing(1))

        shown = f"{refusal.value!r} {refusal.value}"
        assert refusal.value.word.replace("_", "").isalpha()
        assert [secret for secret in secrets if secret in shown] == []

    async def test_close_during_a_slow_send_does_not_hang(self, sink, slow):
        async with asyncio.timeout(SOON):
            with slow():
                async with sink.open() as send:
                    task = asyncio.create_task(send(outgoing(1)))
                    await asyncio.sleep(0.1)
                [answer] = await asyncio.gather(task, return_exceptions=True)

        assert not isinstance(answer, Receipt)
