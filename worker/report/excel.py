"""CSV as Excel in Norwegian opens it with a double click."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cache
from typing import Any, BinaryIO, Final
from zoneinfo import ZoneInfo

from worker.areas.codes import code_systems, codes
from worker.areas.meanings import Kind
from worker.core.escaping import csv_cell

_ZONE: Final = ZoneInfo("Europe/Oslo")
_NAME: Final = "_name"


def with_names(columns: Mapping[str, Kind]) -> Mapping[str, Kind]:
    """The columns, and behind each that holds a code one with its name in bokmål."""
    return dict(_named(columns))


def _named(columns: Mapping[str, Kind]) -> Iterable[tuple[str, Kind]]:
    # The table of codes has the names itself.
    systems = {} if "name_nb" in columns else code_systems()
    for name, kind in columns.items():
        yield name, kind
        if name in systems:
            yield f"{name}{_NAME}", Kind.TEXT


class ExcelSink:
    """UTF-8 with a byte order mark, semicolons, decimal commas, times in Norway, names of codes.

    Times are ``YYYY-MM-DD HH:MM:SS`` in Europe/Oslo; the hour that comes twice in October is
    ambiguous. Truth values are ``SANN`` and ``USANN``, which that Excel takes for its own.
    Formulas are made harmless as in CSV for programs.
    """

    def __init__(self, stream: BinaryIO, columns: Mapping[str, Kind]) -> None:
        self._text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
        self._text.write("\ufeff")
        self._writer = csv.writer(self._text, delimiter=";")
        written = with_names(columns)
        self._cells: list[tuple[Callable[[Any], str], Mapping[str, str] | None]] = [
            (_SHAPES[kind], _names_of(name) if f"{name}{_NAME}" in written else None)
            for name, kind in columns.items()
        ]
        self._writer.writerow(written)

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """See ``sinks.Sink.write``."""
        self._writer.writerows(list(self._row(row)) for row in rows)

    def _row(self, row: Sequence[Any]) -> Iterable[str]:
        for value, (shape, names) in zip(row, self._cells, strict=True):
            yield "" if value is None else shape(value)
            if names is not None:
                yield names.get(str(value), "")

    def close(self) -> None:
        """See ``sinks.Sink.close``."""
        self._text.flush()
        self._text.detach()


@cache
def _names_of(column: str) -> Mapping[str, str]:
    """The names in bokmål of a column's codes."""
    return {code.code: code.name_nb for code in codes() if code.system in code_systems()[column]}


def _number(value: Any) -> str:
    return str(value).replace(".", ",")


def _boolean(value: Any) -> str:
    return "SANN" if value else "USANN"


def _time(at: datetime) -> str:
    with suppress(OverflowError):  # at the end of time, which stays as it is
        at = at.astimezone(_ZONE)
    return at.replace(tzinfo=None).isoformat(" ", "seconds")


_SHAPES: Final[Mapping[Kind, Callable[[Any], str]]] = {
    Kind.TEXT: csv_cell,
    Kind.INTEGER: _number,
    Kind.BOOLEAN: _boolean,
    Kind.TIME: _time,
    Kind.DATE: str,
    Kind.JSON: csv_cell,
}
