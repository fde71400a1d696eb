"""The service on a machine that allows core dumps whatever the service asks for."""

import resource

from server.cli.main import main

limit = resource.setrlimit


def keep(kind, limits):
    if kind != resource.RLIMIT_CORE:
        limit(kind, limits)


resource.setrlimit = keep
main()
