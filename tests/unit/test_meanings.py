"""Columns and codes in words agree with what the program declares of them."""

import tomllib
from importlib.resources import files

import pytest

from worker.core.area import AREAS
from worker.errors import ExitCode, FailureKind
from worker.views import codes, view_columns


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area.name)
@pytest.mark.parametrize("what", ["current", "history"])
def test_columns_of_pts_have_the_kind_that_is_stored(area, what):
    """The views have each of them, in the area's order and with its type."""
    view = view_columns()[f"report_{area.table}_{what}"]
    stored = {column.name: column.type.value for column in area.columns}
    assert [(one.name, one.kind.value) for one in view if one.name in stored] == [*stored.items()]


def test_no_meaning_is_left_over():
    """A column that no view has any more means nothing."""
    document = tomllib.loads(files("worker").joinpath("areas/meanings.toml").read_text("utf-8"))
    shown = [(view, column.name) for view, columns in view_columns().items() for column in columns]
    known = {name for view, column in shown for name in (column, f"{view}.{column}")}
    assert set(document["columns"]) - known == set()


COLUMNS = [column for area in AREAS for column in area.columns if column.codes]


@pytest.mark.parametrize(
    ("system", "declared"),
    [
        *((column.name, column.codes) for column in COLUMNS),
        ("failure_kind", [kind.value for kind in FailureKind]),
        ("exit_code", [str(int(code)) for code in ExitCode]),
    ],
)
def test_every_code_has_its_names(system, declared):
    """Of those that the program tells apart none is without names, and none is left over."""
    named = [code.code for code in codes() if code.system == system]
    assert sorted(named) == sorted(declared)


def test_every_name_is_a_text():
    """In all three languages."""
    names = [name for code in codes() for name in (code.name_nb, code.name_nn, code.name_en)]
    assert [name for name in names if not name.strip()] == []
