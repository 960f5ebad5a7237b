"""A restriction that moves to another identifier, and lists that come in pages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import MakeDatabase
from tests.support.program import Sandbox, sandbox
from tests.support.standin import (
    PRIVACY,
    SAFETY,
    Standin,
    off_id_of,
    person,
    ref_of,
)

STYLES = ("link", "next_link", "token", "page", "paging_reference")


def d_number(off_id: str) -> str:
    """The D-number form: the day and 40."""
    return f"{int(off_id[:2]) + 40:02d}{off_id[2:]}"


@pytest.mark.parametrize("movers", [1, 2, 30])
def test_moves(standin: Standin, tmp_path: Path, sqlite_url: str, movers: int) -> None:
    """However many move, in either order, they end under the new identifier and trip no guard."""
    pairs = []
    for number in range(movers):
        new = off_id_of(number)
        old = d_number(new)
        # Every second one stands in the roster with the new identifier first.
        for off_id in (old, new) if number % 2 else (new, old):
            person(standin, number, off_id=off_id)
        person(standin, number, off_id=old, safeties=2, privacies=1)
        pairs.append((old, new))
    worker = standin.install(tmp_path, sqlite_url, concurrency=1)
    assert worker.sync().code == 0
    ids = {key for _, key in worker.store.ids()}
    since = dict(
        worker.store.rows("SELECT restriction_id, first_seen_at FROM report_patient_safety_current")
    )

    for old, new in pairs:
        for area in (SAFETY, PRIVACY):
            text = standin.people[old][area]
            standin.people[old][area] = []
            standin.people[new][area] = [_renamed(record, old, new) for record in text]
    ended = worker.sync()
    totals = ended.run["totals"]
    assert (0, 3 * movers) == (ended.code, totals["rows_moved"])
    assert (totals["rows_opened"], totals["rows_closed"]) == (0, 0)
    assert {ref_of(new) for _, new in pairs} == {ref for ref, _ in worker.store.ids()}
    assert ids == {key for _, key in worker.store.ids()}
    assert since == dict(
        worker.store.rows("SELECT restriction_id, first_seen_at FROM report_patient_safety_current")
    )
    # The old identifiers leave the roster; nobody loses anything.
    worker.roster(*(line for line in standin.lines() if line.split(",")[0][0] < "4"))
    ended = worker.sync("--accept-removals")
    assert (0, movers) == (ended.code, ended.run["totals"]["persons_departed"])
    assert ids == {key for _, key in worker.store.ids()}


def test_a_move_in_the_night_in_which_the_old_identifier_leaves(
    standin: Standin, tmp_path: Path, sqlite_url: str
) -> None:
    """The roster names the new identifier in the old one's place: moved, and first seen as ever."""
    new = off_id_of(0)
    old = d_number(new)
    for number in range(1, 6):
        person(standin, number, safeties=1)
    person(standin, 0, off_id=old, safeties=2)
    worker = standin.install(tmp_path, sqlite_url)
    assert worker.sync().code == 0
    sql = "SELECT restriction_id, first_seen_at FROM report_patient_safety_current"
    since = dict(worker.store.rows(sql))
    records = standin.people.pop(old)[SAFETY]
    standin.people[new] = {SAFETY: [_renamed(record, old, new) for record in records]}
    worker.roster(*standin.lines())
    ended = worker.sync()
    totals = ended.run["totals"]
    assert (ended.code, totals["persons_departed"], totals["rows_moved"]) == (0, 1, 2)
    assert since == dict(worker.store.rows(sql))
    assert ref_of(old) not in {ref for ref, _ in worker.store.ids()}


def _renamed(record: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    text = dict(record)
    if "person" in text:
        text["person"] = {"offId": new}
    else:
        text["patientSafetyObject"] = {**text["patientSafetyObject"], "person": {"offId": new}}
    return text


def test_one_that_returns(standin: Standin, tmp_path: Path, sqlite_url: str) -> None:
    """A restriction that was lifted and returns is open again, and history has both times."""
    for number in range(6):
        person(standin, number, safeties=2)
    worker = standin.install(tmp_path, sqlite_url)
    assert worker.sync().code == 0
    before = worker.store.ids()
    records = standin.people[off_id_of(2)][SAFETY]
    lifted = records.pop()
    assert worker.sync().code == 0
    assert len(worker.store.ids()) == len(before) - 1
    records.append(lifted)
    assert worker.sync().code == 0
    assert before == worker.store.ids()
    versions = worker.store.rows(
        "SELECT valid_from, valid_to FROM report_patient_safety_history "
        f"WHERE restriction_id = '{lifted['id']}' ORDER BY valid_from"
    )
    assert [until is None for _, until in versions] == [False, True]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("sandbox"), "--persons", "100") as running:
        yield running


def test_every_style_of_paging_gives_the_same(
    world: Sandbox, tmp_path: Path, make_sqlite: MakeDatabase
) -> None:
    """Pages of one record each, in every style of the sandbox: the same rows as without pages."""
    views = ("report_patient_safety_current", "report_patient_privacy_current")
    found = {}
    for style in ("none", *STYLES):
        world.control(paging=style, page_size=1)
        worker = world.install(tmp_path / style, make_sqlite())
        ended = worker.sync()
        assert ended.code == 0, (style, ended.err[-2000:])
        found[style] = [worker.store.published()[view] for view in views]
        pages = worker.store.one("SELECT MAX(pages) FROM report_person_freshness")
        assert (pages > 2) == (style != "none")
    world.control(paging="none")
    for style in STYLES:
        assert found["none"] == found[style], style
