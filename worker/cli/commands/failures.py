"""``failures``: what could not be read, one by one."""

import click

from worker.cli import options
from worker.cli.commands.purpose import purpose_option
from worker.core.model import FailureKind

LIST = """List what cannot be read at present, what has failed longest first.

Every `sync` reads it again; `backfill --failed` reads it and nothing else.

`--json`: failures (person_key, person_id, local_ref, area, kind, status, reason,
attempts, runs, first_at, last_at). In a store of plain identifiers person_key
is null: identifiers are not printed.

Example: `pts-worker failures list --kind contract --limit 20`
"""

SHOW = """Show the failures of one person.

Whom: by the key that `list` and the log give (or more of its digits), or by the identifier on
standard input with `-`.

The access is logged, with the purpose that `--purpose` gives: see the view `report_access`.

`--json`: as `failures list`.

Example: `pts-worker failures show p-3fa94c07`

Example: `pts-worker failures show - < identifier.txt`
"""

command = options.group("failures", "What could not be read. Example: `pts-worker failures list`")

options.command(
    "list",
    LIST,
    click.option(
        "--kind",
        type=click.Choice([*map(str, FailureKind)]),
        metavar="KIND",
        help="transient, rejected, refused, contract, paging or unstable.",
    ),
    click.option(
        "--area",
        type=options.AREA,
        metavar="AREA",
        multiple=True,
        help="Only this area; may be given again. Default: all.",
    ),
    click.option("--limit", type=click.IntRange(min=1), default=100, help="How many, at most."),
    options.database,
    of=command,
)

options.command(
    "show",
    SHOW,
    click.argument(
        "person",
        metavar="KEY|-",
        help="The first digits of the person's key; - for standard input.",
    ),
    purpose_option,
    options.database,
    of=command,
)
