"""The declarations, and what configuration may change of them."""

import pytest

from tests.support.pts_answers import PRIVACY, SAFETY
from worker.areas import AREAS, area_named
from worker.core.area import DIGEST_KEY, NotFoundMeans, PageStyle, Paging, SendIn
from worker.core.fields import Absent, find, parse_path
from worker.core.overrides import with_overrides


def test_both_areas_are_declared():
    """Patient safety goes to v0.5, patient privacy to the old route with its header."""
    assert [area.name for area in AREAS] == ["patient-safety", "patient-privacy"]
    assert SAFETY.path == "/v0.5/access-restrictions/patient-safety/_search"
    assert SAFETY.headers == {}
    assert PRIVACY.path == "/access-restrictions/patient-privacy/_search"
    assert PRIVACY.headers == {"api-version": "0.4"}


def test_unknown_area():
    """An area that does not exist is named together with those that do."""
    with pytest.raises(
        ValueError, match="unknown area 'x'; known areas: patient-safety, patient-privacy"
    ):
        area_named("x")


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area.name)
def test_declarations_hold_together(area):
    """Column names are unique, paths can be read, derived columns follow their source."""
    names = [column.name for column in area.columns]
    assert len(names) == len(set(names))
    for column in area.columns:
        assert bool(column.paths) != bool(column.never_of)
        assert not column.never_of or column.never_of in names[: names.index(column.name)]
    for path in (*area.person_paths, *area.recognised_by, *area.known_fields):
        assert parse_path(path)
    assert area.record_keys[-1] == DIGEST_KEY


def test_old_route():
    """``api_version`` chooses the unversioned route and sends the header."""
    old = with_overrides(SAFETY, {"api_version": "0.4"})
    assert old.path == "/access-restrictions/patient-safety/_search"
    assert old.headers == {"api-version": "0.4"}
    assert SAFETY is with_overrides(SAFETY, {"api_version": "0.5"})


def test_path_wins_over_version():
    """An explicit path or header stands, in whichever order they are written."""
    area = with_overrides(
        SAFETY, {"path": "/x", "headers": {"Api-Version": "4"}, "api_version": "0.4"}
    )
    assert (area.path, area.headers) == ("/x", {"Api-Version": "4"})


def test_overrides():
    """Every part can be replaced; what is not named stays."""
    area = with_overrides(
        SAFETY,
        {
            "body": {"person": {"nin": "{off_id}"}, "ApplicableOnly": False},
            "record_key": ["key.a+key.b", "digest"],
            "person": ["subject"],
            "recognised_by": "code",
            "volatile": ["readAt"],
            "envelope": "data.items",
            "not_found_means": "empty",
            "paging": {"style": "token", "field": "meta.next", "send_in": "body", "ignore": ["x"]},
            "columns": {"confidentiality_code": "code.value"},
        },
    )
    assert area.body == {"person": {"nin": "{off_id}"}, "ApplicableOnly": False}
    assert area.record_keys == ("key.a+key.b", "digest")
    assert (area.person_paths, area.recognised_by) == (("subject",), ("code",))
    assert (area.volatile, area.not_found_means) == (("readAt",), NotFoundMeans.EMPTY)
    expected = Paging(style=PageStyle.TOKEN, field="meta.next", send_in=SendIn.BODY, ignore=("x",))
    assert area.paging == expected
    assert area.columns[0].paths == ("code.value",)
    assert area.columns[1:] == SAFETY.columns[1:]
    taken_back = with_overrides(area, {"volatile": [], "paging": {"ignore": []}})
    assert (taken_back.volatile, taken_back.paging.ignore) == ((), ())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"path": "search"}, "path: must be a path"),
        ({"api_version": "0.4\r\nx: y"}, "api_version: must be a version"),
        ({"headers": {"a b": "c"}}, "headers: holds an invalid HTTP header name"),
        ({"headers": {"Authorization": "x"}}, "headers: Authorization is set by the worker"),
        ({"headers": {"x": "a\nb"}}, "headers: x must be plain text"),
        ({"body": {"offId": "1"}}, "body: must hold"),
        ({"body": {"offId": "{off_id}", "n": 10**30}}, "body: holds a value that cannot be sent"),
        ({"record_key": "a..b"}, "record_key: 'a..b' is not a field path"),
        ({"person": [1]}, "person: must be a text"),
        ({"paging": "sometimes"}, "paging.style: must be one of auto"),
        ({"paging": {"colour": 1}}, "paging.colour: unknown"),
        ({"paging": {"send_in": "head"}}, "paging.send_in: must be one of body"),
        ({"paging": {"field": "next"}}, "paging.field: has no effect with the style auto"),
        ({"columns": {"colour": "x"}}, "columns.colour: no such column"),
        ({"columns": {"delay_is_indefinite": "x"}}, "columns.delay_is_indefinite: no such"),
    ],
)
def test_bad_overrides_name_their_key(overrides, message):
    """Whatever is wrong, the message begins with the key."""
    with pytest.raises(ValueError, match=f"^{message}"):
        with_overrides(SAFETY, overrides)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.b", 1),
        ("list[1].c", 3),
        ("list[7].c", Absent.MISSING),
        ("list[current].c", 2),
        ("last[current].c", 5),
        ("nowhere", Absent.MISSING),
        ("a.b.c", Absent.WRONG_TYPE),
        ("a[0]", Absent.WRONG_TYPE),
    ],
)
def test_paths(path, expected):
    """Names match in either case, arrays by number or by what is in force."""
    document = {
        "A": {"b": 1},
        "list": [{"c": 2, "IsCurrent": True}, {"c": 3}],
        "last": [{"c": 4, "isCurrent": False}, {"c": 6}, {"c": 5}],
    }
    assert find(document, parse_path(path)) == expected
