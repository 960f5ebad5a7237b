"""Exports the reporting views as files of one publication, with a manifest.

Times are ISO 8601 UTC, NULL is an empty cell in CSV. In CSV a text that begins with ``= + - @``, a
tab, a line break or an apostrophe gets one apostrophe in front, so that no spreadsheet runs it;
taking one leading apostrophe away gives the value back. Columns that hold JSON are text in every
format.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, TableClause, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker import __version__
from worker.areas import AREAS
from worker.core.effect import in_effect_sql, instant_sql
from worker.core.value import Value
from worker.errors import UsageError
from worker.files import named_faults
from worker.report.folders import (
    ExportedColumn,
    ExportedView,
    Manifest,
    PublicationFolder,
    make_folder,
)
from worker.report.formats import Dialect, Format, Sink, iso, load_pyarrow, open_sink
from worker.views import (
    CHANGE_FEED,
    EPISODE,
    HISTORY,
    RUN,
    TYPES,
    Kind,
    Read,
    View,
    begin_snapshot,
    view_columns,
    view_keys,
    view_name_nb,
    views_named,
)

_PORTION: Final = 2_000
"""Rows held in memory at a time."""
_DAY: Final = timedelta(days=1)

Wrote = Callable[[str, int], None]


class Options(Value, frozen=True, kw_only=True):
    """The options of an export.

    Attributes:
        dialect: of CSV.
        views: names with or without ``report_``; empty: all but the access log.
        since: write only the change feed, after this publication.
    """

    format: Format
    dialect: Dialect | None = None
    views: Sequence[str] = ()
    since: int | None = None

    def chosen(self) -> Sequence[View]:
        """The views to export.

        Raises:
            UsageError: there is no view of a name, or options exclude one another.
        """
        if self.dialect is not None and self.format is not Format.CSV:
            raise UsageError(
                f"--dialect is for CSV, not for {self.format}",
                hint="leave out --format or --dialect",
            )
        if self.since is not None and self.views:
            raise UsageError(
                "the change feed is exported by itself", hint="give one of --since and --view"
            )
        return views_named(self.views) if self.since is None else (CHANGE_FEED,)


async def export(
    read: Read,
    out: Path,
    options: Options,
    *,
    now: datetime,
    schema_revision: str,
    wrote: Wrote = lambda _view, _rows: None,
) -> Manifest:
    """Write each view to a file in the folder of the latest publication, ``publication-N``.

    What changed since another one goes to ``publication-N-since-M``.

    The rows are streamed in the order of the view's primary key (``view_keys``), so memory does
    not grow with them. The folder appears when all files are complete and the manifest is written,
    in the place of an earlier one of this name; then ``_LATEST`` names it. Files have mode 0600 and
    folders 0700. The same database gives the same bytes, but for the manifest's time.

    Args:
        read: runs a function in a read transaction, e.g. ``Database.read``.
        out: the folder of all publications; made (mode 0700) if there is none.
        wrote: called with the view and the rows written of it so far.

    Raises:
        UsageError: there is no view of a name, options exclude one another, or there is no
            publication ``since``.
        ConfigurationError: the folder cannot be written, or Parquet lacks its library.
        UnavailableError: the database cannot be used.
    """
    views = options.chosen()
    if options.format is Format.PARQUET:
        load_pyarrow()
    make_folder(out)
    made: list[PublicationFolder] = []

    async def work(connection: AsyncConnection) -> Manifest:
        _discard(made)
        await begin_snapshot(connection)
        shown = await _last_publication(connection)
        _require_published(options.since, shown)
        name = f"publication-{shown.publication_no if shown else 0}"
        if options.since is not None:
            name += f"-since-{options.since}"
        folder = PublicationFolder(out, name)
        made.append(folder)
        writing = _Writing(
            connection=connection, folder=folder, options=options, shown=shown, wrote=wrote
        )
        return Manifest(
            folder=name,
            format=options.format.value,
            dialect=options.dialect,
            run_id=shown.run_id if shown else None,
            publication_no=shown.publication_no if shown else None,
            published_at=iso(shown.published_at) if shown else None,
            exported_at=iso(now),
            worker_version=__version__,
            schema_revision=schema_revision,
            since=options.since,
            views=[await writing.view(view) for view in views],
        )

    try:
        manifest = await read(work)
        made[-1].publish(manifest)
    finally:
        _discard(made)
    return manifest


class _Writing(Value, frozen=True, kw_only=True):
    """The views of one snapshot on their way to the files of a folder."""

    connection: AsyncConnection
    folder: PublicationFolder
    options: Options
    shown: Row[Any] | None
    wrote: Wrote

    async def view(self, view: View) -> ExportedView:
        """Stream the view's rows to its file, or those after a place in the feed."""
        options, columns = self.options, view_columns()[view.name]
        behind = None
        if options.since is not None:
            behind = await _last_of(self.connection, options.since)
        dialect = self.connection.dialect.name
        query = _rows_of(view, self.shown, dialect=dialect, behind=behind)
        stem = view.name if options.dialect is None else view_name_nb(view.name)
        name = f"{stem}.{options.format}"
        with (
            self.folder.create(name) as stream,
            open_sink(stream, columns, options.format, options.dialect) as sink,
        ):
            rows = await self._stream(query, view, sink)
        size, digest = self.folder.digest(name)
        return ExportedView(
            name=view.name,
            file=name,
            rows=rows,
            bytes=size,
            sha256=digest,
            order=view_keys()[view.name],
            columns=[ExportedColumn(name=column.name, type=column.kind) for column in columns],
        )

    async def _stream(self, query: Select[Any], view: View, sink: Sink) -> int:
        rows = 0
        buffer = {"max_row_buffer": _PORTION}
        async with self.connection.stream(query, execution_options=buffer) as result:
            async for portion in result.partitions(_PORTION):
                with named_faults(self.folder.path):
                    sink.write(_until(portion, view, self.shown))
                rows += len(portion)
                self.wrote(view.name, rows)
        return rows


