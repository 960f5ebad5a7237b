"""``status``: the last runs, how fresh the published snapshot is, and what is missing from it."""

import click

from worker.cli import options

HELP = """Show recent runs, snapshot age, failures and the lease.

The last full run says how fresh the snapshot is: everyone was read. The last publication is what
readers see; it is newer if a backfill came after the full run. With `--max-age` the exit code is 3
if the last full run was published longer ago, or never.

`--json`: now, freshness (published_at, run_id, age_s, max_age_s, is_fresh), last_publication
(publication_no, run_id, kind, published_at), gaps (area, persons, stale), failures (area, kind,
count), lease (holder, since, expires_at, is_dead), open_run (run_id, status, started_at,
persons_read, continued_by_next_sync), runs (latest first).

Example: `pts-worker status --max-age 36h`
"""

command = options.command(
    "status",
    HELP,
    click.option(
        "--max-age", type=options.DURATION, help="Exit 3 if the snapshot is older, e.g. 36h."
    ),
    click.option("--runs", type=click.IntRange(min=0), default=5, help="How many runs to show."),
    options.database,
)
