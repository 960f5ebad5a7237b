"""Many paths looked up at once give what each gives alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.areas import AREAS
from worker.core.fields import Absent, FieldPath, Pick, find, parse_path
from worker.core.lookup import Lookup
from worker.errors import ContractError

NAMES = ("a", "A", "b", "iscurrent", "isCurrent")
STEPS = st.sampled_from(["a", "b", "iscurrent", 0, 1, Pick.CURRENT])
PATHS = st.lists(st.lists(STEPS, min_size=1, max_size=4).map(tuple), max_size=8)
DOCUMENTS = st.recursive(
    st.sampled_from([None, True, 0, "", "text"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=12,
)


def one_by_one(document, paths: list[FieldPath]) -> list[object] | str:
    try:
        return [find(document, path) for path in dict.fromkeys(paths)]
    except ContractError as fault:
        return fault.message


@given(PATHS, st.lists(DOCUMENTS, max_size=4))
def test_a_look_up_is_as_one_by_one(paths, documents):
    """Whatever the document, whatever was looked up before, and whatever is spelled twice."""
    lookup = Lookup(paths)
    for document in documents + documents:
        try:
            found: list[object] | str = lookup.values(document)
        except ContractError as fault:
            found = fault.message
        assert one_by_one(document, paths) == found


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area.name)
def test_slots_say_where_a_value_stands(area):
    """The value of each declared path is found by the path's number, whatever its order."""
    paths = [parse_path(text) for column in area.columns for text in column.paths]
    lookup = Lookup(reversed(paths))
    assert len(lookup.indexes) == len(set(paths))
    for path in paths:
        document = nested(path)
        values = lookup.values(document)
        assert "here" == find(document, path) == values[lookup.indexes[path]]
        assert ["here"] == [value for value in values if value == "here"]


def nested(path: FieldPath):
    if not path:
        return "here"
    first, *rest = path
    return (
        {str(first).upper(): nested(tuple(rest))}
        if isinstance(first, str)
        else [nested(tuple(rest))]
    )


def test_more_spellings_than_are_remembered():
    """However many shapes an object takes, each is read as it is spelled."""
    lookup = Lookup([("a", "b")])
    for number in range(1500):
        assert [number] == lookup.values({"a": {f"x{number % 600}": 0, "B": number}})
    assert [Absent.MISSING] == lookup.values({})


def test_the_first_path_ends_in_an_element():
    """The place of the first value is a place as any other."""
    lookup = Lookup([("a", 1), ("a", 0)])
    assert [1, 0] == lookup.values({"a": [0, 1, 2]})
