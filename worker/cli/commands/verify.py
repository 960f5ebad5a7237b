"""``verify``: re-read a sample from PTS and compare it with what was published."""

import click

from worker.cli import options

HELP = """Read a random sample of persons' areas from PTS and compare it with what was published.

Writes nothing: the database is opened for reading only. Shows the share that agrees with a 95 %
confidence interval (Wilson), and the differences by kind, with the first digits of the persons'
keys. What has changed at PTS since the last publication differs too, and is no fault: the next sync
brings it. May run beside a sync, but each of the two keeps to `sync.requests_per_second` by itself.

Exit code: 0 if all agree, 3 if some differ or could not be read; 65, 69 or 77 if nothing could be.

`--json`: roster (entries, faults, not_sent), published (run_id, published_at, age_s), is_run_on,
sampled, read, unread, agree, agreement (share, low, high) or null, areas (area, sampled, agree,
differences: kind, count, person_areas, of_incomplete, persons).

Example: `pts-worker verify --sample 1000 --requests-per-second 5`
"""

command = options.command(
    "verify",
    HELP,
    click.option(
        "--sample",
        type=click.IntRange(min=1),
        default=200,
        show_default=True,
        help="How many areas of persons to read, at most.",
    ),
    options.area,
    options.roster,
    options.database,
    options.rate,
)
