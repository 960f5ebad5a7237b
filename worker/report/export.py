"""Exports the reporting views as files of one publication, with a manifest.

Times are ISO 8601 UTC, NULL is an empty cell in CSV. In CSV a text that
begins with ``= + - @``, a tab, a line break or an apostrophe gets one apostrophe in front, so that
no spreadsheet runs it; taking one leading apostrophe away gives the value back. Columns that hold
JSON are text in every format.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from worker import __version__
from worker.areas import AREAS
from worker.areas.meanings import view_columns, view_keys
from worker.core.value import Value
from worker.errors import UsageError
from worker.files import make_folder
from worker.report.folders import PublicationFolder
from worker.report.manifest import ExportedFile, ExportedView, Manifest
from worker.report.reading import Read, begin_snapshot
from worker.report.selection import (
    OF_THE_PAST,
    ExportedPublication,
    last_of,
    last_publication,
    open_counts_at,
    past_rows_of,
    require_published,
    rows_of,
    until,
)
from worker.report.sinks import Dialect, Format, Shape, iso, load_pyarrow
from worker.report.view_files import PART_BYTES_MAX, ViewFiles, folder_of
from worker.report.words import meanings
from worker.views import CHANGE_FEED, CURRENT, View, views_named

_PORTION: Final = 2_000
"""Rows held in memory at a time."""

Wrote = Callable[[str, int], None]
_Files = tuple[ExportedView, Sequence[ExportedFile]]


class Options(Value, frozen=True, kw_only=True):
    """The options of an export.

    Attributes:
        dialect: of CSV.
        views: names with or without ``report_``; empty: all but the access log.
        since: write only the change feed, after this publication.
        as_of: write what the views showed at this time (only ``selection.OF_THE_PAST``).
        part_bytes_max: size at which the next part of a file begins.
    """

    format: Format
    dialect: Dialect | None = None
    views: Sequence[str] = ()
    since: int | None = None
    as_of: datetime | None = None
    part_bytes_max: int = PART_BYTES_MAX

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
        if self.as_of is not None:
            return self._of_the_past()
        return views_named(self.views) if self.since is None else (CHANGE_FEED,)

    def _of_the_past(self) -> Sequence[View]:
        named = views_named(self.views) if self.views else OF_THE_PAST
        lost = [view.name for view in named if view not in OF_THE_PAST]
        if self.since is not None or lost:
            raise UsageError(
                f"--as-of is not for {lost[0] if lost else '--since'}",
                hint=f"it is for {', '.join(view.name for view in OF_THE_PAST)}",
            )
        return named


async def export(
    read: Read,
    out: Path,
    options: Options,
    *,
    now: datetime,
    schema_revision: str,
    wrote: Wrote = lambda _view, _rows: None,
) -> Manifest:
    """Write each view to files in the folder of the latest publication, ``publication_no=N``.

    The rows are streamed in the order of the view's primary key (``view_keys``), so memory
    does not grow with them. The folder appears when all files are complete and the manifest is
    written, in the place of an earlier one of this publication; then ``_LATEST`` names it. Files
    have mode 0600 and folders 0700. The same database gives the same bytes, but for the manifest's
    time.

    Args:
        read: runs a function in a read transaction, e.g. ``Database.read``.
        out: the folder of all publications; made (mode 0700) if there is none.
        wrote: called with the view and the rows written of it so far.

    Raises:
        UsageError: there is no view of a name, options exclude one another, nothing was
            published by ``as_of``, or there is no publication ``since``.
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
        shown = await last_publication(connection, options.as_of)
        if options.since is not None:
            require_published(options.since, shown)
        folder = PublicationFolder(out, _folder_name(shown))
        made.append(folder)
        copies = [_ViewExport(view, folder.path, options, wrote) for view in views]
        files = await _copied(connection, copies, options, shown)
        not_kept = await _not_kept(connection, copies, shown) if options.as_of else None
        return _manifest(options, shown, files, not_kept, now=now, schema_revision=schema_revision)

    try:
        manifest = await read(work)
        made[-1].publish(manifest)
    finally:
        _discard(made)
    return manifest


