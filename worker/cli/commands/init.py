"""``init``: write a configuration file."""

import click

from worker.cli import options

HELP = """Write a configuration file that describes every key, and ask for what is needed.

On a terminal it asks for environment, client, key files, roster and database; Enter takes the value
in brackets. What `--set` gives is not asked for. Without a terminal the rest has the same defaults,
and helseid.client_id stays to be set.

The file is new: an existing one is never overwritten. Its owner alone can read it (mode 0600), with
`--group-readable` its group as well (0640). Relative paths in it start at its folder.

`--json`: file, keys (those that are set).

Example: `pts-worker init --out /etc/pts-worker/worker.toml`
"""

command = options.command(
    "init",
    HELP,
    click.option(
        "--out",
        type=options.NewPath(),
        default="worker.toml",
        show_default=True,
        help="The new file.",
    ),
    click.option(
        "--group-readable", is_flag=True, help="Let the file's group read it (mode 0640)."
    ),
)
