"""What one answer, one person and the ledger may hold, and what is said of more."""

import orjson
import pytest

from tests.support.pts_answers import SAFETY, person, restriction
from worker.core import budgets
from worker.core.answer import parse, read_page
from worker.core.budgets import check_area
from worker.core.fields import FIELDS_MAX, NAMES_LENGTH_MAX, spelling
from worker.core.model import Drift
from worker.core.record import Page
from worker.errors import ContractError, PagingError

pytestmark = pytest.mark.promise("10")


def read(items: object) -> Page:
    return read_page(200, {}, orjson.dumps(items), area=SAFETY, person=person())


@pytest.mark.parametrize("unit", ["1", "[]", "{}", '{"a":[]}', "[[[]]]"])
def test_too_many_values(unit):
    """They are refused before they are parsed: each would become 50 bytes and more."""
    few = f"[{','.join([unit] * 1000)}]".encode()
    many = f"[{','.join([unit] * (budgets.VALUES_MAX + 1))}]".encode()
    assert len(parse(few)) == 1000
    with pytest.raises(ContractError, match="more than 200000 values"):
        parse(many)


def test_too_many_bytes():
    """Blanks do not count, so that a body may be padded."""
    text = b'["' + b"x" * (budgets.CONTENT_BYTES_MAX - 4) + b'"]'
    assert len(parse(text + b" " * 1_000_000)) == 1
    with pytest.raises(ContractError, match="more than 4194304 bytes"):
        parse(text.replace(b'["', b'["x'))


def test_too_many_records():
    """One more than the limit is refused, not cut off."""
    records = [restriction(number) for number in range(budgets.RECORDS_MAX)]
    assert len(read(records).records) == budgets.RECORDS_MAX
    with pytest.raises(ContractError, match="more than 5000 records"):
        read([*records, restriction(budgets.RECORDS_MAX)])


def test_a_record_that_is_too_large():
    """The message names its place."""
    room = budgets.RECORD_BYTES_MAX - len(orjson.dumps(restriction(1, new="")))
    assert len(read([restriction(0), restriction(1, new="x" * room)]).records) == 2
    with pytest.raises(ContractError, match=r"more than 262144 bytes \(at \[1\]\)"):
        read([restriction(0), restriction(1, new="x" * (room + 1))])


def test_names_that_would_be_remembered():
    """Field names stay in memory beyond the answer, so few and short ones are looked at."""
    assert len(spelling(tuple(f"f{n}" for n in range(FIELDS_MAX)))) == FIELDS_MAX
    for names in (
        tuple(f"f{n}" for n in range(FIELDS_MAX + 1)),
        ("x" * NAMES_LENGTH_MAX, "y"),
    ):
        with pytest.raises(ContractError, match="more than 1000 fields"):
            spelling(names)


def test_drift_is_kept_up_to_a_limit_and_counted():
    """The first hundred names of an answer, an entry that says so, and how many were not kept."""
    few = read([restriction(n, **{f"new{n}": 1}) for n in range(100)])
    assert (len(few.drift), few.drift_left_out) == (100, 0)
    many = read([restriction(n, **{f"new{n}": 1}) for n in range(150)])
    assert (len(many.drift), many.drift_left_out) == (101, 50)
    assert many.drift == few.drift | {Drift(field="[]", kind="more_drift")}


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ({"records": 5_001, "received_bytes": 0}, "more than 5000 records"),
        ({"records": 0, "received_bytes": 33_554_433}, "more than 33554432 bytes"),
    ],
)
def test_all_pages_of_a_person(size, says):
    """Many pages are no way around the limits of one."""
    check_area(records=5_000, received_bytes=33_554_432)
    with pytest.raises(PagingError, match=says):
        check_area(**size)