class _ViewExport:
    """The export of one view; the change feed has files for each area."""

    def __init__(self, view: View, root: Path, options: Options, wrote: Wrote) -> None:
        self.view = view
        self.columns = list(view.columns)
        self._wrote = wrote
        declared = {column.name: column for column in view_columns()[view.name]}
        self.rows = 0
        shape = Shape(
            format=options.format,
            columns={name: view.columns[name] for name in self.columns},
            dialect=options.dialect,
            meanings={name: meanings(declared[name]) for name in self.columns},
        )
        areas = (*(area.name for area in AREAS), None) if view == CHANGE_FEED else (None,)
        self._by_area = {
            area: ViewFiles(
                root,
                folder_of(view, area),
                view,
                order=view_keys()[view.name],
                shape=shape,
                part_bytes_max=options.part_bytes_max,
            )
            for area in areas
        }

    @property
    def files(self) -> Sequence[ViewFiles]:
        """The files of each area."""
        return tuple(self._by_area.values())

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write a portion of rows, each to its area."""
        if len(self._by_area) == 1:
            self.files[0].write(rows)
        else:
            place = self.columns.index("area")
            for area, files in self._by_area.items():
                if mine := [row for row in rows if row[place] == area]:
                    files.write(mine)
        self.rows += len(rows)
        self._wrote(self.view.name, self.rows)

    def close(self) -> None:
        """Close the files, finished or not."""
        for files in self.files:
            files.close()


async def _copied(
    connection: AsyncConnection,
    copies: Sequence[_ViewExport],
    options: Options,
    shown: ExportedPublication | None,
) -> Sequence[_Files]:
    """Write all rows, and return what was written of each view."""
    with ExitStack() as stack:
        for copy in copies:
            stack.enter_context(closing(copy))
        for copy in copies:
            await _copy_view(connection, copy, options, shown)
        return [files.finish() for copy in copies for files in copy.files]


def _manifest(
    options: Options,
    shown: ExportedPublication | None,
    files: Sequence[_Files],
    not_kept: int | None,
    *,
    now: datetime,
    schema_revision: str,
) -> Manifest:
    return Manifest(
        folder=_folder_name(shown),
        format=options.format.value,
        dialect=options.dialect,
        run_id=shown.run_id if shown else None,
        publication_no=shown.number if shown else None,
        published_at=iso(shown.at) if shown else None,
        exported_at=iso(now),
        worker_version=__version__,
        schema_revision=schema_revision,
        since=options.since,
        as_of=iso(options.as_of) if options.as_of else None,
        not_kept=not_kept,
        views=[view for view, _ in files],
        files=[file for _, written in files for file in written],
    )


def _folder_name(shown: ExportedPublication | None) -> str:
    return f"publication_no={shown.number if shown else 0}"


async def _copy_view(
    connection: AsyncConnection,
    copy: _ViewExport,
    options: Options,
    shown: ExportedPublication | None,
) -> None:
    """Stream the view's rows, or those after a place in the feed."""
    behind = None if options.since is None else await last_of(connection, options.since)
    dialect = connection.dialect.name
    if options.as_of is not None and shown is not None:
        query = past_rows_of(copy.view, copy.columns, shown, dialect=dialect)
    else:
        query = rows_of(copy.view, copy.columns, shown, dialect=dialect, behind=behind)
    buffer = {"max_row_buffer": _PORTION}
    async with connection.stream(query, execution_options=buffer) as result:
        async for rows in result.partitions(_PORTION):
            copy.write(until(rows, copy.view, copy.columns, shown.at) if shown else rows)


async def _not_kept(
    connection: AsyncConnection, copies: Sequence[_ViewExport], shown: ExportedPublication | None
) -> int:
    """The number of restrictions open at the publication that are no longer in the database."""
    stood = await open_counts_at(connection, shown) if shown else {}
    areas = {view.name: area for area, view in CURRENT.items()}
    return sum(
        stood.get(areas[copy.view.name], 0) - copy.rows
        for copy in copies
        if copy.view.name in areas
    )


def _discard(made: list[PublicationFolder]) -> None:
    for folder in made:
        folder.discard()
    made.clear()
