"""``report``: the published state as one HTML page."""

import click

from worker.cli import options
from worker.cli.commands.purpose import purpose_option
from worker.report.language import LANGUAGES

HELP = """Write the published state as one HTML file that needs nothing else.

For a director: what is in effect and for how many patients, the trend, codes with their meaning,
when delays end, how fresh the figures are; runs in an annex. It names no person, and numbers of
fewer persons than `--min-cell` are hidden, with those from which they could be computed. Only the
file's owner can read it (0600). An old one is replaced.

The access is logged, with the purpose that `--purpose` gives: see the view `report_access`.

`--json`: file, state, published_at.

Example: `pts-worker report --out rapport.html`
"""

command = options.command(
    "report",
    HELP,
    click.option("--out", type=options.NewPath(), required=True, help="The file."),
    click.option(
        "--language",
        type=click.Choice(LANGUAGES),
        metavar="LANGUAGE",
        default=LANGUAGES[0],
        show_default=True,
        help="nb (bokmål), nn (nynorsk) or en.",
    ),
    options.min_cell,
    purpose_option,
    options.database,
)
