"""Writes of whole files, for processes that end in the middle."""

from services import configured

from core.secret import Secret
from journal import key_file
from journal.keyring import Keyring
from journal.seal import Kind
from server.runtime.erasure import ErasedIds
from server.stopped import restore


def rewrite(path, text):
    """Write a version of the key file, as the keyring does."""
    key_file.clean(path)
    key_file.replace(path, text)
    key_file.clean(path)


def restored(made, journal, **options):
    """Restore the journal from a backup."""
    with made.open("rb") as source:
        return restore(source, configured(journal.parent), **options)


def shorten(path, destroyed_until):
    """Remove ids from the list of erased events, as the service does."""
    ErasedIds(path).shorten(destroyed_until)


def cover(path, root, times, period, now):
    """Make the keys of codes of old rows, in a file that has others."""
    Keyring(path, (Secret(root),), period=period, now=now).cover(Kind.CODES, times)
