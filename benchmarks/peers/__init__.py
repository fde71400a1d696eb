"""What people would pick instead, each set up for the same work: accept, keep, forward."""

from .mq_bridge import SPOOL, SQLITE
from .node_red import NODE_RED
from .peer import NotMeasured, Peer
from .webhook import WEBHOOK

PEERS: tuple[Peer, ...] = (SQLITE, SPOOL, NODE_RED, WEBHOOK)

__all__ = ["PEERS", "NotMeasured", "Peer"]
