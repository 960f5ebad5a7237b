"""The formats of an export: each takes rows in portions and writes them to an open file."""

import csv
import enum
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, BinaryIO, Final, Protocol

import msgspec

from worker.areas.meanings import Kind
from worker.core.escaping import csv_cell
from worker.core.value import Value
from worker.errors import ConfigurationError
from worker.report.excel import ExcelSink, with_names

_ROW_GROUP: Final = 50_000


class Format(enum.StrEnum):
    """What an export is written as; also the ending of its files."""

    CSV = "csv"
    PARQUET = "parquet"


class Sink(Protocol):
    """Writes the rows of one view."""

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write a portion; values are in the order of the columns."""
        ...

    def close(self) -> None:
        """Write what is left. The file stays open."""
        ...


class Dialect(enum.StrEnum):
    """A way to write CSV for one program."""

    EXCEL_NB = "excel-nb"
    """Excel in Norwegian: see ``ExcelSink``."""


class Shape(Value, frozen=True, kw_only=True):
    """What the files of a view look like.

    Attributes:
        columns: the kind of each column by its name, in order.
        dialect: of CSV; None is RFC 4180 for programs.
        meanings: what is known of a column, by its name; Parquet keeps it with the field.
    """

    format: Format
    columns: Mapping[str, Kind]
    dialect: Dialect | None = None
    meanings: Mapping[str, Mapping[str, str]] = msgspec.field(default_factory=dict)

    @property
    def written(self) -> Mapping[str, Kind]:
        """The columns of the files: a dialect may add some."""
        return self.columns if self.dialect is None else with_names(self.columns)


def open_sink(stream: BinaryIO, shape: Shape) -> Sink:
    """A sink for rows of this shape.

    Raises:
        ConfigurationError: Parquet without its library.
    """
    match shape.format:
        case Format.CSV:
            return (
                CsvSink(stream, shape)
                if shape.dialect is None
                else ExcelSink(stream, shape.columns)
            )
        case Format.PARQUET:
            return ParquetSink(stream, shape)


def iso(at: datetime) -> str:
    """ISO 8601 in UTC with microseconds always and ``Z``, so that text sorts as time does."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _plain(value: Any) -> Any:
    return value


def _csv_bool(value: Any) -> str:
    return "true" if value else "false"


_CSV: Final[dict[Kind, Callable[[Any], Any]]] = {
    Kind.TEXT: csv_cell,
    Kind.INTEGER: _plain,
    Kind.BOOLEAN: _csv_bool,
    Kind.TIME: iso,
    Kind.DATE: date.isoformat,
    Kind.JSON: csv_cell,
}


class CsvSink:
    """RFC 4180 in UTF-8 with a header; NULL is an empty cell; formulas are made harmless."""

    def __init__(self, stream: BinaryIO, shape: Shape) -> None:
        self._text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
        self._writer = csv.writer(self._text)
        self._shapes = [_CSV[kind] for kind in shape.columns.values()]
        self._writer.writerow(shape.columns)

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """See ``Sink.write``."""
        shapes = self._shapes
        self._writer.writerows(
            [
                "" if value is None else shape(value)
                for shape, value in zip(shapes, row, strict=True)
            ]
            for row in rows
        )

    def close(self) -> None:
        """See ``Sink.close``."""
        self._text.flush()
        self._text.detach()


class ParquetSink:
    """Typed columns: ``timestamp[us, UTC]``, ``bool``, ``int64``, ``date32``, ``string``."""

    def __init__(self, stream: BinaryIO, shape: Shape) -> None:
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
                arrow.field(name, types[kind], metadata=shape.meanings.get(name))
                for name, kind in shape.columns.items()
            ]
        )
        self._writer = parquet.ParquetWriter(stream, self._schema, compression="zstd")
        self._waiting: list[Any] = []
        self._rows = 0

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """See ``Sink.write``."""
        arrays = []
        for index, one in enumerate(self._schema):
            values = [row[index] for row in rows]
            arrays.append(self._arrow.array(values, type=one.type))
        self._waiting.append(self._arrow.record_batch(arrays, schema=self._schema))
        self._rows += len(rows)
        if self._rows >= _ROW_GROUP:
            self._write_group()

    def close(self) -> None:
        """See ``Sink.close``."""
        self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        """Readers of Parquet are slow on many small row groups."""
        if self._waiting:
            group = self._arrow.Table.from_batches(self._waiting, schema=self._schema)
            self._writer.write_table(group)
        self._waiting, self._rows = [], 0


def load_pyarrow() -> tuple[Any, Any]:
    """The modules ``pyarrow`` and ``pyarrow.parquet``.

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
