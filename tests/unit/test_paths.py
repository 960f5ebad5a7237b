"""Paths of fields in an answer."""

import pytest

from worker.core.paths import find, leaves, parse_path, safe_path
from worker.errors import ContractError

DOCUMENT = {
    "a": {"b": 1, "null": None},
    "list": [{"b": 2}, {"b": 3, "on": True}, {"b": 4, "on": 1}],
    "@odata.nextLink": "n",
    "a.b": "literal",
    "deep": {"x.y": {"z": 5}},
    "kind": [{"type": "id", "no": 7}],
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a.b", "literal"),
        ("@odata.nextLink", "n"),
        ("deep.x.y.z", 5),
        ("list[1].b", 3),
        ("list[9].b", None),
        ("list[on=true].b", 3),
        ("list[on=1].b", 4),
        ("kind[type=id].no", 7),
        ("a.null.c", None),
        ("a.c", None),
        ("A.b", None),
        ("a.b.c", None),
        ("missing[x=y].c", None),
    ],
)
def test_a_path_leads_to_its_value(path, value):
    """Case counts, and a literal name wins over its parts."""
    assert find(DOCUMENT, parse_path(path)) == value


@pytest.mark.parametrize("path", ["list[b=9].b", "list[none=true].b", "a[0].b"])
def test_not_exactly_one_element(path):
    """It is never guessed which one is meant."""
    with pytest.raises(ContractError):
        find(DOCUMENT, parse_path(path))


@pytest.mark.parametrize("path", ["", "a..b", "a[b", "a[]", "a b", "a[-1]", ".a", "a."])
def test_not_a_path(path):
    """Anything else is refused where it is declared."""
    with pytest.raises(ValueError, match="is not a field path"):
        parse_path(path)


@pytest.mark.parametrize("path", ["a." * 32 + "a", "a" * 301])
def test_a_path_that_is_too_long(path):
    """No answer is so deep."""
    with pytest.raises(ValueError, match="at most 32 parts and 300 characters"):
        parse_path(path)


def test_leaves():
    """Empty objects and lists are leaves, too."""
    items = [{"x": 1}]
    document = {"a": {"b": [1, {"c": None}]}, "e": {}, "f": [], "items": items}
    assert [*leaves(document, skip=items)] == [
        ("a.b[0]", 1),
        ("a.b[1].c", None),
        ("e", {}),
        ("f", []),
    ]
    assert [path for path, _ in leaves({"": {"a": 1}, "a": 2})] == [".a", "a"]


@pytest.mark.promise("10")
def test_nested_too_deeply():
    """No answer exhausts the stack."""
    document: list[object] = [1]
    for _ in range(40):
        document = [document]
    with pytest.raises(ContractError, match="nested too deeply"):
        [*leaves(document)]


@pytest.mark.promise("10")
def test_a_long_name_is_not_repeated_for_each_leaf_below_it():
    """An answer of 1 MB would fill the memory with paths."""
    document = {"a" * 301: dict.fromkeys(map(str, range(1_000))), "b": 1}
    assert [path for path, _ in leaves(document)] == ["?", "b"]
    assert safe_path("a." * 500_000) == "?"


@pytest.mark.promise("8")
@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("data.nextLink", "data.nextLink"),
        ("list[0].@odata.count", "list[].@odata.count"),
        ("list[16858399649].x", "list[].x"),
        ("data.16858399649", "?"),
        ("p16_85.83_99.649", "?"),
        ("x[168583 99649]", "?"),
        ("a[\ud800]", "?"),
        ("a[\0]", "?"),
        ("Kari Nordmann", "?"),
        ("x" * 301, "?"),
    ],
)
def test_only_what_looks_like_a_name_is_shown(path, shown):
    """PTS could use an identifier as the name of a field."""
    assert safe_path(path) == shown
