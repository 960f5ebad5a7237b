"""``docs/politeness.md`` says what the program does."""

from pathlib import Path

import pytest

from tests.architecture.documents import names, rows
from tests.support.politeness.curves import FILE
from worker.core import circuit, pacing, push_backs
from worker.core.retry import RetryBudget

PAGE = Path(__file__).parents[3] / "docs" / "politeness.md"
TABLE = {names(row[0])[0]: row[1] for row in rows(PAGE.read_text(encoding="utf-8"))}
PUBLIC = {
    name: value
    for module in (pacing, circuit, push_backs)
    for name, value in vars(module).items()
    if name.isupper() and not name.startswith("_")
}


def test_every_constant_has_its_line():
    """The page's table has each constant of the pace and of the budget, and no other."""
    budget = {f"RetryBudget.{name}" for name in ("share", "spare", "window_s")}
    assert TABLE.keys() == PUBLIC.keys() | budget


@pytest.mark.parametrize("name", TABLE)
def test_the_value_is_the_programs(name):
    """The page gives the value that the program has."""
    owner, _, attribute = name.rpartition(".")
    value = getattr(RetryBudget(), attribute) if owner else PUBLIC[name]
    assert float(TABLE[name]) == value


def test_the_picture_is_there():
    """The page shows the picture that ``curves`` draws."""
    assert FILE.is_file()
    assert f"(img/{FILE.name})" in PAGE.read_text(encoding="utf-8")
