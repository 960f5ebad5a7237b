"""``erase``: remove one person completely."""

import click

from worker.cli import options
from worker.cli.commands.purpose import purpose_option

HELP = """Remove one person completely: versions, history, proofs, failures, drafts, and the person.

The identifier stands on standard input, on one line, and is never printed. On a terminal it is
asked for, and so is a confirmation unless `--yes` is given. What runs have counted stays in the
ledger, which names nobody. Nothing is done while a run is on (exit 4).

A person who is still on the roster is read again by the next sync: take them off it first. Backups,
replicas, archived WAL and exported files are beyond this program. SQLite's file is written anew
and holds nothing afterwards; PostgreSQL's tables are vacuumed, and with `--rewrite` written anew.

The access is logged, with the purpose that `--purpose` gives (`report_access`); that row stays, and
names nobody once the person is gone.

`--json`: is_known, is_dry_run, rows (by table), is_rewritten.

Example: `pts-worker erase --dry-run < identifier.txt`

Example: `pts-worker erase < identifier.txt`
"""

command = options.command(
    "erase",
    HELP,
    click.option("--dry-run", is_flag=True, help="Count what would go, and change nothing."),
    click.option(
        "--rewrite",
        is_flag=True,
        help="PostgreSQL: write the tables anew (VACUUM FULL), so that its data files hold "
        "nothing. Keeps readers out of each table meanwhile.",
    ),
    click.option("--yes", is_flag=True, help="Do not ask for confirmation on a terminal."),
    purpose_option,
    options.database,
)
