"""``config``: the effective configuration."""

import click

from worker.cli import options
from worker.cli.output import print_table


@click.group("config", cls=options.Group, no_args_is_help=True)
def command() -> None:
    """The configuration: check, show. Example: `pts-worker config check`"""


@command.command("check")
@click.pass_obj
def check(cli: options.Cli) -> int:
    """Read the configuration and every file that it names, without the network.

    Configuration, client key, pseudonym key, certificates, SQLite database, roster file, contract:
    one line each, OK, WARN or FAIL, and what to do. Changes nothing. `pts-worker doctor` also asks
    HelseID, PTS and the database server.

    Exit code: that of the first FAIL (78 configuration, 65 roster), else 0.

    `--json`: exit_code, lines (name, state, text, hint, exit_code, details, facts).

    Example: `pts-worker config check --config /etc/pts-worker/worker.toml`
    """
    from worker.cli.checkup import report_checkup

    return report_checkup(cli, is_offline=True)


@command.command("show")
@click.pass_obj
def show(cli: options.Cli) -> None:
    """Show every key with its value and where it came from.

    The origin is a flag, a variable, the file or a default. Secrets are hidden.

    `--json`: config_file, keys (key, value, origin).

    Example: `pts-worker config show --config /etc/pts-worker/worker.toml`
    """
    from worker.config import text_of

    loaded = cli.load(None).loaded
    values = {name: text_of(loaded.settings.value(name)) for name in loaded.origins}
    rows = [(name, values[name], origin) for name, origin in loaded.origins.items()]
    heads = ("key", "value", "origin")
    document = {
        "config_file": loaded.config_file,
        "keys": [dict(zip(heads, row, strict=True)) for row in rows],
    }
    cli.emit(document, lambda: print_table(heads, rows))
