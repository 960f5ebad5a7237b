"""The formats of an export. Each writes rows in portions to an open file."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from typing import Any, BinaryIO, Final, TypeAlias
from zoneinfo import ZoneInfo

from worker.core.display import csv_cell
from worker.errors import ConfigurationError
from worker.views import Kind, ViewColumn, codes, systems_of

_ROW_GROUP: Final = 50_000
_OSLO: Final = ZoneInfo("Europe/Oslo")
_PROGRAM: Final = "pts-worker"
"""The source of the program's codes in ``report_code``."""
FORMATS: Final = ("csv", "parquet")
"""The formats of an export, and the suffixes of its files."""
DIALECTS: Final = ("excel-nb",)
"""Dialects of CSV for one program. See ``ExcelSink``."""
_Format: TypeAlias = Callable[[Any], str]


@contextmanager
def open_sink(stream: BinaryIO, columns: Sequence[ViewColumn], name: str) -> Iterator["Sink"]:
    """Yield a sink for rows of these columns, and close it at the end.

    Args:
        name: one of ``FORMATS`` or ``DIALECTS``.

    Raises:
        ConfigurationError: the library for Parquet is not installed.
    """
    sinks: Mapping[str, type[Sink]] = {"excel-nb": ExcelSink, "parquet": ParquetSink}
    sink = sinks.get(name, CsvSink)(stream, columns)
    try:
        yield sink
    except BaseException:
        # Closing releases the stream. Its own error must not hide the first one.
        with suppress(Exception):
            sink.close()
        raise
    sink.close()


def iso(at: datetime) -> str:
    """Format as ISO 8601 in UTC, always with microseconds and ``Z``, so that text sorts by time."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


class CsvSink:
    """CSV in UTF-8 by RFC 4180, with a header. NULL is an empty cell. Formulas are escaped."""

    def __init__(self, stream: BinaryIO, columns: Sequence[ViewColumn]) -> None:
        self._begin(stream, [column.name for column in columns])
        self._formats = [_CSV[column.kind] for column in columns]

    def _begin(self, stream: BinaryIO, head: Sequence[str], **dialect: Any) -> None:
        self._text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
        self._writer = csv.writer(self._text, **dialect)
        self._writer.writerow(head)

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write a portion of rows, with values in the order of the columns."""
        self._writer.writerows(map(self._cells, rows))

    def _cells(self, row: Sequence[Any]) -> Iterable[Any]:
        pairs = zip(self._formats, row, strict=True)
        return ["" if value is None else to_text(value) for to_text, value in pairs]

    def close(self) -> None:
        """Write the remaining rows. The file stays open."""
        self._text.flush()
        self._text.detach()


_CSV: Final[Mapping[Kind, Callable[[Any], Any]]] = {
    Kind.TEXT: csv_cell,
    Kind.INTEGER: str,
    Kind.BOOLEAN: lambda value: "true" if value else "false",
    Kind.TIME: iso,
    Kind.DATE: date.isoformat,
    Kind.JSON: csv_cell,
}


class ExcelSink(CsvSink):
    """CSV for Excel in Norwegian, which opens it with a double click. All texts are in bokmål.

    A byte order mark, semicolons, decimal commas, and times as ``YYYY-MM-DD HH:MM:SS`` in
    Europe/Oslo. The repeated hour in October is ambiguous. Truth values are ``SANN`` and ``USANN``,
    which Excel recognises in Norwegian. The program's own codes are translated to bokmål. A code of
    PTS stays, with its name in the next column. Columns of English text are omitted. Formulas are
    escaped.
    """

    def __init__(self, stream: BinaryIO, columns: Sequence[ViewColumn]) -> None:
        stream.write("\ufeff".encode())
        self._columns: list[tuple[int, _Format, Mapping[str, str], bool]] = []
        head: list[str] = []
        for index, column in enumerate(columns):
            if column.name.endswith("_en"):
                continue
            names, is_translated = _names(column.name)
            self._columns.append((index, _EXCEL[column.kind], names, is_translated))
            head.append(column.heading)
            # A code of PTS stays, because readers compare it with PTS and its documents.
            if names and not is_translated:
                head.append(f"{column.heading} (navn)")
        # All cells are quoted, so that an Excel with comma separators does not split a cell and
        # execute its second part as a formula.
        self._begin(stream, head, delimiter=";", quoting=csv.QUOTE_ALL)

    def _cells(self, row: Sequence[Any]) -> Iterable[Any]:
        cells: list[str] = []
        for index, to_text, names, is_translated in self._columns:
            value = row[index]
            text = "" if value is None else to_text(value)
            if not names:
                cells.append(text)
            elif is_translated:
                cells.append(names.get(str(value), text))
            else:
                cells += [text, names.get(str(value), "")]
        return cells


