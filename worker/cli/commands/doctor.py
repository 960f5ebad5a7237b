"""``doctor``: what is wrong with the set-up, and what to do about it."""

import click

from worker.cli import options
from worker.errors import UsageError


@click.command("doctor", cls=options.Command)
@click.option("--probe", is_flag=True, help="Read one synthetic person from PTS.")
@options.person(
    "With --probe: - takes the identifier from standard input, instead of a number that NHN has "
    "published."
)
@click.pass_obj
def command(cli: options.Cli, *, probe: bool, person: str | None) -> int:
    """Check the complete set-up, and show what is wrong and what to do.

    Configuration, clock, key, HelseID's discovery and token, database, PTS, contract, roster: one
    line each, OK, WARN or FAIL. A failure does not stop the other checks; SKIP marks what is not
    checked because of one. Changes nothing.

    The roster is read to its end: its persons (somebody who is listed twice is counted twice, and
    read once by a run), the requests that a night sends, and how long they take at
    `sync.requests_per_second`. Further pages and retries are not included.

    Exit code: that of the first FAIL (78 configuration, 77 refused, 69 unavailable, 65 data
    contract), else 0.

    Without `--probe`, nobody is read from PTS. With it, one synthetic person is read, and PTS's
    answer is compared with the contract: names of fields, never a value. A probe that reads every
    area, and at least one record, proves the contract; until then its line is a warning.

    `--json`: exit_code, lines (name, state, text, hint, exit_code, details, facts).

    Example: `pts-worker doctor --probe`
    """
    from worker.cli.checkup import report_checkup
    from worker.cli.rosters import read_identifier
    from worker.cli.service_checks import SYNTHETIC_PERSON
    from worker.core.identity import NationalId

    if person and not probe:
        raise UsageError("--person is for --probe")
    if not probe:
        return report_checkup(cli)
    wanted = read_identifier() if person else NationalId(SYNTHETIC_PERSON)
    return report_checkup(cli, probe=wanted)
