"""Identifiers whose control digits do not add up: read all the same, and reported."""

from pathlib import Path
from typing import Final

from tests.acceptance.standin import Standin, person
from tests.acceptance.test_h_numbers import asked

RIGHT: Final = ("16858399649", "17912099997", "57912075186")


def test_they_are_read_and_counted(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """Other rules may come, so nothing is refused; but somebody may have mistyped one."""
    for off_id in RIGHT:
        person(standin, 0, safeties=1, off_id=off_id)
    worker = standin.install(tmp_path, sqlite_url)
    assert [] == worker.sync().events("roster.wrong_control_digits")
    asked(standin)
    meant, *others = RIGHT
    mistyped = f"{meant[:-1]}{(int(meant[-1]) + 1) % 10}"
    worker.roster(mistyped, *others, header="off_id")
    ended = worker.sync("--accept-removals")
    assert 0 == ended.code, ended.err
    assert {mistyped, *others} == asked(standin)
    (warning,) = ended.events("roster.wrong_control_digits")
    assert ("warning", 1) == (warning["level"], warning["persons"])
    assert 1 == ended.run["totals"]["persons_departed"]
    assert mistyped not in ended.err + ended.out
