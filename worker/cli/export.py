"""``export``: the reporting views as files."""

from pathlib import Path

from worker.cli.base import Cli
from worker.cli.progress import progress_bar
from worker.cli.showing import columns
from worker.report.export import Options, export
from worker.report.folders import Manifest
from worker.report.formats import Dialect, Format
from worker.store.schema.upgrade import HEAD
from worker.use_cases.access import log_access


def run(
    cli: Cli,
    *,
    out: Path,
    file_format: str,
    dialect: str | None,
    view: tuple[str, ...],
    since: int | None,
    purpose: str | None,
) -> None:
    """Run ``pts-worker export``."""
    given = Options(
        format=Format(file_format),
        dialect=None if dialect is None else Dialect(dialect),
        views=view,
        since=since,
    )
    given.chosen()  # a wrong call comes before the access is logged
    app = cli.load("report")

    async def work() -> Manifest:
        with progress_bar(cli, app, doing="writing", unit="row") as show:
            rows: dict[str, int] = {}

            def wrote(view: str, count: int) -> None:
                rows[view] = count
                if show is not None:
                    show(sum(rows.values()), None, None)

            async with app.database() as store:
                await log_access(app, store, "export", purpose)
                return await export(
                    store.lasting().read,
                    out,
                    given,
                    now=app.runtime.now(),
                    schema_revision=HEAD,
                    wrote=wrote,
                )

    before = {folder.name for folder in out.glob("publication-*")}
    manifest = cli.run(work)
    is_replaced = manifest.folder in before
    cli.emit(manifest, lambda: _print(out, manifest, is_replaced=is_replaced))


def _print(out: Path, manifest: Manifest, *, is_replaced: bool) -> None:
    published = manifest.published_at or "nothing yet"
    print(f"{out / manifest.folder}: {published}")
    if is_replaced:
        number = manifest.publication_no or 0
        print(f"replaced the export of publication {number} that was there")
    columns(("file", "rows", "bytes"), [(f.file, f.rows, f.bytes) for f in manifest.views])
