"""``doctor``: check the set-up."""

from typing import Final

import click

from worker.cli import options

_SYNTHETIC_PERSON: Final = "16858399649"
"""A synthetic number (month +80) that NHN has published. No real person can have it."""


@click.command("doctor", cls=options.Command)
@click.option("--probe", is_flag=True, help="Read one of NHN's synthetic persons from PTS.")
@click.option(
    "--person",
    metavar="-",
    type=click.Choice(["-"]),
    help="Probe this person: - takes the identifier from standard input.",
)
@click.pass_obj
def command(cli: options.Cli, *, probe: bool, person: str | None) -> int:
    """Check the complete set-up, and show errors with their remedies.

    Configuration, key, HelseID's discovery, clock and token, database, PTS, contract, roster: one
    line each, OK, WARN or FAIL. Fix the first FAIL first. Changes nothing, except that the database
    notes a contract that a probe has proven.

    `--probe` asks for a number that NHN has published and no real person can have, also in
    production. It compares the answer with the contract. It shows names of fields, never values. If
    it reads a record of every area, the contract is proven. Until then, its line is a warning.

    Exit code: that of the first FAIL (78 configuration, 77 refused, 69 unavailable, 65 data
    contract), else 0.

    Example: `pts-worker doctor --probe`
    """
    from worker.cli.access import read_identifier
    from worker.cli.checks import report_checkup
    from worker.core.identity import NationalId

    if person:
        return report_checkup(cli, read_identifier())
    return report_checkup(cli, NationalId(_SYNTHETIC_PERSON) if probe else None)
