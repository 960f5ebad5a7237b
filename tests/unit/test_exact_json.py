"""Integers of more than 64 bits stay what they were, and cost what others cost."""

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.pts_answers import OFF_ID, PSEUDONYM, read, restriction
from worker.core.exact_json import LargeInteger, canonical, loads
from worker.errors import ContractError

pytestmark = pytest.mark.promise("9")

BEYOND = ("18446744073709551616", "-9223372036854775809", "340282366920938463463374607431768211457")


def with_number(digits: str) -> bytes:
    """An answer of one restriction with a number as it stands."""
    text = orjson.dumps([restriction()])
    return text[:-2] + b',"revision":%b}]' % digits.encode()


@pytest.mark.parametrize("pseudonym", [PSEUDONYM, None])
@pytest.mark.parametrize("digits", [*BEYOND, "9" * 308])
def test_an_integer_stays_as_received(digits, pseudonym):
    """The payload holds the digits that PTS sent, and the next integer is another content."""
    record = read(with_number(digits), pseudonym=pseudonym).records[0]
    assert f'"revision":{digits}' in record.payload
    following = read(with_number(str(int(digits) - 1)), pseudonym=pseudonym).records[0]
    assert following.content_hash != record.content_hash


@pytest.mark.promise("10")
@pytest.mark.parametrize("digits", ["9" * 4_301, "9" * 1_000_000, "1e400"])
def test_a_number_that_no_double_comes_near_is_refused(digits):
    """It is a failure of that area, and takes no time that grows with the square."""
    with pytest.raises(ContractError, match="not JSON"):
        read(with_number(digits))


@settings(max_examples=50)
@given(
    st.recursive(
        st.one_of(
            st.integers(-(2**200), 2**200),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
            st.sampled_from([f" {BEYOND[0]} ", f":{BEYOND[1]},"]),
            st.none(),
            st.booleans(),
        ),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("ab1", max_size=3), inner),
        max_leaves=12,
    )
)
def test_any_document_comes_back(document):
    """Canonical JSON is read back to itself, and without large integers it is orjson's."""
    text = canonical(loads(json.dumps(document).encode()))
    assert canonical(loads(text)) == text
    try:
        expected = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return
    assert text == expected


@pytest.mark.promise("8")
def test_the_identifier_in_a_large_integer_is_replaced():
    """In pseudonym mode no form of it stays; and no number of an answer is printed."""
    record = read(with_number(f"{OFF_ID}0000000000")).records[0]
    assert OFF_ID not in record.payload
    assert "123" not in repr(LargeInteger(digits="123"))
