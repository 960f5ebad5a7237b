"""The codes that stand in the reporting views, with names: what ``report_code`` shows.

They are read from ``codes.toml`` when the first of them is asked for.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from worker.areas import area_named
from worker.core.effect import RestrictionGroup, group_of


class Code(NamedTuple):
    """One code. ``group`` and ``is_restricting`` are None where the code says nothing of it."""

    system: str
    code: str
    group: str | None
    name_nb: str
    name_nn: str
    name_en: str
    is_restricting: bool | None
    source: str


@cache
def codes() -> tuple[Code, ...]:
    """Every code, by system and in the order in which it is declared."""
    return tuple(code for name, system in _document().items() for code in _codes(name, system))


def systems_of(column: str) -> Sequence[str]:
    """The code systems of a column of views; none if it holds no code."""
    return [name for name, system in _document().items() if column in system["columns"]]


def _codes(name: str, system: Mapping[str, Any]) -> Iterator[Code]:
    effect = area_named(system["area"]).effect if "area" in system else None
    for code, names in system["codes"].items():
        group = group_of(effect, code) if effect else None
        restricts = group != RestrictionGroup.NONE if effect else None
        nb, nn, en = (names[language] for language in ("nb", "nn", "en"))
        yield Code(name, code, group, nb, nn, en, restricts, system["source"])


@cache
def _document() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("codes.toml").read_text("utf-8"))
