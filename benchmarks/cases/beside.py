"""Other programs that people would choose, doing the same work in the same run."""

from functools import partial

from ..case import Case, Measured
from ..lab.processes import Bench, Form
from ..lab.receiver import receiving
from ..peers import PEERS
from ..peers.peer import Peer
from ..peers.rate import forwarded
from .delivering import CONNECTIONS

#: The figure of each peer, by its name.
FIGURES = {
    "mq-bridge": "peer/mq-bridge-sqlite",
    "mq-bridge (spool)": "peer/mq-bridge-spool",
    "Node-RED": "peer/node-red",
    "webhook": "peer/webhook",
}


def _peer(bench: Bench, *, peer: Peer) -> Measured:
    home = peer.install(bench.cache / "peers")
    form: Form = "herosms" if peer.form == "sms_activate" else "tellabot"
    with (
        bench.scratch() as folder,
        receiving() as receiver,
        peer.running(home, folder=folder, receiver=receiver.url) as url,
    ):
        found = forwarded(
            lambda: bench.load(url, connections=CONNECTIONS, form=form).answered, receiver
        )
        return Measured(values={FIGURES[peer.name]: found.rate}, versions={peer.name: peer.version})


CASES = tuple(
    Case(
        name=FIGURES[peer.name],
        what=f"{peer.name}: in, and out to one receiver. {peer.durability}",
        seconds=9,
        run=partial(_peer, peer=peer),
        quick=peer.name in {"mq-bridge", "Node-RED"},  # a goal names them
    )
    for peer in PEERS
)
