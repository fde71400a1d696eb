"""What the figures of a whole run are named, measured or not."""

_NAMES = frozenset(
    {
        "noop/64",
        "noop/256",
        *(
            f"accept/{provider}/{connections}/{routes}"
            for provider in ("tellabot", "herosms")
            for connections in (64, 256)
            for routes in (1, 3)
        ),
        "one-transaction/64",
        "pipeline/http",
        "pipeline/http-3",
        "pipeline/file",
        "duplicates",
        "duplicates/copies",
        "duplicates/rows",
        "duplicates/bytes",
        "retry-storm",
        "retry-storm/copies",
        "hanging/without",
        "hanging/with",
        "peer/mq-bridge-sqlite",
        "peer/mq-bridge-spool",
        "peer/node-red",
        "peer/webhook",
        "latency/idle/p50",
        "latency/idle/p99",
        "latency/half/answer/p50",
        "latency/half/answer/p99",
        "latency/half/through/p50",
        "latency/half/through/p99",
        "fdatasync",
        "scale/empty",
        "scale/1m",
        "scale/10m",
        "start/10m",
        "memory/owed",
        "memory/slope",
        "memory/most",
        *(
            f"bytes/{what}/{provider}"
            for what in ("kept", "written")
            for provider in ("tellabot", "herosms")
        ),
    }
)
#: Of each query and of each stage of an event's way.
_GROUPS = ("read/10m/", "profile/accept/", "profile/pipeline/")


def known(name: str) -> bool:
    """A page may name it: a run can have it."""
    return name in _NAMES or name.startswith(_GROUPS)
