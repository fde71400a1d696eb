"""Processes that end at each of their calls of the system, one after the other."""

import os

from forked import forks

#: The exit code of such a death.
DIED = 9


def dying(step, names, function, args):
    """In a process of its own: call `function`, and end before that call of the system.

    A write is half done by then.
    """
    left = step

    def watched(name, real):
        def call(*given, **named):
            nonlocal left
            left -= 1
            if left == 0:
                if name == "write":
                    real(given[0], bytes(given[1])[: len(given[1]) // 2])
                os._exit(DIED)
            return real(*given, **named)

        return call

    for name in names:
        setattr(os, name, watched(name, getattr(os, name)))
    function(*args)
    os._exit(0)


def deaths(names, function, *args):
    """Yield after each death of `function(*args)`, at last after its success.

    `names` are functions of `os`. The function should be in a module with few imports: each
    process imports it.
    """
    for step in range(1, 100):
        process = forks().Process(target=dying, args=(step, names, function, args))
        process.start()
        process.join(30)
        yield step
        if process.exitcode == 0:
            return
        assert process.exitcode == DIED
    raise AssertionError("it has no end")
