"""Integers of more than 64 bits stay what they were, and cost what others cost."""

import json
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.columns import named
from tests.support.pts_answers import OFF_ID, PSEUDONYM, SAFETY, read, restriction
from worker.core.exact_json import LargeInteger, canonical, dumps, loads
from worker.core.overrides import with_overrides
from worker.core.paging import PagingState
from worker.errors import ContractError, PagingError

BEYOND = ("18446744073709551616", "-9223372036854775809", "340282366920938463463374607431768211457")


def with_number(digits: str, name: str = "revision") -> bytes:
    """An answer of one restriction with a number as it stands."""
    text = orjson.dumps([restriction()])
    return text[:-2] + b',"%b":%b}]' % (name.encode(), digits.encode())


@pytest.mark.promise("9")
@pytest.mark.parametrize("digits", [*BEYOND, "9" * 308])
@pytest.mark.parametrize("pseudonym", [PSEUDONYM, None])
def test_an_integer_stays_as_received(digits, pseudonym):
    """The payload holds the digits that PTS sent."""
    record = read(with_number(digits), pseudonym=pseudonym).records[0]
    assert f'"revision":{digits}' in record.payload
    assert read(orjson.dumps([restriction()])).records[0].key == record.key


@pytest.mark.promise("9")
@pytest.mark.parametrize("digits", BEYOND)
def test_the_next_integer_is_another_content(digits):
    """What a double cannot tell apart is a change all the same."""
    hashes = {read(with_number(str(int(digits) + n))).records[0].content_hash for n in (-1, 0, 1)}
    assert len(hashes) == 3


@pytest.mark.promise("9")
@pytest.mark.parametrize("digits", ["9" * 400, "9" * 4_301, "9" * 1_000_000, "1e400", "-1e400"])
def test_a_number_that_no_double_comes_near_is_refused(digits):
    """It is a failure of that area, at once: no crash, and no time that grows with the square."""
    began = time.process_time()
    with pytest.raises(ContractError, match="not JSON"):
        read(with_number(digits))
    assert time.process_time() - began < 1


def test_many_large_integers_take_linear_time():
    """Sixteen megabytes of them."""
    text = b"[" + b",".join([BEYOND[0].encode()] * 800_000) + b"]"
    began = time.process_time()
    assert text == dumps(loads(text))
    assert time.process_time() - began < 10


@pytest.mark.promise("9")
@pytest.mark.parametrize(
    "number",
    ["18446744073709551615", "-9223372036854775808", "0", "-0", "1", "1.0", "-0.0", "1e16", "1E5",
     "1e-400", "0.1", "100000000000000000000.5", "1.00000000000000000000000000001"],
)  # fmt: skip
@pytest.mark.parametrize("beside", ["", BEYOND[0]])
def test_all_other_numbers_are_written_as_ever(number, beside):
    """Nobody's digest changes; a large integer beside them makes no difference."""
    text = f'{{"a":{number},"b":{beside or 0}}}'.encode()
    expected = orjson.dumps(orjson.loads(number))
    assert canonical(loads(text)) == b'{"a":%b,"b":%b}' % (expected, beside.encode() or b"0")


@given(
    st.recursive(
        st.one_of(
            st.integers(-(2**200), 2**200),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(st.characters(exclude_categories=["Cs"])),
            st.from_regex(r"[ :,\[]-?[0-9]{19,40}[ ,\]}]", fullmatch=True),
            st.none(),
            st.booleans(),
        ),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("ab1"), inner),
    )
)
def test_any_document_comes_back(document):
    """Canonical JSON is read back to itself, and without large integers it is orjson's."""
    text = canonical(loads(json.dumps(document).encode()))
    assert text == canonical(loads(text))
    try:
        expected = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return
    assert text == expected


@pytest.mark.parametrize(
    "text",
    [
        b'["18446744073709551617"]',
        b'{"a": "x 18446744073709551617 y"}',
        b'{":18446744073709551617,":1}',
    ],
)
def test_digits_in_a_text_are_text(text):
    """Only numbers are numbers."""
    assert orjson.loads(text) == loads(text)


@pytest.mark.parametrize("text", [b"[18446744073709551617", b"[018446744073709551617]", b"[1e309]"])
def test_what_is_no_json_is_none_beside_a_large_integer_either(text):
    """No looser parser comes in by this door."""
    with pytest.raises(ContractError):
        read(text)


def test_a_field_twice_beside_a_large_integer():
    """It is refused as ever."""
    text = with_number(BEYOND[0]).replace(b'"cause"', b'"revision":18446744073709551618,"cause"')
    with pytest.raises(ContractError, match="duplicate field"):
        read(text)


def test_deep_nesting_around_a_large_integer():
    """It is a failure of the area, not of the program."""
    with pytest.raises(ContractError, match="nested too deeply"):
        read(b"[" * 1_000 + BEYOND[0].encode() + b"]" * 1_000)


def test_the_identifier_in_a_large_integer_is_replaced():
    """In pseudonym mode no form of it stays (promise 8)."""
    record = read(with_number(f"{OFF_ID}0000000000")).records[0]
    assert OFF_ID not in record.payload
    assert f'"revision":"{PSEUDONYM}0000000000"' in record.payload


def test_a_column_does_not_hold_it():
    """A typed column has 64 bits: that area fails, as before."""
    text = orjson.dumps([restriction()]).replace(b'"delayDays":14', b'"delayDays":%d' % 2**70)
    with pytest.raises(ContractError, match="too large"):
        read(text)


def test_a_loose_column_holds_its_digits():
    """``createdBy`` is kept as JSON whatever it is."""
    text = orjson.dumps([restriction()]).replace(b'"lab"', BEYOND[0].encode())
    assert BEYOND[0] == named(read(text).records[0])["created_by"]


def test_it_may_be_a_record_key():
    """An id is an id, however long; two that share a double are two records."""
    ids = [str(2**64 + n) for n in (1, 2)]
    items = b",".join(
        orjson.dumps(restriction(n)).replace(orjson.dumps(restriction(n)["id"]), digits.encode())
        for n, digits in enumerate(ids)
    )
    assert ids == [record.key for record in read(b"[" + items + b"]").records]


def test_volatile_fields_beside_it():
    """Leaving them out of the hash keeps the digits."""
    area = with_overrides(SAFETY, {"volatile": ["etag"]})

    def content_hash(digits: str, etag: str) -> bytes:
        text = with_number(digits)[:-2] + b',"etag":"%b"}]' % etag.encode()
        return read(text, area=area).records[0].content_hash

    assert content_hash(BEYOND[0], "a") == content_hash(BEYOND[0], "b")
    assert content_hash(BEYOND[0], "a") != content_hash(BEYOND[0][:-1] + "7", "a")


def test_a_continuation_that_is_one_is_not_followed():
    """It is a failure, as a fraction is: what would be sent back is not certain."""
    page = read(b'{"items":[],"pagingReference":18446744073709551617}')
    walk = PagingState(
        paging=SAFETY.paging, url="https://pts.example/s", off_id=OFF_ID, pages_max=9
    )
    with pytest.raises(PagingError, match="not a token"):
        walk.next_request(page)


def test_it_is_not_shown():
    """A number of an answer may be anybody's."""
    assert "123" not in repr(LargeInteger(digits="123"))
