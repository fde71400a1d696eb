"""Callbacks stop before the disk is full, and come back when there is room."""

import pytest
from services import assembled, clock_of, configured
from structlog.testing import capture_logs

from core.units import Size
from server.config.options import JournalOptions
from server.runtime.free_space import FreeSpace, free_bytes

MIB = 1 << 20


class Disk:
    """A disk with that much free space; None: it cannot be asked."""

    def __init__(self, free):
        self.free = free

    def __call__(self, _folder):
        if self.free is None:
            raise OSError
        return self.free


def test_shortage_begins_below_the_limit_and_ends_above_it(tmp_path):
    """Mutant: it ends at the limit, so that each checkpoint begins it again."""
    disk = Disk(100 * MIB)
    with capture_logs() as lines:
        space = FreeSpace(tmp_path, 100 * MIB, disk)
        seen = []
        for free in (100 * MIB, 100 * MIB - 1, 100 * MIB, 110 * MIB - 1, None, 110 * MIB):
            disk.free = free
            space.look()
            seen.append(space.is_low)

    assert seen == [False, True, True, True, True, False]
    assert [line["event"] for line in lines] == ["disk.low", "disk.recovered"]


def test_disk_is_not_watched_without_a_limit(tmp_path):
    assert not FreeSpace(tmp_path, 0, Disk(0)).is_low
    assert free_bytes(tmp_path) > 0


@pytest.mark.parametrize(("limit", "is_open"), [(0, True), (1 << 60, False)])
async def test_door_is_closed_while_space_is_low(tmp_path, limit, is_open):
    """Mutant: the service is ready, and the door open, until the disk is full."""
    url = f"sqlite:///{tmp_path}/smshook.db"
    config = configured(tmp_path, journal=JournalOptions(url=url, min_free=Size(limit)))
    async with assembled(config, clock_of(lambda: 1.0)) as parts:
        found = (not parts.intake.closed(), parts.ready(), [*parts.not_ready()] == [])

    assert found == (is_open,) * 3
