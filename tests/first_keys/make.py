"""Print the dedupe keys that a checkout gives to the recorded callbacks and poll rows.

`keys.json` beside this file was made once, by the commit whose journals must stay readable:

    git archive 581d1c8 | tar -x -C FOLDER
    cd FOLDER && PYTHONPATH=.:tests python make.py > keys.json

It is never made again: `tests/receiver/test_first_keys.py` compares today's keys with it.
"""

import json
import os
import sys

import msgspec
from answers import recorded as answers
from callbacks import recorded as callbacks

from core.units import from_written
from receiver.callback import Callback
from receiver.decode import decode
from receiver.providers import PROVIDERS
from server.runtime.identity import Identity

SECRET = "the secret of the recorded keys, 0123456789abcdef"
BY_TAG = {provider.__struct_config__.tag: provider for provider in PROVIDERS}


def keys_of_callbacks():
    """Map the name of each recorded callback to the keys of its events."""
    return {one.name: _hex(_normalized(one)) for one in callbacks.RECORDED}


def keys_of_answers():
    """Map the name of each recorded round to the keys of the rows that became events."""
    return {one.name: _hex(_polled(one)) for one in answers.RECORDED}


def _normalized(recorded):
    options = {"provider": recorded.provider, **recorded.options}
    source = msgspec.convert(options, BY_TAG[recorded.provider], dec_hook=from_written)
    fields = decode(recorded.body, content_encoding=None, encodings=source.encodings)
    callback = Callback(
        headers=(), body=recorded.body, peer="192.0.2.7", received=recorded.received
    )
    return source.normalize(fields, callback)


def _polled(recorded):
    bodies = {(command, what): body for command, what, body in recorded.answers}
    source = answers.source_of(recorded.provider)
    poll = source.poll(recorded.known, since=recorded.since, now=recorded.now)
    came, _ = answers.driven(
        poll, lambda ask: answers.ok(bodies.get((ask.command, answers.shown(ask)), b"BAD_ACTION"))
    )
    return [one.happening for one in came if hasattr(one, "happening")]


def _hex(happenings):
    identity = Identity(SECRET, os.urandom)
    return [[identity.dedupe_key(key).hex() for key in one.keys] for one in happenings]


if __name__ == "__main__":
    keys = {"callbacks": keys_of_callbacks(), "answers": keys_of_answers()}
    json.dump(keys, sys.stdout, indent=1)
    sys.stdout.write("\n")
