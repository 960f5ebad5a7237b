"""Exports the reporting views as files of one publication, with a manifest.

Times are ISO 8601 UTC. In CSV, NULL is an empty cell, and a text that begins with ``= + - @``, a
tab, a line break or an apostrophe gets one apostrophe in front, so that no spreadsheet executes it.
Remove one leading apostrophe to get the value. JSON columns are text in every format.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, and_, column, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker import __version__
from worker.core.value import Value
from worker.errors import UsageError
from worker.files import convert_write_errors
from worker.report.folders import (
    ExportedColumn,
    ExportedView,
    Manifest,
    PublicationFolder,
    make_folder,
)
from worker.report.formats import iso, load_pyarrow, open_sink
from worker.views import (
    CHANGE_FEED,
    RUN,
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
"""Rows in memory at a time."""


class Options(Value, frozen=True, kw_only=True):
    """The options of an export.

    Attributes:
        format: one of ``FORMATS``.
        dialect: a dialect of CSV, one of ``DIALECTS``.
        views: names with or without ``report_``. Empty: all except the access log.
        since: write only the change feed, after this publication.
    """

    format: str = "csv"
    dialect: str | None = None
    views: Sequence[str] = ()
    since: int | None = None

    def selected_views(self) -> Sequence[View]:
        """Return the views to export.

        Raises:
            UsageError: a view does not exist, or options exclude one another.
        """
        if self.dialect is not None and self.format != "csv":
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
) -> Manifest:
    """Write each view to a file in the folder of the latest publication, ``publication-N``.

    The changes since another publication are in ``publication-N-since-M``.

    The rows are streamed in the order of the view's primary key (``view_keys``), so memory does
    not grow with them. When all files and the manifest are complete, the folder appears and
    replaces an earlier one of its name. Then ``_LATEST`` contains its name. Files have mode 0600,
    folders 0700.

    Args:
        read: runs a function in a read transaction, e.g. ``Database.read``.
        out: the folder of all publications. Created with mode 0700 if missing.

    Raises:
        UsageError: a view does not exist, options exclude one another, or there is no publication
            ``since``.
        ConfigurationError: the folder cannot be written, or Parquet lacks its library.
        UnavailableError: the database cannot be used.
    """
    views = options.selected_views()
    if options.format == "parquet":
        load_pyarrow()  # an optional library, so it is tried before a folder is created
    make_folder(out)
    folders: list[PublicationFolder] = []

    async def work(connection: AsyncConnection) -> Manifest:
        _discard(folders)  # a failed transaction is retried, with a new folder
        await begin_snapshot(connection)
        latest = await _last_publication(connection)
        _require_published(options.since, latest)
        name = f"publication-{latest.publication_no if latest else 0}"
        if options.since is not None:
            name += f"-since-{options.since}"
        folder = PublicationFolder(out, name)
        folders.append(folder)
        return Manifest(
            folder=name,
            format=options.format,
            dialect=options.dialect,
            run_id=latest.run_id if latest else None,
            publication_no=latest.publication_no if latest else None,
            published_at=iso(latest.published_at) if latest else None,
            exported_at=iso(now),
            worker_version=__version__,
            schema_revision=schema_revision,
            since=options.since,
            views=[await _write(connection, folder, options, view) for view in views],
        )

    try:
        manifest = await read(work)
        folders[-1].publish(manifest)
    finally:
        _discard(folders)
    return manifest


async def _write(
    connection: AsyncConnection, folder: PublicationFolder, options: Options, view: View
) -> ExportedView:
    """Stream the view's rows to its file. With ``since``, only newer rows of the feed."""
    columns = view_columns()[view.name]
    query = _rows_of(view, connection.dialect.name)
    if options.since is not None:
        query = query.where(column("seq") > await _last_seq(connection, options.since))
    # A dialect is for one program in Norwegian, so its files have Norwegian names.
    stem = view.name if options.dialect is None else view_name_nb(view.name)
    name, rows = f"{stem}.{options.format}", 0
    files = ExitStack()
    stream = files.enter_context(folder.create(name))
    sink = files.enter_context(open_sink(stream, columns, options.dialect or options.format))
    try:
        buffer = {"max_row_buffer": _PORTION}
        async with connection.stream(query, execution_options=buffer) as result:
            async for portion in result.partitions(_PORTION):
                with convert_write_errors(folder.path):
                    sink.write(portion)
                rows += len(portion)
    finally:
        with convert_write_errors(folder.path):  # buffered rows are written now
            files.close()
    size, digest = folder.digest(name)
    return ExportedView(
        name=view.name,
        file=name,
        rows=rows,
        bytes=size,
        sha256=digest,
        order=view_keys()[view.name],
        columns=[ExportedColumn(name=column.name, type=column.kind) for column in columns],
    )


async def _last_publication(connection: AsyncConnection) -> Row[Any] | None:
    """Return the publication that readers see. None before the first one."""
    run = RUN.table(("run_id", "publication_no", "published_at"))
    result = await connection.execute(
        select(run)
        .where(run.c.publication_no.is_not(None))
        .order_by(run.c.publication_no.desc())
        .limit(1)
    )
    return result.one_or_none()


def _rows_of(view: View, dialect: str) -> Select[Any]:
    """Return a query for the rows of a view in the order of its primary key."""
    table = view.table()
    order: list[ColumnElement[Any]] = []
    for name in view_keys()[view.name]:
        # By bytes, as SQLite sorts. Files of both databases have the same order in any locale.
        by_bytes = view.columns[name] is Kind.TEXT and dialect == "postgresql"
        order.append(table.c[name].collate("C") if by_bytes else table.c[name])
    return select(*(table.c[name] for name in view.columns)).order_by(*order)


def _require_published(number: int | None, latest: Row[Any] | None) -> None:
    """Reject the number of a publication that does not exist."""
    if number is not None and number > (latest.publication_no if latest else 0):
        reason = (
            f"the last one is {latest.publication_no}"
            if latest
            else "nothing has been published yet"
        )
        raise UsageError(
            f"publication {number} does not exist; {reason}",
            hint="the manifest of your last export has its publication_no; after a restore from a "
            "backup make a full export",
        )


async def _last_seq(connection: AsyncConnection, number: int) -> int:
    """Return the ``seq`` after which all rows of the feed are newer than a publication."""
    feed = CHANGE_FEED.table()
    # Erasures and purges have the number of the publication before them, but are newer.
    is_of_publication = and_(feed.c.publication_no == number, feed.c.op.not_in(["erase", "purge"]))
    last = select(func.coalesce(func.max(feed.c.seq), 0)).where(
        or_(feed.c.publication_no < number, is_of_publication)
    )
    seq: int = (await connection.execute(last)).scalar_one()
    return seq


def _discard(folders: list[PublicationFolder]) -> None:
    for folder in folders:
        folder.discard()
    folders.clear()
