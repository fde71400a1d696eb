"""What people would pick instead, at the same work in the same run."""

from functools import partial

from ..bench import Bench, Form
from ..case import Case, Measured, NotMeasured
from ..peers import PEERS
from ..peers.peer import NotMeasured as NotInstalled
from ..peers.peer import Peer
from ..peers.rate import forwarded
from ..receiver import receiving
from .delivering import CONNECTIONS

#: What their figures are called.
_FIGURES = {
    "mq-bridge": "mq-bridge-sqlite",
    "mq-bridge (spool)": "mq-bridge-spool",
    "Node-RED": "node-red",
    "webhook": "webhook",
}


def _peer(bench: Bench, *, peer: Peer) -> Measured:
    try:
        home = peer.install(bench.cache / "peers")
        with (
            bench.scratch() as folder,
            receiving() as receiver,
            peer.running(home, folder=folder, receiver=receiver.url) as url,
        ):
            form: Form = "herosms" if peer.form == "sms_activate" else "tellabot"

            def load() -> int:
                return bench.load(url, connections=CONNECTIONS, form=form).answered

            rate = forwarded(load, receiver).rate
            return Measured(values={_figure(peer): rate}, versions={peer.name: peer.version})
    except NotInstalled as exc:
        raise NotMeasured(str(exc)) from exc


def _figure(peer: Peer) -> str:
    return f"peer/{_FIGURES[peer.name]}"


CASES = tuple(
    Case(
        name=_figure(peer),
        what=f"{peer.name}: in and out to one receiver. {peer.durability}",
        seconds=9,
        run=partial(_peer, peer=peer),
        quick=not peer.name.startswith("webhook"),
    )
    for peer in PEERS
)
