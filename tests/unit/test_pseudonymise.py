"""A person's identifier is nowhere in what is kept."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.pts_answers import LEADING_ZERO, OFF_ID, OTHER_OFF_ID, PSEUDONYM
from worker.core.pseudonymise import pseudonymise


def replaced(document, identifier=OFF_ID, replacement=PSEUDONYM):
    canonical = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    return orjson.loads(pseudonymise(canonical, identifier, replacement))


@pytest.mark.parametrize(
    ("identifier", "document", "expected"),
    [
        (OFF_ID, {"offId": OFF_ID}, {"offId": PSEUDONYM}),
        (OFF_ID, {"a": [{"b": f"no. {OFF_ID}!"}]}, {"a": [{"b": f"no. {PSEUDONYM}!"}]}),
        (OFF_ID, {OFF_ID: 1}, {PSEUDONYM: 1}),
        (OFF_ID, {"n": int(OFF_ID)}, {"n": PSEUDONYM}),
        (OFF_ID, {"n": float(OFF_ID)}, {"n": PSEUDONYM}),
        (OFF_ID, [int(OFF_ID), OFF_ID], [PSEUDONYM, PSEUDONYM]),
        (OFF_ID, {"n": int(f"1{OFF_ID}2")}, {"n": f"1{PSEUDONYM}2"}),
        (OFF_ID, "168583 99649", PSEUDONYM),
        (OFF_ID, "168583-99649", PSEUDONYM),
        (OFF_ID, "168583.99649", PSEUDONYM),
        (OFF_ID, "168583\u00a099649", PSEUDONYM),
        (OFF_ID, "168583 \u2013 99649", PSEUDONYM),
        (OFF_ID, "16.85.83-99649", PSEUDONYM),
        (OFF_ID, "16 85 83 99649", PSEUDONYM),
        (OFF_ID, f"{OFF_ID} or 168583 99649", f"{PSEUDONYM} or {PSEUDONYM}"),
        (OFF_ID, {OFF_ID: 1, "168583 99649": 2}, {PSEUDONYM: 2, PSEUDONYM + "_": 1}),
        (LEADING_ZERO, {"n": int(LEADING_ZERO)}, {"n": PSEUDONYM}),
        (LEADING_ZERO, {"n": float(LEADING_ZERO)}, {"n": PSEUDONYM}),
        (LEADING_ZERO, {"n": LEADING_ZERO[1:]}, {"n": PSEUDONYM}),
        (LEADING_ZERO, {"n": LEADING_ZERO}, {"n": PSEUDONYM}),
        (OFF_ID, {"n": [True, None, 1.5, "99649"]}, {"n": [True, None, 1.5, "99649"]}),
        (OFF_ID, {"other": OTHER_OFF_ID}, {"other": OTHER_OFF_ID}),
    ],
)
def test_every_form_is_replaced(identifier, document, expected):
    """Strings, keys, numbers and groupings lose the identifier; nothing else changes."""
    assert expected == replaced(document, identifier)


def test_unconcerned_record_is_the_same_object():
    """A record without the identifier costs one search and no copy."""
    canonical = orjson.dumps({"id": "a"})
    assert pseudonymise(canonical, OFF_ID, PSEUDONYM) is canonical


@pytest.mark.parametrize("name", [OFF_ID, f"{OFF_ID[:6]} {OFF_ID[6:]}"])
def test_result_is_canonical(name):
    """Keys are sorted anew where a replaced key changes the order."""
    document = {name: 1, "5": 2, "z": 3}
    result = pseudonymise(orjson.dumps(document), OFF_ID, PSEUDONYM)
    assert result == orjson.dumps(orjson.loads(result), option=orjson.OPT_SORT_KEYS)


@pytest.mark.parametrize("replacement", ["1e5", "12345", "-", "1.5"])
def test_a_replacement_like_a_number_gives_no_number(replacement):
    """A number that was the identifier becomes a string, whatever the replacement looks like."""
    assert {"n": replacement} == replaced({"n": int(OFF_ID)}, replacement=replacement)


IDENTIFIERS = st.from_regex(r"[0-9]{11}", fullmatch=True).filter(lambda i: i.strip("0"))


@st.composite
def hidden(draw):
    """A document with the identifier at random places, in random forms."""
    identifier = draw(IDENTIFIERS)
    forms = st.sampled_from(
        [identifier, f"{identifier[:6]} {identifier[6:]}", f"x{identifier}y{identifier}"]
    )
    leaves = st.one_of(
        forms, st.none(), st.booleans(), st.text(max_size=8), st.just(int(identifier)),
        st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False),
    )  # fmt: skip
    names = st.one_of(forms, st.text(max_size=6))
    document = draw(
        st.recursive(
            leaves,
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
            max_leaves=12,
        )
    )
    return identifier, document


@given(hidden())
def test_nothing_is_left(example):
    """The identifier is in no string, key or number of the result, which is canonical JSON."""
    identifier, document = example
    canonical = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    result = pseudonymise(canonical, identifier, PSEUDONYM)
    assert identifier not in result.decode()
    assert f"{identifier[:6]} {identifier[6:]}" not in result.decode()
    assert result == orjson.dumps(orjson.loads(result), option=orjson.OPT_SORT_KEYS)


@given(identifier=IDENTIFIERS, document=st.dictionaries(st.text(max_size=5), st.text(max_size=5)))
def test_the_shape_stays(identifier, document):
    """A document as deep and as wide comes out."""
    document["offId"] = identifier
    assert len(document) == len(replaced(document, identifier))
