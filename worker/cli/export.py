"""``export``: the reporting views as files."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.access import PurposeOption, checked_purpose, log_access
from worker.cli.base import Cli, add_command
from worker.cli.showing import columns, store_to_read
from worker.cli.sync import DatabaseOption

if TYPE_CHECKING:
    from worker.report.export import Manifest

HELP = """Write the reporting views to a folder as CSV, NDJSON or Parquet.

One file a view, all as of one publication; `manifest.json` tells which, and the rows and SHA-256
of each file. The files hold health data; only their owner can read them (0600). Parquet needs the
extra `parquet` of the package.

The access is logged, with the purpose that `--purpose` gives, in the view `report_access`, which is
exported only where it is named.

`--json`: the manifest (format, run_id, publication_no, published_at, exported_at, include_payload,
tenant, files: name, view, rows, bytes, sha256).

Example: `pts-worker export --out export --format csv --view patient_safety_current`
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "export", export, HELP)


def export(
    cli: Cli,
    *,
    out: Annotated[Path, typer.Option("--out", help="The folder; made if there is none.")],
    file_format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="csv, ndjson or parquet.")
    ] = "csv",
    view: Annotated[
        list[str] | None,
        typer.Option("--view", help="Only this view; may be given again. Default: all but access."),
    ] = None,
    include_payload: Annotated[
        bool, typer.Option("--include-payload", help="Also all that PTS sent, as JSON.")
    ] = False,
    purpose: PurposeOption = None,
    database: DatabaseOption = None,
) -> int:
    """See ``HELP``."""
    from worker.cli.progress import progress_bar
    from worker.errors import ExitCode, UsageError

    why = checked_purpose(purpose)
    app = cli.load("report", {"database.url": database}, {"database.url": "--database"})
    from worker.report.export import export as write_export
    from worker.report.sinks import Format

    try:
        chosen = Format(file_format)
    except ValueError:
        raise UsageError(f"--format: known are {', '.join(Format)}") from None

    async def work() -> "Manifest":
        with progress_bar(cli, doing="writing", unit="rows") as show:
            rows: dict[str, int] = {}

            def wrote(view: str, count: int) -> None:
                rows[view] = count
                if show is not None:
                    show(sum(rows.values()), None, None)

            async with store_to_read(app) as store:
                await log_access(app, store, "export", why)
                return await write_export(
                    store.read,
                    out,
                    chosen,
                    view or (),
                    now=app.runtime.now(),
                    include_payload=include_payload,
                    wrote=wrote,
                )

    manifest = cli.run(work)
    cli.emit(asdict(manifest), lambda: _print(out, manifest))
    return ExitCode.OK


def _print(out: Path, manifest: "Manifest") -> None:
    published = manifest.published_at or "nothing yet"
    print(f"{out}: publication {manifest.publication_no or 0}, {published}")
    columns(("file", "rows", "bytes"), [(f.name, f.rows, f.bytes) for f in manifest.files])
