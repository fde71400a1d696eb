import os
import threading

import pytest

from server.config.pipes import read_file


def test_file_is_read_up_to_the_size(tmp_path):
    """Mutant: the first part only."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)

    assert read_file(path, 200_000) == b"x" * 100_000
    assert read_file(path, 99_999) == b"x" * 99_999
    path.write_bytes(b"")
    assert read_file(path, 9) == b""


def test_pipe_is_read_to_its_end(tmp_path):
    """Mutants: one read; no wait for the writer."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"x" * 200_000,))
    timer = threading.Timer(0.2, writer.start)
    timer.start()

    assert read_file(path, 1_000_000) == b"x" * 200_000
    timer.join()
    writer.join()


def test_pipe_without_a_writer_is_an_error(tmp_path):
    """Mutant: an open that waits."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    with pytest.raises(OSError, match="a pipe to which nobody writes"):
        read_file(path, 9, patience=0.1)


def test_pipe_that_was_read_before_is_an_error():
    """Mutant: an empty file, which is a right configuration."""
    reader, writer = os.pipe()
    os.close(writer)

    with os.fdopen(reader), pytest.raises(OSError, match="a pipe without data"):
        read_file(f"/dev/fd/{reader}", 9)
