"""Writes of whole files, for processes that end in the middle."""

from journal import key_file


def rewrite(path, text):
    """Write a version of the key file, as the keyring does."""
    key_file.clean(path)
    key_file.replace(path, text)
    key_file.clean(path)
