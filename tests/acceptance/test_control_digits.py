"""Identifiers whose control digits do not add up: read all the same, and reported."""

from pathlib import Path
from typing import Final

from tests.acceptance.test_h_numbers import asked
from tests.support.standin import Standin, person

RIGHT: Final = ("16858399649", "17912099997", "57912075186")


def test_they_are_read_and_counted(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """Other rules may come, so nothing is refused; but somebody may have mistyped one."""
    for off_id in RIGHT:
        person(standin, 0, safeties=1, off_id=off_id)
    worker = standin.install(tmp_path, sqlite_url)
    assert worker.sync().events("roster.wrong_control_digits") == []
    asked(standin)
    meant, *others = RIGHT
    mistyped = f"{meant[:-1]}{(int(meant[-1]) + 1) % 10}"
    worker.roster(mistyped, *others, header="off_id")
    ended = worker.sync("--accept-removals")
    assert ended.code == 0, ended.err
    assert asked(standin) == {mistyped, *others}
    (warning,) = ended.events("roster.wrong_control_digits")
    assert (warning["level"], warning["persons"]) == ("warning", 1)
    assert ended.run["totals"]["persons_departed"] == 1
    assert mistyped not in ended.err + ended.out