async def _last_publication(connection: AsyncConnection) -> Row[Any] | None:
    """The publication that readers see; None before the first one."""
    run = RUN.table(("run_id", "publication_no", "published_at"))
    found = await connection.execute(
        select(run)
        .where(run.c.publication_no.is_not(None))
        .order_by(run.c.publication_no.desc())
        .limit(1)
    )
    return found.one_or_none()


def _rows_of(
    view: View, shown: Row[Any] | None, *, dialect: str, behind: int | None
) -> Select[Any]:
    """The rows of a view in the order of its primary key; text sorts by its bytes.

    Values that depend on the time of the query are as of the publication, so that two exports of
    one publication are the same.

    Args:
        behind: of the change feed, only rows after this ``seq``.
    """
    table = view.table()
    order: list[ColumnElement[Any]] = []
    for name in view_keys()[view.name]:
        by_bytes = view.columns[name] is Kind.TEXT and dialect == "postgresql"
        order.append(table.c[name].collate("C") if by_bytes else table.c[name])
    query = select(*(_column(view, table, name, shown) for name in view.columns))
    if behind is not None:
        query = query.where(table.c.seq > behind)
    return query.order_by(*order)


def _column(
    view: View, table: TableClause, name: str, shown: Row[Any] | None
) -> ColumnElement[Any]:
    if name != "is_in_effect" or shown is None:
        return table.c[name]
    area = next(area for area in AREAS if area.table in view.name)
    condition = in_effect_sql(area.effect, view.name, instant_sql(shown.published_at))
    if view == HISTORY[area.name]:
        condition = f"{view.name}.valid_to IS NULL AND {condition}"
    return literal_column(condition, TYPES[Kind.BOOLEAN]).label(name)


def _until(rows: Sequence[Any], view: View, shown: Row[Any] | None) -> Sequence[Any]:
    """Count the days of an open episode up to the publication."""
    if view != EPISODE or shown is None:
        return rows
    started, ended, days = map(list(view.columns).index, ("started_at", "ended_at", "days"))
    return [
        row
        if row[ended] is not None
        else (*row[:days], max((shown.published_at - row[started]) // _DAY, 0), *row[days + 1 :])
        for row in rows
    ]


def _require_published(number: int | None, shown: Row[Any] | None) -> None:
    """Refuse a number that no publication has had."""
    if number is not None and number > (shown.publication_no if shown else 0):
        known = (
            f"the last one is {shown.publication_no}" if shown else "nothing has been published yet"
        )
        raise UsageError(
            f"publication {number} does not exist; {known}",
            hint="the manifest of the export that you took last names its publication_no; after a "
            "restore from a backup take a full export",
        )


async def _last_of(connection: AsyncConnection, number: int) -> int:
    """The ``seq`` after which all rows of the feed are newer than a publication.

    Erasures and purges after a publication have its number, but are newer.
    """
    feed = CHANGE_FEED.table()
    last = select(func.coalesce(func.max(feed.c.seq), 0)).where(
        feed.c.publication_no <= number, feed.c.op.not_in(["erase", "purge"])
    )
    found: int = (await connection.execute(last)).scalar_one()
    return found


def _discard(made: list[PublicationFolder]) -> None:
    for folder in made:
        folder.discard()
    made.clear()
