"""Other programs that people would choose, each set up for the same work as smshook."""

from .mq_bridge import SPOOL, SQLITE
from .node_red import NODE_RED
from .peer import Peer
from .webhook import WEBHOOK

PEERS: tuple[Peer, ...] = (SQLITE, SPOOL, NODE_RED, WEBHOOK)
