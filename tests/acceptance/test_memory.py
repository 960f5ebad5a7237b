"""Flat memory: ten times the persons, the same peak; and never more than 120 MB."""

from pathlib import Path

import pytest

from tests.support.program import sandbox
from tests.support.secrecy.memory import PATIENCE_S, peak_of

PEAK_MB_MAX = 120


def measure(folder: Path, persons: int) -> float:
    """The peak in millions of bytes of a run over so many persons of the sandbox."""
    with sandbox(folder / "sandbox", "--persons", str(persons)) as world:
        url = f"sqlite:///{folder / 'pts.db'}"
        worker = world.install(folder / "worker", url)
        migrated = worker.run("db", "upgrade")
        assert migrated.code == 0, migrated.story()
        running = worker.start("sync", afresh=True)
        peak = peak_of(running)
        ended = running.wait(PATIENCE_S)
    total = ended.run["totals"]["persons_complete"]
    assert (ended.code, total) == (0, persons), ended.story()
    return peak


@pytest.mark.nightly
@pytest.mark.promise("10")
def test_ten_times_the_persons_take_no_more_memory(tmp_path: Path) -> None:
    """2,500 persons against the sandbox peak within 10 MB of 250, and below 120 MB."""
    small, large = (measure(tmp_path / str(persons), persons) for persons in (250, 2_500))
    assert small > 20
    assert large - small < 10
    assert large < PEAK_MB_MAX


@pytest.mark.promise("10")
def test_two_hundred_persons_take_less_than_120_mb(tmp_path: Path) -> None:
    """The same limit on a roster that takes no time."""
    assert 20 < measure(tmp_path, 200) < PEAK_MB_MAX