def _names(column: str) -> tuple[Mapping[str, str], bool]:
    """Return the names in bokmål of a column's codes, and whether all codes are the program's."""
    systems = systems_of(column)
    matches = [code for code in codes() if code.system in systems]
    is_program = bool(matches) and all(code.source == _PROGRAM for code in matches)
    return {code.code: code.name_nb for code in matches}, is_program


def _excel_time(at: datetime) -> str:
    with suppress(OverflowError):  # year 9999 means "no end", and has no local time
        at = at.astimezone(_OSLO)
    return at.replace(tzinfo=None).isoformat(" ", "seconds")


_EXCEL: Final[Mapping[Kind, _Format]] = {
    Kind.TEXT: csv_cell,
    Kind.INTEGER: lambda value: str(value).replace(".", ","),
    Kind.BOOLEAN: lambda value: "SANN" if value else "USANN",
    Kind.TIME: _excel_time,
    Kind.DATE: str,
    Kind.JSON: csv_cell,
}


class ParquetSink:
    """Typed columns: ``timestamp[us, UTC]``, ``bool``, ``int64``, ``date32``, ``string``.

    The metadata of a field has its meaning from ``report_dictionary``.
    """

    def __init__(self, stream: BinaryIO, columns: Sequence[ViewColumn]) -> None:
        self._arrow, parquet = load_pyarrow()
        arrow = self._arrow
        types = {
            Kind.TEXT: arrow.string(),
            Kind.INTEGER: arrow.int64(),
            Kind.BOOLEAN: arrow.bool_(),
            Kind.TIME: arrow.timestamp("us", tz="UTC"),
            Kind.DATE: arrow.date32(),
            Kind.JSON: arrow.string(),
        }
        self._schema = arrow.schema(
            [
                arrow.field(column.name, types[column.kind], metadata=_meanings(column))
                for column in columns
            ]
        )
        self._writer = parquet.ParquetWriter(stream, self._schema, compression="zstd")
        self._batches: list[Any] = []
        self._rows = 0

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """See ``CsvSink``."""
        arrays = [
            self._arrow.array([row[index] for row in rows], type=field.type)
            for index, field in enumerate(self._schema)
        ]
        self._batches.append(self._arrow.record_batch(arrays, schema=self._schema))
        self._rows += len(rows)
        if self._rows >= _ROW_GROUP:
            self._write_group()

    def close(self) -> None:
        """See ``CsvSink``."""
        self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        # Many small row groups make readers of Parquet slow, so batches are collected.
        if self._batches:
            group = self._arrow.Table.from_batches(self._batches, schema=self._schema)
            self._writer.write_table(group)
        self._batches, self._rows = [], 0


Sink: TypeAlias = CsvSink | ParquetSink
"""Writes the rows of one view."""


def _meanings(column: ViewColumn) -> Mapping[str, str]:
    texts = {"meaning_en": column.en, "meaning_nb": column.nb, "unit": column.unit}
    return {name: text for name, text in texts.items() if text}


def load_pyarrow() -> tuple[Any, Any]:
    """Import ``pyarrow`` and ``pyarrow.parquet``.

    Raises:
        ConfigurationError: they are not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and heavy
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            "Parquet needs pyarrow, which is not installed",
            hint="pip install pts-sync-worker[parquet]",
        ) from error
    return pa, parquet
