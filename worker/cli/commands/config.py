"""``config``: the effective configuration."""

import click

from worker.cli import options
from worker.cli.output import print_table
from worker.errors import ConfigurationError


@click.group("config", cls=options.Group, no_args_is_help=True)
def command() -> None:
    """The configuration: check, show. Example: `pts-worker config check`"""


@command.command("check")
@click.pass_obj
def check(cli: options.Cli) -> None:
    """Read the configuration, the keys and the contract, and show all errors at once.

    Changes nothing, and contacts no server. `pts-worker doctor` also checks servers, database and
    roster.

    Example: `pts-worker config check --config /etc/pts-worker/worker.toml`
    """
    app, problems = cli.load("sync"), list[str]()
    # Collected, so that you see all errors after one call.
    for load in (app.client_key, app.identity, app.tls, app.proxy, app.contract):
        try:
            load()
        except ConfigurationError as error:
            problems.append(error.advice)
    if problems:
        raise ConfigurationError("the configuration cannot be used:", problems=problems)
    file = app.loaded.config_file
    text = f"{file or 'no file'} read; all settings of a sync are set; keys and contract are valid"
    cli.emit({"config_file": file}, lambda: print(text))


@command.command("show")
@click.pass_obj
def show(cli: options.Cli) -> None:
    """Show every key with its value and origin.

    The origin is a flag, a variable, the file or a default. Secrets are hidden.

    Example: `pts-worker config show --config /etc/pts-worker/worker.toml`
    """
    from worker.config.settings import text_of

    loaded = cli.load(None).loaded
    value = loaded.settings.value
    keys = [
        {"key": name, "value": text_of(value(name)), "origin": origin}
        for name, origin in loaded.origins.items()
    ]
    document = {"config_file": loaded.config_file, "keys": keys}

    def text() -> None:
        file = str(loaded.config_file)
        print(f"file: {file}\n" if loaded.config_file else f"{loaded.missing}\n")
        # The file is in the first line, so its long path is not repeated for each key.
        rows = [
            (row["key"], row["value"], "file" if row["origin"] == file else row["origin"])
            for row in keys
        ]
        print_table([*keys[0]], rows)

    cli.emit(document, text)
