"""``sync``: one full snapshot run."""

from typing import Final

import click

from worker.cli import options

SHARD_COUNT: Final = "PTS_SHARD_COUNT"
RUN_KEY: Final = "PTS_RUN_KEY"
JOB_INDEX: Final = "JOB_COMPLETION_INDEX"
"""Kubernetes gives it to each pod of an Indexed Job."""

HELP = """One full run over the roster: read everyone, then publish.

A run that was stopped or killed is continued. Readers see the new snapshot only when all of it
is there; a person or area that could not be read keeps its last known state, marked stale.

With `--shard` and `--run-key` several processes share one run: each reads its share of the
roster, the last to finish publishes for all, and `sync.requests_per_second` is divided among
those that live. A shard that is not the last ends with 0, or with 3 if it could not read everyone.
A shard that was stopped or killed is started again alone, with the same key.

Example: `pts-worker sync --config /etc/pts/worker.toml --wait 30m`

Example: `pts-worker sync --shard 2/4 --run-key 2026-03-01`
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
    click.option(
        "--shard",
        metavar="I/N",
        help=f"Read one of N parts of the roster. Else ${JOB_INDEX} of ${SHARD_COUNT}, if that is "
        "set. Needs --run-key, and PostgreSQL.",
    ),
    click.option(
        "--run-key",
        metavar="KEY",
        help=f"The same for all shards of a run, another for the next run. Else ${RUN_KEY}.",
    ),
)
