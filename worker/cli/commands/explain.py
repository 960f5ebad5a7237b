"""``explain``: everything that the store knows of one person."""

import click

from worker.cli import options
from worker.cli.commands.purpose import purpose_option

HELP = """Show everything that is stored of one person.

The identifier stands on standard input, on one line, and is never printed.

By area: the last complete read and, where it had to confirm another, that first one; whether what
is shown is stale, an open failure, the restrictions in force and those that were. With `--as-of`
the restrictions that readers saw at that time (a date alone is its midnight in UTC), and what the
roster called the person then; proofs and failures are kept for the last read only.

The access is logged, with the purpose that `--purpose` gives: see the view `report_access`.

`--json`: is_known, person_key, local_ref, cohort, first_run, first_run_at, departed_at, as_of,
publication (run_id, kind, published_at), areas (area, last_confirmed_at, age_s, pages, records,
digest, first_read: read_at, records, digest; is_stale, failure, restrictions: restriction_id,
columns, first_seen_at, valid_from, valid_to, opened_run, closed_run, is_shown).

Example: `pts-worker explain --as-of 2026-01-31T12:00:00Z < identifier.txt`
"""

command = options.command(
    "explain",
    HELP,
    click.option("--as-of", metavar="INSTANT", help="ISO 8601; UTC if it names no zone."),
    purpose_option,
    options.database,
)
