"""The reporting views as files that belong to one publication, and a manifest that proves it."""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.model import RunStatus
from worker.errors import UsageError
from worker.files import make_folder, named_faults, new_private, write_private
from worker.report.aggregate import FACTS, facts_by_publication
from worker.report.reading import Read, begin_snapshot
from worker.report.sinks import Format, iso, load_pyarrow, open_sink
from worker.report.views import CHANGE_FEED, PAYLOAD, RUN, View, views_named

MANIFEST: Final = "manifest.json"
_PORTION: Final = 2_000
"""Rows held in memory at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """One file of an export.

    Attributes:
        name: the file's name in the folder.
        sha256: of its bytes, in hexadecimal.
    """

    name: str
    view: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What ``manifest.json`` says; times are ISO 8601 UTC.

    Attributes:
        run_id, publication_no, published_at: the publication that the files show; null before the
            first one.
        include_payload: whether the files hold what PTS sent, besides the typed columns.
        since: the publication behind which the change feed was exported; null for views.
        min_cell: numbers of fewer persons are hidden; null where the files hold single persons.
    """

    format: str
    run_id: int | None
    publication_no: int | None
    published_at: str | None
    exported_at: str
    include_payload: bool
    since: int | None
    min_cell: int | None
    tenant: str | None
    files: tuple[ExportedFile, ...]


@dataclass(slots=True, kw_only=True)
class _Written:
    """Files under temporary names, until all are whole."""

    manifest: Manifest
    temporary: dict[str, Path] = field(default_factory=dict)


async def export(
    read: Read,
    out: Path,
    fmt: Format,
    views: Sequence[str] = (),
    *,
    now: datetime,
    include_payload: bool = False,
    since: int | None = None,
    min_cell: int | None = None,
    tenant: str | None = None,
    wrote: Callable[[str, int], None] = lambda _view, _rows: None,
) -> Manifest:
    """Write each view to a file of the folder, all as of one publication.

    The rows are streamed, so memory does not grow with them. Files have mode 0600 and appear when
    all are whole; the manifest is the last. Times are ISO 8601 UTC, NULL is an empty cell in CSV
    and ``null`` in NDJSON. In CSV a text that begins with ``= + - @``, a tab, a line break or an
    apostrophe gets one apostrophe in front, so that no spreadsheet runs it; taking one leading
    apostrophe away gives the value back. Columns that hold JSON are text in every format.

    Args:
        read: runs a function in a read transaction, e.g. ``Database.read``.
        out: the folder; made (mode 0700) if there is none.
        fmt: the format.
        views: names with or without ``report_``; empty: all.
        now: for the manifest.
        include_payload: also write what PTS sent.
        since: write the change feed alone, and of it what stands behind this publication.
        min_cell: write the facts of publications alone, without numbers of fewer persons.
        tenant: write this tenant's rows alone.
        wrote: called with the view and the rows written of it so far.

    Raises:
        UsageError: there is no view of a name, or views are named beside ``since`` or ``min_cell``.
        ConfigurationError: the folder cannot be written, or Parquet lacks its library.
        UnavailableError: the database cannot be used.
    """
    chosen = _chosen(views, since, min_cell)
    if fmt is Format.PARQUET:
        load_pyarrow()
    make_folder(out)
    made: list[Path] = []

    async def work(connection: AsyncConnection) -> _Written:
        _forget(made)
        await begin_snapshot(connection)
        written = _Written(
            manifest=await _head(
                connection,
                fmt,
                now,
                tenant,
                since=since,
                min_cell=min_cell,
                include_payload=include_payload,
            )
        )
        writers = []
        for view in chosen:
            columns = [name for name in view.columns if include_payload or name != PAYLOAD]
            writers.append(_ViewFile(out=out, view=view, columns=columns, fmt=fmt, wrote=wrote))
            made.append(writers[-1].temporary)
        with ExitStack() as stack:
            for writer in writers:
                stack.enter_context(closing(writer))
            if min_cell is not None:
                await _copy_facts(connection, writers, min_cell)
            else:
                behind = None if since is None else await _last_of(connection, since)
                for writer in writers:
                    await _copy(connection, writer, tenant, behind)
            files = [writer.finish() for writer in writers]
        written.temporary = {writer.name: writer.temporary for writer in writers}
        written.manifest = _with_files(written.manifest, files)
        return written

    try:
        written = await read(work)
        with named_faults(out):
            _put(out, written)
    finally:
        _forget(made)
    return written.manifest


