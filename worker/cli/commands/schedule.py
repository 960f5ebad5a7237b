"""``schedule``: stay up and sync on a cron expression."""

import click

from worker.cli import options

HELP = """Stay up and run `sync` on a cron expression in a named time zone.

Runs never overlap; a start that comes while a run is on is skipped. SIGTERM ends a run that is on
as it ends `sync`: what is complete is kept, and the next run continues. The schedule then ends
with 0, or with 75 while it is still starting.

A run that ends with 4, 69 or 75 is retried after 5, 10, 20 and 40 minutes (schedule.retry_wait)
and then every hour, until the next start. Any other end is logged, and the schedule goes on. A run
that was left open is continued at once.

Example: `pts-worker schedule --cron "30 3 * * *" --timezone Europe/Oslo`
"""

command = options.command(
    "schedule",
    HELP,
    options.setting("--cron", "schedule.cron", help="Five fields: minute hour day month weekday."),
    options.setting("--timezone", "schedule.timezone", help="IANA zone."),
    click.option("--now", is_flag=True, help="Run once at the start, too."),
)
