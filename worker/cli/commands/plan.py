"""``plan``: what a run would do. Writes nothing."""

from worker.cli import options

HELP = """Show what a `sync` would do now: persons, requests, time, and what the guard would allow.

Reads the roster and the database and writes nothing; asks neither HelseID nor PTS. Persons who
stand twice on the roster are counted twice here and read once by a run.

A run that is longer than `sync.deadline` is stopped by it and continued by the next start, as long
as the run made progress within `sync.continue_within`. Shards share the rate, and so need as many
starts.

`--json`: roster (entries, faults, first_fault, checksum_warnings, h_numbers,
not_sent), areas, continues
(run_id, began_at, progressed_at, persons_read, person_areas_read) or null, requests (at_least,
expected, per_person_area), rate_per_s, engine (name, sustained_per_s), duration_s (at_least,
expected), deadline (deadline_s or null, fits, starts, continue_within_s), quiet_until or null,
guard (open_restrictions, holders, persons_known, may_close, may_depart, departing_at_least,
would_withhold).

Example: `pts-worker plan --roster roster.csv`
"""

command = options.command(
    "plan",
    HELP,
    options.roster,
    options.database,
    options.area,
    options.rate,
    options.deadline,
)
