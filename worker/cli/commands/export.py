"""``export``: the reporting views as files."""

from typing import Any

import click

from worker.cli import options
from worker.cli.commands.purpose import purpose_option
from worker.report.sinks import Dialect, Format


class Publication(click.ParamType[int, str]):
    """The number of a publication, from 0."""

    name = "publication"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        text = str(value)
        if not (text.isascii() and text.isdigit()):
            self.fail(
                "this is no number of a publication; the manifest of an export names its own as "
                "publication_no: for example --since 41. For a time there is --as-of",
                param,
                ctx,
            )
        return int(text)


HELP = """Write the reporting views to a folder as CSV or Parquet.

All rows are as of one publication and stand in a folder of its own, `publication_no=N`: those of an
area in `area=AREA/current` and `area=AREA/history`, those of other views in a folder of the view's
name, as `part-00000` and so on. `_manifest.json` there says columns, rows and SHA-256 of each file.
The fields of Parquet have the column's meaning.
The folder appears when it is complete, in the place of an earlier one of the same publication; then
`_LATEST` names it. The same database gives the same bytes, but for the manifest's `exported_at`.
The files hold health data; only their owner can read them (0600). Parquet needs the extra `parquet`
of the package.

The access is logged, with the purpose that `--purpose` gives, in the view `report_access`, which is
exported only where it is named.

With `--dialect excel-nb` CSV for Excel in Norwegian: a byte order mark, semicolons, decimal commas,
times in Europe/Oslo, and beside each code its name in bokmål.

With `--since` only what has changed behind that publication: the rows of `report_change_feed`, with
what was erased and purged, in `area=AREA/feed`. A number that no publication has had is refused.

With `--as-of` what readers saw at that time (a date alone is its midnight in UTC): the current
views, the history until then and the facts, as of the last publication by then. `local_ref` and
`cohort` are those of then. What is kept for the last read only is empty: `last_confirmed_at`,
`is_stale`. `not_kept` says how many restrictions stood then and are gone, by retention or `erase`.

`--json`: the manifest (folder, format, dialect, run_id, publication_no, published_at,
exported_at, worker_version, schema_revision, since, as_of, not_kept,
views: name, folder, rows, order, columns: name, type; files: name, view, rows, bytes, sha256).

Example: `pts-worker export --out export --format csv --view patient_safety_current`
"""

command = options.command(
    "export",
    HELP,
    click.option(
        "--out",
        type=options.NewPath(),
        required=True,
        help="The folder; made if there is none. An export of the same publication that is there "
        "is replaced, also one of other options.",
    ),
    click.option(
        "--format",
        "file_format",
        type=click.Choice([*map(str, Format)]),
        metavar="FORMAT",
        default="csv",
        show_default=True,
        help="csv or parquet.",
    ),
    click.option(
        "--dialect",
        type=click.Choice([*map(str, Dialect)]),
        metavar="DIALECT",
        help="excel-nb: CSV for Excel in Norwegian.",
    ),
    click.option(
        "--view", multiple=True, help="Only this view; may be given again. Default: all but access."
    ),
    click.option(
        "--since",
        type=Publication(),
        metavar="PUBLICATION",
        help="Only the change feed, behind the publication of this number, e.g. 41.",
    ),
    click.option("--as-of", metavar="INSTANT", help="ISO 8601; UTC if it names no zone."),
    purpose_option,
    options.database,
)