def _chosen(views: Sequence[str], since: int | None, min_cell: int | None) -> Sequence[View]:
    if since is None and min_cell is None:
        return views_named(views)
    if views or (since is not None and min_cell is not None):
        raise UsageError(
            "the change feed and the facts of publications are exported by themselves",
            hint="give one of --since, --aggregate and --view",
        )
    return FACTS if since is None else (CHANGE_FEED,)


class _ViewFile:
    """One view's file on its way."""

    def __init__(
        self,
        *,
        out: Path,
        view: View,
        columns: Sequence[str],
        fmt: Format,
        wrote: Callable[[str, int], None],
    ) -> None:
        self.view = view
        self.columns = columns
        self._out = out
        self._wrote = wrote
        self._rows = 0
        self.name = f"{view.name}.{fmt}"
        with named_faults(out):
            self._stream, self.temporary = new_private(out, self.name)
            self._sink = open_sink(fmt, self._stream, view, columns)

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write a portion of rows."""
        with named_faults(self._out):
            self._sink.write(rows)
        self._rows += len(rows)
        self._wrote(self.view.name, self._rows)

    def finish(self) -> ExportedFile:
        """Write what is left, to the disk."""
        with named_faults(self._out):
            self._sink.close()
            self._stream.flush()
            os.fsync(self._stream.fileno())
            digest, size = _digest(self.temporary)
        return ExportedFile(
            name=self.name, view=self.view.name, rows=self._rows, bytes=size, sha256=digest
        )

    def close(self) -> None:
        """Close the file, finished or not."""
        with suppress(Exception):
            self._sink.close()
        with suppress(Exception):
            self._stream.close()


async def _copy(
    connection: AsyncConnection, file: _ViewFile, tenant: str | None, behind: int | None
) -> None:
    """Stream the view's rows, or those behind a place in the feed."""
    table = file.view.table()
    query = select(*(table.c[name] for name in file.columns))
    if file.view is CHANGE_FEED:
        query = query.where(table.c.seq > (behind or 0)).order_by(table.c.seq)
    if tenant is not None and "tenant" in file.view.columns:
        query = query.where(table.c.tenant == tenant)
    options = {"max_row_buffer": _PORTION}
    async with connection.stream(query, execution_options=options) as result:
        async for rows in result.partitions(_PORTION):
            file.write(rows)


async def _copy_facts(
    connection: AsyncConnection, files: Sequence[_ViewFile], min_cell: int
) -> None:
    """The facts, one publication after the other."""
    async for rows in facts_by_publication(connection, least=min_cell):
        for file in files:
            if rows[file.view.name]:
                file.write(rows[file.view.name])


async def _head(
    connection: AsyncConnection,
    fmt: Format,
    now: datetime,
    tenant: str | None,
    *,
    since: int | None,
    min_cell: int | None,
    include_payload: bool,
) -> Manifest:
    run = RUN.table()
    query = select(run.c.run_id, run.c.publication_no, run.c.published_at).where(
        run.c.status == RunStatus.PUBLISHED
    )
    if tenant is not None:
        query = query.where(run.c.tenant == tenant)
    latest = query.order_by(run.c.published_at.desc(), run.c.run_id.desc()).limit(1)
    row = (await connection.execute(latest)).one_or_none()
    return Manifest(
        format=fmt.value,
        run_id=row.run_id if row else None,
        publication_no=row.publication_no if row else None,
        published_at=iso(row.published_at) if row else None,
        exported_at=iso(now),
        include_payload=include_payload,
        since=since,
        min_cell=min_cell,
        tenant=tenant,
        files=(),
    )


async def _last_of(connection: AsyncConnection, number: int) -> int:
    """The place in the feed behind which everything is newer than a publication.

    Erasures and purges that came after it have its number, and are newer.
    """
    feed = CHANGE_FEED.table()
    last = select(func.coalesce(func.max(feed.c.seq), 0)).where(
        feed.c.publication_no <= number, feed.c.op.not_in(["erase", "purge"])
    )
    found: int = (await connection.execute(last)).scalar_one()
    return found


def _with_files(head: Manifest, files: Sequence[ExportedFile]) -> Manifest:
    return Manifest(**(asdict(head) | {"files": tuple(files)}))


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return digest, stream.tell()


def _put(out: Path, written: _Written) -> None:
    """No manifest stands while the files of two exports may be mixed."""
    (out / MANIFEST).unlink(missing_ok=True)
    for name, temporary in written.temporary.items():
        temporary.replace(out / name)
    content = orjson.dumps(asdict(written.manifest), option=orjson.OPT_INDENT_2)
    write_private(out / MANIFEST, content + b"\n")


def _forget(made: list[Path]) -> None:
    for temporary in made:
        temporary.unlink(missing_ok=True)
    made.clear()
