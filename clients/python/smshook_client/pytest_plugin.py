"""The pytest fixture `sms`: numbers that receive codes, simulated or real."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .client import Client, Order
from .records import Code

#: Takes a real number for a service, and returns the arguments of `Client.order`.
TakeNumber = Callable[[str | None], Mapping[str, Any]]

#: The simulated provider: it sends texts with their service, as `GET /v1/events` shows them.
_SOURCE = "tellabot"
_ANY_PORT = "127.0.0.1:0"
#: Seconds in which `smshook dev` starts and ends.
_START, _END = 60.0, 15.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("smshook").addoption(
        "--smshook-url",
        metavar="URL",
        help="Use real numbers of this smshook; SMSHOOK_API_KEY is its key.  "
        "Default: SMSHOOK_URL.  Without both, numbers are simulated.",
    )


class SmsNumber:
    """A number that a test uses."""

    def __init__(self, order: Order, simulated: "_SimulatedProvider | None") -> None:
        #: The number in E.164: type it into the form.
        self.number = order.number or ""
        self.order = order
        self._simulated = simulated

    def __repr__(self) -> str:
        return f"<SmsNumber {self.order.id}>"

    def wait_for_code(self, timeout: float = 30) -> Code:
        """Return the next code that the number receives, within `timeout` seconds.

        Call it again after "send again". Raise smshook_client.WaitTimeout.
        """
        if self._simulated is not None and not self._simulated.has_sender:
            self._simulated.make_up_message(self.order)
        return self.order.wait_for_code(timeout)


class Sms:
    """Numbers for tests, and the client of the smshook that has them."""

    def __init__(
        self,
        client: Client,
        simulated: "_SimulatedProvider | None" = None,
        take_number: TakeNumber | None = None,
    ) -> None:
        self.client = client
        self._simulated = simulated
        self._take_number = take_number or self._waiting_number
        self._used: set[str] = set()

    @property
    def is_simulated(self) -> bool:
        return self._simulated is not None

    def gateway(self) -> str | None:
        """Return a URL that takes `{"to": number, "text": text}` by POST; None for real numbers.

        Let the application under test send its SMS there. Otherwise each wait makes up a code.
        """
        return None if self._simulated is None else self._simulated.gateway()

    def send(self, to: str, text: str) -> None:
        """Send an SMS to a simulated number, in place of the application's own sender."""
        if self._simulated is None:
            raise RuntimeError("the numbers are real: the application must send the SMS")
        self._simulated.send(to, text)

    def order(self, service: str | None = None, **fields: Any) -> SmsNumber:
        """Take a number for a service. `fields` are further arguments of `Client.order`.

        If they have an id or a number, use it and take no other number.
        """
        given = {**fields} if service is None else {**fields, "service": service}
        if not {"request_id", "activation_id", "rental_id", "number"}.isdisjoint(given):
            return SmsNumber(self.client.order(**given), None)
        take = self._take_number if self._simulated is None else self._simulated.take_number
        return SmsNumber(self.client.order(**(given | dict(take(service)))), self._simulated)

    def _waiting_number(self, service: str | None) -> Mapping[str, Any]:
        """Return an order of the service that waits for an SMS, or a rental that may get more."""
        params = {"state": ["waiting", "received"], "order": "desc"}
        for order in self.client.pages("/v1/orders", params):
            ids = {
                name: order[name]
                for name in ("request_id", "activation_id", "rental_id")
                if order[name]
            }
            names = {str(order[name]).casefold() for name in ("service", "service_key")}
            named = service is None or service.casefold() in names
            free = "rental_id" in ids or (
                order["state"] == "waiting" and order["id"] not in self._used
            )
            if named and free and order["number"]:
                self._used.add(order["id"])
                return {
                    "source": order["source"],
                    "service": order["service"],
                    **(ids or {"number": order["number"]}),
                }
        raise LookupError(
            f"no order for {service or 'any service'} waits for an SMS: take a number at your "
            "provider and register it, or override the fixture take_number"
        )


class _SimulatedProvider:
    """A provider of `smshook dev`."""

    def __init__(self, page: Client, url: str) -> None:
        self._page, self._url = page, url
        #: Whether the test or its application sends the messages. If not, they are made up.
        self.has_sender = False

    def take_number(self, service: str | None) -> Mapping[str, Any]:
        order = self._page.post(f"/{_SOURCE}/rehearsal/orders", json={"service": service})
        return {
            "source": _SOURCE,
            "request_id": order["id"],
            "number": order["number"],
            "service": order["service"],
        }

    def make_up_message(self, order: Order) -> None:
        path = f"/{_SOURCE}/rehearsal/orders/{order.record['request_id']}/messages"
        self._page.post(path, json={})

    def send(self, to: str, text: str) -> None:
        self.has_sender = True
        self._page.post(f"/{_SOURCE}/rehearsal/messages", json={"to": to, "text": text})

    def gateway(self) -> str:
        self.has_sender = True
        return f"{self._url}/{_SOURCE}/rehearsal/messages"


@pytest.fixture(scope="session")
def take_number() -> TakeNumber | None:
    """Override it to take real numbers: return a function from a service to an order's fields.

    They are the arguments of `smshook_client.Client.order`. By default, a test gets an order that
    already waits at smshook.
    """
    return None


@pytest.fixture(scope="session")
def sms(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    take_number: TakeNumber | None,
) -> Iterator[Sms]:
    """Numbers that receive codes: `sms.order(service="acme").number`, `.wait_for_code()`."""
    url = request.config.getoption("--smshook-url") or os.environ.get("SMSHOOK_URL")
    if url:
        with Client(url) as client:
            yield Sms(client, take_number=take_number)
        return
    with (
        _developing(tmp_path_factory.mktemp("smshook")) as said,
        Client(said["api"], said["key"]) as client,
        Client(said["page"], "") as page,
    ):
        yield Sms(client, _SimulatedProvider(page, said["page"].rstrip("/")))


@contextmanager
def _developing(folder: Path) -> Iterator[Mapping[str, str]]:
    """Run `smshook dev` in a folder; yield its addresses and its key."""
    beside = Path(sys.executable).with_name("smshook")
    command = str(beside) if beside.exists() else shutil.which("smshook")
    if command is None:
        pytest.fail(
            "no command smshook on PATH, to simulate numbers: install smshook, or give "
            "--smshook-url to use real ones",
            pytrace=False,
        )
    ports = ("--listen", _ANY_PORT, "--admin-listen", _ANY_PORT, "--providers-listen", _ANY_PORT)
    output, errors = folder / "output.txt", folder / "errors.txt"
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(  # noqa: S603 - the installed command
            [command, "dev", *ports, "--output", "json"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    try:
        yield _announced(process, output, errors)
    finally:
        process.terminate()
        try:
            process.wait(_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _announced(process: subprocess.Popen[bytes], output: Path, errors: Path) -> Mapping[str, str]:
    """Return the addresses and the key, which the command prints before its log."""
    end = time.monotonic() + _START
    while process.poll() is None and time.monotonic() < end:
        text, whole, _ = output.read_text().partition("\n}\n")
        if whole:
            said: Mapping[str, str] = json.loads(text + whole)
            return said
        time.sleep(0.02)
    pytest.fail(f"smshook dev did not start: {errors.read_text().strip()}", pytrace=False)
