"""``export``: the reporting views as files."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli import options
from worker.cli.access import purpose_option
from worker.cli.output import NOTHING_YET, print_table

if TYPE_CHECKING:
    from worker.report.folders import Manifest


@click.command("export", cls=options.Command)
@click.option(
    "--out",
    type=options.path,
    required=True,
    help="The folder; created if it does not exist. An earlier export of the same publication is "
    "replaced, even if it has other options.",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["csv", "parquet"]),
    metavar="FORMAT",
    default="csv",
    show_default=True,
    help="csv; or parquet, which needs the extra of that name.",
)
@click.option(
    "--dialect",
    type=click.Choice(["excel-nb"]),
    metavar="DIALECT",
    help="excel-nb: CSV for Excel in Norwegian.",
)
@click.option("--view", multiple=True, help="Only this view (repeatable). Default: all but access.")
@click.option(
    "--since",
    type=click.IntRange(min=0),
    metavar="PUBLICATION",
    help="Only `report_change_feed`, after this publication: publication_no in the manifest of an "
    "earlier export.",
)
@purpose_option
@click.pass_obj
def command(
    cli: options.Cli,
    *,
    out: Path,
    file_format: str,
    dialect: str | None,
    view: tuple[str, ...],
    since: int | None,
    purpose: str | None,
) -> None:
    """Write the reporting views to a folder as CSV or Parquet.

    All rows are as of one publication, in a folder `publication-N` that appears when it is
    complete. Then `_LATEST` contains its name. The files contain health data, and only their owner
    can read them (0600). The access is logged.

    Example: `pts-worker export --out export --format csv --view patient_safety_current`
    """
    from worker.cli.access import log_access
    from worker.report.export import Options, export
    from worker.store.schema.upgrade import HEAD

    export_options = Options(format=file_format, dialect=dialect, views=view, since=since)
    export_options.selected_views()  # a usage error must not leave a row in the access log
    app = cli.load("report")

    async def write() -> "Manifest":
        async with app.database() as store:
            await log_access(store, "export", purpose, view=view, since=since)
            read = store.for_long_transactions().read
            now = app.runtime.now()
            return await export(read, out, export_options, now=now, schema_revision=HEAD)

    manifest = cli.run(write)
    cli.emit(manifest, lambda: _print(out, manifest))


def _print(out: Path, manifest: "Manifest") -> None:
    print(f"{out / manifest.folder}: {manifest.published_at or NOTHING_YET}")
    print_table(("file", "rows", "bytes"), [(f.file, f.rows, f.bytes) for f in manifest.views])
