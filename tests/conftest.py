"""For every test: loopback as the only network, and one Hypothesis profile."""

import contextlib
import gc
import importlib
import inspect
import ipaddress
import os
import pkgutil
import signal
import sys
import tempfile
from pathlib import Path

import certifi
import coverage
import hypothesis
import known_functions
import live
import pytest
import screenshots
import trustme
import xdist
from counting import Runs, counted, of_examples, uncounted
from examples import IN_CI

# Derandomized, so that each run has the same inputs; without a deadline, because the machine may be
# busy. `make nightly` searches further: pytest --hypothesis-profile=search
ANY_PACE = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile(
    "ci", **ANY_PACE, max_examples=IN_CI, derandomize=True, print_blob=True
)
hypothesis.settings.register_profile("search", **ANY_PACE, max_examples=2_000, print_blob=True)
hypothesis.settings.load_profile("ci")


def is_here(host):
    """Whether the host of a socket call is a loopback address."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in {None, "localhost"}:
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


#: How the paths of a service's files in the checkout begin.
OURS = str(Path(__file__).parents[1] / "smshook.")


def refuse_the_checkout(event, args):
    """An audit hook that sees each file that this process opens.

    A key file there, of a test, would stop the next `make run`.
    """
    if event == "open" and isinstance(args[0], str | Path) and str(args[0]).startswith(OURS):
        raise PermissionError(f"{args[0]}: tests keep their files in tmp_path")


def refuse_the_network(event, args):
    """An audit hook that sees each socket of this process, from any library.

    It allows Unix sockets. It does not see other processes that a test starts.
    """
    if event == "socket.getaddrinfo":
        host = args[0]
    elif event in {"socket.connect", "socket.bind", "socket.sendto"}:
        address = args[1]
        if not isinstance(address, tuple):
            return
        host = address[0]
    else:
        return
    if not is_here(host):
        raise PermissionError(f"{event} {host}: tests may use loopback only")


sys.addaudithook(refuse_the_network)
sys.addaudithook(refuse_the_checkout)

# A shell's job in the background ignores Ctrl-C, and so would the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Coverage doubles the work of a process: what a test starts is not counted, unless it asks for it.
COVERAGE = None
if "PYTEST_XDIST_WORKER" in os.environ:
    COVERAGE = os.environ.pop("COVERAGE_PROCESS_CONFIG", None)

# Each worker imports all modules: this one counts their lines.
COUNTING_WORKER = "gw0"

known_functions.remember()


def pytest_configure(config):
    config.pluginmanager.register(screenshots)


RUNS = Runs()
#: Whether the coverage counts an item.
COUNTS = pytest.StashKey[bool]()


def import_counted_modules():
    """Import the modules that the coverage counts. The rest of a collection has no line of them."""
    running = coverage.Coverage.current()
    # Workers get paths for the names of the configuration.
    for source in running.get_option("run:source") if running else ():
        package = importlib.import_module(Path(source).name)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    alone = "PYTEST_XDIST_WORKER" not in os.environ and not xdist.is_xdist_controller(session)
    if alone or os.environ.get("PYTEST_XDIST_WORKER") == COUNTING_WORKER:
        import_counted_modules()
    # The collector would look at all items and modules again and again, now and in each test.
    gc.disable()
    try:
        with uncounted():
            return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop():
    """Count what tests and fixtures run, and not pytest itself."""
    with uncounted():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    item.stash[COUNTS] = False
    if item.get_closest_marker("uncounted"):
        return (yield)
    with RUNS.of(item.nodeid.partition("[")[0]) as item.stash[COUNTS]:
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(request):
    # A fixture that several tests share is made once, so it is always counted.
    counts = request.scope != "function" or request.node.stash[COUNTS]
    with counted() if counts else contextlib.nullcontext():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    if not item.stash[COUNTS]:
        return (yield)
    handle = getattr(item.obj, "hypothesis", None)
    # pytest-asyncio runs the examples of a coroutine in another function.
    is_property = handle is not None and not inspect.iscoroutinefunction(handle.inner_test)
    with of_examples(handle) if is_property else counted():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    with counted() if item.stash[COUNTS] else contextlib.nullcontext():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):  # noqa: ARG001 - pytest's names
    """Show what the services said, if a test fails."""
    report = yield
    if report.failed:
        report.sections += [
            (f"log of {service.folder.name}", service.last_said()) for service in live.SERVICES
        ]
    return report


def pytest_runtest_logfinish():
    """Forget the services that ended, and when messages were sent."""
    live.sent_at.cache_clear()
    live.SERVICES[:] = [service for service in live.SERVICES if not service.has_ended]


# Each httpx client reads the root certificates of the machine, which takes long.
ROOTS = tempfile.NamedTemporaryFile(suffix=".pem")  # noqa: SIM115 - as long as the tests run
ROOTS.write(trustme.CA().cert_pem.bytes())
ROOTS.flush()
certifi.where = lambda: ROOTS.name


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Let each worker start with its share of the slow tests, so that no long one runs last.

    `--dist worksteal` gives each worker an equal slice of the list. The slow tests of a module stay
    together: each worker would start the services and browsers of the module for itself.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    slow, others = {}, []
    for item in items:
        if item.get_closest_marker("slow"):
            slow.setdefault(item.path, []).append(item)
        else:
            others.append(item)
    shares = [[] for _ in range(workers)]
    for module in sorted(slow.values(), key=len, reverse=True):
        min(shares, key=len).extend(module)
    ordered = []
    for worker, share in enumerate(shares):
        size = max(0, (len(items) - len(ordered)) // (workers - worker) - len(share))
        ordered += [*share, *others[:size]]
        del others[:size]
    items[:] = ordered


@pytest.fixture(autouse=True)
def signals_as_before():
    """Restore the signal handlers after a command ran in this process. Children inherit them."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    numbers = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTOU)
    handlers = {number: signal.getsignal(number) for number in numbers}
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def count_processes(monkeypatch):
    """Return a function: the coverage counts the processes that start after its call."""

    def begin():
        if COVERAGE is not None:
            monkeypatch.setenv("COVERAGE_PROCESS_CONFIG", COVERAGE)

    return begin
