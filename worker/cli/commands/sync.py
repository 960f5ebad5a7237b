"""``sync``: one full snapshot run."""

from worker.cli import options

HELP = """One full run over the roster: read everyone, then publish.

A run that was stopped or killed is continued. Readers see the new snapshot only when all of it
is there; a person or area that could not be read keeps its last known state, marked stale.

Example: `pts-worker sync --config /etc/pts/worker.toml --wait 30m`
"""

command = options.command(
    "sync",
    HELP,
    options.roster,
    options.database,
    options.base_url,
    options.issuer,
    options.area,
    options.concurrency,
    options.rate,
    options.deadline,
    options.wait,
    options.accept_removals,
    options.accept_service,
)
