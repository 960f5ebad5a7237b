"""``config``: the effective configuration."""

from worker.cli.base import Cli
from worker.cli.doctor import load_or_error, report_diagnosis
from worker.cli.showing import columns
from worker.config import show as rows_of


def check(cli: Cli) -> int:
    """Run ``pts-worker config check``."""
    return report_diagnosis(cli, load_or_error(cli), is_offline=True)


def show(cli: Cli) -> None:
    """Run ``pts-worker config show``."""
    app = cli.load(None)
    rows = rows_of(app.loaded)
    file = app.loaded.config_file
    document = {
        "config_file": None if file is None else str(file),
        "keys": [{"key": row.key, "value": row.value, "origin": row.origin} for row in rows],
    }
    cli.emit(
        document,
        lambda: columns(
            ("key", "value", "origin"), [(row.key, row.value, row.origin) for row in rows]
        ),
    )
