"""``config``: the effective configuration, and what it may hold."""

from worker.cli.base import Cli, subcommand
from worker.cli.doctor import load_or_error, report_diagnosis
from worker.cli.options import group
from worker.cli.output import print_json
from worker.cli.showing import columns
from worker.config import json_schema
from worker.config import show as rows_of
from worker.errors import ExitCode

CHECK = """Read the configuration and every file that it names, without the network.

Configuration, client key, pseudonym key, certificates, SQLite database, roster file, and
telemetry.textfile if it is set: one line each, OK, WARN or FAIL, and what to do. Changes nothing.
`pts-worker doctor` also asks HelseID, PTS and the database server.

Exit code: that of the first FAIL (78 configuration, 65 roster), else 0.

`--json`: exit_code, lines (name, state, text, hint, exit_code, details, facts).

Example: `pts-worker config check --config /etc/pts-worker/worker.toml`
"""
SHOW = """Show every key with its value and where it came from.

The origin is a flag, a variable, the file or a default. Secrets are hidden.

`--json`: config_file, keys (key, value, origin).

Example: `pts-worker config show --config /etc/pts-worker/worker.toml`
"""
SCHEMA = """Print the configuration file's JSON Schema.

Every key, its kind, limits, default and meaning. The output is JSON with and without `--json`.

Example: `pts-worker config schema > worker.schema.json`
"""


command = group(
    "config", "The configuration: check, show, schema. Example: `pts-worker config check`"
)


@subcommand("check", CHECK, of=command)
def check(cli: Cli) -> int:
    """See ``CHECK``."""
    return report_diagnosis(cli, load_or_error(cli), is_offline=True)


@subcommand("show", SHOW, of=command)
def show(cli: Cli) -> int:
    """See ``SHOW``."""
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
    return ExitCode.OK


@subcommand("schema", SCHEMA, of=command)
def schema(cli: Cli) -> int:  # noqa: ARG001 - every command takes the common options
    """See ``SCHEMA``."""
    print_json(json_schema())
    return ExitCode.OK
