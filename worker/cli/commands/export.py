"""``export``: the reporting views as files."""

from typing import Any

import click

from worker.cli import options
from worker.cli.commands.purpose import purpose_option
from worker.report.formats import Dialect, Format


class Publication(click.ParamType[int, str]):
    """The number of a publication, from 0."""

    name = "publication"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        text = str(value)
        if not (text.isascii() and text.isdigit()):
            self.fail(
                "this is no number of a publication; the manifest of an export names its own as "
                "publication_no: for example --since 41",
                param,
                ctx,
            )
        return int(text)


HELP = """Write the reporting views to a folder as CSV or Parquet.

All rows are as of one publication and stand in a folder of its own, `publication-N`, with one file
for each view. `_manifest.json` there says columns, rows and SHA-256 of each file. The fields of
Parquet have the column's meaning. The folder appears when it is complete, in the place of an
earlier one of the same publication; then `_LATEST` names it. The same database gives the same
bytes, but for the manifest's `exported_at`. The files hold health data; only their owner can read
them (0600). Parquet needs the extra `parquet` of the package.

The access is logged, with the purpose that `--purpose` gives, in the view `report_access`, which is
exported only where it is named.

With `--dialect excel-nb` CSV for Excel in Norwegian: a byte order mark, semicolons, decimal commas,
times in Europe/Oslo, and names of files, headings and codes in bokmål.

With `--since` only what has changed behind that publication: the rows of `report_change_feed`, with
what was erased and purged. A number that no publication has had is refused.

`--json`: the manifest (folder, format, dialect, run_id, publication_no, published_at,
exported_at, worker_version, schema_revision, since,
views: name, file, rows, bytes, sha256, order, columns: name, type).

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
    purpose_option,
    options.database,
)
