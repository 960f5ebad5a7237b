"""The files of one view: rows go in by portions, and come out as parts of a bounded size."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from worker.files import create_private, named_faults
from worker.report.manifest import ExportedColumn, ExportedFile, ExportedView
from worker.report.sinks import Shape, Sink, open_sink
from worker.views import AREA_VIEWS, CHANGE_FEED, View

PART_BYTES_MAX: Final = 128 * 1024 * 1024
"""A part ends with the portion that reaches it; of Parquet, with the row group."""
NO_AREA: Final = "__HIVE_DEFAULT_PARTITION__"
"""What readers of partitions by folder take for NULL."""


def folder_of(view: View, area: str | None = None) -> str:
    """Where the files of a view are, in the folder of their publication.

    Args:
        area: of the rows, for the change feed: it is divided by it.
    """
    if view == CHANGE_FEED:
        return f"area={area or NO_AREA}/feed"
    if view.name in AREA_VIEWS:
        area, what = AREA_VIEWS[view.name]
        return f"area={area}/{what}"
    return view.name


class ViewFiles:
    """The files of a view, or of one area of the change feed, on their way.

    Args:
        root: the folder of the publication, under its temporary name.
        folder: of these files, in it.
        order: the columns by which the rows that will come are sorted.
        shape: format and columns.
        part_bytes_max: see ``PART_BYTES_MAX``.
    """

    def __init__(
        self,
        root: Path,
        folder: str,
        view: View,
        *,
        order: Sequence[str],
        shape: Shape,
        part_bytes_max: int = PART_BYTES_MAX,
    ) -> None:
        self.view = view
        self._root = root
        self._folder = folder
        self._order = order
        self._shape = shape
        self._part_bytes_max = part_bytes_max
        self._files: list[ExportedFile] = []
        self._rows = 0
        self._open: tuple[str, BinaryIO, Sink] | None = None

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write a portion of rows.

        Raises:
            ConfigurationError: the folder cannot be written.
        """
        with named_faults(self._root):
            _, stream, sink = self._part()
            sink.write(rows)
            self._rows += len(rows)
            if stream.tell() >= self._part_bytes_max:
                self._end_part()

    def finish(self) -> tuple[ExportedView, Sequence[ExportedFile]]:
        """Write what is left, to the disk. A view without rows has one part without rows.

        Raises:
            ConfigurationError: the folder cannot be written.
        """
        with named_faults(self._root):
            if not self._files:
                self._part()
            self._end_part()
        view = ExportedView(
            name=self.view.name,
            folder=self._folder,
            rows=sum(file.rows for file in self._files),
            order=self._order,
            columns=[
                ExportedColumn(name=name, type=kind) for name, kind in self._shape.written.items()
            ],
        )
        return view, self._files

    def close(self) -> None:
        """Close the file, finished or not."""
        if self._open is not None:
            with suppress(Exception):
                self._open[2].close()
            with suppress(Exception):
                self._open[1].close()

    def _part(self) -> tuple[str, BinaryIO, Sink]:
        """The part that is being written."""
        if self._open is None:
            name = f"{self._folder}/part-{len(self._files):05}.{self._shape.format}"
            stream = create_private(self._root, name)
            self._open = (name, stream, open_sink(stream, self._shape))
        return self._open

    def _end_part(self) -> None:
        if self._open is None:
            return
        name, stream, sink = self._open
        sink.close()
        _to_disk(stream)
        stream.close()
        self._open = None
        self._note(name, rows=self._rows)
        self._rows = 0

    def _note(self, name: str, *, rows: int) -> None:
        """Take a file that is written into the manifest."""
        with (self._root / name).open("rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
            size = written.tell()
        self._files.append(
            ExportedFile(name=name, view=self.view.name, rows=rows, bytes=size, sha256=digest)
        )


def _to_disk(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())
