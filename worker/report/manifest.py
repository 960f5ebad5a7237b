"""What an export says of itself: ``_manifest.json``, the last file of its folder."""

from collections.abc import Sequence
from typing import Final

from worker.core.value import Value

MANIFEST: Final = "_manifest.json"
LATEST: Final = "_LATEST"


class ExportedFile(Value, frozen=True, kw_only=True):
    """One file of an export.

    Attributes:
        name: the file's path in the folder of its publication.
    """

    name: str
    view: str
    rows: int
    bytes: int
    sha256: str


class ExportedColumn(Value, frozen=True, kw_only=True):
    """One column of the files of a view; ``type`` is a kind of ``report_dictionary``."""

    name: str
    type: str


class ExportedView(Value, frozen=True, kw_only=True):
    """One view.

    Attributes:
        folder: of its files; the change feed has one for each area.
        rows: in all of its files.
        order: the columns by which the rows are sorted.
        columns: of each of its files, in their order.
    """

    name: str
    folder: str
    rows: int
    order: Sequence[str]
    columns: Sequence[ExportedColumn]


class Manifest(Value, frozen=True, kw_only=True):
    """What ``_manifest.json`` says; times are ISO 8601 UTC.

    Attributes:
        folder: the name of the publication's folder.
        run_id, publication_no, published_at: the publication that the files show; null before the
            first one. The run is null too once retention has removed it.
        since: the publication behind which the change feed was exported; null for views.
        as_of: the time in question; null for now.
        not_kept: restrictions that stood at that time and are in the database no more, by the facts
            of the publication; null without ``as_of``.
    """

    folder: str
    format: str
    dialect: str | None
    run_id: int | None
    publication_no: int | None
    published_at: str | None
    exported_at: str
    worker_version: str
    schema_revision: str
    since: int | None
    as_of: str | None
    not_kept: int | None
    views: Sequence[ExportedView]
    files: Sequence[ExportedFile]
