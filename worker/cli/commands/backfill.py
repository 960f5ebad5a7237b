"""``backfill``: a run over some persons."""

import click

from worker.cli import options

HELP = """Read some persons again, and publish that. It marks nobody as departed.

Whom: `--roster FILE`, `--person -` (identifiers on standard input, one a line), or out of the
configured roster what is stale (`--stale-for 36h`) or failed (`--failed`). On a terminal the list
is not shown while it is typed, and the run begins when Ctrl-D has ended it.

Example: `pts-worker backfill --failed`

Example: `pts-worker backfill --person - < identifiers.txt`
"""

command = options.command(
    "backfill",
    HELP,
    options.setting("--roster", "roster.path", help="Whom to read: a roster file; - is stdin."),
    click.option(
        "--person",
        metavar="-",
        help="Whom to read: - takes identifiers from standard input. An identifier never "
        "stands on the command line, where every process can read it.",
    ),
    click.option(
        "--stale-for", type=options.DURATION, help="Areas not confirmed for so long, e.g. 36h."
    ),
    click.option("--failed", is_flag=True, help="Areas with an open failure."),
    options.area,
    options.database,
    options.base_url,
    options.issuer,
    options.concurrency,
    options.rate,
    options.deadline,
    options.wait,
    options.accept_removals,
)
